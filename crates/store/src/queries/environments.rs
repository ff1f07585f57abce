//! Environments: what the domain remembers, and how pages and programs read it.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use seatrial_engine::{RunId, RunState};
use seatrial_preview::access::Visible;
use seatrial_preview::environment::{Direction, Environment, EnvironmentState, RunPhase, Standing, derive_state};
use seatrial_preview::failure::FailureSnapshot;
use seatrial_preview::ids::{CommentId, DeploymentId};
use seatrial_preview::life::{Capacity, Life, Place};
use seatrial_preview::naming::{self, UrlTemplate};
use seatrial_preview::ports::{Environments, Fact};
use seatrial_preview::pull_request::PullRequest;
use seatrial_preview::{EnvironmentId, Error, HeadSha, Namespace, PullRequestRef, Result as PortResult};
use sqlx::Row as _;
use uuid::Uuid;

use super::db::{self, Connection, Row};
use super::open::Db;
use super::places;
use super::rows::{json, like, millis, optional_json, optional_time, parsed, text, time, to_json, unsigned};
use super::runs::{summary, summary_columns};
use super::visible::{Sight, repository_visible};
use crate::database::EnvironmentQueries;
use crate::effects::Effects;
use crate::error::StoreError;
use crate::views::{EnvironmentFilter, EnvironmentView, Page, PageRequest};

macro_rules! columns {
    () => {
        "id, repository, number, namespace, url, host, title, author, branch, html_url, head_sha,
         live_sha, target, comment, deployment, refusal, failure, receipt, active_at, ttl, sleep_after, kept_until,
         pinned, asleep_since, warned_at, approval, said, place, created_at, updated_at"
    };
}

/// An environment and, by a left join, the newest run of its key.
macro_rules! views {
    ($($condition:expr),+) => {
        concat!(
            "SELECT e.id AS environment_id, e.repository, e.number, e.namespace, e.url, e.host, e.title, e.author,
                    e.branch, e.html_url, e.head_sha, e.live_sha, e.target, e.comment, e.deployment, e.refusal,
                    e.failure AS diagnosis, e.receipt, e.active_at, e.ttl, e.sleep_after, e.kept_until, e.pinned,
                    e.asleep_since, e.warned_at, e.approval, e.said, e.place, e.created_at AS made_at, e.updated_at, ",
            summary_columns!(),
            " FROM environments e LEFT JOIN runs r ON r.seq = (
                SELECT n.seq FROM runs n WHERE n.key = e.repository || '#' || e.number ORDER BY n.seq DESC LIMIT 1) ",
            $($condition),+
        )
    };
}

/// Whether an environment is to be seen, by the first three parameters.
macro_rules! visible {
    () => {
        repository_visible!("e.repository", "$1", "$2", "$3")
    };
}

#[async_trait]
impl Environments for Db {
    async fn ensure(&self, pull_request: &PullRequest) -> PortResult<Environment> {
        let given = (pull_request.clone(), self.preview_url.clone(), self.clock.now());
        let environment = self.writer.write(given, |c, (pull_request, template, now)| {
            Box::pin(async move { Ok((ensure(c, &pull_request, &template, now).await?, Effects::none())) })
        });
        Ok(environment.await?)
    }

    async fn find(&self, at: &PullRequestRef) -> PortResult<Option<Environment>> {
        let row = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM environments e WHERE e.repository = $1 AND e.number = $2"
        ))
        .bind(at.repository.to_string())
        .bind(number(at)?)
        .fetch_optional(&self.readers)
        .await
        .map_err(StoreError::from)?;
        Ok(row.as_ref().map(environment).transpose()?)
    }

    async fn remember(&self, environment: EnvironmentId, fact: Fact) -> PortResult<()> {
        let given = (environment, fact, self.clock.now());
        let remembered = self.writer.write(given, |c, (environment, fact, now)| {
            Box::pin(async move { remember(c, environment, &fact, now).await })
        });
        Ok(remembered.await?)
    }

    async fn reserve(&self, environment: EnvironmentId, capacity: Capacity) -> PortResult<Place> {
        let given = (environment, capacity, self.clock.now());
        let reserved = self.writer.write(given, |c, (environment, capacity, now)| {
            Box::pin(async move { places::reserve(c, environment, capacity, now).await })
        });
        Ok(reserved.await?)
    }

    async fn list_standing(&self) -> PortResult<Vec<Standing>> {
        let rows = sqlx::query(views!("WHERE e.receipt IS NULL ORDER BY e.id"))
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::from)?;
        let mut standing = Vec::with_capacity(rows.len());
        for row in &rows {
            let EnvironmentView { environment, state, newest_run } = view(row)?;
            let busy = newest_run.is_some_and(|run| !run.state.is_final());
            if state != EnvironmentState::Deleted {
                standing.push(Standing { environment, state, busy });
            }
        }
        Ok(standing)
    }

    async fn keep_snapshot(&self, environment: EnvironmentId, run: Uuid, snapshot: &FailureSnapshot) -> PortResult<()> {
        let given = (environment, run, to_json(snapshot)?, millis(snapshot.taken_at));
        let kept = self.writer.write(given, |c, (environment, run, content, taken_at)| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO snapshots (run, environment, taken_at, content) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (run) DO UPDATE SET taken_at = excluded.taken_at, content = excluded.content",
                )
                .bind(run)
                .bind(environment.0)
                .bind(taken_at)
                .bind(content)
                .execute(c)
                .await?;
                Ok(((), Effects::none()))
            })
        });
        Ok(kept.await?)
    }
}

/// The pull request's environment, made on first sight and brought up to date with its title,
/// branch and head. Namespace and host are chosen once: the plain names, or those with a hash
/// where another pull request holds the plain ones.
pub(super) async fn ensure(
    connection: &mut Connection,
    pull_request: &PullRequest,
    template: &UrlTemplate,
    now: DateTime<Utc>,
) -> Result<Environment, StoreError> {
    let at = &pull_request.at;
    let invalid = |e: Error| StoreError::Invalid(e.message);
    let mut namespace = naming::namespace(at);
    if is_taken(connection, Column::Namespace, namespace.as_str(), at).await? {
        namespace = naming::namespace_with_hash(at);
    }
    let mut url = naming::preview_url(template, at, &namespace).map_err(invalid)?;
    if is_taken(connection, Column::Host, &url.host, at).await? {
        url = naming::preview_url_with_hash(template, at, &namespace).map_err(invalid)?;
    }
    let row = sqlx::query(concat!(
        "INSERT INTO environments (id, repository, number, namespace, url, host, title, author, branch, html_url,
                                        head_sha, created_at, updated_at, active_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, $12)
         ON CONFLICT (repository, number) DO UPDATE SET
             title = excluded.title, author = excluded.author, branch = excluded.branch, html_url = excluded.html_url,
             head_sha = excluded.head_sha, updated_at = excluded.updated_at
         RETURNING ",
        columns!()
    ))
    .bind(Uuid::now_v7())
    .bind(at.repository.to_string())
    .bind(number(at)?)
    .bind(namespace.as_str())
    .bind(&url.url)
    .bind(&url.host)
    .bind(text(&pull_request.title))
    .bind(text(&pull_request.author))
    .bind(text(&pull_request.head.branch))
    .bind(&pull_request.html_url)
    .bind(pull_request.head.sha.as_str())
    .bind(millis(now))
    .fetch_one(&mut *connection)
    .await?;
    environment(&row)
}

#[derive(Clone, Copy)]
enum Column {
    Namespace,
    Host,
}

/// Whether another pull request holds the name.
async fn is_taken(
    connection: &mut Connection,
    column: Column,
    name: &str,
    at: &PullRequestRef,
) -> Result<bool, StoreError> {
    let query = match column {
        Column::Namespace => {
            "SELECT EXISTS (SELECT 1 FROM environments WHERE namespace = $1 AND NOT (repository = $2 AND number = $3))"
        }
        Column::Host => {
            "SELECT EXISTS (SELECT 1 FROM environments WHERE host = $1 AND NOT (repository = $2 AND number = $3))"
        }
    };
    Ok(sqlx::query_scalar(query)
        .bind(name)
        .bind(at.repository.to_string())
        .bind(number(at)?)
        .fetch_one(connection)
        .await?)
}

async fn remember(
    connection: &mut Connection,
    environment: EnvironmentId,
    fact: &Fact,
    now: DateTime<Utc>,
) -> Result<((), Effects), StoreError> {
    let signed = |id: u64| i64::try_from(id).map_err(|_| StoreError::Invalid(format!("id {id} is too large")));
    let query = match fact {
        Fact::Comment(comment) => sqlx::query("UPDATE environments SET comment = $1, updated_at = $2 WHERE id = $3")
            .bind(comment.map(|CommentId(id)| signed(id)).transpose()?),
        Fact::Deployment(DeploymentId(id)) => {
            sqlx::query("UPDATE environments SET deployment = $1, updated_at = $2 WHERE id = $3").bind(signed(*id)?)
        }
        Fact::Requested(sha) => sqlx::query(
            "UPDATE environments SET head_sha = $1, refusal = NULL, failure = NULL, receipt = NULL, active_at = $2,
                                     warned_at = NULL, updated_at = $2 WHERE id = $3",
        )
        .bind(sha.as_str().to_owned()),
        Fact::Target(target) => {
            sqlx::query("UPDATE environments SET target = $1, updated_at = $2 WHERE id = $3").bind(to_json(target)?)
        }
        Fact::Live(sha) => {
            sqlx::query("UPDATE environments SET live_sha = $1, failure = NULL, updated_at = $2 WHERE id = $3")
                .bind(sha.as_str().to_owned())
        }
        Fact::Life { ttl, .. } => sqlx::query(
            "UPDATE environments SET ttl = $1, active_at = $2, warned_at = NULL, updated_at = $2 WHERE id = $3",
        )
        .bind(seconds(*ttl)),
        Fact::Used => sqlx::query(
            "UPDATE environments SET active_at = $1, warned_at = NULL, updated_at = $2 WHERE id = $3",
        )
        .bind(millis(now)),
        Fact::Asleep(true) => {
            sqlx::query("UPDATE environments SET asleep_since = $1, updated_at = $2 WHERE id = $3").bind(millis(now))
        }
        Fact::Asleep(false) => sqlx::query(
            "UPDATE environments SET asleep_since = NULL, active_at = $1, warned_at = NULL, updated_at = $2 WHERE id = $3",
        )
        .bind(millis(now)),
        Fact::Pinned(pinned) => sqlx::query(
            "UPDATE environments SET pinned = $1, warned_at = NULL, updated_at = $2 WHERE id = $3",
        )
        .bind(*pinned),
        Fact::KeptUntil(until) => sqlx::query(
            "UPDATE environments SET kept_until = $1, warned_at = NULL, updated_at = $2 WHERE id = $3",
        )
        .bind(millis(*until)),
        Fact::Warned => {
            sqlx::query("UPDATE environments SET warned_at = $1, updated_at = $2 WHERE id = $3").bind(millis(now))
        }
        Fact::Approved(approval) => {
            sqlx::query("UPDATE environments SET approval = $1, updated_at = $2 WHERE id = $3").bind(to_json(approval)?)
        }
        Fact::Said(state) => {
            sqlx::query("UPDATE environments SET said = $1, updated_at = $2 WHERE id = $3").bind(to_json(state)?)
        }
        Fact::Refused(reason) => {
            sqlx::query("UPDATE environments SET refusal = $1, updated_at = $2 WHERE id = $3").bind(text(reason))
        }
        Fact::Failed(diagnosis) => {
            sqlx::query("UPDATE environments SET failure = $1, updated_at = $2 WHERE id = $3").bind(to_json(diagnosis)?)
        }
        Fact::NotOurs(diagnosis) => sqlx::query(
            "UPDATE environments SET failure = $1, live_sha = NULL, target = NULL, asleep_since = NULL, updated_at = $2 WHERE id = $3",
        )
        .bind(to_json(diagnosis)?),
        Fact::LeftLine => sqlx::query(
            "UPDATE environments SET place_since = CASE WHEN place = $1 THEN NULL ELSE place_since END, updated_at = $2
             WHERE id = $3",
        )
        .bind("waiting"),
        Fact::Deleted(receipt) => sqlx::query(
            "UPDATE environments SET receipt = $1, live_sha = NULL, target = NULL, failure = NULL, kept_until = NULL,
                                     pinned = FALSE, asleep_since = NULL, warned_at = NULL, updated_at = $2 WHERE id = $3",
        )
        .bind(to_json(receipt)?),
    };
    let changed = query.bind(millis(now)).bind(environment.0).execute(&mut *connection).await?.rows_affected();
    if changed == 0 {
        return Err(StoreError::Invalid(format!("environment {environment} does not exist")));
    }
    if let Fact::Life { sleep_after, .. } = fact {
        sqlx::query("UPDATE environments SET sleep_after = $1 WHERE id = $2")
            .bind(sleep_after.map(seconds))
            .bind(environment.0)
            .execute(&mut *connection)
            .await?;
    }
    let effects = match fact {
        Fact::Deleted(_) | Fact::NotOurs(_) | Fact::Refused(_) | Fact::Asleep(true) => {
            places::release(connection, environment, now).await?
        }
        Fact::Failed(_) | Fact::LeftLine => places::leave_line(connection, environment, now).await?,
        _ => Effects::none(),
    };
    Ok(((), effects))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[async_trait]
impl EnvironmentQueries for Db {
    async fn list_environments(
        &self,
        visible: &Visible,
        filter: &EnvironmentFilter,
        page: &PageRequest,
    ) -> Result<Page<EnvironmentView>, StoreError> {
        let after = page.after.as_deref().map(position).transpose()?;
        let (mut at, mut id) = after.unzip();
        let limit = page.limit.clamp(1, 200) as usize;
        let sight = Sight::of(visible);
        let number = filter.number.map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        let mut items = Vec::new();
        // The state is derived, not stored: rows are read on until a page is full.
        loop {
            let rows = sqlx::query(views!(
                "WHERE ",
                visible!(),
                " AND ($4 IS NULL OR (e.updated_at, e.id) < ($4, $5)) AND ($6 IS NULL OR e.repository = $6)
                   AND ($7 IS NULL OR lower(e.title || ' ' || e.branch || ' ' || e.author || ' ' || e.namespace || ' '
                                        || e.repository) LIKE $7 ESCAPE '!')
                   AND ($8 IS NULL OR e.number = $8)
                 ORDER BY e.updated_at DESC, e.id DESC LIMIT 200"
            ))
            .bind(sight.all)
            .bind(db::texts(&sight.teams))
            .bind(&sight.repository)
            .bind(at)
            .bind(id)
            .bind(&filter.repository)
            .bind(filter.text.as_deref().map(like))
            .bind(number)
            .fetch_all(&self.readers)
            .await?;
            for row in &rows {
                (at, id) = (Some(row.try_get("updated_at")?), Some(row.try_get::<Uuid, _>("environment_id")?));
                let view = view(row)?;
                let wanted = match filter.state {
                    Some(state) => view.state == state,
                    None => filter.include_deleted || view.state != EnvironmentState::Deleted,
                };
                if !wanted {
                    continue;
                }
                if items.len() == limit {
                    let next = items.last().map(|last: &EnvironmentView| {
                        format!("{}_{}", millis(last.environment.updated_at), last.environment.id.0.simple())
                    });
                    return Ok(Page { items, next });
                }
                items.push(view);
            }
            if rows.len() < 200 {
                return Ok(Page { items, next: None });
            }
        }
    }

    async fn find_environment(
        &self,
        visible: &Visible,
        id: EnvironmentId,
    ) -> Result<Option<EnvironmentView>, StoreError> {
        let sight = Sight::of(visible);
        let row = sqlx::query(views!("WHERE ", visible!(), " AND e.id = $4"))
            .bind(sight.all)
            .bind(db::texts(&sight.teams))
            .bind(sight.repository)
            .bind(id.0)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(view).transpose()
    }

    async fn find_environment_of(
        &self,
        visible: &Visible,
        at: &PullRequestRef,
    ) -> Result<Option<EnvironmentView>, StoreError> {
        let sight = Sight::of(visible);
        let row = sqlx::query(views!("WHERE ", visible!(), " AND e.repository = $4 AND e.number = $5"))
            .bind(sight.all)
            .bind(db::texts(&sight.teams))
            .bind(sight.repository)
            .bind(at.repository.to_string())
            .bind(number(at)?)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(view).transpose()
    }

    async fn find_environment_by_namespace(
        &self,
        visible: &Visible,
        namespace: &Namespace,
    ) -> Result<Option<EnvironmentView>, StoreError> {
        let sight = Sight::of(visible);
        let row = sqlx::query(views!("WHERE ", visible!(), " AND e.namespace = $4"))
            .bind(sight.all)
            .bind(db::texts(&sight.teams))
            .bind(sight.repository)
            .bind(namespace.as_str())
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(view).transpose()
    }

    async fn find_environment_by_host(&self, host: &str) -> Result<Option<EnvironmentView>, StoreError> {
        let row = sqlx::query(views!("WHERE e.host = $1"))
            .bind(host.to_ascii_lowercase())
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(view).transpose()
    }

    async fn find_snapshot(&self, environment: EnvironmentId) -> Result<Option<(RunId, FailureSnapshot)>, StoreError> {
        let row =
            sqlx::query("SELECT run, content FROM snapshots WHERE environment = $1 ORDER BY taken_at DESC LIMIT 1")
                .bind(environment.0)
                .fetch_optional(&self.readers)
                .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some((RunId(row.try_get("run")?), json(row.try_get("content")?)?)))
    }
}

impl Db {
    pub(super) async fn count_environments(&self) -> Result<Vec<(EnvironmentState, u64)>, StoreError> {
        let rows = sqlx::query(views!("")).fetch_all(&self.readers).await?;
        let mut counts: Vec<_> = EnvironmentState::ALL.into_iter().map(|state| (state, 0)).collect();
        for row in &rows {
            let state = view(row)?.state;
            if let Some(count) = counts.iter_mut().find(|(known, _)| *known == state) {
                count.1 += 1;
            }
        }
        Ok(counts)
    }
}

fn number(at: &PullRequestRef) -> Result<i64, StoreError> {
    i64::try_from(at.number)
        .map_err(|_| StoreError::Invalid(format!("{at} is not a pull request: the number is too large")))
}

/// A cursor of [`Store::list_environments`]: the last row's `updated_at` and id.
fn position(text: &str) -> Result<(i64, Uuid), StoreError> {
    text.split_once('_').and_then(|(at, id)| Some((at.parse().ok()?, Uuid::parse_str(id).ok()?))).ok_or_else(|| {
        StoreError::Invalid(format!("{text:?} is not a page's cursor: take it from `next` of the page before"))
    })
}

fn environment(row: &Row) -> Result<Environment, StoreError> {
    read_environment(row, "id", "failure", "created_at")
}

fn view(row: &Row) -> Result<EnvironmentView, StoreError> {
    let environment = read_environment(row, "environment_id", "diagnosis", "made_at")?;
    let newest_run = match row.try_get::<Option<i64>, _>("seq")? {
        Some(_) => Some(summary(row)?),
        None => None,
    };
    let newest = newest_run.as_ref().map(|run| {
        let direction = Direction::of_workflow(&run.workflow).unwrap_or(Direction::Up);
        let phase = match run.state {
            RunState::Queued => RunPhase::Queued,
            RunState::Running | RunState::Waiting => RunPhase::Active,
            RunState::Succeeded => RunPhase::Succeeded,
            RunState::Failed => RunPhase::Failed,
            RunState::Cancelled => RunPhase::Cancelled,
        };
        (direction, phase)
    });
    let state = derive_state(newest, &environment);
    Ok(EnvironmentView { environment, state, newest_run })
}

fn read_environment(row: &Row, id: &str, failure: &str, created_at: &str) -> Result<Environment, StoreError> {
    let live_sha: Option<String> = row.try_get("live_sha")?;
    Ok(Environment {
        id: EnvironmentId(row.try_get(id)?),
        at: PullRequestRef { repository: parsed(row, "repository")?, number: unsigned(row, "number")? },
        namespace: parsed(row, "namespace")?,
        url: row.try_get("url")?,
        host: row.try_get("host")?,
        title: row.try_get("title")?,
        author: row.try_get("author")?,
        branch: row.try_get("branch")?,
        html_url: row.try_get("html_url")?,
        head_sha: parsed(row, "head_sha")?,
        live_sha: live_sha
            .map(|sha| sha.parse::<HeadSha>().map_err(|e| StoreError::Invalid(format!("column live_sha: {e}"))))
            .transpose()?,
        target: optional_json(row, "target")?,
        comment: row.try_get::<Option<i64>, _>("comment")?.map(|id| CommentId(id.unsigned_abs())),
        deployment: row.try_get::<Option<i64>, _>("deployment")?.map(|id| DeploymentId(id.unsigned_abs())),
        refusal: row.try_get("refusal")?,
        failure: optional_json(row, failure)?,
        receipt: optional_json(row, "receipt")?,
        life: Life {
            active_at: time(row, "active_at")?,
            ttl: Duration::from_secs(unsigned(row, "ttl")?),
            sleep_after: row.try_get::<Option<i64>, _>("sleep_after")?.map(|s| Duration::from_secs(s.unsigned_abs())),
            kept_until: optional_time(row, "kept_until")?,
            pinned: row.try_get("pinned")?,
            asleep_since: optional_time(row, "asleep_since")?,
            warned_at: optional_time(row, "warned_at")?,
        },
        approval: optional_json(row, "approval")?,
        has_place: row.try_get::<Option<&str>, _>("place")? == Some("taken"),
        waits_for_place: row.try_get::<Option<&str>, _>("place")? == Some("waiting"),
        // Only a hint: what another version of the program said is not needed to go on.
        said: optional_json(row, "said").unwrap_or_default(),
        created_at: time(row, created_at)?,
        updated_at: time(row, "updated_at")?,
    })
}
