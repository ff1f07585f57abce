//! Many runs in one statement.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use seatrial_engine::{Entry, FinishedAttempt, Held, RunId};
use sqlx::Row as _;

use super::db::{Connection, Row};
use super::record::{Columns, HeldLease};
use super::rows::{millis, to_json};
use crate::error::StoreError;
use crate::plain_start::PlainStart;

/// Attempts as columns.
#[derive(Default)]
struct Attempts {
    scopes: Vec<String>,
    names: Vec<String>,
    occurrences: Vec<i64>,
    attempts: Vec<i64>,
    positions: Vec<i64>,
    started: Vec<i64>,
    finished: Vec<i64>,
    outcomes: Vec<String>,
    outputs: Vec<Option<String>>,
    failures: Vec<Option<String>>,
    retries: Vec<Option<i64>>,
}

impl Attempts {
    fn push(&mut self, attempt: &FinishedAttempt) -> Result<(), StoreError> {
        self.scopes.push(attempt.key.scope.clone());
        self.names.push(attempt.key.name.clone());
        self.occurrences.push(i64::from(attempt.key.occurrence));
        self.attempts.push(i64::from(attempt.attempt));
        self.positions.push(i64::from(attempt.position));
        self.started.push(millis(attempt.started_at));
        self.finished.push(millis(attempt.finished_at));
        self.outcomes.push(attempt.outcome.as_str().to_owned());
        self.outputs.push(attempt.output.as_ref().map(to_json).transpose()?);
        self.failures.push(attempt.failure.as_ref().map(to_json).transpose()?);
        self.retries.push(attempt.retry_at.map(millis));
        Ok(())
    }
}

/// The fence check, the lease renewal, the steps in progress, the transition and the attempts that
/// have ended: one statement for any number of runs. The state is asked for in a CASE so that rows
/// are reached by their key and not through the index of what runs, which is mostly dead entries.
///
/// Which attempts may be kept is asked in a way that the planner answers with a hash: a join would
/// be a loop over both, for [`super::open`] forbids it all others.
const WRITE: &str = "
    WITH e AS (
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[],
                             $8::boolean[], $9::text[], $10::text[], $11::text[], $12::text[], $13::bigint[], $14::bigint[])
            AS e (run, epoch, state, lease_until, open, wake_at, signals_seen, heeds_cancel, wait_reason, output,
                  failure, cancel_reason, finished_at, at)),
    moved AS (
        UPDATE runs r SET state = e.state, lease_until = e.lease_until, open = e.open,
            wake_at = CASE WHEN e.signals_seen < r.signalled OR (e.heeds_cancel AND r.cancel_reason IS NOT NULL)
                           THEN e.at ELSE e.wake_at END,
            awaits_signal = e.signals_seen IS NOT NULL, wait_reason = e.wait_reason, output = e.output,
            failure = e.failure, cancel_reason = coalesce(e.cancel_reason, r.cancel_reason), finished_at = e.finished_at
        FROM e WHERE r.seq = e.run AND r.epoch = e.epoch AND CASE r.state WHEN 'running' THEN TRUE ELSE FALSE END
        RETURNING r.seq),
    kept AS (
        INSERT INTO attempts (run, scope, name, occurrence, attempt, position, started_at, finished_at, outcome, output,
                              failure, retry_at)
        SELECT a.run, a.scope, a.name, a.occurrence, a.attempt, a.position, a.started_at, a.finished_at, a.outcome,
               a.output, a.failure, a.retry_at
        FROM unnest($15::bigint[], $16::text[], $17::text[], $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[],
                    $22::bigint[], $23::text[], $24::text[], $25::text[], $26::bigint[])
            AS a (run, scope, name, occurrence, attempt, position, started_at, finished_at, outcome, output, failure,
                  retry_at)
        WHERE (a.run IN (SELECT seq FROM moved)) IS TRUE
        /* REPEATED */)
    SELECT seq FROM moved";

/// Of an attempt that is there already, the same write's answer was lost.
static WRITE_REPEATED: LazyLock<String> = LazyLock::new(|| WRITE.replace("/* REPEATED */", "ON CONFLICT DO NOTHING"));

/// Writes entries of different runs and returns the rows written; the others have lost their
/// lease. An attempt that is there already is left as it is.
pub(super) async fn write_entries(connection: &mut Connection, entries: &[&Entry]) -> Result<HashSet<i64>, StoreError> {
    write(connection, &WRITE_REPEATED, entries).await
}

/// As [`write_entries`], for a seventh less of the server's time. Writes nothing and is
/// [`StoreError::Invalid`] when one of the attempts is there already.
pub(super) async fn write_new_entries(
    connection: &mut Connection,
    entries: &[&Entry],
) -> Result<HashSet<i64>, StoreError> {
    write(connection, WRITE, entries).await
}

async fn write(
    connection: &mut Connection,
    statement: &'static str,
    entries: &[&Entry],
) -> Result<HashSet<i64>, StoreError> {
    let columns = entries.iter().map(|entry| Columns::of(entry)).collect::<Result<Vec<_>, _>>()?;
    let mut attempts = Attempts::default();
    let mut runs_of_attempts: Vec<i64> = Vec::new();
    for entry in entries {
        for attempt in &entry.finished {
            runs_of_attempts.push(entry.row);
            attempts.push(attempt)?;
        }
    }
    let written: Vec<i64> = sqlx::query_scalar(statement)
        .bind(entries.iter().map(|entry| entry.row).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.epoch.0).collect::<Vec<_>>())
        .bind(columns.iter().map(|c| c.state).collect::<Vec<_>>())
        .bind(columns.iter().map(|c| c.lease_until).collect::<Vec<_>>())
        .bind(columns.iter().map(|c| c.open.as_str()).collect::<Vec<_>>())
        .bind(columns.iter().map(|c| c.wake_at).collect::<Vec<_>>())
        .bind(columns.iter().map(|c| c.signals_seen).collect::<Vec<_>>())
        .bind(columns.iter().map(|c| c.heeds_cancel).collect::<Vec<_>>())
        .bind(columns.iter().map(|c| c.wait_reason.as_deref()).collect::<Vec<_>>())
        .bind(columns.iter().map(|c| c.output.as_deref()).collect::<Vec<_>>())
        .bind(columns.iter().map(|c| c.failure.as_deref()).collect::<Vec<_>>())
        .bind(columns.iter().map(|c| c.cancel_reason.as_deref()).collect::<Vec<_>>())
        .bind(columns.iter().map(|c| c.finished_at).collect::<Vec<_>>())
        .bind(columns.iter().map(|c| c.at).collect::<Vec<_>>())
        .bind(runs_of_attempts)
        .bind(attempts.scopes)
        .bind(attempts.names)
        .bind(attempts.occurrences)
        .bind(attempts.attempts)
        .bind(attempts.positions)
        .bind(attempts.started)
        .bind(attempts.finished)
        .bind(attempts.outcomes)
        .bind(attempts.outputs)
        .bind(attempts.failures)
        .bind(attempts.retries)
        .fetch_all(connection)
        .await?;
    Ok(written.into_iter().collect())
}

/// Writes attempts that have ended. One that is there already was written by the same write,
/// whose answer was lost.
pub(super) async fn insert_attempts(
    connection: &mut Connection,
    attempts: &[(i64, &FinishedAttempt)],
) -> Result<(), StoreError> {
    let mut columns = Attempts::default();
    for (_, attempt) in attempts {
        columns.push(attempt)?;
    }
    sqlx::query(
        "INSERT INTO attempts (run, scope, name, occurrence, attempt, position, started_at, finished_at, outcome, output,
                               failure, retry_at)
         SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[],
                              $7::bigint[], $8::bigint[], $9::text[], $10::text[], $11::text[], $12::bigint[])
         ON CONFLICT DO NOTHING",
    )
    .bind(attempts.iter().map(|(run, _)| *run).collect::<Vec<_>>())
    .bind(columns.scopes)
    .bind(columns.names)
    .bind(columns.occurrences)
    .bind(columns.attempts)
    .bind(columns.positions)
    .bind(columns.started)
    .bind(columns.finished)
    .bind(columns.outcomes)
    .bind(columns.outputs)
    .bind(columns.failures)
    .bind(columns.retries)
    .execute(connection)
    .await?;
    Ok(())
}

/// Starts runs and returns the rows of those that were not there already.
pub(super) async fn insert_runs(
    connection: &mut Connection,
    starts: &[&PlainStart],
) -> Result<HashMap<RunId, i64>, StoreError> {
    let inputs = starts.iter().map(|start| to_json(&start.run.input)).collect::<Result<Vec<_>, _>>()?;
    let leases: Vec<_> = starts.iter().map(|start| start.lease()).collect();
    let rows = sqlx::query(
        "INSERT INTO runs (id, workflow, version, state, input, priority, trace, created_at, epoch, worker, incarnation,
                           lease_until, started_at)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::text[],
                              $8::bigint[], $9::bigint[], $10::text[], $11::uuid[], $12::bigint[], $13::bigint[])
         ON CONFLICT DO NOTHING RETURNING id, seq",
    )
    .bind(starts.iter().map(|start| start.run.id.0).collect::<Vec<_>>())
    .bind(starts.iter().map(|start| start.run.workflow.as_str()).collect::<Vec<_>>())
    .bind(starts.iter().map(|start| i64::from(start.run.version)).collect::<Vec<_>>())
    .bind(starts.iter().map(|start| start.state().as_str()).collect::<Vec<_>>())
    .bind(inputs)
    .bind(starts.iter().map(|start| i64::from(start.run.priority)).collect::<Vec<_>>())
    .bind(starts.iter().map(|start| start.run.trace.as_deref()).collect::<Vec<_>>())
    .bind(starts.iter().map(|start| millis(start.at)).collect::<Vec<_>>())
    .bind(starts.iter().map(|start| start.epoch().0).collect::<Vec<_>>())
    .bind(leases.iter().map(|lease| lease.map(|(worker, _)| worker.name.as_str())).collect::<Vec<_>>())
    .bind(leases.iter().map(|lease| lease.map(|(worker, _)| worker.incarnation)).collect::<Vec<_>>())
    .bind(leases.iter().map(|lease| lease.map(|(_, until)| millis(until))).collect::<Vec<_>>())
    .bind(starts.iter().map(|start| start.lease().map(|_| millis(start.at))).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok((RunId(row.try_get("id")?), row.try_get("seq")?))).collect()
}

/// Renews the leases of the runs held and returns those that still are. A row that is being written
/// is not waited for, which could be a deadlock; whether that write renews the lease, or takes the
/// run away, is not known here.
const RENEW: &str = "
    WITH h AS (SELECT * FROM unnest($1::uuid[], $2::bigint[]) AS h (id, epoch)),
    free AS (
        SELECT r.seq FROM runs r JOIN h ON r.id = h.id AND r.epoch = h.epoch WHERE r.state = 'running'
        FOR UPDATE OF r SKIP LOCKED),
    renewed AS (UPDATE runs SET lease_until = $3 FROM free WHERE runs.seq = free.seq RETURNING runs.seq)
    SELECT r.id, r.cancel_reason, renewed.seq IS NOT NULL AS is_renewed
    FROM runs r JOIN h ON r.id = h.id AND r.epoch = h.epoch LEFT JOIN renewed ON renewed.seq = r.seq
    WHERE r.state = 'running'";

pub(super) async fn renew(
    connection: &mut Connection,
    held: &[Held],
    until: i64,
) -> Result<HashMap<RunId, HeldLease>, StoreError> {
    let rows = sqlx::query(RENEW)
        .bind(held.iter().map(|held| held.run.0).collect::<Vec<_>>())
        .bind(held.iter().map(|held| held.epoch.0).collect::<Vec<_>>())
        .bind(until)
        .fetch_all(connection)
        .await?;
    let lease = |row: &Row| {
        let cancel_reason = row.try_get("cancel_reason")?;
        Ok((RunId(row.try_get("id")?), HeldLease { is_renewed: row.try_get("is_renewed")?, cancel_reason }))
    };
    rows.iter().map(lease).collect()
}
