//! Between rows and types.

use chrono::{DateTime, Utc};
use seatrial_engine::history::KeptAttempt;
use seatrial_engine::{AttemptOutcome, FinishedAttempt, RunState, StepKey};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;

use super::db::Row;
use crate::error::StoreError;

pub(super) fn millis(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis()
}

/// A time column; one out of chrono's range is an error, not the epoch.
pub(super) fn time(row: &Row, column: &str) -> Result<DateTime<Utc>, StoreError> {
    from_millis(row.try_get(column)?)
}

pub(super) fn optional_time(row: &Row, column: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
    row.try_get::<Option<i64>, _>(column)?.map(from_millis).transpose()
}

pub(super) fn from_millis(millis: i64) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp_millis(millis)
        .ok_or_else(|| StoreError::Invalid(format!("{millis} is not a time in milliseconds")))
}

pub(super) fn json<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text)
        .map_err(|e| StoreError::Invalid(format!("a JSON column cannot be read by this version of the program: {e}")))
}

pub(super) fn optional_json<T: DeserializeOwned>(row: &Row, column: &str) -> Result<Option<T>, StoreError> {
    row.try_get::<Option<String>, _>(column)?.map(|text| json(&text)).transpose()
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Invalid(format!("a value cannot be written as JSON: {e}")))
}

/// Text from outside: PostgreSQL keeps no NUL, and nobody writes one in good faith.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A text column that holds a checked type.
pub(super) fn parsed<T>(row: &Row, column: &str) -> Result<T, StoreError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let text: String = row.try_get(column)?;
    text.parse().map_err(|e| StoreError::Invalid(format!("column {column} holds {text:?}: {e}")))
}

pub(super) fn unsigned<T: TryFrom<i64>>(row: &Row, column: &str) -> Result<T, StoreError> {
    let number: i64 = row.try_get(column)?;
    T::try_from(number).map_err(|_| StoreError::Invalid(format!("column {column} holds {number}, out of its range")))
}

pub(super) fn run_state(row: &Row) -> Result<RunState, StoreError> {
    let text: &str = row.try_get("state")?;
    RunState::parse(text).ok_or_else(|| StoreError::Invalid(format!("{text:?} is not a run's state")))
}

/// An attempt, its times and failure under names that no other table of a join has.
pub(super) fn kept_attempt(row: &Row) -> Result<KeptAttempt, StoreError> {
    let outcome: &str = row.try_get("outcome")?;
    let attempt = FinishedAttempt {
        key: StepKey {
            scope: row.try_get("scope")?,
            name: row.try_get("name")?,
            occurrence: unsigned(row, "occurrence")?,
        },
        position: unsigned(row, "position")?,
        attempt: unsigned(row, "attempt")?,
        started_at: time(row, "began_at")?,
        finished_at: time(row, "ended_at")?,
        outcome: AttemptOutcome::parse(outcome)
            .ok_or_else(|| StoreError::Invalid(format!("{outcome:?} is not an attempt's outcome")))?,
        output: optional_json(row, "output")?,
        failure: optional_json(row, "why")?,
        retry_at: optional_time(row, "retry_at")?,
    };
    Ok(KeptAttempt { attempt, discarded: row.try_get("discarded")? })
}

/// A pattern for `lower(...) LIKE ... ESCAPE '!'` that finds `text` anywhere.
pub(super) fn like(text: &str) -> String {
    let escaped = text.to_lowercase().replace('!', "!!").replace('%', "!%").replace('_', "!_");
    format!("%{escaped}%")
}
