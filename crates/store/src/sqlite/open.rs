use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use seatrial_engine::{Bell, Clock};
use seatrial_preview::naming::UrlTemplate;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _};
use tokio::time::{Instant, sleep};

use super::db::Connection;
use super::many::MOST;
use super::writer::Writer;
use crate::database::StoreOptions;
use crate::error::StoreError;

/// The store on SQLite.
pub(crate) struct Db {
    pub(super) writer: Writer,
    pub(super) readers: SqlitePool,
    pub(super) bell: Arc<Bell>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) preview_url: UrlTemplate,
}

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// `SQLITE_BUSY`.
const BUSY: &str = "5";

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/sqlite");

impl Db {
    /// Opens the database, makes it if it is not there, and brings its tables up to date.
    pub(crate) async fn open(options: StoreOptions) -> Result<Self, StoreError> {
        let connect = connect_options(&options.url)?;
        let mut connection = connect_in_turn(&connect).await.map_err(|e| {
            StoreError::Unavailable(format!(
                "{} cannot be opened: {e}; check that its folder exists and is writable",
                options.url
            ))
        })?;
        check_power_safety(&mut connection).await?;
        migrate(&mut connection).await.map_err(|e| {
            StoreError::Invalid(format!(
                "the tables of {} cannot be brought up to date: {e}; restore the file from a backup, or use the program version that wrote it",
                options.url
            ))
        })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(connect.clone().read_only(true))
            .await?;
        let bell = Arc::new(Bell::default());
        Ok(Self {
            writer: Writer::spawn(connection, connect, bell.clone()),
            readers,
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

/// Who opens a new file first makes it WAL and has it for itself meanwhile. SQLite answers the others
/// at once that it is locked: for this its busy timeout does not count.
async fn connect_in_turn(options: &SqliteConnectOptions) -> Result<Connection, sqlx::Error> {
    let until = Instant::now() + BUSY_TIMEOUT;
    loop {
        match options.connect().await {
            Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some(BUSY) && Instant::now() < until => {
                sleep(BUSY_TIMEOUT / 100).await;
            }
            other => return other,
        }
    }
}

fn connect_options(url: &str) -> Result<SqliteConnectOptions, StoreError> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|e| StoreError::Invalid(format!("{url:?} is not a database URL: {e}; write it as sqlite://FILE")))?;
    Ok(options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        // As many rows as one write returns, so that its thread does not stop for the reader.
        .row_buffer_size(MOST)
        .statement_cache_capacity(256))
}

/// All in one transaction that holds the write lock from its beginning: of several programs that
/// start at once, one migrates and the others find it done.
async fn migrate(connection: &mut Connection) -> Result<(), sqlx::migrate::MigrateError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    MIGRATIONS.run(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// SQLite takes any word for these settings and says nothing: read them back.
async fn check_power_safety(connection: &mut Connection) -> Result<(), StoreError> {
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *connection).await?;
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await?;
    if synchronous != 2 || !journal.eq_ignore_ascii_case("wal") {
        return Err(StoreError::Invalid(format!(
            "the database is not power-safe (journal_mode {journal}, synchronous {synchronous}): it must be a file on a file system that supports WAL"
        )));
    }
    connection.ping().await?;
    Ok(())
}
