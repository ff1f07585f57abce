//! Measures other durable-workflow libraries on the work that Seatrial's own benchmark does.
//!
//! One JSON object on stdout, progress on stderr.

mod dbos_peer;
mod durare_peer;
mod postgres;
mod resume;
mod step_log;
mod throughput;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dbos_peer::DbosPeer;
use crate::durare_peer::DurarePeer;
use crate::step_log::{LogAt, StepLog};

/// How many steps a run of `throughput` has.
const STEPS: u32 = 5;
/// Stamped on every workflow, so that a rebuilt program still recovers what an older build left.
const APP_VERSION: &str = "peers";
const SHORT_WORKFLOW: &str = "five-steps";
const LONG_WORKFLOW: &str = "slow-steps";

#[derive(Parser)]
#[command(about = "Measures other durable-workflow libraries on the work of Seatrial's benchmark")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// How many runs of five empty steps end per second.
    Throughput(Throughput),
    /// Slow steps for a test that kills the process and starts it again.
    Resume(Resume),
}

#[derive(Args)]
struct Target {
    #[arg(long, value_enum)]
    system: System,
    #[arg(long, value_enum)]
    store: Store,
    /// `sqlite:///path/to/file.db` or `postgres://user@host:port/database`; a new one for each measurement.
    #[arg(long)]
    url: String,
    /// Connections of the library's pool; the library's own default when absent.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pool: Option<u32>,
}

#[derive(Args)]
struct Throughput {
    #[command(flatten)]
    target: Target,
    /// Loops side by side, each starting a run and awaiting its result.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: u32,
    /// Runs in all.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
}

#[derive(Args)]
struct Resume {
    #[command(flatten)]
    target: Target,
    /// Steps in all, over all workflows.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// How long a step sleeps.
    #[arg(long, default_value_t = 100)]
    step_ms: u64,
    /// Workflows side by side.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: u32,
    /// Appended to, one line for each execution of a step: workflow, step, unix milliseconds, process id.
    #[arg(long)]
    log: PathBuf,
    /// Whether a step writes its line before or after it sleeps.
    #[arg(long, value_enum, default_value_t = LogAt::Start)]
    log_at: LogAt,
    /// Start nothing; go on with what an earlier process left.
    #[arg(long)]
    recover: bool,
    /// The executor's name.
    #[arg(long = "as", default_value = "one")]
    name: String,
    /// With --recover: only what the executor of this name left.
    #[arg(long, requires = "recover")]
    of: Option<String>,
    /// When to stop although not all is done.
    #[arg(long, default_value_t = 600)]
    give_up_s: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum System {
    Durare,
    Dbos,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Store {
    Sqlite,
    Postgres,
}

/// The input of a slow workflow. Recovery reads it back from the database.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Job {
    steps: u32,
    step_ms: u64,
}

/// How a run came to its result.
enum Run {
    Straight,
    /// The library lost hold of it and recovered it by itself.
    Interrupted,
}

/// Where the slow workflows stand.
#[derive(Default, Serialize)]
struct Standing {
    unfinished: usize,
    succeeded: usize,
    failed: usize,
}

/// What a library is opened with.
struct Opening {
    store: Store,
    url: String,
    pool: Option<u32>,
    name: String,
    log: Arc<StepLog>,
}

/// What the benchmark asks of a library.
trait Peer: Sized + Send + Sync + 'static {
    fn open(opening: Opening) -> impl Future<Output = Result<Self>> + Send;
    /// What makes its commits survive a power cut, and how that was confirmed.
    fn durability(&self) -> &str;
    /// Starts a run of [`STEPS`] empty steps and awaits its result.
    fn run(&self) -> impl Future<Output = Result<Run>> + Send;
    /// Starts a slow workflow and does not wait for it.
    fn start(&self, id: &str, job: Job) -> impl Future<Output = Result<()>> + Send;
    /// Takes on what a stopped executor left: the one named, or any.
    fn recover(&self, of: Option<&str>) -> impl Future<Output = Result<()>> + Send;
    fn standing(&self) -> impl Future<Output = Result<Standing>> + Send;
    fn close(&self) -> impl Future<Output = Result<()>> + Send;
}

#[tokio::main]
async fn main() -> ExitCode {
    let began = Instant::now();
    match measure(Arguments::parse().command, began).await {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(command: Command, began: Instant) -> Result<Value> {
    let system = match &command {
        Command::Throughput(throughput) => throughput.target.system,
        Command::Resume(resume) => resume.target.system,
    };
    match system {
        System::Durare => measure_peer::<DurarePeer>(command, began).await,
        System::Dbos => measure_peer::<DbosPeer>(command, began).await,
    }
}

async fn measure_peer<P: Peer>(command: Command, began: Instant) -> Result<Value> {
    match command {
        Command::Throughput(Throughput { target, in_flight, runs }) => {
            let (system, store) = (target.system, target.store);
            let peer = open::<P>(target, "one".to_owned(), StepLog::none(began)).await?;
            let told = throughput::measure(&peer, runs, in_flight).await;
            peer.close().await?;
            let told = told?;
            merge(
                json!({
                    "system": system,
                    "store": store,
                    "durability": peer.durability(),
                    "in_flight": in_flight,
                    "runs": runs,
                }),
                serde_json::to_value(told)?,
            )
        }
        Command::Resume(resume) => {
            let log = StepLog::append_to(&resume.log, resume.log_at, began)
                .with_context(|| format!("cannot append to {}", resume.log.display()))?;
            let (system, store) = (resume.target.system, resume.target.store);
            let peer = open::<P>(resume.target, resume.name.clone(), log.clone()).await?;
            let plan = resume::Plan {
                steps: resume.steps,
                step_ms: resume.step_ms,
                workflows: resume.in_flight,
                name: resume.name.clone(),
                recover: resume.recover,
                of: resume.of,
                give_up: Duration::from_secs(resume.give_up_s),
            };
            let told = resume::measure(peer.as_ref(), &plan, &log).await;
            peer.close().await?;
            let told = told?;
            merge(
                json!({
                    "system": system,
                    "store": store,
                    "durability": peer.durability(),
                    "as": resume.name,
                    "recover": resume.recover,
                }),
                serde_json::to_value(told)?,
            )
        }
    }
}

async fn open<P: Peer>(target: Target, name: String, log: Arc<StepLog>) -> Result<Arc<P>> {
    let scheme_fits = match target.store {
        Store::Sqlite => target.url.starts_with("sqlite:"),
        Store::Postgres => target.url.starts_with("postgres://") || target.url.starts_with("postgresql://"),
    };
    if !scheme_fits {
        bail!("--url does not belong to the store that --store names");
    }
    let Target { store, url, pool, .. } = target;
    Ok(Arc::new(P::open(Opening { store, url, pool, name, log }).await?))
}

fn merge(mut head: Value, tail: Value) -> Result<Value> {
    let (Some(into), Value::Object(from)) = (head.as_object_mut(), tail) else {
        bail!("a report is not a JSON object");
    };
    into.extend(from);
    Ok(head)
}
