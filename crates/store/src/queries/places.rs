//! Places for previews: how many there may be at once, and who waits for one.

use std::time::Duration;

use chrono::{DateTime, Utc};
use seatrial_engine::{JournalError, NewSignal, RunId};
use seatrial_preview::EnvironmentId;
use seatrial_preview::life::{Capacity, HeldBy, Place};
use seatrial_preview::ports::ROOM;
use sqlx::Row as _;
use uuid::Uuid;

use super::db::{self, Connection, Row};
use super::rows::{millis, unsigned};
use super::signals;
use crate::effects::Effects;
use crate::error::StoreError;

/// Askers are one after another, so that the last place is given once.
const LOCK: &str = "places";
/// So many of those that wait are told of a place: the first may be held up by a limit of its own.
const TOLD: i64 = 20;
/// By so many places that came free, in so much time, the wait is judged.
const JUDGED_BY: i64 = 20;
const JUDGED_SINCE: Duration = Duration::from_secs(86_400);

/// See `Environments::reserve`.
pub(super) async fn reserve(
    connection: &mut Connection,
    environment: EnvironmentId,
    capacity: Capacity,
    now: DateTime<Utc>,
) -> Result<(Place, Effects), StoreError> {
    db::lock_key(connection, LOCK).await?;
    let own = sqlx::query(
        "SELECT e.repository, e.place, e.place_since, p.max_previews FROM environments e
         LEFT JOIN projects p ON p.repository = e.repository WHERE e.id = $1",
    )
    .bind(environment.0)
    .fetch_optional(&mut *connection)
    .await?
    .ok_or_else(|| StoreError::Invalid(format!("environment {environment} does not exist")))?;
    let has = own.try_get::<Option<&str>, _>("place")?;
    if has == Some("taken") {
        return Ok((Place::Taken, Effects::none()));
    }
    let waited = has == Some("waiting");
    let repository: String = own.try_get("repository")?;
    let since = own.try_get::<Option<i64>, _>("place_since")?.unwrap_or(millis(now));
    let own_limit = limit(&own)?.or(capacity.repository);
    let line = Line::read(connection, environment, since).await?;
    let held_up = line.held_up(&repository, own_limit, capacity);
    let place = if held_up.is_none() { "taken" } else { "waiting" };
    sqlx::query("UPDATE environments SET place = $1, place_since = $2 WHERE id = $3")
        .bind(place)
        .bind(since)
        .bind(environment.0)
        .execute(&mut *connection)
        .await?;
    match held_up {
        // Those behind it move up, and people are told.
        None if waited => Ok((Place::Taken, tell_waiting(connection, now).await?)),
        None => Ok((Place::Taken, Effects::none())),
        Some((held_by, ahead)) => {
            let position = ahead + 1;
            let place = Place::Waiting { position, wait: judge_wait(connection, position, now).await?, held_by };
            Ok((place, Effects::none()))
        }
    }
}

/// What stands between an environment and its place, by repository.
struct Line(Vec<Standing>);

struct Standing {
    repository: String,
    taken: u32,
    /// Who came earlier and waits still.
    ahead: u32,
    /// What its project allows.
    limit: Option<u32>,
}

/// A project's own limit.
fn limit(row: &Row) -> Result<Option<u32>, StoreError> {
    let limit: Option<i64> = row.try_get("max_previews")?;
    Ok(limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)))
}

impl Line {
    /// Who waits without a run does not wait any more.
    async fn read(connection: &mut Connection, environment: EnvironmentId, since: i64) -> Result<Self, StoreError> {
        let rows = sqlx::query(
            "SELECT e.repository, p.max_previews, count(CASE WHEN e.place = 'taken' THEN 1 END) AS taken,
                    count(CASE WHEN e.place = 'waiting' AND (e.place_since, e.id) < ($1, $2) THEN 1 END) AS ahead
             FROM environments e LEFT JOIN projects p ON p.repository = e.repository
             WHERE e.id <> $2 AND (e.place = 'taken' OR (e.place = 'waiting' AND EXISTS (
                 SELECT 1 FROM runs r WHERE r.key = e.repository || '#' || e.number
                                        AND r.state IN ('queued', 'running', 'waiting'))))
             GROUP BY e.repository, p.max_previews",
        )
        .bind(since)
        .bind(environment.0)
        .fetch_all(connection)
        .await?;
        let standing = rows.iter().map(|row| {
            Ok(Standing {
                repository: row.try_get("repository")?,
                taken: unsigned(row, "taken")?,
                ahead: unsigned(row, "ahead")?,
                limit: limit(row)?,
            })
        });
        Ok(Self(standing.collect::<Result<_, StoreError>>()?))
    }

    /// Which limit holds up the next one of `repository`, which has a limit of its own, and how many
    /// come before it.
    fn held_up(&self, repository: &str, own_limit: Option<u32>, capacity: Capacity) -> Option<(HeldBy, u32)> {
        // Of those that wait for their own repository's limit, as many as it has room for.
        let room = |limit: Option<u32>, taken: u32| limit.map_or(u32::MAX, |most| most.saturating_sub(taken));
        let own = self.0.iter().find(|one| one.repository == repository);
        let (own_taken, own_ahead) = own.map_or((0, 0), |own| (own.taken, own.ahead));
        if own_ahead >= room(own_limit, own_taken) {
            return Some((HeldBy::Repository, own_ahead));
        }
        let taken: u32 = self.0.iter().map(|one| one.taken).sum();
        let ahead: u32 =
            self.0.iter().map(|one| one.ahead.min(room(one.limit.or(capacity.repository), one.taken))).sum();
        capacity.cluster.filter(|most| taken + ahead >= *most).map(|_| (HeldBy::Cluster, ahead))
    }
}

/// By how often places came free lately; nothing is guessed from fewer than three.
async fn judge_wait(
    connection: &mut Connection,
    position: u32,
    now: DateTime<Utc>,
) -> Result<Option<Duration>, StoreError> {
    let freed: Vec<i64> =
        sqlx::query_scalar("SELECT freed_at FROM environments WHERE freed_at > $1 ORDER BY freed_at DESC LIMIT $2")
            .bind(millis(now - JUDGED_SINCE))
            .bind(JUDGED_BY)
            .fetch_all(connection)
            .await?;
    let (Some(oldest), true) = (freed.last(), freed.len() >= 3) else { return Ok(None) };
    let each = (millis(now) - oldest).unsigned_abs() / freed.len() as u64;
    Ok(Some(Duration::from_millis(each * u64::from(position))))
}

/// The environment gives its place back, and those that wait are told.
pub(super) async fn release(
    connection: &mut Connection,
    environment: EnvironmentId,
    now: DateTime<Utc>,
) -> Result<Effects, StoreError> {
    db::lock_key(connection, LOCK).await?;
    let freed = sqlx::query(
        "UPDATE environments SET freed_at = CASE WHEN place = 'taken' THEN $1 ELSE freed_at END, place = NULL,
                                 place_since = NULL
         WHERE id = $2 AND place IS NOT NULL",
    )
    .bind(millis(now))
    .bind(environment.0)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if freed == 0 {
        return Ok(Effects::none());
    }
    tell_waiting(connection, now).await
}

/// The environment waits no longer: those behind it move up. One that has a place keeps it, with
/// what it has in the cluster.
pub(super) async fn leave_line(
    connection: &mut Connection,
    environment: EnvironmentId,
    now: DateTime<Utc>,
) -> Result<Effects, StoreError> {
    let left =
        sqlx::query("UPDATE environments SET place = NULL, place_since = NULL WHERE id = $1 AND place = 'waiting'")
            .bind(environment.0)
            .execute(&mut *connection)
            .await?
            .rows_affected();
    if left == 0 {
        return Ok(Effects::none());
    }
    tell_waiting(connection, now).await
}

/// Tells those that wait to look again.
async fn tell_waiting(connection: &mut Connection, now: DateTime<Utc>) -> Result<Effects, StoreError> {
    let mut effects = Effects::none();
    let waiting: Vec<Uuid> = sqlx::query_scalar(
        "SELECT r.id FROM environments e JOIN runs r ON r.key = e.repository || '#' || e.number
         WHERE e.place = 'waiting' AND r.state IN ('running', 'waiting') ORDER BY e.place_since, e.id LIMIT $1",
    )
    .bind(TOLD)
    .fetch_all(&mut *connection)
    .await?;
    for run in waiting {
        let room = NewSignal { name: ROOM.to_owned(), payload: serde_json::Value::Null, deduplication: None };
        match signals::signal(connection, RunId(run), &room, now).await {
            Ok(((), told)) => effects = effects.and(told),
            // It ends at this very moment.
            Err(StoreError::Journal(JournalError::Illegal(_) | JournalError::NotFound(_))) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(effects)
}
