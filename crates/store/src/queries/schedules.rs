//! Runs that are started by the clock.

use chrono::{DateTime, TimeDelta, Utc};
use seatrial_engine::{JournalError, NewRun, RunId, Tick};
use tracing::info;

use super::db::Connection;
use super::rows::{millis, time};
use super::start;
use crate::effects::Effects;
use crate::error::StoreError;

/// Starts what is due and says when the schedule ticks next. The schedule's row is locked by the
/// first statement, and each tick has a deduplication id: one run a tick, whoever asks.
pub(super) async fn tick(
    connection: &mut Connection,
    schedule: &Tick,
    now: DateTime<Utc>,
) -> Result<(DateTime<Utc>, Effects), StoreError> {
    let row = sqlx::query(
        "INSERT INTO schedules (name, cron, looked_at) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET cron = excluded.cron RETURNING looked_at",
    )
    .bind(&schedule.name)
    .bind(schedule.cron.as_str())
    // A new schedule ticks from now on; a tick of this very millisecond counts.
    .bind(millis(now) - 1)
    .fetch_one(&mut *connection)
    .await?;
    let looked_at = time(&row, "looked_at")?;
    let mut effects = Effects::none();
    for at in schedule.cron.due(looked_at, now, schedule.missed) {
        let run = NewRun { id: RunId::new(), ..schedule.run.clone() }.deduplication(format!(
            "schedule/{}/{}",
            schedule.name,
            at.timestamp()
        ));
        match start::start(connection, &run, now).await {
            Ok((_, told)) => effects = effects.and(told),
            Err(StoreError::Journal(taken @ JournalError::KeyTaken { .. })) => {
                info!(schedule = schedule.name, %at, reason = %taken, "a tick is skipped");
            }
            Err(e) => return Err(e),
        }
    }
    sqlx::query("UPDATE schedules SET looked_at = $1 WHERE name = $2 AND looked_at < $1")
        .bind(millis(now))
        .bind(&schedule.name)
        .execute(connection)
        .await?;
    // An expression without a next tick is asked about once a day.
    Ok((schedule.cron.after(now).unwrap_or(now + TimeDelta::days(1)), effects))
}
