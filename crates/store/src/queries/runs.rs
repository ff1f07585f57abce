//! Runs and their journals, as pages and programs read them.

use async_trait::async_trait;
use seatrial_engine::history::{KeptAttempt, views};
use seatrial_engine::{Failure, OpenStep, RunDetail, RunId, RunState, RunSummary};
use seatrial_preview::access::Visible;
use sqlx::Row as _;
use uuid::Uuid;

use super::db::{self, Row};
use super::open::Db;
use super::rows::{json, kept_attempt, like, optional_json, optional_time, run_state, time, unsigned};
use super::visible::{Sight, key_visible, run_visible};
use crate::database::{Database, RunQueries};
use crate::error::StoreError;
use crate::views::{Counts, Page, PageRequest, RunFilter};

/// The columns of a [`RunSummary`], for queries over `runs r`. The present step is the one that is
/// in progress, else the last one that failed.
macro_rules! summary_columns {
    () => {
        "r.seq, r.id, r.workflow, r.version, r.state, r.key, r.limit_group, r.parent, r.forked_from, r.created_at,
         r.started_at, r.finished_at, r.worker, r.epoch, r.lease_until, r.wake_at, r.wait_reason, r.cancel_reason,
         r.failure, r.open,
         (SELECT CASE WHEN a.scope = '' THEN a.name ELSE a.scope || '/' || a.name END FROM attempts a
          WHERE a.run = r.seq AND a.outcome = 'failed' AND NOT a.discarded AND r.state IN ('running', 'waiting', 'failed')
            AND NOT EXISTS (SELECT 1 FROM attempts l WHERE l.run = a.run AND l.scope = a.scope AND l.name = a.name
                                                       AND l.occurrence = a.occurrence AND l.attempt > a.attempt)
          ORDER BY a.position LIMIT 1) AS failed_step"
    };
}
pub(super) use summary_columns;

#[async_trait]
impl RunQueries for Db {
    async fn list_runs(
        &self,
        visible: &Visible,
        filter: &RunFilter,
        page: &PageRequest,
    ) -> Result<Page<RunSummary>, StoreError> {
        let sight = Sight::of(visible);
        let before = page.after.as_deref().map(cursor).transpose()?;
        let limit = page.limit.clamp(1, 200);
        // The state is written out, so that the index of that state can be used.
        let state = filter.state.map_or_else(String::new, |state| format!("AND r.state = '{}'", state.as_str()));
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {columns} FROM runs r
             WHERE ($1 IS NULL OR r.seq < $1) AND ($2 IS NULL OR r.workflow = $2) AND ($3 IS NULL OR r.key = $3)
               AND ($4 IS NULL OR lower(coalesce(r.key, '')) LIKE $4 ESCAPE '!' OR lower(r.workflow) LIKE $4 ESCAPE '!'
                    OR lower(coalesce(r.failure, '')) LIKE $4 ESCAPE '!')
               AND ($5 IS NULL OR r.created_at >= $5) AND ($6 IS NULL OR r.created_at < $6)
               AND {visible} {state}
             ORDER BY r.seq DESC LIMIT $7",
            columns = summary_columns!(),
            visible = run_visible!("$8", "$9", "$10")
        )))
        .bind(before)
        .bind(&filter.workflow)
        .bind(&filter.key)
        .bind(filter.text.as_deref().map(like))
        .bind(filter.since.map(super::rows::millis))
        .bind(filter.until.map(super::rows::millis))
        .bind(i64::from(limit) + 1)
        .bind(sight.all)
        .bind(db::texts(&sight.teams))
        .bind(sight.repository)
        .fetch_all(&self.readers)
        .await?;
        let more = rows.len() > limit as usize;
        let rows = &rows[..rows.len().min(limit as usize)];
        let next = match rows.last() {
            Some(last) if more => Some(last.try_get::<i64, _>("seq")?.to_string()),
            _ => None,
        };
        Ok(Page { items: rows.iter().map(summary).collect::<Result<_, _>>()?, next })
    }

    async fn find_visible_run(&self, visible: &Visible, run: RunId) -> Result<Option<RunDetail>, StoreError> {
        let sight = Sight::of(visible);
        let seen: Option<bool> =
            sqlx::query_scalar(concat!("SELECT ", run_visible!("$2", "$3", "$4"), " FROM runs r WHERE r.id = $1"))
                .bind(run.0)
                .bind(sight.all)
                .bind(db::texts(&sight.teams))
                .bind(sight.repository)
                .fetch_optional(&self.readers)
                .await?
                .flatten();
        if seen == Some(true) { self.read_run(run).await } else { Ok(None) }
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        let rows = sqlx::query("SELECT state, count(*) AS n FROM runs GROUP BY state").fetch_all(&self.readers).await?;
        let mut runs: Vec<_> = RunState::ALL.into_iter().map(|state| (state, 0)).collect();
        for row in &rows {
            let (state, n) = (run_state(row)?, unsigned(row, "n")?);
            if let Some(count) = runs.iter_mut().find(|(known, _)| *known == state) {
                count.1 = n;
            }
        }
        Ok(Counts { runs, environments: self.count_environments().await? })
    }
}

impl Db {
    pub(super) async fn read_run(&self, run: RunId) -> Result<Option<RunDetail>, StoreError> {
        // One statement, so that the steps belong to the state that is shown.
        let rows = sqlx::query(concat!(
            "SELECT r.input, r.output AS run_output, a.run, a.scope, a.name, a.occurrence, a.attempt, a.position,
                    a.started_at AS began_at, a.finished_at AS ended_at, a.outcome, a.output, a.failure AS why, a.retry_at,
                    a.discarded, ",
            summary_columns!(),
            " FROM runs r LEFT JOIN attempts a ON a.run = r.seq WHERE r.id = $1"
        ))
        .bind(run.0)
        .fetch_all(&self.readers)
        .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut attempts: Vec<KeptAttempt> = Vec::new();
        for row in &rows {
            if row.try_get::<Option<i64>, _>("run")?.is_some() {
                attempts.push(kept_attempt(row)?);
            }
        }
        let summary = summary(row)?;
        let open: Vec<OpenStep> = json(row.try_get("open")?).unwrap_or_default();
        let steps = views(attempts, open, summary.state.is_final());
        Ok(Some(RunDetail {
            summary,
            input: json(row.try_get("input")?)?,
            output: optional_json(row, "run_output")?,
            steps,
        }))
    }
}

pub(super) fn cursor(text: &str) -> Result<i64, StoreError> {
    text.parse().map_err(|_| {
        StoreError::Invalid(format!("{text:?} is not a page's cursor: take it from `next` of the page before"))
    })
}

pub(super) fn summary(row: &Row) -> Result<RunSummary, StoreError> {
    // One run that this program cannot read does not keep all others from being shown.
    let open: Vec<OpenStep> = json(row.try_get("open")?).unwrap_or_default();
    let failure = optional_json(row, "failure")
        .unwrap_or_else(|e| Some(Failure::permanent(format!("why the run failed cannot be shown: {e}"))));
    let state = run_state(row)?;
    let in_progress = open.iter().rev().max_by_key(|open| open.wait.is_none()).map(|open| open.key.to_string());
    Ok(RunSummary {
        id: RunId(row.try_get::<Uuid, _>("id")?),
        workflow: row.try_get("workflow")?,
        version: unsigned(row, "version")?,
        state,
        key: row.try_get("key")?,
        group: row.try_get("limit_group")?,
        parent: row.try_get::<Option<Uuid>, _>("parent")?.map(RunId),
        forked_from: row.try_get::<Option<Uuid>, _>("forked_from")?.map(RunId),
        created_at: time(row, "created_at")?,
        started_at: optional_time(row, "started_at")?,
        finished_at: optional_time(row, "finished_at")?,
        worker: row.try_get("worker")?,
        epoch: row.try_get("epoch")?,
        lease_until: optional_time(row, "lease_until")?,
        wake_at: optional_time(row, "wake_at")?,
        wait_reason: row.try_get("wait_reason")?,
        cancel_reason: row.try_get("cancel_reason")?,
        failure,
        current_step: in_progress.or(row.try_get("failed_step")?),
    })
}

#[async_trait]
impl Database for Db {
    async fn ping(&self) -> Result<(), StoreError> {
        self.answers().await
    }
}
