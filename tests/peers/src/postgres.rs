//! Whether a PostgreSQL keeps its commits through a power cut.

use anyhow::{Context, Result, bail};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

const SETTINGS: &str =
    "SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes')";

/// Says the settings that a connection of this pool has; an error when they are not power-safe.
pub async fn power_safe(pool: &PgPool) -> Result<String> {
    let (fsync, commit, pages): (String, String, String) =
        sqlx::query_as(SETTINGS).fetch_one(pool).await.context("cannot read PostgreSQL's settings")?;
    let said = format!("fsync={fsync}, synchronous_commit={commit}, full_page_writes={pages}");
    if [fsync, commit, pages].iter().any(|setting| setting != "on") {
        bail!("PostgreSQL is not power-safe: {said}");
    }
    Ok(said)
}

/// A pool for one question, for a library that does not hand out its own.
pub async fn aside(url: &str) -> Result<PgPool> {
    PgPoolOptions::new().max_connections(1).connect(url).await.context("cannot connect to PostgreSQL")
}
