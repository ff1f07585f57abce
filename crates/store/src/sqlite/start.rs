//! Starting a run inside the caller's transaction.

use chrono::{DateTime, Utc};
use seatrial_engine::{JournalError, NewRun, OnConflict, RunEvent, RunId, RunState, Started, superseded_by};
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::rows::{millis, to_json};
use super::writer::Effects;
use crate::error::StoreError;

/// Starts `run`, or finds the one its deduplication id started. Commits with the caller's
/// transaction, or not at all.
pub(super) async fn start(
    connection: &mut SqliteConnection,
    run: &NewRun,
    now: DateTime<Utc>,
) -> Result<(Started, Effects), StoreError> {
    if let Some(deduplication) = &run.deduplication {
        let known: Option<Uuid> = sqlx::query_scalar("SELECT id FROM runs WHERE workflow = ? AND deduplication = ?")
            .bind(&run.workflow)
            .bind(deduplication)
            .fetch_optional(&mut *connection)
            .await?;
        if let Some(id) = known {
            return Ok((Started { id: RunId(id), fresh: false }, Effects::none()));
        }
    }
    let mut effects = Effects { events: Vec::new(), ring: true };
    if let Some(key) = &run.key {
        match run.on_conflict {
            OnConflict::Queue => {}
            OnConflict::Reject => refuse_if_taken(connection, key).await?,
            OnConflict::Supersede => supersede(connection, key, run.id, now, &mut effects).await?,
        }
    }
    sqlx::query(
        "INSERT INTO runs (id, workflow, version, state, input, key, deduplication, priority, created_at)
         VALUES (?, ?, ?, 'queued', ?, ?, ?, ?, ?)",
    )
    .bind(run.id.0)
    .bind(&run.workflow)
    .bind(i64::from(run.version))
    .bind(to_json(&run.input)?)
    .bind(&run.key)
    .bind(&run.deduplication)
    .bind(i64::from(run.priority))
    .bind(millis(now))
    .execute(&mut *connection)
    .await?;
    effects.events.push(RunEvent::State { run: run.id, key: run.key.clone(), state: RunState::Queued });
    Ok((Started { id: run.id, fresh: true }, effects))
}

async fn refuse_if_taken(connection: &mut SqliteConnection, key: &str) -> Result<(), StoreError> {
    let holder: Option<Uuid> = sqlx::query_scalar(
        "SELECT id FROM runs WHERE key = ? AND state IN ('queued', 'running', 'waiting') ORDER BY seq LIMIT 1",
    )
    .bind(key)
    .fetch_optional(&mut *connection)
    .await?;
    match holder {
        None => Ok(()),
        Some(holder) => Err(JournalError::Illegal(format!(
            "run {holder} holds the key {key}: wait until it has ended, or cancel it"
        ))
        .into()),
    }
}

/// Drops what has not begun; asks what has begun to stop. The new run cannot be claimed before
/// the old one has ended: see the claim's query.
async fn supersede(
    connection: &mut SqliteConnection,
    key: &str,
    by: RunId,
    now: DateTime<Utc>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let reason = superseded_by(by);
    let dropped = sqlx::query(
        "UPDATE runs SET state = 'cancelled', cancel_reason = ?, finished_at = ? WHERE key = ? AND state = 'queued'
         RETURNING id",
    )
    .bind(&reason)
    .bind(millis(now))
    .bind(key)
    .fetch_all(&mut *connection)
    .await?;
    for row in dropped {
        effects.events.push(RunEvent::State {
            run: RunId(row.try_get("id")?),
            key: Some(key.to_owned()),
            state: RunState::Cancelled,
        });
    }
    // A parked run is woken so that it sees the request and cleans up.
    let asked = sqlx::query(
        "UPDATE runs SET cancel_reason = coalesce(cancel_reason, ?1), wake_at = CASE state WHEN 'waiting' THEN ?2 ELSE wake_at END
         WHERE key = ?3 AND state IN ('running', 'waiting') RETURNING id, cancel_reason",
    )
    .bind(&reason)
    .bind(millis(now))
    .bind(key)
    .fetch_all(&mut *connection)
    .await?;
    for row in asked {
        effects
            .events
            .push(RunEvent::CancelRequested { run: RunId(row.try_get("id")?), reason: row.try_get("cancel_reason")? });
    }
    Ok(())
}
