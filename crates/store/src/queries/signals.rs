//! Messages to runs.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use seatrial_engine::history::{ChildEnd, child_signal};
use seatrial_engine::{JournalError, NewSignal, RunId, RunState, Signal};
use sqlx::Row as _;

use super::db::{self, Connection, Row};
use super::rows::{json, millis, run_state, time, to_json, unsigned};
use crate::effects::Effects;
use crate::error::StoreError;

/// Keeps a signal for a run that has not ended.
pub(super) async fn signal(
    connection: &mut Connection,
    run: RunId,
    signal: &NewSignal,
    now: DateTime<Utc>,
) -> Result<((), Effects), StoreError> {
    let (state, effects) = keep(connection, run, signal, now).await?;
    if state.is_final() {
        let (state, name) = (state.as_str(), &signal.name);
        let reason = format!("run {run} has already {state}: signal {name} comes too late");
        return Err(JournalError::Illegal(reason).into());
    }
    Ok(((), effects))
}

/// Keeps the signal and wakes the run if it waits for one. Its row is locked first, so that a run
/// which is being parked sees the count.
async fn keep(
    connection: &mut Connection,
    run: RunId,
    signal: &NewSignal,
    now: DateTime<Utc>,
) -> Result<(RunState, Effects), StoreError> {
    let row = sqlx::query("UPDATE runs SET signalled = signalled + 1 WHERE id = $1 RETURNING seq, signalled, state")
        .bind(run.0)
        .fetch_optional(&mut *connection)
        .await?
        .ok_or(JournalError::NotFound(run))?;
    let state = run_state(&row)?;
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
        return Ok((state, Effects::none()));
    }
    let woken = sqlx::query("UPDATE runs SET wake_at = $1 WHERE seq = $2 AND state = 'waiting' AND awaits_signal")
        .bind(millis(now))
        .bind(seq)
        .execute(&mut *connection)
        .await?
        .rows_affected();
    Ok((state, Effects { events: Vec::new(), ring: woken > 0 }))
}

/// Tells a parent how its child ended; also one that has ended itself: it may be retried, and come
/// to wait for the child then.
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
    match keep(connection, parent, &message, now).await {
        Ok((_, effects)) => Ok(effects),
        // Deleted: nobody is left to be told.
        Err(StoreError::Journal(JournalError::NotFound(_))) => Ok(Effects::none()),
        Err(e) => Err(e),
    }
}

/// All signals of these runs, the oldest of each first.
pub(super) async fn of_runs(
    connection: &mut Connection,
    runs: &[i64],
) -> Result<HashMap<i64, Vec<Result<Signal, StoreError>>>, StoreError> {
    let mut signals: HashMap<i64, Vec<_>> = HashMap::with_capacity(runs.len());
    if runs.is_empty() {
        return Ok(signals);
    }
    let rows = sqlx::query(concat!(
        "SELECT run, number, name, payload, sent_at FROM signals WHERE run ",
        one_of!("$1"),
        " ORDER BY run, number"
    ))
    .bind(db::numbers(runs))
    .fetch_all(connection)
    .await?;
    for row in &rows {
        signals.entry(row.try_get("run")?).or_default().push(signal_of(row));
    }
    Ok(signals)
}

fn signal_of(row: &Row) -> Result<Signal, StoreError> {
    Ok(Signal {
        number: unsigned(row, "number")?,
        name: row.try_get("name")?,
        payload: json(row.try_get("payload")?)?,
        sent_at: time(row, "sent_at")?,
    })
}
