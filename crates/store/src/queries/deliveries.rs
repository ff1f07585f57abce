//! Webhook deliveries: kept before they are answered, together with what they start.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use seatrial_engine::{JournalError, NewRun, NewSignal, OnConflict, RunId};
use seatrial_preview::access::Visible;
use seatrial_preview::naming::UrlTemplate;
use seatrial_preview::ports::{ARRIVED, ROOM};
use seatrial_preview::pull_request::PullRequest;
use seatrial_preview::{DeliveryId, HeadSha, PullRequestRef, RepositoryName};
use sqlx::Row as _;
use uuid::Uuid;

use super::db::{self, Connection, Row};
use super::open::Db;
use super::rows::{millis, parsed, text, time, unsigned};
use super::visible::{Sight, repository_visible};
use super::{environments, signals, start};
use crate::database::{Accepted, DeliveryQueries, Meaning, NewDelivery};
use crate::effects::Effects;
use crate::error::StoreError;
use crate::views::{DeliveryFilter, DeliveryView, Page, PageRequest};

#[async_trait]
impl DeliveryQueries for Db {
    async fn accept_delivery(&self, delivery: NewDelivery) -> Result<Accepted, StoreError> {
        if let Meaning::Ignored(reason) = &delivery.meaning {
            let reason = reason.clone();
            return self.keep_ignored(delivery, reason).await;
        }
        let given = (delivery, self.preview_url.clone(), self.clock.now());
        let accepted = self.writer.write(given, |c, (delivery, template, now)| {
            Box::pin(async move { accept(c, &delivery, &template, now).await })
        });
        accepted.await
    }

    async fn list_deliveries(
        &self,
        visible: &Visible,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Page<DeliveryView>, StoreError> {
        let (sight, limit) = (Sight::of(visible), page.limit.clamp(1, 200) as usize);
        let rows = sqlx::query(concat!(
            "SELECT id, event, action, repository, number, run, ignored, repeats, received_at FROM deliveries d
             WHERE ($1 IS NULL OR (d.received_at, d.id) < (SELECT received_at, id FROM deliveries WHERE id = $1))
               AND ($3 IS NULL OR d.event = $3) AND ($4 IS NULL OR d.repository = $4)
               AND ($5 IS NULL OR (d.run IS NOT NULL) = $5) AND ",
            repository_visible!("d.repository", "$6", "$7", "$8"),
            " ORDER BY d.received_at DESC, d.id DESC LIMIT $2"
        ))
        .bind(&page.after)
        .bind(limit as i64 + 1)
        .bind(&filter.event)
        .bind(&filter.repository)
        .bind(filter.started)
        .bind(sight.all)
        .bind(db::texts(&sight.teams))
        .bind(sight.repository)
        .fetch_all(&self.readers)
        .await?;
        let items = rows.iter().take(limit).map(read).collect::<Result<Vec<_>, _>>()?;
        let next = if rows.len() > limit { items.last().map(|last| last.id.0.clone()) } else { None };
        Ok(Page { items, next })
    }

    async fn find_delivery(
        &self,
        visible: &Visible,
        id: &DeliveryId,
    ) -> Result<Option<(DeliveryView, Vec<u8>)>, StoreError> {
        let sight = Sight::of(visible);
        let row = sqlx::query(concat!(
            "SELECT id, event, action, repository, number, run, ignored, repeats, received_at, payload FROM deliveries d
             WHERE d.id = $1 AND ",
            repository_visible!("d.repository", "$2", "$3", "$4")
        ))
        .bind(&id.0)
        .bind(sight.all)
        .bind(db::texts(&sight.teams))
        .bind(sight.repository)
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(|row| Ok((read(row)?, row.try_get("payload")?))).transpose()
    }
}

impl Db {
    /// Most deliveries start nothing: one statement keeps them.
    async fn keep_ignored(&self, delivery: NewDelivery, reason: String) -> Result<Accepted, StoreError> {
        let id = delivery.id.clone();
        let given = (delivery, reason.clone(), self.clock.now());
        let fresh = self.writer.write_statement(given, |c, (delivery, reason, now)| {
            Box::pin(async move { Ok((insert(c, &delivery, Some(&reason), now).await?, Effects::none())) })
        });
        if fresh.await? {
            return Ok(Accepted { fresh: true, run: None, ignored: Some(reason) });
        }
        find_accepted(&mut *self.readers.acquire().await?, &id).await
    }
}

fn read(row: &Row) -> Result<DeliveryView, StoreError> {
    let at = match row.try_get::<Option<&str>, _>("repository")? {
        Some(_) if row.try_get::<Option<i64>, _>("number")?.is_some() => {
            Some(PullRequestRef { repository: parsed(row, "repository")?, number: unsigned(row, "number")? })
        }
        _ => None,
    };
    Ok(DeliveryView {
        id: DeliveryId(row.try_get("id")?),
        event: row.try_get("event")?,
        action: row.try_get("action")?,
        at,
        run: row.try_get::<Option<Uuid>, _>("run")?.map(RunId),
        ignored: row.try_get("ignored")?,
        repeats: row.try_get::<Option<String>, _>("repeats")?.map(DeliveryId),
        received_at: time(row, "received_at")?,
    })
}

async fn accept(
    connection: &mut Connection,
    delivery: &NewDelivery,
    template: &UrlTemplate,
    now: DateTime<Utc>,
) -> Result<(Accepted, Effects), StoreError> {
    // First, so that one that comes twice at the same time waits here and then finds the other.
    if !insert(connection, delivery, None, now).await? {
        return Ok((find_accepted(connection, &delivery.id).await?, Effects::none()));
    }
    let (mut run, mut ignored, mut effects) = (None, None, Effects::none());
    match &delivery.meaning {
        Meaning::Ignored(reason) => ignored = Some(reason.clone()),
        Meaning::Start { pull_request, run: new_run, unless_idle: Some(reason) }
            if is_idle(connection, pull_request, new_run).await? =>
        {
            ignored = Some(reason.clone());
        }
        Meaning::Start { pull_request, run: new_run, .. } => {
            environments::ensure(connection, pull_request, template, now).await?;
            let mut new_run = new_run.clone();
            if new_run.on_conflict == OnConflict::Queue && only_waits(connection, &new_run).await? {
                new_run.on_conflict = OnConflict::Supersede;
            }
            let (started, told) = start::start(connection, &new_run, now).await?;
            (run, effects) = (Some(started.id), told);
        }
        Meaning::Command(new_run) => {
            let (started, told) = start::start(connection, new_run, now).await?;
            (run, effects) = (Some(started.id), told);
        }
        Meaning::Arrived { repository, sha } => {
            effects = tell_waiting(connection, repository, sha.as_ref(), now).await?;
        }
        Meaning::Renamed { from, to } => rename(connection, from, to).await?,
    }
    if run.is_some() || ignored.is_some() {
        sqlx::query("UPDATE deliveries SET run = $2, ignored = $3 WHERE id = $1")
            .bind(&delivery.id.0)
            .bind(run.map(|run| run.0))
            .bind(&ignored)
            .execute(&mut *connection)
            .await?;
    }
    Ok((Accepted { fresh: true, run, ignored }, effects))
}

/// What became of a delivery that was stored before.
async fn find_accepted(connection: &mut Connection, id: &DeliveryId) -> Result<Accepted, StoreError> {
    let row =
        sqlx::query("SELECT run, ignored FROM deliveries WHERE id = $1").bind(&id.0).fetch_one(connection).await?;
    let run = row.try_get::<Option<Uuid>, _>("run")?.map(RunId);
    Ok(Accepted { fresh: false, run, ignored: row.try_get("ignored")? })
}

/// False when it was there already.
async fn insert(
    connection: &mut Connection,
    delivery: &NewDelivery,
    ignored: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let number = delivery.at.as_ref().map(|at| i64::try_from(at.number)).transpose();
    let inserted = sqlx::query(
        "INSERT INTO deliveries (id, event, action, repository, number, ignored, payload, received_at, repeats)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT DO NOTHING",
    )
    .bind(&delivery.id.0)
    .bind(text(&delivery.event))
    .bind(delivery.action.as_deref().map(text))
    .bind(delivery.at.as_ref().map(|at| at.repository.to_string()))
    .bind(number.map_err(|_| StoreError::Invalid("the pull request's number is too large".to_owned()))?)
    .bind(ignored)
    .bind(&delivery.payload)
    .bind(millis(now))
    .bind(delivery.repeats.as_ref().map(|id| &id.0))
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() > 0)
}

/// Looked at in the transaction, with the key locked, so that an event that is being stored now is
/// seen.
async fn is_idle(
    connection: &mut Connection,
    pull_request: &PullRequest,
    new_run: &NewRun,
) -> Result<bool, StoreError> {
    if let Some(key) = &new_run.key {
        db::lock_key(connection, key).await?;
    }
    let idle: bool = sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT 1 FROM environments WHERE repository = $1 AND number = $2 AND receipt IS NULL)
            AND NOT EXISTS (SELECT 1 FROM runs WHERE key = $3 AND state IN ('queued', 'running', 'waiting'))",
    )
    .bind(pull_request.at.repository.to_string())
    .bind(i64::try_from(pull_request.at.number).unwrap_or(i64::MAX))
    .bind(&new_run.key)
    .fetch_one(connection)
    .await?;
    Ok(idle)
}

/// What has the key waits for an image, a check or a place: nothing is begun that would have to be
/// let finish, and it may be hours until it goes on.
async fn only_waits(connection: &mut Connection, new_run: &NewRun) -> Result<bool, StoreError> {
    let Some(key) = &new_run.key else { return Ok(false) };
    db::lock_key(connection, key).await?;
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM runs WHERE key = $1 AND state = 'waiting' AND awaits_signal
                                             AND (open LIKE $2 OR open LIKE $3))",
    )
    .bind(key)
    .bind(format!("%\"{ARRIVED}\"%"))
    .bind(format!("%\"{ROOM}\"%"))
    .fetch_one(connection)
    .await?)
}

/// Tells the deployments that wait for an image or a check to look again.
async fn tell_waiting(
    connection: &mut Connection,
    repository: &RepositoryName,
    sha: Option<&HeadSha>,
    now: DateTime<Utc>,
) -> Result<Effects, StoreError> {
    // Who waits for something else is not woken: its open steps do not name the signal.
    let waiting: Vec<Uuid> = sqlx::query_scalar(
        "SELECT r.id FROM environments e JOIN runs r ON r.key = e.repository || '#' || e.number
         WHERE e.repository = $1 AND ($2 IS NULL OR e.head_sha = $2) AND r.state = 'waiting' AND r.awaits_signal
           AND r.open LIKE $3",
    )
    .bind(repository.to_string())
    .bind(sha.map(HeadSha::as_str))
    .bind(format!("%\"{ARRIVED}\"%"))
    .fetch_all(&mut *connection)
    .await?;
    let mut effects = Effects::none();
    for run in waiting {
        let arrived = NewSignal { name: ARRIVED.to_owned(), payload: serde_json::Value::Null, deduplication: None };
        match signals::signal(connection, RunId(run), &arrived, now).await {
            Ok(((), told)) => effects = effects.and(told),
            // It ends at this very moment.
            Err(StoreError::Journal(JournalError::Illegal(_) | JournalError::NotFound(_))) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(effects)
}

/// The pull requests keep their numbers, their environments and what runs for them.
async fn rename(connection: &mut Connection, from: &RepositoryName, to: &RepositoryName) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE environments SET repository = $2 WHERE repository = $1 AND NOT EXISTS (
             SELECT 1 FROM environments o WHERE o.repository = $2 AND o.number = environments.number)",
    )
    .bind(from.to_string())
    .bind(to.to_string())
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE projects SET repository = $2 WHERE repository = $1
           AND NOT EXISTS (SELECT 1 FROM projects o WHERE o.repository = $2)",
    )
    .bind(from.to_string())
    .bind(to.to_string())
    .execute(&mut *connection)
    .await?;
    // So that its team sees what happened before, too.
    for query in [
        "UPDATE deliveries SET repository = $2 WHERE repository = $1",
        "UPDATE audit SET repository = $2 WHERE repository = $1",
    ] {
        sqlx::query(query).bind(from.to_string()).bind(to.to_string()).execute(&mut *connection).await?;
    }
    // A name in GitHub's alphabet has one character that LIKE knows.
    let keys = format!("{}#%", from.to_string().replace('_', "!_"));
    sqlx::query("UPDATE runs SET key = $2 || substr(key, length($1) + 1) WHERE key LIKE $3 ESCAPE '!'")
        .bind(from.to_string())
        .bind(to.to_string())
        .bind(keys)
        .execute(connection)
        .await?;
    Ok(())
}
