//! How fast deliveries are taken, at a constant arrival rate and while deployments run. `cargo xtask
//! bench webhook` prepares what it needs. The report is one line on standard output; all else goes
//! to standard error.

mod events;

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use seatrial_github_standin::{HookMode, NewCommit};
use seatrial_tests::{Change, Options, Pull, World, said};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Instant, sleep, sleep_until};

/// From a delivery's arrival to its answer, which comes when it is stored.
#[derive(Parser)]
struct Arguments {
    /// The load generator.
    #[arg(long)]
    k6: PathBuf,
    /// A PostgreSQL database; without it, SQLite in a file.
    #[arg(long)]
    database_url: Option<String>,
    /// Deliveries a second.
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// How long they come.
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// How long they come before, unmeasured.
    #[arg(long, default_value_t = 5)]
    warm_up: u32,
    /// So many pull requests are deployed in the cluster meanwhile, again and again.
    #[arg(long, default_value_t = 2)]
    deployments: usize,
    /// Seconds from one push to them to the next, which also waits until all are live.
    #[arg(long, default_value_t = 5)]
    push_every: u64,
}

/// The script for k6.
const LOAD: &str = include_str!("load.js");
/// Ids of deliveries that are measured begin so.
const MARK: &str = "5ea71a10";
/// Between two looks at deployments that are not there yet: the looks are load, too.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
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

async fn run(arguments: &Arguments) -> Result<Value> {
    // As in use.
    let environment = vec![("SEATRIAL_LOG_FORMAT", "json"), ("SEATRIAL_LOG", "info")];
    let mut world = World::prepare("bench-webhook", Options { environment, ..Options::default() }).await?;
    if let Some(url) = &arguments.database_url {
        world.program.set("SEATRIAL_DATABASE_URL", url);
    }
    let measured = measure(&mut world, arguments).await;
    match measured {
        Ok(report) => {
            world.finish().await?;
            Ok(report)
        }
        Err(error) => {
            let folder = world.keep_evidence().await;
            Err(error.context(format!("what was to be seen is in {}", folder.display())))
        }
    }
}

async fn measure(world: &mut World, arguments: &Arguments) -> Result<Value> {
    world.begin().await?;
    // GitHub's hourly limit is not what is measured.
    world.control.set_rate_limit(10_000_000).await?;
    let events = serde_json::to_vec(&events::events(world).await?)?;
    std::fs::write(world.folder().join("events.json"), events)?;
    let pulls = open(world, arguments.deployments).await?;

    let live = AtomicUsize::new(0);
    let load = tokio::select! {
        load = load(world, arguments) => load?,
        failed = deploy(world, &pulls, Duration::from_secs(arguments.push_every), &live) => return failed,
    };
    ensure!(load.refused == 0, "{} deliveries were not answered with 202", load.refused);
    ensure!(load.accepted > 0, "nothing was sent");
    let (stored, runs_started) = world.rest.deliveries_marked(MARK).await?;
    ensure!(stored.len() >= load.accepted, "{} of {} accepted deliveries are stored", stored.len(), load.accepted);
    let rounded = |number: f64| (number * 100.0).round() / 100.0;
    Ok(json!({
        "rps": rounded(load.accepted as f64 / f64::from(arguments.seconds)),
        "p50_ms": rounded(load.p50_ms),
        "p95_ms": rounded(load.p95_ms),
        "p99_ms": rounded(load.p99_ms),
        "max_ms": rounded(load.max_ms),
        "sent": load.accepted,
        "stored": stored.len(),
        "not_sent_in_time": load.dropped,
        "runs_started": runs_started,
        "deployments_live": live.into_inner(),
    }))
}

/// What k6 saw.
#[derive(Deserialize)]
struct Load {
    accepted: usize,
    refused: usize,
    dropped: usize,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

async fn load(world: &World, arguments: &Arguments) -> Result<Load> {
    let folder = world.folder();
    let (script, report) = (folder.join("load.js"), folder.join("load.json"));
    std::fs::write(&script, LOAD)?;
    let status = Command::new(&arguments.k6)
        .args(["run", "--quiet", "--no-usage-report", "--address", ""])
        .arg(&script)
        // No proxy of the surroundings, no settings of its own.
        .env_clear()
        .env("HOME", folder)
        .env("EVENTS", folder.join("events.json"))
        .env("REPORT", &report)
        .env("URL", format!("{}/api/webhooks/github", world.program.url()))
        .env("MARK", MARK)
        .env("RATE", arguments.rate.to_string())
        .env("SECONDS", arguments.seconds.to_string())
        .env("WARM_UP", arguments.warm_up.to_string())
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .kill_on_drop(true)
        .status()
        .await
        .with_context(|| format!("running {}", arguments.k6.display()))?;
    ensure!(status.success(), "k6 failed ({status})");
    read(&report)
}

fn read(report: &Path) -> Result<Load> {
    let text = std::fs::read_to_string(report).context("k6 wrote no report")?;
    serde_json::from_str(&text).with_context(|| format!("k6's report is not understood: {text}"))
}

/// Pull requests that are live.
async fn open(world: &World, many: usize) -> Result<Vec<Pull>> {
    let mut pulls = Vec::new();
    for number in 1..=many {
        let branch = format!("page-{number}");
        pulls.push(world.open_pull(&branch, Change::page(&branch)).await?);
    }
    for pull in &pulls {
        world.wait_ready(pull.number, &pull.sha).await?;
    }
    Ok(pulls)
}

/// Pushes to all of them, waits until all are live, and again; ends only by a failure. Counts them.
async fn deploy(world: &World, pulls: &[Pull], every: Duration, live: &AtomicUsize) -> Result<Value> {
    if pulls.is_empty() {
        std::future::pending::<()>().await;
    }
    for round in 1.. {
        let next = Instant::now() + every;
        let mut waiting = Vec::new();
        for pull in pulls {
            // The event comes when the image is there.
            world.hooks(HookMode::Hold).await?;
            let files = Change::page(&format!("round {round}")).into();
            let commit = NewCommit { files, ..NewCommit::default() };
            let sha = world.control.push(&world.repository, pull.number, &commit).await?;
            world.publish_image(&sha).await?;
            world.control.release(&[]).await?;
            waiting.push((pull.number, sha));
        }
        while !waiting.is_empty() {
            sleep(LOOK_EVERY).await;
            for (number, sha) in std::mem::take(&mut waiting) {
                let body = world.the_comment(number).await?.body;
                match said(&sha) {
                    commit if body.contains("Preview ready") && body.contains(&commit) => {
                        live.fetch_add(1, Ordering::Relaxed);
                    }
                    _ if body.contains("Preview failed") => bail!("#{number} failed: {body}"),
                    _ => waiting.push((number, sha)),
                }
            }
        }
        sleep_until(next).await;
    }
    bail!("no round is the last")
}
