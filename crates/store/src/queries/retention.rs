//! Deleting finished runs.

use chrono::{DateTime, Utc};
use seatrial_engine::Retention;

use super::db::{self, Connection, Pool};
use super::rows::millis;
use crate::effects::Effects;
use crate::error::StoreError;

/// The oldest finished runs beyond the retention. Kept are those whose parent or child has not
/// ended, and the newest run of each key: how that which the key names has fared is read from it.
const BEYOND: &str = "
        SELECT r.seq FROM runs r
        WHERE r.state IN ('succeeded', 'failed', 'cancelled')
          AND (r.finished_at < $1 OR r.seq <= coalesce((
                  SELECT n.seq FROM runs n WHERE n.state IN ('succeeded', 'failed', 'cancelled')
                  ORDER BY n.seq DESC LIMIT 1 OFFSET $2), 0))
          AND NOT EXISTS (SELECT 1 FROM runs p WHERE p.id = r.parent AND p.state IN ('queued', 'running', 'waiting'))
          AND NOT EXISTS (SELECT 1 FROM runs c WHERE c.parent = r.id AND c.state IN ('queued', 'running', 'waiting'))
          AND (r.key IS NULL OR r.seq < (SELECT max(k.seq) FROM runs k WHERE k.key = r.key))
        ORDER BY r.seq LIMIT $3";

/// Chosen by a reader, so that no write waits for the search.
pub(super) async fn beyond(
    readers: &Pool,
    retention: &Retention,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<i64>, StoreError> {
    let age = chrono::TimeDelta::from_std(retention.age).unwrap_or(chrono::TimeDelta::MAX);
    Ok(sqlx::query_scalar(BEYOND)
        .bind(now.checked_sub_signed(age).map_or(i64::MIN, millis))
        .bind(i64::from(retention.runs))
        .bind(i64::from(limit))
        .fetch_all(readers)
        .await?)
}

/// Deletes those of the runs that still may be deleted: one may have been retried since it was
/// chosen, or its parent. Its attempts stay with it.
pub(super) async fn delete(connection: &mut Connection, runs: &[i64]) -> Result<(u64, Effects), StoreError> {
    let pruned: Vec<i64> = sqlx::query_scalar(concat!(
        "DELETE FROM runs AS r WHERE r.seq ",
        one_of!("$1"),
        " AND r.state IN ('succeeded', 'failed', 'cancelled')
          AND NOT EXISTS (SELECT 1 FROM runs p WHERE p.id = r.parent AND p.state IN ('queued', 'running', 'waiting'))
          AND NOT EXISTS (SELECT 1 FROM runs c WHERE c.parent = r.id AND c.state IN ('queued', 'running', 'waiting'))
         RETURNING seq"
    ))
    .bind(db::numbers(runs))
    .fetch_all(&mut *connection)
    .await?;
    sqlx::query(concat!("DELETE FROM attempts WHERE run ", one_of!("$1")))
        .bind(db::numbers(&pruned))
        .execute(connection)
        .await?;
    Ok((pruned.len() as u64, Effects::none()))
}
