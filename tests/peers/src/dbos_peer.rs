//! `dbos`: DBOS Transact for Rust, on PostgreSQL only.

use anyhow::{Context, Result, bail};
use dbos::sysdb::types::{WorkflowFilter, WorkflowStatus};
use dbos::{Config, DBOS, StartOptions, WorkflowRef};

use crate::{APP_VERSION, Job, LONG_WORKFLOW, Opening, Peer, Run, SHORT_WORKFLOW, STEPS, Standing, Store, postgres};

const APP_NAME: &str = "seatrial-peers";

pub struct DbosPeer {
    dbos: DBOS,
    short: WorkflowRef<(), ()>,
    long: WorkflowRef<Job, ()>,
    name: String,
    durability: String,
}

impl Peer for DbosPeer {
    async fn open(opening: Opening) -> Result<Self> {
        if opening.store != Store::Postgres {
            bail!("dbos 0.5 keeps its state in PostgreSQL only");
        }
        let mut config = Config {
            app_version: Some(APP_VERSION.to_owned()),
            executor_id: Some(opening.name.clone()),
            ..Config::new(APP_NAME, &opening.url)
        };
        if let Some(size) = opening.pool {
            config.max_connections = size;
        }
        let size = config.max_connections;
        let dbos = DBOS::new(config);
        let short = dbos.register_workflow(SHORT_WORKFLOW, five_steps)?;
        let log = opening.log;
        let long = dbos.register_workflow(LONG_WORKFLOW, move |job: Job| {
            let log = log.clone();
            async move {
                let id = dbos::workflow_id().unwrap_or_default();
                for step in 0..job.steps {
                    dbos::step("slow", || async {
                        log.sleep_and_tell(&id, step, job.step_ms).await;
                        dbos::Result::Ok(())
                    })
                    .await?;
                }
                dbos::Result::Ok(())
            }
        })?;
        // Creates the database when it is missing, and puts this name's unfinished workflows on the queue.
        dbos.launch().await.context("dbos does not start")?;
        let said = postgres::power_safe(&postgres::aside(&opening.url).await?).await?;
        let durability = format!(
            "{said}, the server's own, read on a connection of the same URL: \
             dbos hands out none of its pool of {size} and sets none of these"
        );
        Ok(Self { dbos, short, long, name: opening.name, durability })
    }

    fn durability(&self) -> &str {
        &self.durability
    }

    async fn run(&self) -> Result<Run> {
        self.short.run(()).await?;
        Ok(Run::Straight)
    }

    async fn start(&self, id: &str, job: Job) -> Result<()> {
        let options = StartOptions { workflow_id: Some(id), ..StartOptions::default() };
        self.long.start_with(job, options).await?;
        Ok(())
    }

    async fn recover(&self, of: Option<&str>) -> Result<()> {
        // `launch` did it.
        if of.is_some_and(|of| of != self.name) {
            bail!("dbos 0.5 takes on only what an executor of its own name left: --of is --as");
        }
        Ok(())
    }

    async fn standing(&self) -> Result<Standing> {
        let filter = WorkflowFilter {
            names: vec![LONG_WORKFLOW],
            load_input: false,
            load_output: false,
            ..WorkflowFilter::default()
        };
        let mut standing = Standing::default();
        for workflow in self.dbos.list_workflows(&filter).await? {
            match workflow.status {
                WorkflowStatus::Pending | WorkflowStatus::Enqueued | WorkflowStatus::Delayed => {
                    standing.unfinished += 1;
                }
                WorkflowStatus::Success => standing.succeeded += 1,
                _ => standing.failed += 1,
            }
        }
        Ok(standing)
    }

    async fn close(&self) -> Result<()> {
        self.dbos.shutdown().await;
        Ok(())
    }
}

async fn five_steps((): ()) -> dbos::Result<()> {
    for _ in 0..STEPS {
        dbos::step("empty", || async { dbos::Result::Ok(()) }).await?;
    }
    Ok(())
}
