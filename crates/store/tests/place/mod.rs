//! Databases for tests: both kinds, a new one for each test.

use std::sync::Arc;

use seatrial_engine::Clock;
use seatrial_preview::naming::UrlTemplate;
use seatrial_store::{Store, StoreOptions};
use sqlx::Connection as _;
use tempfile::TempDir;

/// The databases that the engine's promises hold on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum On {
    Sqlite,
    Postgres,
}

/// A test for each database of each `async fn name(on: On)`.
#[allow(unused_macros, reason = "not every test target has tests for each")]
macro_rules! on_each_store {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::place::On::Sqlite).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::place::On::Postgres).await;
            })+
        }
    };
}

/// Where a test's runs live: a file of its own, or a database of its own on the ring's server.
pub enum Place {
    Folder(TempDir),
    Server(String),
}

impl Place {
    pub async fn new(on: On) -> Self {
        match on {
            On::Sqlite => Self::Folder(tempfile::tempdir().unwrap()),
            On::Postgres => {
                let server = std::env::var("SEATRIAL_TEST_POSTGRES").expect(
                    "SEATRIAL_TEST_POSTGRES names no PostgreSQL server: run `cargo xtask test --ring engine`, which starts one",
                );
                let name = format!("t{}", uuid::Uuid::now_v7().simple());
                let mut server_connection = sqlx::PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
                sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
                    .execute(&mut server_connection)
                    .await
                    .unwrap();
                Self::Server(format!("{server}/{name}"))
            }
        }
    }

    pub fn url(&self) -> String {
        match self {
            Self::Folder(folder) => format!("sqlite://{}/runs.db", folder.path().display()),
            Self::Server(url) => url.clone(),
        }
    }

    /// What only somebody with the database in their hands can do.
    #[allow(dead_code, reason = "not every test target does")]
    pub async fn execute(&self, statement: &'static str) {
        match self {
            Self::Folder(_) => {
                let mut connection = sqlx::SqliteConnection::connect(&self.url()).await.unwrap();
                sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
            }
            Self::Server(url) => {
                let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
                sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
            }
        }
    }

    pub async fn open(&self, clock: Arc<dyn Clock>) -> Store {
        open_at(&self.url(), clock).await
    }
}

pub async fn open_at(url: &str, clock: Arc<dyn Clock>) -> Store {
    Store::open(options(url, clock)).await.unwrap()
}

pub fn options(url: &str, clock: Arc<dyn Clock>) -> StoreOptions {
    StoreOptions {
        url: url.to_owned(),
        preview_url: UrlTemplate::parse("http://pr-{number}-{repo}.localhost:8081").unwrap(),
        clock,
    }
}
