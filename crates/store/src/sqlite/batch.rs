//! Many runs in one statement.

use std::collections::{HashMap, HashSet};

use seatrial_engine::{Entry, FinishedAttempt, Held, RunId};
use sqlx::Row as _;

use super::db::Connection;
use super::many::{Binds, MOST, Many};
use super::record::{Columns, HeldLease};
use super::rows::{millis, to_json};
use crate::error::StoreError;
use crate::plain_start::PlainStart;

/// The fence check, the lease renewal, the steps in progress and the transition.
static UPDATE: Many = Many::new(
    "WITH e (run, epoch, state, lease_until, open, wake_at, signals_seen, heeds_cancel, wait_reason, output,
             failure, cancel_reason, finished_at, at) AS (",
    14,
    ") UPDATE runs SET state = e.state, lease_until = e.lease_until, open = e.open,
        wake_at = CASE WHEN e.signals_seen < signalled OR (e.heeds_cancel AND runs.cancel_reason IS NOT NULL)
                       THEN e.at ELSE e.wake_at END,
        awaits_signal = e.signals_seen IS NOT NULL, wait_reason = e.wait_reason, output = e.output,
        failure = e.failure, cancel_reason = coalesce(e.cancel_reason, runs.cancel_reason),
        finished_at = e.finished_at
     FROM e WHERE runs.seq = e.run AND runs.epoch = e.epoch AND runs.state = 'running'
     RETURNING seq",
);

static INSERT_ATTEMPTS: Many = Many::new(
    "WITH a (run, scope, name, occurrence, attempt, position, started_at, finished_at, outcome, output, failure,
             retry_at) AS (",
    12,
    ") INSERT INTO attempts (run, scope, name, occurrence, attempt, position, started_at, finished_at, outcome, output,
                            failure, retry_at)
     SELECT * FROM a WHERE run IS NOT NULL ON CONFLICT DO NOTHING",
);

static INSERT_RUNS: Many = Many::new(
    "WITH r (id, workflow, version, state, input, priority, trace, created_at, epoch, worker, incarnation, lease_until,
             started_at) AS (",
    13,
    ") INSERT INTO runs (id, workflow, version, state, input, priority, trace, created_at, epoch, worker, incarnation,
                        lease_until, started_at)
     SELECT * FROM r WHERE id IS NOT NULL ON CONFLICT DO NOTHING RETURNING id, seq",
);

/// Writes entries of different runs and returns the rows written; the others have lost their
/// lease.
pub(super) async fn write_entries(connection: &mut Connection, entries: &[&Entry]) -> Result<HashSet<i64>, StoreError> {
    let mut written: HashSet<i64> = HashSet::with_capacity(entries.len());
    for piece in entries.chunks(MOST) {
        for row in UPDATE.of(piece, bind_entry)?.fetch_all(&mut *connection).await? {
            written.insert(row.try_get("seq")?);
        }
    }
    let attempts: Vec<_> = entries
        .iter()
        .filter(|entry| written.contains(&entry.row))
        .flat_map(|entry| entry.finished.iter().map(|attempt| (entry.row, attempt)))
        .collect();
    insert_attempts(connection, &attempts).await?;
    Ok(written)
}

fn bind_entry(entry: &&Entry, row: &mut Binds) -> Result<(), StoreError> {
    let columns = Columns::of(entry)?;
    row.push(entry.row)?
        .push(entry.epoch.0)?
        .push(columns.state)?
        .push(columns.lease_until)?
        .push(columns.open)?
        .push(columns.wake_at)?
        .push(columns.signals_seen)?
        .push(columns.heeds_cancel)?
        .push(columns.wait_reason)?
        .push(columns.output)?
        .push(columns.failure)?
        .push(columns.cancel_reason)?
        .push(columns.finished_at)?
        .push(columns.at)?;
    Ok(())
}

/// Writes attempts that have ended. One that is there already was written by the same write,
/// whose answer was lost.
pub(super) async fn insert_attempts(
    connection: &mut Connection,
    attempts: &[(i64, &FinishedAttempt)],
) -> Result<(), StoreError> {
    for piece in attempts.chunks(MOST) {
        let insert = INSERT_ATTEMPTS.of(piece, |(run, attempt), row| {
            row.push(*run)?
                .push(attempt.key.scope.as_str())?
                .push(attempt.key.name.as_str())?
                .push(i64::from(attempt.key.occurrence))?
                .push(i64::from(attempt.attempt))?
                .push(i64::from(attempt.position))?
                .push(millis(attempt.started_at))?
                .push(millis(attempt.finished_at))?
                .push(attempt.outcome.as_str())?
                .push(attempt.output.as_ref().map(to_json).transpose()?)?
                .push(attempt.failure.as_ref().map(to_json).transpose()?)?
                .push(attempt.retry_at.map(millis))?;
            Ok(())
        })?;
        insert.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Starts runs and returns the rows of those that were not there already.
pub(super) async fn insert_runs(
    connection: &mut Connection,
    starts: &[&PlainStart],
) -> Result<HashMap<RunId, i64>, StoreError> {
    let mut rows = HashMap::with_capacity(starts.len());
    for piece in starts.chunks(MOST) {
        let insert = INSERT_RUNS.of(piece, |start, row| {
            let lease = start.lease();
            row.push(start.run.id.0)?
                .push(start.run.workflow.as_str())?
                .push(i64::from(start.run.version))?
                .push(start.state().as_str())?
                .push(to_json(&start.run.input)?)?
                .push(i64::from(start.run.priority))?
                .push(start.run.trace.as_deref())?
                .push(millis(start.at))?
                .push(start.epoch().0)?
                .push(lease.map(|(worker, _)| worker.name.as_str()))?
                .push(lease.map(|(worker, _)| worker.incarnation))?
                .push(lease.map(|(_, until)| millis(until)))?
                .push(lease.map(|_| millis(start.at)))?;
            Ok(())
        })?;
        for row in insert.fetch_all(&mut *connection).await? {
            rows.insert(RunId(row.try_get("id")?), row.try_get("seq")?);
        }
    }
    Ok(rows)
}

/// Renews the leases of the runs held and returns those that still are.
pub(super) async fn renew(
    connection: &mut Connection,
    held: &[Held],
    until: i64,
) -> Result<HashMap<RunId, HeldLease>, StoreError> {
    let mut found = HashMap::with_capacity(held.len());
    for held in held {
        let row = sqlx::query(
            "UPDATE runs SET lease_until = $1 WHERE id = $2 AND epoch = $3 AND state = 'running' RETURNING cancel_reason",
        )
        .bind(until)
        .bind(held.run.0)
        .bind(held.epoch.0)
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(row) = row {
            found.insert(held.run, HeldLease { is_renewed: true, cancel_reason: row.try_get("cancel_reason")? });
        }
    }
    Ok(found)
}
