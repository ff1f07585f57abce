//! Starting a run inside the caller's transaction.

use chrono::{DateTime, Utc};
use seatrial_engine::{JournalError, NewRun, OnConflict, RunEvent, RunId, RunState, Started, superseded_by};
use sqlx::Row as _;
use uuid::Uuid;

use super::control;
use super::db::{self, Connection};
use super::rows::{millis, to_json};
use crate::effects::Effects;
use crate::error::StoreError;

/// Starts `run`, or finds the one its deduplication id started. Commits with the caller's
/// transaction, or not at all.
pub(super) async fn start(
    connection: &mut Connection,
    run: &NewRun,
    now: DateTime<Utc>,
) -> Result<(Started, Effects), StoreError> {
    if run.parent == Some(run.id) {
        return Err(JournalError::Illegal(format!("run {} cannot be its own parent", run.id)).into());
    }
    if let Some(key) = &run.key {
        db::lock_key(connection, key).await?;
    }
    if let Some(id) = find_started(connection, run).await? {
        return Ok((Started { id, fresh: false }, Effects::none()));
    }
    let mut effects = Effects { events: Vec::new(), ring: true };
    if let Some(key) = &run.key {
        match run.on_conflict {
            OnConflict::Queue => {}
            OnConflict::Reject => refuse_if_taken(connection, key).await?,
            OnConflict::Supersede => effects = effects.and(supersede(connection, key, run.id, now).await?),
        }
    }
    if !insert(connection, run, None, now).await? {
        // Another process was faster with the same deduplication id.
        let id = find_started(connection, run).await?.unwrap_or(run.id);
        return Ok((Started { id, fresh: false }, Effects::none()));
    }
    effects.events.push(RunEvent::State { run: run.id, key: run.key.clone(), state: RunState::Queued });
    Ok((Started { id: run.id, fresh: true }, effects))
}

/// The run that the same deduplication id started, or the same start whose answer was lost.
async fn find_started(connection: &mut Connection, run: &NewRun) -> Result<Option<RunId>, StoreError> {
    let known: Option<Uuid> = match &run.deduplication {
        Some(deduplication) => {
            sqlx::query_scalar("SELECT id FROM runs WHERE workflow = $1 AND deduplication = $2")
                .bind(&run.workflow)
                .bind(deduplication)
                .fetch_optional(connection)
                .await?
        }
        None => {
            sqlx::query_scalar("SELECT id FROM runs WHERE id = $1").bind(run.id.0).fetch_optional(connection).await?
        }
    };
    Ok(known.map(RunId))
}

/// False when the run is there already.
pub(super) async fn insert(
    connection: &mut Connection,
    run: &NewRun,
    forked_from: Option<RunId>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let fair = match &run.group {
        None => 0,
        Some(group) => fair_turn(connection, group).await?,
    };
    let inserted = sqlx::query(
        "INSERT INTO runs (id, workflow, version, state, input, key, deduplication, priority, limit_group, fair, parent,
                           forked_from, trace, created_at)
         VALUES ($1, $2, $3, 'queued', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT DO NOTHING",
    )
    .bind(run.id.0)
    .bind(&run.workflow)
    .bind(i64::from(run.version))
    .bind(to_json(&run.input)?)
    .bind(&run.key)
    .bind(&run.deduplication)
    .bind(i64::from(run.priority))
    .bind(&run.group)
    .bind(fair)
    .bind(run.parent.map(|parent| parent.0))
    .bind(forked_from.map(|run| run.0))
    .bind(&run.trace)
    .bind(millis(now))
    .execute(connection)
    .await?
    .rows_affected();
    Ok(inserted > 0)
}

/// Start-time fair queueing: a run comes one turn after the last queued one of its group, and a
/// group that has none queued comes with those that are next.
async fn fair_turn(connection: &mut Connection, group: &str) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT coalesce((SELECT max(fair) + 1 FROM runs WHERE state = 'queued' AND limit_group = $1),
                         (SELECT min(fair) FROM runs WHERE state = 'queued' AND limit_group IS NOT NULL), 0)",
    )
    .bind(group)
    .fetch_one(connection)
    .await?)
}

pub(super) async fn refuse_if_taken(connection: &mut Connection, key: &str) -> Result<(), StoreError> {
    let holder: Option<Uuid> = sqlx::query_scalar(
        "SELECT id FROM runs WHERE key = $1 AND state IN ('queued', 'running', 'waiting') ORDER BY seq LIMIT 1",
    )
    .bind(key)
    .fetch_optional(connection)
    .await?;
    match holder {
        None => Ok(()),
        Some(holder) => Err(JournalError::KeyTaken { key: key.to_owned(), by: RunId(holder) }.into()),
    }
}

/// Drops what has not begun; asks what has begun to stop. The new run cannot be claimed before
/// the old one has ended: see the claim's query.
pub(super) async fn supersede(
    connection: &mut Connection,
    key: &str,
    by: RunId,
    now: DateTime<Utc>,
) -> Result<Effects, StoreError> {
    let mut effects = Effects::none();
    let reason = superseded_by(by);
    let open =
        sqlx::query("SELECT id FROM runs WHERE key = $1 AND state IN ('queued', 'running', 'waiting') ORDER BY seq")
            .bind(key)
            .fetch_all(&mut *connection)
            .await?;
    for row in open {
        effects = effects.and(control::request_stop(connection, RunId(row.try_get("id")?), &reason, now).await?);
    }
    Ok(effects)
}
