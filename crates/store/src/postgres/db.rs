//! What the shared queries are compiled with.

use sqlx::PgConnection;
use sqlx::postgres::{PgPool, PgRow};

use crate::error::StoreError;

pub(crate) type Connection = PgConnection;
pub(crate) type Row = PgRow;
pub(crate) type Pool = PgPool;

/// Rows that another worker is about to take are left to it.
pub(crate) const FOR_UPDATE: &str = " FOR UPDATE OF r SKIP LOCKED";

/// A list to be bound for `one_of!`.
pub(crate) fn texts(list: &[String]) -> Vec<String> {
    list.to_vec()
}

/// A list to be bound for `one_of!`.
pub(crate) fn numbers(list: &[i64]) -> Vec<i64> {
    list.to_vec()
}

/// Distinguishes our advisory locks from those of others in the database.
const KEYS: i32 = 0x5ea7;
const CLAIMS: i64 = 0x5ea7_c1a1;

/// Starts of one key come one after another, so that the newest is the one with the greatest
/// `seq`. Held to the end of the transaction.
pub(crate) async fn lock_key(connection: &mut Connection, key: &str) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1, hashtext($2))").bind(KEYS).bind(key).execute(connection).await?;
    Ok(())
}

/// Claims that count what is running come one after another. Held to the end of the transaction.
pub(crate) async fn lock_claims(connection: &mut Connection) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(CLAIMS).execute(connection).await?;
    Ok(())
}
