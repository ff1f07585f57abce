//! Runs and their journals, as pages and programs read them.

use seatrial_engine::{RunId, RunState};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::open::Store;
use super::rows::{json, optional_json, optional_time, time, unsigned};
use crate::error::StoreError;
use crate::views::{
    AttemptOutcome, AttemptView, Counts, Page, PageRequest, RunDetail, RunFilter, RunSummary, StepPhase, StepView,
};

/// The columns of a [`RunSummary`], for queries over `runs r`.
macro_rules! summary_columns {
    () => {
        "r.seq, r.id, r.workflow, r.version, r.state, r.key, r.created_at, r.started_at, r.finished_at, r.worker,
         r.epoch, r.wake_at, r.wait_reason, r.cancel_reason, r.failure,
         (SELECT iif(s.scope = '', s.name, s.scope || '/' || s.name) FROM steps s
          WHERE s.run = r.seq AND s.status IN ('running', 'retrying', 'failed') ORDER BY s.position LIMIT 1) AS current_step"
    };
}
pub(super) use summary_columns;

impl Store {
    /// Runs, the newest first.
    ///
    /// # Errors
    /// `Invalid` when the page's cursor is not one of ours.
    pub async fn list_runs(&self, filter: &RunFilter, page: &PageRequest) -> Result<Page<RunSummary>, StoreError> {
        let before = page.after.as_deref().map(cursor).transpose()?;
        let limit = page.limit.clamp(1, 200);
        let rows = sqlx::query(concat!(
            "SELECT ",
            summary_columns!(),
            " FROM runs r
             WHERE (?1 IS NULL OR r.seq < ?1) AND (?2 IS NULL OR r.state = ?2) AND (?3 IS NULL OR r.workflow = ?3)
               AND (?4 IS NULL OR r.key = ?4)
               AND (?5 IS NULL OR instr(lower(coalesce(r.key, '')), ?5) OR instr(lower(r.workflow), ?5)
                    OR instr(lower(coalesce(r.failure, '')), ?5))
             ORDER BY r.seq DESC LIMIT ?6"
        ))
        .bind(before)
        .bind(filter.state.map(RunState::as_str))
        .bind(&filter.workflow)
        .bind(&filter.key)
        .bind(filter.text.as_deref().map(str::to_lowercase))
        .bind(i64::from(limit) + 1)
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

    /// A run with its steps and their attempts.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn find_run(&self, run: RunId) -> Result<Option<RunDetail>, StoreError> {
        // One transaction, so that the steps belong to the state that is shown.
        let mut reading = self.readers.begin().await?;
        let row = sqlx::query(concat!("SELECT r.input, r.output, ", summary_columns!(), " FROM runs r WHERE r.id = ?"))
            .bind(run.0)
            .fetch_optional(&mut *reading)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let seq: i64 = row.try_get("seq")?;
        let steps = sqlx::query(
            "SELECT scope, name, occurrence, status, started_at, finished_at, retry_at, output, failure FROM steps
             WHERE run = ? ORDER BY position",
        )
        .bind(seq)
        .fetch_all(&mut *reading)
        .await?;
        let mut steps = steps.iter().map(step).collect::<Result<Vec<_>, _>>()?;
        let attempts = sqlx::query(
            "SELECT scope, name, occurrence, attempt, started_at, finished_at, outcome, failure FROM attempts
             WHERE run = ? ORDER BY scope, name, occurrence, attempt",
        )
        .bind(seq)
        .fetch_all(&mut *reading)
        .await?;
        for row in &attempts {
            let (scope, name): (&str, &str) = (row.try_get("scope")?, row.try_get("name")?);
            let occurrence: u32 = unsigned(row, "occurrence")?;
            let owner = steps.iter_mut().find(|s| s.scope == scope && s.name == name && s.occurrence == occurrence);
            // Attempts of a step that a retry left out have no step any more.
            if let Some(step) = owner {
                step.attempts.push(attempt(row)?);
            }
        }
        Ok(Some(RunDetail {
            summary: summary(&row)?,
            input: json(row.try_get("input")?)?,
            output: optional_json(&row, "output")?,
            steps,
        }))
    }

    /// How many runs and environments there are in each state.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
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

pub(super) fn cursor(text: &str) -> Result<i64, StoreError> {
    text.parse().map_err(|_| {
        StoreError::Invalid(format!("{text:?} is not a page's cursor: take it from `next` of the page before"))
    })
}

fn run_state(row: &SqliteRow) -> Result<RunState, StoreError> {
    let text: &str = row.try_get("state")?;
    RunState::parse(text).ok_or_else(|| StoreError::Invalid(format!("{text:?} is not a run's state")))
}

pub(super) fn summary(row: &SqliteRow) -> Result<RunSummary, StoreError> {
    Ok(RunSummary {
        id: RunId(row.try_get::<Uuid, _>("id")?),
        workflow: row.try_get("workflow")?,
        version: unsigned(row, "version")?,
        state: run_state(row)?,
        key: row.try_get("key")?,
        created_at: time(row, "created_at")?,
        started_at: optional_time(row, "started_at")?,
        finished_at: optional_time(row, "finished_at")?,
        worker: row.try_get("worker")?,
        epoch: row.try_get("epoch")?,
        wake_at: optional_time(row, "wake_at")?,
        wait_reason: row.try_get("wait_reason")?,
        cancel_reason: row.try_get("cancel_reason")?,
        failure: optional_json(row, "failure")?,
        current_step: row.try_get("current_step")?,
    })
}

fn step(row: &SqliteRow) -> Result<StepView, StoreError> {
    let status: &str = row.try_get("status")?;
    Ok(StepView {
        scope: row.try_get("scope")?,
        name: row.try_get("name")?,
        occurrence: unsigned(row, "occurrence")?,
        status: match status {
            "pending" => StepPhase::Pending,
            "running" => StepPhase::Running,
            "retrying" => StepPhase::Retrying,
            "succeeded" => StepPhase::Succeeded,
            "failed" => StepPhase::Failed,
            other => return Err(StoreError::Invalid(format!("{other:?} is not a step's status"))),
        },
        started_at: time(row, "started_at")?,
        finished_at: optional_time(row, "finished_at")?,
        retry_at: optional_time(row, "retry_at")?,
        output: optional_json(row, "output")?,
        failure: optional_json(row, "failure")?,
        attempts: Vec::new(),
    })
}

fn attempt(row: &SqliteRow) -> Result<AttemptView, StoreError> {
    let outcome: Option<&str> = row.try_get("outcome")?;
    Ok(AttemptView {
        attempt: unsigned(row, "attempt")?,
        started_at: time(row, "started_at")?,
        finished_at: optional_time(row, "finished_at")?,
        outcome: match outcome {
            None => None,
            Some("succeeded") => Some(AttemptOutcome::Succeeded),
            Some("failed") => Some(AttemptOutcome::Failed),
            Some("cancelled") => Some(AttemptOutcome::Cancelled),
            Some("interrupted") => Some(AttemptOutcome::Interrupted),
            Some(other) => return Err(StoreError::Invalid(format!("{other:?} is not an attempt's outcome"))),
        },
        failure: optional_json(row, "failure")?,
    })
}
