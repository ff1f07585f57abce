//! Taking runs to execute.

use chrono::{DateTime, Utc};
use seatrial_engine::{Claim, ClaimRequest, Claims, Epoch, RunEvent, RunId, RunState, StepKey, StepRecord, StepStatus};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::rows::{from_millis, json, millis, optional_json, optional_time, time, to_json, unsigned};
use super::writer::Effects;
use crate::error::StoreError;

/// A run may be claimed when it is queued and nothing of its key has begun or was started
/// before it; when it is parked and its time has come; when its lease has expired.
const CLAIM: &str = "
    UPDATE runs SET state = 'running', epoch = epoch + 1, worker = ?1, incarnation = ?2, lease_until = ?3,
                    wake_at = NULL, wait_reason = NULL, started_at = coalesce(started_at, ?4)
    WHERE seq IN (
        SELECT r.seq FROM runs r
        WHERE r.state IN ('queued', 'running', 'waiting')
          AND r.workflow IN (SELECT value FROM json_each(?5))
          AND CASE r.state
                WHEN 'queued' THEN r.key IS NULL OR NOT EXISTS (
                    SELECT 1 FROM runs o
                    WHERE o.key = r.key AND o.seq <> r.seq
                      AND (o.state IN ('running', 'waiting') OR (o.state = 'queued' AND o.seq < r.seq)))
                WHEN 'waiting' THEN r.wake_at <= ?4
                ELSE r.lease_until <= ?4
              END
        ORDER BY r.priority DESC, r.seq
        LIMIT ?6)
    RETURNING seq, id, epoch, workflow, version, input, key, created_at, cancel_reason";

pub(super) async fn claim(
    connection: &mut SqliteConnection,
    request: &ClaimRequest,
) -> Result<(Claims, Effects), StoreError> {
    let now = millis(request.now);
    let rows = sqlx::query(CLAIM)
        .bind(&request.worker.name)
        .bind(request.worker.incarnation)
        .bind(millis(request.lease_until))
        .bind(now)
        .bind(to_json(&request.workflows)?)
        .bind(i64::try_from(request.limit).unwrap_or(i64::MAX))
        .fetch_all(&mut *connection)
        .await?;
    let mut runs = Vec::with_capacity(rows.len());
    let mut effects = Effects::none();
    for row in rows {
        let claim = take(connection, &row, request.now).await?;
        effects.events.push(RunEvent::State { run: claim.id, key: claim.key.clone(), state: RunState::Running });
        runs.push(claim);
    }
    let next_at = if runs.is_empty() { next_at(connection, request).await? } else { None };
    Ok((Claims { runs, next_at }, effects))
}

async fn take(connection: &mut SqliteConnection, row: &SqliteRow, now: DateTime<Utc>) -> Result<Claim, StoreError> {
    let seq: i64 = row.try_get("seq")?;
    let epoch: i64 = row.try_get("epoch")?;
    // A first claim has no history.
    let history = if epoch > 1 { history(connection, seq, now).await? } else { Vec::new() };
    Ok(Claim {
        id: RunId(row.try_get("id")?),
        epoch: Epoch(epoch),
        workflow: row.try_get("workflow")?,
        version: unsigned(row, "version")?,
        input: json(row.try_get("input")?)?,
        key: row.try_get("key")?,
        started_at: time(row, "created_at")?,
        claimed_at: now,
        cancel: row.try_get("cancel_reason")?,
        history,
    })
}

/// The run's steps; attempts that an earlier claim left running are marked as interrupted.
async fn history(
    connection: &mut SqliteConnection,
    seq: i64,
    now: DateTime<Utc>,
) -> Result<Vec<StepRecord>, StoreError> {
    sqlx::query("UPDATE attempts SET outcome = 'interrupted', finished_at = ? WHERE run = ? AND outcome IS NULL")
        .bind(millis(now))
        .bind(seq)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE steps SET status = 'pending' WHERE run = ? AND status = 'running'")
        .bind(seq)
        .execute(&mut *connection)
        .await?;
    let rows = sqlx::query(
        "SELECT scope, name, occurrence, status, attempts, failures, retry_at, output, failure, started_at, finished_at
         FROM steps WHERE run = ?",
    )
    .bind(seq)
    .fetch_all(&mut *connection)
    .await?;
    rows.iter().map(record).collect()
}

fn record(row: &SqliteRow) -> Result<StepRecord, StoreError> {
    let status: &str = row.try_get("status")?;
    let missing = |what: &str| StoreError::Invalid(format!("a step that {status} has no {what}"));
    let status = match status {
        "succeeded" => StepStatus::Succeeded(optional_json(row, "output")?.unwrap_or_default()),
        "failed" => StepStatus::Failed(optional_json(row, "failure")?.ok_or_else(|| missing("failure"))?),
        "retrying" => {
            let at: Option<i64> = row.try_get("retry_at")?;
            StepStatus::Retrying { retry_at: from_millis(at.ok_or_else(|| missing("time to retry at"))?)? }
        }
        _ => StepStatus::Pending,
    };
    Ok(StepRecord {
        key: StepKey {
            scope: row.try_get("scope")?,
            name: row.try_get("name")?,
            occurrence: unsigned(row, "occurrence")?,
        },
        status,
        attempts: unsigned(row, "attempts")?,
        failures: unsigned(row, "failures")?,
        started_at: time(row, "started_at")?,
        finished_at: optional_time(row, "finished_at")?,
    })
}

/// When the next parked run is due or the next lease expires, of the workflows asked for.
async fn next_at(
    connection: &mut SqliteConnection,
    request: &ClaimRequest,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let next: Option<i64> = sqlx::query_scalar(
        "SELECT min(CASE state WHEN 'waiting' THEN wake_at ELSE lease_until END) FROM runs
         WHERE state IN ('queued', 'running', 'waiting') AND state <> 'queued'
           AND workflow IN (SELECT value FROM json_each(?))",
    )
    .bind(to_json(&request.workflows)?)
    .fetch_one(&mut *connection)
    .await?;
    next.map(|at| from_millis(at.max(millis(request.now)))).transpose()
}
