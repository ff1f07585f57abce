//! The engine's journal on SQLite.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use seatrial_engine::{
    Bell, ClaimRequest, Claims, Entry, Held, Journal, JournalError, NewRun, Renewal, RunEvent, RunId, RunState, Started,
};
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::open::Store;
use super::rows::millis;
use super::writer::Effects;
use super::{claim, record, start};
use crate::error::StoreError;

#[async_trait]
impl Journal for Store {
    async fn start(&self, run: NewRun) -> Result<Started, JournalError> {
        let now = self.clock.now();
        let started = self.writer.write(move |c| Box::pin(async move { start::start(c, &run, now).await })).await?;
        Ok(started)
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claims, JournalError> {
        let request = request.clone();
        let claims = self.writer.write(move |c| Box::pin(async move { claim::claim(c, &request).await })).await?;
        Ok(claims)
    }

    async fn record(&self, entry: Entry) -> Result<(), JournalError> {
        self.writer.write(move |c| Box::pin(async move { record::record(c, &entry).await })).await?;
        Ok(())
    }

    async fn renew(&self, held: &[Held], until: DateTime<Utc>) -> Result<Vec<Renewal>, JournalError> {
        let held = held.to_vec();
        let renewals = self.writer.write(move |c| Box::pin(async move { renew(c, &held, until).await })).await?;
        Ok(renewals)
    }

    async fn end_leases(&self, worker: &str, except: Option<Uuid>, now: DateTime<Utc>) -> Result<u64, JournalError> {
        let worker = worker.to_owned();
        let ended =
            self.writer.write(move |c| Box::pin(async move { end_leases(c, &worker, except, now).await })).await?;
        Ok(ended)
    }

    async fn cancel(&self, run: RunId, reason: &str, now: DateTime<Utc>) -> Result<(), JournalError> {
        let reason = reason.to_owned();
        self.writer.write(move |c| Box::pin(async move { cancel(c, run, &reason, now).await })).await?;
        Ok(())
    }

    async fn retry(&self, run: RunId) -> Result<(), JournalError> {
        self.writer.write(move |c| Box::pin(async move { retry(c, run).await })).await?;
        Ok(())
    }

    fn bell(&self) -> &Bell {
        &self.bell
    }
}

async fn renew(
    connection: &mut SqliteConnection,
    held: &[Held],
    until: DateTime<Utc>,
) -> Result<(Vec<Renewal>, Effects), StoreError> {
    let mut renewals = Vec::new();
    for held in held {
        let row = sqlx::query(
            "UPDATE runs SET lease_until = ? WHERE id = ? AND epoch = ? AND state = 'running' RETURNING cancel_reason",
        )
        .bind(millis(until))
        .bind(held.run.0)
        .bind(held.epoch.0)
        .fetch_optional(&mut *connection)
        .await?;
        match row {
            None => renewals.push(Renewal::Lost(*held)),
            Some(row) => {
                if let Some(reason) = row.try_get::<Option<String>, _>("cancel_reason")? {
                    renewals.push(Renewal::Cancel(held.run, reason));
                }
            }
        }
    }
    Ok((renewals, Effects::none()))
}

async fn end_leases(
    connection: &mut SqliteConnection,
    worker: &str,
    except: Option<Uuid>,
    now: DateTime<Utc>,
) -> Result<(u64, Effects), StoreError> {
    let ended = sqlx::query(
        "UPDATE runs SET lease_until = ?1
         WHERE state = 'running' AND worker = ?2 AND incarnation IS NOT ?3 AND lease_until > ?1",
    )
    .bind(millis(now))
    .bind(worker)
    .bind(except)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    Ok((ended, Effects { events: Vec::new(), ring: ended > 0 }))
}

/// What [`cancel`] and [`retry`] need to know of a run.
struct Standing {
    seq: i64,
    key: Option<String>,
    state: RunState,
}

async fn standing(connection: &mut SqliteConnection, run: RunId) -> Result<Standing, StoreError> {
    let row = sqlx::query("SELECT seq, key, state FROM runs WHERE id = ?")
        .bind(run.0)
        .fetch_optional(&mut *connection)
        .await?
        .ok_or(JournalError::NotFound(run))?;
    let state: String = row.try_get("state")?;
    let state = RunState::parse(&state)
        .ok_or_else(|| StoreError::Invalid(format!("run {run} is in a state this program does not know: {state}")))?;
    Ok(Standing { seq: row.try_get("seq")?, key: row.try_get("key")?, state })
}

async fn cancel(
    connection: &mut SqliteConnection,
    run: RunId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<((), Effects), StoreError> {
    let standing = standing(connection, run).await?;
    let effects = match standing.state {
        RunState::Queued => {
            sqlx::query("UPDATE runs SET state = 'cancelled', cancel_reason = ?, finished_at = ? WHERE seq = ?")
                .bind(reason)
                .bind(millis(now))
                .bind(standing.seq)
                .execute(&mut *connection)
                .await?;
            let event = RunEvent::State { run, key: standing.key, state: RunState::Cancelled };
            Effects { events: vec![event], ring: true }
        }
        RunState::Running | RunState::Waiting => {
            sqlx::query(
                "UPDATE runs SET cancel_reason = coalesce(cancel_reason, ?1),
                                 wake_at = CASE state WHEN 'waiting' THEN ?2 ELSE wake_at END WHERE seq = ?3",
            )
            .bind(reason)
            .bind(millis(now))
            .bind(standing.seq)
            .execute(&mut *connection)
            .await?;
            let event = RunEvent::CancelRequested { run, reason: reason.to_owned() };
            Effects { events: vec![event], ring: true }
        }
        ended => {
            return Err(JournalError::Illegal(format!("run {run} has already {}", ended.as_str())).into());
        }
    };
    Ok(((), effects))
}

async fn retry(connection: &mut SqliteConnection, run: RunId) -> Result<((), Effects), StoreError> {
    let standing = standing(connection, run).await?;
    if !matches!(standing.state, RunState::Failed | RunState::Cancelled) {
        return Err(JournalError::Illegal(format!(
            "run {run} is {}: only a failed or cancelled run can be retried",
            standing.state.as_str()
        ))
        .into());
    }
    if let Some(key) = &standing.key {
        let newer: Option<Uuid> =
            sqlx::query_scalar("SELECT id FROM runs WHERE key = ? AND seq > ? ORDER BY seq DESC LIMIT 1")
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
    // All from the first failed step on is run again; attempts stay as they were.
    sqlx::query(
        "UPDATE steps SET status = 'pending', failures = 0, retry_at = NULL, output = NULL, failure = NULL
         WHERE run = ?1 AND position >= (SELECT min(position) FROM steps WHERE run = ?1 AND status = 'failed')",
    )
    .bind(standing.seq)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE runs SET state = 'queued', failure = NULL, cancel_reason = NULL, finished_at = NULL WHERE seq = ?",
    )
    .bind(standing.seq)
    .execute(&mut *connection)
    .await?;
    let event = RunEvent::State { run, key: standing.key, state: RunState::Queued };
    Ok(((), Effects { events: vec![event], ring: true }))
}
