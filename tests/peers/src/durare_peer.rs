//! `durare`: an engine within the process, on SQLite or PostgreSQL.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use durare::{
    DurableContext, DurableEngine, Error, ListFilter, PostgresProvider, STATUS_DELAYED, STATUS_ENQUEUED,
    STATUS_PENDING, STATUS_SUCCESS, SqliteProvider, StateProvider, WorkflowOptions,
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::{APP_VERSION, Job, LONG_WORKFLOW, Opening, Peer, Run, SHORT_WORKFLOW, STEPS, Standing, Store, postgres};

/// The sizes that `connect` of durare's providers chooses.
const SQLITE_POOL: u32 = 5;
const POSTGRES_POOL: u32 = 8;
/// The schema that `PostgresProvider::connect` chooses.
const SCHEMA: &str = "dbos";

pub struct DurarePeer {
    engine: DurableEngine,
    durability: String,
}

impl Peer for DurarePeer {
    async fn open(opening: Opening) -> Result<Self> {
        let (provider, durability) = match opening.store {
            Store::Sqlite => sqlite(&opening.url, opening.pool.unwrap_or(SQLITE_POOL)).await?,
            Store::Postgres => postgres(&opening.url, opening.pool.unwrap_or(POSTGRES_POOL)).await?,
        };
        let log = opening.log;
        let mut builder = DurableEngine::builder(provider);
        builder.app_version(APP_VERSION).executor_id(opening.name).register(SHORT_WORKFLOW, five_steps).register(
            LONG_WORKFLOW,
            move |context: DurableContext, job: Job| {
                let log = log.clone();
                async move {
                    for step in 0..job.steps {
                        let (log, id) = (log.clone(), context.workflow_id().to_owned());
                        let body = async move {
                            log.sleep_and_tell(&id, step, job.step_ms).await;
                            Ok::<_, Error>(())
                        };
                        context.step("slow", move || body).await?;
                    }
                    Ok::<_, Error>(())
                }
            },
        );
        let engine = builder.build().await.context("durare does not start")?;
        Ok(Self { engine, durability })
    }

    fn durability(&self) -> &str {
        &self.durability
    }

    async fn run(&self) -> Result<Run> {
        let handle = self.engine.start::<_, ()>(SHORT_WORKFLOW, (), WorkflowOptions::default()).await?;
        match handle.result().await {
            Ok(()) => Ok(Run::Straight),
            // The engine settles such a run by itself; the handle then reads the outcome it recorded.
            Err(Error::RecoveryRequired(_)) => Ok(handle.result().await.map(|()| Run::Interrupted)?),
            Err(error) => Err(error.into()),
        }
    }

    async fn start(&self, id: &str, job: Job) -> Result<()> {
        self.engine.start::<_, ()>(LONG_WORKFLOW, job, WorkflowOptions::with_id(id)).await?;
        Ok(())
    }

    async fn recover(&self, of: Option<&str>) -> Result<()> {
        match of {
            Some(name) => self.engine.recover_pending_for(&[name.to_owned()]).await?.len(),
            None => self.engine.recover().await?,
        };
        Ok(())
    }

    async fn standing(&self) -> Result<Standing> {
        let filter = ListFilter {
            name: vec![LONG_WORKFLOW.to_owned()],
            load_input: false,
            load_output: false,
            ..ListFilter::default()
        };
        let mut standing = Standing::default();
        for workflow in self.engine.list_workflows(&filter).await? {
            match workflow.status.as_str() {
                STATUS_PENDING | STATUS_ENQUEUED | STATUS_DELAYED => standing.unfinished += 1,
                STATUS_SUCCESS => standing.succeeded += 1,
                _ => standing.failed += 1,
            }
        }
        Ok(standing)
    }

    async fn close(&self) -> Result<()> {
        Ok(self.engine.shutdown(Duration::from_secs(1)).await?)
    }
}

async fn five_steps(context: DurableContext, (): ()) -> durare::Result<()> {
    for _ in 0..STEPS {
        context.step("empty", || async { Ok::<_, Error>(()) }).await?;
    }
    Ok(())
}

/// The options of `SqliteProvider::connect`, but `synchronous=FULL`: its NORMAL does not sync a commit.
async fn sqlite(url: &str, size: u32) -> Result<(Arc<dyn StateProvider>, String)> {
    let options = SqliteConnectOptions::from_str(url)
        .context("--url is not a SQLite URL")?
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5));
    // All connections are held at once, so that the settings are read on every one there will be.
    let pool = SqlitePoolOptions::new().max_connections(size).connect_with(options).await?;
    let mut held = Vec::new();
    for _ in 0..size {
        let mut connection = pool.acquire().await?;
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *connection).await?;
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await?;
        if synchronous != 2 || journal != "wal" {
            bail!("SQLite is not power-safe: journal_mode={journal}, synchronous={synchronous}");
        }
        held.push(connection);
    }
    drop(held);
    let durability = format!(
        "journal_mode=wal, synchronous=FULL, set on the pool given to SqliteProvider::from_pool \
         (durare's own default is NORMAL) and read back on each of its {size} connections"
    );
    Ok((Arc::new(SqliteProvider::from_pool(pool)), durability))
}

/// The options of `PostgresProvider::connect`, with a pool that can be asked and sized.
async fn postgres(url: &str, size: u32) -> Result<(Arc<dyn StateProvider>, String)> {
    let options =
        PgConnectOptions::from_str(url).context("--url is not a PostgreSQL URL")?.options([("search_path", SCHEMA)]);
    let pool = PgPoolOptions::new()
        .max_connections(size)
        .connect_with(options)
        .await
        .context("cannot connect to PostgreSQL; durare does not create the database")?;
    let said = postgres::power_safe(&pool).await?;
    let durability = format!("{said}, the server's own, read through the pool of {size} that durare uses");
    Ok((Arc::new(PostgresProvider::from_pool_with_schema(pool, SCHEMA)?), durability))
}
