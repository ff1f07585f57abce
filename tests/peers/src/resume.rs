//! Slow workflows, started or recovered, until all have ended.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;

use crate::step_log::StepLog;
use crate::{Job, Peer, Standing};

/// How often the database is asked whether all is done.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const TELL_EVERY: Duration = Duration::from_secs(5);

pub struct Plan {
    pub steps: u32,
    pub step_ms: u64,
    pub workflows: u32,
    pub name: String,
    pub recover: bool,
    pub of: Option<String>,
    pub give_up: Duration,
}

#[derive(Serialize)]
pub struct Report {
    /// Unfinished workflows in the database when the library was up.
    found: usize,
    /// Executions of steps by this process.
    steps_ran: u64,
    /// From the start of the process.
    first_step_ms: Option<u128>,
    seconds: f64,
    #[serde(flatten)]
    standing: Standing,
    gave_up: bool,
}

pub async fn measure<P: Peer>(peer: &P, plan: &Plan, log: &StepLog) -> Result<Report> {
    let found = peer.standing().await?.unfinished;
    if plan.recover {
        peer.recover(plan.of.as_deref()).await?;
    } else {
        if found > 0 {
            bail!("the database holds {found} unfinished workflows: --recover goes on with them");
        }
        start(peer, plan).await?;
    }
    let mut told = Instant::now();
    let standing = loop {
        let standing = peer.standing().await?;
        if let Some(trouble) = log.trouble() {
            bail!("the log cannot be written: {trouble}");
        }
        if standing.unfinished == 0 || log.since_start() >= plan.give_up {
            break standing;
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            eprintln!("{} steps ran here, {} workflows unfinished", log.ran(), standing.unfinished);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    Ok(Report {
        found,
        steps_ran: log.ran(),
        first_step_ms: log.first().map(|first| first.as_millis()),
        seconds: log.since_start().as_secs_f64(),
        gave_up: standing.unfinished > 0,
        standing,
    })
}

async fn start<P: Peer>(peer: &P, plan: &Plan) -> Result<()> {
    let (each, more) = (plan.steps / plan.workflows, plan.steps % plan.workflows);
    for n in 0..plan.workflows {
        let steps = each + u32::from(n < more);
        peer.start(&format!("{}-{n}", plan.name), Job { steps, step_ms: plan.step_ms }).await?;
    }
    Ok(())
}
