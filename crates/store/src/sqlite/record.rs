//! Writing a run's steps and transitions under its lease.

use seatrial_engine::{Entry, FailureKind, JournalError, RunEvent, RunState, StepChange, Transition};
use sqlx::{Row, SqliteConnection};

use super::rows::{millis, to_json};
use super::writer::Effects;
use crate::error::StoreError;

/// The fence check, the lease renewal and the transition are this one statement.
const MOVE: &str = "
    UPDATE runs SET state = ?1, lease_until = ?2, wake_at = ?3, wait_reason = ?4, output = ?5, failure = ?6,
                    cancel_reason = coalesce(?7, cancel_reason), finished_at = ?8
    WHERE id = ?9 AND epoch = ?10 AND state = 'running'
    RETURNING seq, key";

pub(super) async fn record(connection: &mut SqliteConnection, entry: &Entry) -> Result<((), Effects), StoreError> {
    let at = millis(entry.at);
    let mut next = Move { state: RunState::Running, lease_until: Some(millis(entry.lease_until)), ..Move::default() };
    match &entry.transition {
        None => {}
        Some(Transition::Park { wake_at, reason }) => {
            next.state = RunState::Waiting;
            next.lease_until = None;
            next.wake_at = Some(millis(*wake_at));
            next.wait_reason = Some(reason.clone());
        }
        Some(Transition::Succeeded(output)) => {
            next.end(RunState::Succeeded, at);
            next.output = Some(to_json(output)?);
        }
        Some(Transition::Failed(failure)) => {
            next.end(RunState::Failed, at);
            next.failure = Some(to_json(failure)?);
        }
        Some(Transition::Cancelled(reason)) => {
            next.end(RunState::Cancelled, at);
            next.cancel_reason = Some(reason.clone());
        }
    }
    let row = sqlx::query(MOVE)
        .bind(next.state.as_str())
        .bind(next.lease_until)
        .bind(next.wake_at)
        .bind(&next.wait_reason)
        .bind(&next.output)
        .bind(&next.failure)
        .bind(&next.cancel_reason)
        .bind(next.finished_at)
        .bind(entry.run.0)
        .bind(entry.epoch.0)
        .fetch_optional(&mut *connection)
        .await?
        .ok_or(JournalError::Fenced { run: entry.run, epoch: entry.epoch })?;
    let seq: i64 = row.try_get("seq")?;
    let key: Option<String> = row.try_get("key")?;
    for change in &entry.steps {
        write_step(connection, seq, change).await?;
    }
    let mut effects = Effects::none();
    if next.state.is_final() {
        // Reset by a retry and not reached again: they are not part of how the run ended.
        sqlx::query("DELETE FROM steps WHERE run = ? AND status = 'pending'")
            .bind(seq)
            .execute(&mut *connection)
            .await?;
    }
    if entry.transition.is_some() {
        effects = Effects::event(RunEvent::State { run: entry.run, key, state: next.state });
        // The next run of the key may begin; a run parked until now may go on.
        effects.ring = true;
    } else if entry.steps.iter().any(|change| !matches!(change, StepChange::Began { .. })) {
        let last = entry.steps.last().map(|change| change.key().to_string()).unwrap_or_default();
        effects = Effects::event(RunEvent::Step { run: entry.run, key, step: last });
    }
    Ok(((), effects))
}

#[derive(Default)]
struct Move {
    state: RunState,
    lease_until: Option<i64>,
    wake_at: Option<i64>,
    wait_reason: Option<String>,
    output: Option<String>,
    failure: Option<String>,
    cancel_reason: Option<String>,
    finished_at: Option<i64>,
}

impl Move {
    fn end(&mut self, state: RunState, at: i64) {
        self.state = state;
        self.lease_until = None;
        self.finished_at = Some(at);
    }
}

async fn write_step(connection: &mut SqliteConnection, run: i64, change: &StepChange) -> Result<(), StoreError> {
    let key = change.key();
    match change {
        StepChange::Began { position, attempt, at, .. } => {
            sqlx::query(
                "INSERT INTO steps (run, scope, name, occurrence, position, status, attempts, started_at)
                 VALUES (?, ?, ?, ?, ?, 'running', ?, ?)
                 ON CONFLICT (run, scope, name, occurrence) DO UPDATE SET
                     position = excluded.position, status = 'running', attempts = excluded.attempts, retry_at = NULL,
                     finished_at = NULL",
            )
            .bind(run)
            .bind(&key.scope)
            .bind(&key.name)
            .bind(i64::from(key.occurrence))
            .bind(i64::from(*position))
            .bind(i64::from(*attempt))
            .bind(millis(*at))
            .execute(&mut *connection)
            .await?;
            sqlx::query(
                "INSERT INTO attempts (run, scope, name, occurrence, attempt, started_at) VALUES (?, ?, ?, ?, ?, ?)
                 ON CONFLICT DO UPDATE SET started_at = excluded.started_at",
            )
            .bind(run)
            .bind(&key.scope)
            .bind(&key.name)
            .bind(i64::from(key.occurrence))
            .bind(i64::from(*attempt))
            .bind(millis(*at))
            .execute(&mut *connection)
            .await?;
        }
        StepChange::Succeeded { attempt, at, output, .. } => {
            sqlx::query(
                "UPDATE steps SET status = 'succeeded', output = ?, failure = NULL, finished_at = ?
                 WHERE run = ? AND scope = ? AND name = ? AND occurrence = ?",
            )
            .bind(to_json(output)?)
            .bind(millis(*at))
            .bind(run)
            .bind(&key.scope)
            .bind(&key.name)
            .bind(i64::from(key.occurrence))
            .execute(&mut *connection)
            .await?;
            end_attempt(connection, run, change, *attempt, millis(*at), "succeeded", None).await?;
        }
        StepChange::Failed { attempt, at, failure, retry_at, .. } => {
            let text = to_json(failure)?;
            let outcome = if failure.kind == FailureKind::Cancelled { "cancelled" } else { "failed" };
            sqlx::query(
                "UPDATE steps SET status = ?, failures = failures + ?, retry_at = ?, failure = ?, finished_at = ?
                 WHERE run = ? AND scope = ? AND name = ? AND occurrence = ?",
            )
            .bind(if retry_at.is_some() { "retrying" } else { "failed" })
            .bind(i64::from(outcome == "failed"))
            .bind(retry_at.map(millis))
            .bind(&text)
            .bind(retry_at.is_none().then(|| millis(*at)))
            .bind(run)
            .bind(&key.scope)
            .bind(&key.name)
            .bind(i64::from(key.occurrence))
            .execute(&mut *connection)
            .await?;
            end_attempt(connection, run, change, *attempt, millis(*at), outcome, Some(&text)).await?;
        }
    }
    Ok(())
}

async fn end_attempt(
    connection: &mut SqliteConnection,
    run: i64,
    change: &StepChange,
    attempt: u32,
    at: i64,
    outcome: &str,
    failure: Option<&str>,
) -> Result<(), StoreError> {
    let key = change.key();
    sqlx::query(
        "UPDATE attempts SET outcome = ?, failure = ?, finished_at = ?
         WHERE run = ? AND scope = ? AND name = ? AND occurrence = ? AND attempt = ?",
    )
    .bind(outcome)
    .bind(failure)
    .bind(at)
    .bind(run)
    .bind(&key.scope)
    .bind(&key.name)
    .bind(i64::from(key.occurrence))
    .bind(i64::from(attempt))
    .execute(&mut *connection)
    .await?;
    Ok(())
}
