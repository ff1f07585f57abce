//! What people ask of a run: stop, go on, begin again from the middle.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use seatrial_engine::history::{ChildEnd, child_signal};
use seatrial_engine::{Fork, JournalError, NewRun, OnConflict, OpenStep, RunEvent, RunId, RunState, Started, StepKey};
use sqlx::Row as _;
use uuid::Uuid;

use super::db::{self, Connection};
use super::rows::{json, millis, run_state, to_json};
use super::{batch, signals, start};
use crate::effects::Effects;
use crate::error::StoreError;

/// What has to be known of a run to move it.
struct Standing {
    seq: i64,
    key: Option<String>,
    state: RunState,
    parent: Option<RunId>,
}

async fn standing(connection: &mut Connection, run: RunId) -> Result<Standing, StoreError> {
    let row = sqlx::query("SELECT seq, key, state, parent FROM runs WHERE id = $1")
        .bind(run.0)
        .fetch_optional(&mut *connection)
        .await?
        .ok_or(JournalError::NotFound(run))?;
    Ok(Standing {
        seq: row.try_get("seq")?,
        key: row.try_get("key")?,
        state: run_state(&row)?,
        parent: row.try_get::<Option<Uuid>, _>("parent")?.map(RunId),
    })
}

/// Asks a run and its children to stop.
pub(super) async fn cancel(
    connection: &mut Connection,
    run: RunId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<((), Effects), StoreError> {
    let standing = standing(connection, run).await?;
    if standing.state.is_final() {
        return Err(JournalError::Illegal(format!("run {run} has already {}", standing.state.as_str())).into());
    }
    Ok(((), request_stop(connection, run, reason, now).await?))
}

/// A run that has not begun ends at once; the others, and their children, are asked.
pub(super) async fn request_stop(
    connection: &mut Connection,
    run: RunId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Effects, StoreError> {
    let mut effects = Effects { events: Vec::new(), ring: true };
    let mut asked = vec![run];
    // Whoever writes the parent of a run may write a circle.
    let mut seen = HashSet::from([run]);
    while let Some(run) = asked.pop() {
        // Two statements, each of which looks at the state itself: it may be claimed in between.
        let dropped = sqlx::query(
            "UPDATE runs SET state = 'cancelled', cancel_reason = $1, finished_at = $2 WHERE id = $3 AND state = 'queued'
             RETURNING key, parent",
        )
        .bind(reason)
        .bind(millis(now))
        .bind(run.0)
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(row) = dropped {
            effects.events.push(RunEvent::State { run, key: row.try_get("key")?, state: RunState::Cancelled });
            if let Some(parent) = row.try_get::<Option<Uuid>, _>("parent")? {
                let end = ChildEnd::Cancelled(reason.to_owned());
                effects = effects.and(signals::tell_parent(connection, RunId(parent), run, &end, now).await?);
            }
        }
        // A parked run is woken so that it sees the request and cleans up.
        let stopping = sqlx::query(
            "UPDATE runs SET cancel_reason = coalesce(cancel_reason, $1),
                             wake_at = CASE state WHEN 'waiting' THEN $2 ELSE wake_at END
             WHERE id = $3 AND state IN ('running', 'waiting') RETURNING cancel_reason",
        )
        .bind(reason)
        .bind(millis(now))
        .bind(run.0)
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(row) = stopping {
            effects.events.push(RunEvent::CancelRequested { run, reason: row.try_get("cancel_reason")? });
        }
        let children: Vec<Uuid> =
            sqlx::query_scalar("SELECT id FROM runs WHERE parent = $1 AND state IN ('queued', 'running', 'waiting')")
                .bind(run.0)
                .fetch_all(&mut *connection)
                .await?;
        asked.extend(children.into_iter().map(RunId).filter(|child| seen.insert(*child)));
    }
    Ok(effects)
}

/// Ends a run whatever its worker does.
pub(super) async fn force_stop(
    connection: &mut Connection,
    run: RunId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<((), Effects), StoreError> {
    let standing = standing(connection, run).await?;
    // The raised epoch is what keeps the worker from recording anything.
    let row = sqlx::query(
        "UPDATE runs SET state = 'cancelled', epoch = epoch + 1, cancel_reason = $1, finished_at = $2, wake_at = NULL,
                         lease_until = NULL, wait_reason = NULL
         WHERE seq = $3 AND state IN ('queued', 'running', 'waiting') RETURNING open",
    )
    .bind(reason)
    .bind(millis(now))
    .bind(standing.seq)
    .fetch_optional(&mut *connection)
    .await?
    .ok_or_else(|| JournalError::Illegal(format!("run {run} has already ended")))?;
    let open: Vec<OpenStep> = json(row.try_get("open")?)?;
    let cut_off: Vec<_> =
        open.into_iter().map(|open| seatrial_engine::FinishedAttempt::interrupted(open, now)).collect();
    if !cut_off.is_empty() {
        let rows: Vec<_> = cut_off.iter().map(|attempt| (standing.seq, attempt)).collect();
        batch::insert_attempts(connection, &rows).await?;
        sqlx::query("UPDATE runs SET open = '[]' WHERE seq = $1").bind(standing.seq).execute(&mut *connection).await?;
    }
    let mut effects = Effects {
        events: vec![RunEvent::Stopped { run }, RunEvent::State { run, key: standing.key, state: RunState::Cancelled }],
        ring: true,
    };
    if let Some(parent) = standing.parent {
        let end = ChildEnd::Cancelled(reason.to_owned());
        effects = effects.and(signals::tell_parent(connection, parent, run, &end, now).await?);
    }
    // What it started goes on without it only if it is asked to stop as well.
    effects = effects.and(request_stop(connection, run, reason, now).await?);
    Ok(((), effects))
}

/// Lets an ended run go on from a step, or from its first failed one.
pub(super) async fn retry(
    connection: &mut Connection,
    run: RunId,
    from: Option<&StepKey>,
) -> Result<((), Effects), StoreError> {
    let standing = standing(connection, run).await?;
    if let Some(key) = &standing.key {
        db::lock_key(connection, key).await?;
        let newer: Option<Uuid> =
            sqlx::query_scalar("SELECT id FROM runs WHERE key = $1 AND seq > $2 ORDER BY seq DESC LIMIT 1")
                .bind(key)
                .bind(standing.seq)
                .fetch_optional(&mut *connection)
                .await?;
        if let Some(newer) = newer {
            return Err(JournalError::Illegal(format!(
                "run {run} is not the newest of {key}: retry run {newer}, or start a new one"
            ))
            .into());
        }
    }
    let position = match from {
        Some(step) => Some(position_of(connection, run, standing.seq, step).await?),
        None => first_failed(connection, standing.seq).await?,
    };
    let lost = lost_children(connection, run).await?;
    let position = match (position, from) {
        // It failed with a child: that one is what to begin again with.
        (None, None) => last_start(connection, standing.seq, &lost).await?,
        (position, _) => position,
    };
    // All from there on is run again; attempts stay as they were.
    if let Some(position) = position {
        sqlx::query("UPDATE attempts SET discarded = TRUE WHERE run = $1 AND position >= $2")
            .bind(standing.seq)
            .bind(position)
            .execute(&mut *connection)
            .await?;
    }
    discard_starts(connection, standing.seq, &lost).await?;
    let allowed = if from.is_some() { "('failed', 'cancelled', 'succeeded')" } else { "('failed', 'cancelled')" };
    let moved = sqlx::query(sqlx::AssertSqlSafe(format!(
        "UPDATE runs SET state = 'queued', output = NULL, failure = NULL, cancel_reason = NULL, finished_at = NULL
         WHERE seq = $1 AND state IN {allowed}"
    )))
    .bind(standing.seq)
    .execute(connection)
    .await?
    .rows_affected();
    if moved == 0 {
        return Err(JournalError::Illegal(format!(
            "run {run} is {}: only a failed or cancelled run can be retried",
            standing.state.as_str()
        ))
        .into());
    }
    let event = RunEvent::State { run, key: standing.key, state: RunState::Queued };
    Ok(((), Effects { events: vec![event], ring: true }))
}

async fn first_failed(connection: &mut Connection, seq: i64) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT min(position) FROM attempts
         WHERE run = $1 AND NOT discarded AND outcome IN ('failed', 'cancelled') AND retry_at IS NULL",
    )
    .bind(seq)
    .fetch_one(connection)
    .await?)
}

/// The children of a run that did not succeed, or will not.
async fn lost_children(connection: &mut Connection, run: RunId) -> Result<Vec<RunId>, StoreError> {
    let lost: Vec<Uuid> = sqlx::query_scalar(
        "SELECT id FROM runs
         WHERE parent = $1 AND (state IN ('failed', 'cancelled') OR (state <> 'succeeded' AND cancel_reason IS NOT NULL))",
    )
    .bind(run.0)
    .fetch_all(connection)
    .await?;
    Ok(lost.into_iter().map(RunId).collect())
}

/// What the step that started a child has recorded.
fn start_of(child: RunId) -> Result<String, StoreError> {
    to_json(&child)
}

/// Where the last of these children was started.
async fn last_start(connection: &mut Connection, seq: i64, children: &[RunId]) -> Result<Option<i64>, StoreError> {
    let mut last = None;
    for child in children {
        let position: Option<i64> =
            sqlx::query_scalar("SELECT max(position) FROM attempts WHERE run = $1 AND output = $2 AND NOT discarded")
                .bind(seq)
                .bind(start_of(*child)?)
                .fetch_one(&mut *connection)
                .await?;
        last = last.max(position);
    }
    Ok(last)
}

/// Who still has to wait for one of these children starts another instead.
async fn discard_starts(connection: &mut Connection, seq: i64, children: &[RunId]) -> Result<(), StoreError> {
    for child in children {
        sqlx::query(
            "UPDATE attempts SET discarded = TRUE
             WHERE run = $1 AND output = $2
               AND NOT EXISTS (SELECT 1 FROM attempts w WHERE w.run = $1 AND w.name = $3 AND NOT w.discarded)",
        )
        .bind(seq)
        .bind(start_of(*child)?)
        .bind(child_signal(*child))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn position_of(connection: &mut Connection, run: RunId, seq: i64, step: &StepKey) -> Result<i64, StoreError> {
    let position: Option<i64> = sqlx::query_scalar(
        "SELECT max(position) FROM attempts WHERE run = $1 AND scope = $2 AND name = $3 AND occurrence = $4",
    )
    .bind(seq)
    .bind(&step.scope)
    .bind(&step.name)
    .bind(i64::from(step.occurrence))
    .fetch_one(connection)
    .await?;
    Ok(position.ok_or_else(|| {
        JournalError::Illegal(format!(
            "run {run} has no step {step}: take one from its journal, as it is written there"
        ))
    })?)
}

/// A new run that has already done what the old one did before a step.
pub(super) async fn fork(
    connection: &mut Connection,
    run: RunId,
    fork: &Fork,
    now: DateTime<Utc>,
) -> Result<(Started, Effects), StoreError> {
    let old =
        sqlx::query("SELECT seq, workflow, version, input, key, priority, limit_group, trace FROM runs WHERE id = $1")
            .bind(run.0)
            .fetch_optional(&mut *connection)
            .await?
            .ok_or(JournalError::NotFound(run))?;
    let seq: i64 = old.try_get("seq")?;
    let key: Option<String> = old.try_get("key")?;
    if let Some(key) = &key {
        db::lock_key(connection, key).await?;
    }
    let known: Option<Uuid> = sqlx::query_scalar("SELECT id FROM runs WHERE id = $1")
        .bind(fork.id.0)
        .fetch_optional(&mut *connection)
        .await?;
    if known.is_some() {
        // Asked for again: it must not supersede itself.
        return Ok((Started { id: fork.id, fresh: false }, Effects::none()));
    }
    let position = position_of(connection, run, seq, &fork.from).await?;
    let mut effects = Effects { events: Vec::new(), ring: true };
    if let Some(key) = &key {
        match fork.on_conflict {
            OnConflict::Queue => {}
            OnConflict::Reject => start::refuse_if_taken(connection, key).await?,
            OnConflict::Supersede => effects = effects.and(start::supersede(connection, key, fork.id, now).await?),
        }
    }
    let new = NewRun {
        id: fork.id,
        key: key.clone(),
        on_conflict: fork.on_conflict,
        priority: i32::try_from(old.try_get::<i64, _>("priority")?).unwrap_or_default(),
        group: old.try_get("limit_group")?,
        trace: old.try_get("trace")?,
        ..NewRun::named(
            old.try_get::<String, _>("workflow")?,
            super::rows::unsigned(&old, "version")?,
            json(old.try_get("input")?)?,
        )
    };
    if !start::insert(connection, &new, Some(run), now).await? {
        return Ok((Started { id: fork.id, fresh: false }, Effects::none()));
    }
    sqlx::query(
        "INSERT INTO attempts (run, scope, name, occurrence, attempt, position, started_at, finished_at, outcome, output,
                               failure, retry_at)
         SELECT (SELECT seq FROM runs WHERE id = $1), scope, name, occurrence, attempt, position, started_at, finished_at,
                outcome, output, failure, retry_at
         FROM attempts WHERE run = $2 AND position < $3 AND NOT discarded",
    )
    .bind(fork.id.0)
    .bind(seq)
    .bind(position)
    .execute(&mut *connection)
    .await?;
    take_over_signals(connection, seq, fork.id).await?;
    take_over_children(connection, run, fork).await?;
    effects.events.push(RunEvent::State { run: fork.id, key, state: RunState::Queued });
    Ok((Started { id: fork.id, fresh: true }, effects))
}

/// What was sent to the old run counts as sent to the new one: what that has taken stays taken.
async fn take_over_signals(connection: &mut Connection, old: i64, new: RunId) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO signals (run, number, name, payload, deduplication, sent_at)
         SELECT (SELECT seq FROM runs WHERE id = $1), number, name, payload, deduplication, sent_at
         FROM signals WHERE run = $2",
    )
    .bind(new.0)
    .bind(old)
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE runs SET signalled = (SELECT o.signalled FROM runs o WHERE o.seq = $1) WHERE id = $2")
        .bind(old)
        .bind(new.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// A child tells its end to the run that started it, and to no fork of that: one that is still to
/// be waited for must have ended.
async fn take_over_children(connection: &mut Connection, old: RunId, fork: &Fork) -> Result<(), StoreError> {
    let new = standing(connection, fork.id).await?.seq;
    let lost = lost_children(connection, old).await?;
    discard_starts(connection, new, &lost).await?;
    let open: Vec<Uuid> =
        sqlx::query_scalar("SELECT id FROM runs WHERE parent = $1 AND state IN ('queued', 'running', 'waiting')")
            .bind(old.0)
            .fetch_all(&mut *connection)
            .await?;
    for child in open.into_iter().map(RunId) {
        if last_start(connection, new, &[child]).await?.is_some() {
            return Err(JournalError::Illegal(format!(
                "run {old} has started run {child} before step {}, and that has not ended: wait for its end, or fork from where it was started",
                fork.from
            ))
            .into());
        }
    }
    Ok(())
}
