use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use seatrial_engine::{Bell, Clock};
use seatrial_preview::naming::UrlTemplate;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgPool};

use super::notify::Notifier;
use super::writer::Writer;
use crate::database::StoreOptions;
use crate::error::StoreError;

/// The store on PostgreSQL.
pub(crate) struct Db {
    pub(super) writer: Writer,
    pub(super) readers: PgPool,
    pub(super) bell: Arc<Bell>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) preview_url: UrlTemplate,
}

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/postgres");

/// Writes reach their rows by an index. What the planner believes of a queue that changes every
/// millisecond is always old, and a plan made for an empty table is kept for a full one.
const BY_INDEX: [(&str, &str); 4] =
    [("enable_seqscan", "off"), ("enable_bitmapscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off")];

const TRUSTED_FOR: Duration = Duration::from_secs(1);

impl Db {
    /// Connects and brings the tables up to date; processes that start at the same time take turns.
    pub(crate) async fn open(options: StoreOptions) -> Result<Self, StoreError> {
        // The URL is not shown: it may hold a password.
        let connect = PgConnectOptions::from_str(&options.url)
            .map_err(|_| {
                StoreError::Invalid(
                    "the database URL cannot be read: write it as postgres://USER:PASSWORD@HOST/DATABASE".to_owned(),
                )
            })?
            .application_name("seatrial")
            // A commit that is answered is on disk, whatever the server's default is. And a process
            // that stops or is cut off in the middle of a transaction would hold the rows it has
            // locked, and all that wait for them, as long as its connection lives.
            .options([("synchronous_commit", "on"), ("idle_in_transaction_session_timeout", "5s")]);
        let place = format!("{}:{}", connect.get_host(), connect.get_port());
        let pool = connections().connect_with(connect.clone()).await.map_err(|e| {
            StoreError::Unavailable(format!(
                "PostgreSQL at {place} cannot be reached: {e}; check the database URL and that the server runs"
            ))
        })?;
        let writers = connections().connect_lazy_with(connect.options(BY_INDEX));
        check_power_safety(&pool).await?;
        MIGRATIONS.run(&pool).await.map_err(|e| {
            StoreError::Invalid(format!(
                "the tables of PostgreSQL at {place} cannot be brought up to date: {e}; use the program version that wrote them, or restore a backup"
            ))
        })?;
        let bell = Arc::new(Bell::default());
        let notifier = Notifier::spawn(pool.clone(), bell.clone());
        Ok(Self {
            writer: Writer::spawn(writers, bell.clone(), notifier),
            readers: pool,
            bell,
            clock: options.clock,
            preview_url: options.preview_url,
        })
    }

    pub(super) async fn answers(&self) -> Result<(), StoreError> {
        if !self.writer.is_alive() {
            return Err(StoreError::Unavailable("nothing can be written any more; restart the program".to_owned()));
        }
        sqlx::query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }
}

/// A connection that nobody has used for a while may have been cut, and is tried before it is used.
/// Trying each one each time would double the round trips of a write.
fn connections() -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(10))
        .test_before_acquire(false)
        .before_acquire(|connection, known| {
            Box::pin(async move {
                if known.idle_for > TRUSTED_FOR {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
}

async fn check_power_safety(pool: &PgPool) -> Result<(), StoreError> {
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        let value: String = sqlx::query_scalar("SELECT current_setting($1)").bind(setting).fetch_one(pool).await?;
        // Of synchronous_commit, local too is on disk here; the others are stronger than on.
        if value == "off" {
            return Err(StoreError::Invalid(format!(
                "the database is not power-safe: {setting} is {value}; set it to on"
            )));
        }
    }
    Ok(())
}
