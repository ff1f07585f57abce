//! Messages to runs.

use chrono::{DateTime, Utc};
use seatrial_engine::history::{ChildEnd, child_signal};
use seatrial_engine::{JournalError, NewSignal, RunId, Signal};
use sqlx::Row as _;

use super::db::Connection;
use super::rows::{json, millis, run_state, to_json, unsigned};
use crate::effects::Effects;
use crate::error::StoreError;

/// Keeps the signal and wakes the run if it waits for one. Its row is locked first, so that a run
/// which is being parked sees the count.
pub(super) async fn signal(
    connection: &mut Connection,
    run: RunId,
    signal: &NewSignal,
    now: DateTime<Utc>,
) -> Result<((), Effects), StoreError> {
    // Counted only if it is kept: the caller may go on after the refusal.
    let row = sqlx::query(
        "UPDATE runs SET signalled = signalled + 1 WHERE id = $1 AND state IN ('queued', 'running', 'waiting')
         RETURNING seq, signalled",
    )
    .bind(run.0)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Err(too_late(connection, run, &signal.name).await?.into()) };
    let seq: i64 = row.try_get("seq")?;
    let kept = sqlx::query(
        "INSERT INTO signals (run, number, name, payload, deduplication, sent_at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT DO NOTHING",
    )
    .bind(seq)
    .bind(row.try_get::<i64, _>("signalled")?)
    .bind(&signal.name)
    .bind(to_json(&signal.payload)?)
    .bind(&signal.deduplication)
    .bind(millis(now))
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if kept == 0 {
        // Sent before.
        sqlx::query("UPDATE runs SET signalled = signalled - 1 WHERE seq = $1").bind(seq).execute(connection).await?;
        return Ok(((), Effects::none()));
    }
    let woken = sqlx::query("UPDATE runs SET wake_at = $1 WHERE seq = $2 AND state = 'waiting' AND awaits_signal")
        .bind(millis(now))
        .bind(seq)
        .execute(&mut *connection)
        .await?
        .rows_affected();
    Ok(((), Effects { events: Vec::new(), ring: woken > 0 }))
}

/// Why a run cannot be sent a signal.
async fn too_late(connection: &mut Connection, run: RunId, signal: &str) -> Result<JournalError, StoreError> {
    let row = sqlx::query("SELECT state FROM runs WHERE id = $1").bind(run.0).fetch_optional(connection).await?;
    let Some(row) = row else { return Ok(JournalError::NotFound(run)) };
    let state = run_state(&row)?;
    Ok(JournalError::Illegal(format!("run {run} has already {}: signal {signal} comes too late", state.as_str())))
}

/// Tells a parent how its child ended, unless the parent has ended itself.
pub(super) async fn tell_parent(
    connection: &mut Connection,
    parent: RunId,
    child: RunId,
    end: &ChildEnd,
    now: DateTime<Utc>,
) -> Result<Effects, StoreError> {
    let payload = serde_json::to_value(end)
        .map_err(|e| StoreError::Invalid(format!("how run {child} ended cannot be written as JSON: {e}")))?;
    let name = child_signal(child);
    let message = NewSignal { deduplication: Some(name.clone()), name, payload };
    match signal(connection, parent, &message, now).await {
        Ok(((), effects)) => Ok(effects),
        // It may end at this very moment: nobody is left to be told.
        Err(StoreError::Journal(JournalError::Illegal(_) | JournalError::NotFound(_))) => Ok(Effects::none()),
        Err(e) => Err(e),
    }
}

/// All signals of a run, oldest first.
pub(super) async fn of_run(connection: &mut Connection, seq: i64) -> Result<Vec<Signal>, StoreError> {
    let rows = sqlx::query("SELECT number, name, payload FROM signals WHERE run = $1 ORDER BY number")
        .bind(seq)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Signal {
                number: unsigned(row, "number")?,
                name: row.try_get("name")?,
                payload: json(row.try_get("payload")?)?,
            })
        })
        .collect()
}
