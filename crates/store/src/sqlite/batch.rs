//! Many runs in one statement.

use std::collections::{HashMap, HashSet};

use seatrial_engine::{Entry, FinishedAttempt, Held, RunId};
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::db::Connection;
use super::record::Columns;
use super::rows::{millis, to_json};
use crate::error::StoreError;
use crate::plain_start::PlainStart;

/// Rows in one statement: few different sizes, so that few statements are prepared.
const SIZES: [usize; 9] = [256, 128, 64, 32, 16, 8, 4, 2, 1];

/// Cuts `rows` into pieces of those sizes.
fn pieces<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= rows.len())?;
        let (piece, rest) = rows.split_at(size);
        rows = rest;
        Some(piece)
    })
}

/// Writes entries of different runs and returns the rows written; the others have lost their
/// lease. The fence check, the lease renewal, the steps in progress and the transition are one
/// statement, the attempts that have ended another.
pub(super) async fn write_entries(connection: &mut Connection, entries: &[&Entry]) -> Result<HashSet<i64>, StoreError> {
    // Counted first: the rows are only asked for when one of them is missing.
    sqlx::query("SAVEPOINT entries").execute(&mut *connection).await?;
    let mut counted = 0;
    for piece in pieces(entries) {
        counted += update(piece, "")?.build().execute(&mut *connection).await?.rows_affected();
    }
    let mut written: HashSet<i64> = HashSet::with_capacity(entries.len());
    if counted == entries.len() as u64 {
        sqlx::query("RELEASE entries").execute(&mut *connection).await?;
        written.extend(entries.iter().map(|entry| entry.row));
    } else {
        sqlx::raw_sql("ROLLBACK TO entries; RELEASE entries").execute(&mut *connection).await?;
        for piece in pieces(entries) {
            for row in update(piece, " RETURNING seq")?.build().fetch_all(&mut *connection).await? {
                written.insert(row.try_get("seq")?);
            }
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

fn update(entries: &[&Entry], returning: &str) -> Result<QueryBuilder<Sqlite>, StoreError> {
    let columns = entries.iter().map(|entry| Columns::of(entry)).collect::<Result<Vec<_>, _>>()?;
    let mut update: QueryBuilder<Sqlite> = QueryBuilder::new(
        "WITH e (run, epoch, state, lease_until, open, wake_at, signals_seen, heeds_cancel, wait_reason, output,
                 failure, cancel_reason, finished_at, at) AS (",
    );
    update.push_values(entries.iter().zip(columns), |mut row, (entry, columns)| {
        row.push_bind(entry.row)
            .push_bind(entry.epoch.0)
            .push_bind(columns.state)
            .push_bind(columns.lease_until)
            .push_bind(columns.open)
            .push_bind(columns.wake_at)
            .push_bind(columns.signals_seen)
            .push_bind(columns.heeds_cancel)
            .push_bind(columns.wait_reason)
            .push_bind(columns.output)
            .push_bind(columns.failure)
            .push_bind(columns.cancel_reason)
            .push_bind(columns.finished_at)
            .push_bind(columns.at);
    });
    update.push(
        ") UPDATE runs SET state = e.state, lease_until = e.lease_until, open = e.open,
            wake_at = CASE WHEN e.signals_seen < signalled OR (e.heeds_cancel AND runs.cancel_reason IS NOT NULL)
                           THEN e.at ELSE e.wake_at END,
            awaits_signal = e.signals_seen IS NOT NULL, wait_reason = e.wait_reason, output = e.output,
            failure = e.failure, cancel_reason = coalesce(e.cancel_reason, runs.cancel_reason),
            finished_at = e.finished_at
         FROM e WHERE runs.seq = e.run AND runs.epoch = e.epoch AND runs.state = 'running'",
    );
    update.push(returning);
    Ok(update)
}

/// Writes attempts that have ended. One that is there already was written by the same write,
/// whose answer was lost.
pub(super) async fn insert_attempts(
    connection: &mut Connection,
    attempts: &[(i64, &FinishedAttempt)],
) -> Result<(), StoreError> {
    for piece in pieces(attempts) {
        let texts = piece
            .iter()
            .map(|(_, attempt)| {
                Ok((
                    attempt.output.as_ref().map(to_json).transpose()?,
                    attempt.failure.as_ref().map(to_json).transpose()?,
                ))
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        let mut insert: QueryBuilder<Sqlite> = QueryBuilder::new(
            "INSERT INTO attempts (run, scope, name, occurrence, attempt, position, started_at, finished_at, outcome,
                                   output, failure, retry_at) ",
        );
        insert.push_values(piece.iter().zip(texts), |mut row, ((run, attempt), (output, failure))| {
            row.push_bind(*run)
                .push_bind(&attempt.key.scope)
                .push_bind(&attempt.key.name)
                .push_bind(i64::from(attempt.key.occurrence))
                .push_bind(i64::from(attempt.attempt))
                .push_bind(i64::from(attempt.position))
                .push_bind(millis(attempt.started_at))
                .push_bind(millis(attempt.finished_at))
                .push_bind(attempt.outcome.as_str())
                .push_bind(output)
                .push_bind(failure)
                .push_bind(attempt.retry_at.map(millis));
        });
        insert.push(" ON CONFLICT DO NOTHING");
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Starts runs and returns the rows of those that were not there already.
pub(super) async fn insert_runs(
    connection: &mut Connection,
    starts: &[&PlainStart],
) -> Result<HashMap<RunId, i64>, StoreError> {
    let mut rows = HashMap::with_capacity(starts.len());
    for piece in pieces(starts) {
        let inputs = piece.iter().map(|start| to_json(&start.run.input)).collect::<Result<Vec<_>, _>>()?;
        let mut insert: QueryBuilder<Sqlite> = QueryBuilder::new(
            "INSERT INTO runs (id, workflow, version, state, input, priority, trace, created_at, epoch, worker,
                               incarnation, lease_until, started_at) ",
        );
        insert.push_values(piece.iter().zip(inputs), |mut row, (start, input)| {
            let lease = start.lease();
            row.push_bind(start.run.id.0)
                .push_bind(&start.run.workflow)
                .push_bind(i64::from(start.run.version))
                .push_bind(start.state().as_str())
                .push_bind(input)
                .push_bind(i64::from(start.run.priority))
                .push_bind(&start.run.trace)
                .push_bind(millis(start.at))
                .push_bind(start.epoch().0)
                .push_bind(lease.map(|(worker, _)| worker.name.as_str()))
                .push_bind(lease.map(|(worker, _)| worker.incarnation))
                .push_bind(lease.map(|(_, until)| millis(until)))
                .push_bind(lease.map(|_| millis(start.at)));
        });
        insert.push(" ON CONFLICT DO NOTHING RETURNING id, seq");
        for row in insert.build().fetch_all(&mut *connection).await? {
            rows.insert(RunId(row.try_get("id")?), row.try_get("seq")?);
        }
    }
    Ok(rows)
}

/// Renews the leases of the runs held and returns those that still are, with what they are asked to
/// stop for.
pub(super) async fn renew(
    connection: &mut Connection,
    held: &[Held],
    until: i64,
) -> Result<HashMap<RunId, Option<String>>, StoreError> {
    let mut renewed = HashMap::with_capacity(held.len());
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
            renewed.insert(held.run, row.try_get("cancel_reason")?);
        }
    }
    Ok(renewed)
}
