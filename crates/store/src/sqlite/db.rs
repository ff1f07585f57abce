//! What the shared queries are compiled with.

use sqlx::SqliteConnection;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use crate::error::StoreError;

pub(crate) type Connection = SqliteConnection;
pub(crate) type Row = SqliteRow;
pub(crate) type Pool = SqlitePool;

/// One connection writes: what it reads cannot change under it.
pub(crate) const FOR_UPDATE: &str = "";

/// A list to be bound for `one_of!`.
pub(crate) fn texts(list: &[String]) -> String {
    serde_json::Value::from(list).to_string()
}

/// A list to be bound for `one_of!`.
pub(crate) fn numbers(list: &[i64]) -> String {
    serde_json::Value::from(list).to_string()
}

/// Starts of one key come one after another; with one writer they do anyhow.
pub(crate) async fn lock_key(_: &mut Connection, _: &str) -> Result<(), StoreError> {
    Ok(())
}

/// Claims that count what is running come one after another; with one writer they do anyhow.
pub(crate) async fn lock_claims(_: &mut Connection) -> Result<(), StoreError> {
    Ok(())
}
