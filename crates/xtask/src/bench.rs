//! `cargo xtask bench`: what things cost, in release builds, on power-safe databases.

mod deploy;
mod webhook;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::postgres::Postgres;
use crate::progress::step;
use crate::{shell, workspace};

#[derive(Subcommand)]
pub enum Bench {
    /// The workflow engine beside durare and dbos: runs a second, commits, latency, recovery.
    Engine(Engine),
    /// A pull request's way to its preview on the local cluster: in all, and Seatrial's own part.
    Deploy(deploy::Deploy),
    /// The webhook's answers at a constant arrival rate, on SQLite and PostgreSQL, while deployments run.
    Webhook(webhook::Webhook),
}

#[derive(Args)]
pub struct Engine {
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Each figure is the median of so many measurements, each on a new database.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Leave the peers out.
    #[arg(long)]
    alone: bool,
}

pub fn run(bench: &Bench) -> Result<ExitCode> {
    let (report, json) = match bench {
        Bench::Engine(engine) => (engine.measure()?, engine.json),
        Bench::Deploy(deploy) => (deploy.measure()?, deploy.json),
        Bench::Webhook(webhook) => (webhook.measure()?, webhook.json),
    };
    if json {
        println!("{report}");
    } else {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    Ok(ExitCode::SUCCESS)
}

const IN_FLIGHT: [u32; 3] = [1, 16, 256];

/// Where a measurement's database is: always a new one.
struct Databases {
    folder: PathBuf,
    server: Postgres,
    made: u32,
}

impl Databases {
    fn new_url(&mut self, store: &str) -> Result<String> {
        self.made += 1;
        let name = format!("bench{}", self.made);
        if store == "sqlite" {
            return Ok(format!("sqlite://{}", self.folder.join(format!("{name}.db")).display()));
        }
        self.server.create_database(&name)?;
        Ok(format!("{}/{name}", self.server.url()))
    }
}

impl Engine {
    fn measure(&self) -> Result<Value> {
        let ours = build_ours()?;
        let peers = if self.alone { None } else { Some(build_peers()?) };
        let folder = std::env::temp_dir().join(format!("seatrial-bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let mut databases = Databases { folder: folder.clone(), server: Postgres::start()?, made: 0 };
        let report = self.report(&ours, peers.as_deref(), &mut databases);
        fs::remove_dir_all(&folder)?;
        report
    }

    fn report(&self, ours: &Path, peers: Option<&Path>, databases: &mut Databases) -> Result<Value> {
        let mut report = Map::new();
        report.insert(
            "durability".to_owned(),
            json!({
                "sqlite": "WAL, synchronous=FULL",
                "postgres": "fsync=on, synchronous_commit=on",
            }),
        );
        let (mut commits, mut latency) = (Map::new(), Map::new());
        for store in ["sqlite", "postgres"] {
            let mut rates = Map::new();
            for in_flight in IN_FLIGHT {
                let measured = step(&format!("ours, {store}, {in_flight} in flight"), || {
                    self.repeated(|| {
                        let url = databases.new_url(store)?;
                        ask(Command::new(ours).args(throughput(&url, in_flight, runs_of("ours", in_flight))))
                    })
                })?;
                let suffix = suffix(in_flight);
                rates.insert(format!("ours_runs_per_s{suffix}"), measured["runs_per_s"].clone());
                commits.insert(format!("{store}{suffix}"), measured["commits_per_run"].clone());
                if in_flight == 1 {
                    latency.insert(format!("{store}_p50"), measured["commit_to_handler_ms_p50"].clone());
                }
            }
            let systems: &[&str] = if store == "sqlite" { &["durare"] } else { &["durare", "dbos"] };
            for (system, in_flight) in systems.iter().flat_map(|s| IN_FLIGHT.map(|n| (*s, n))) {
                let Some(peers) = peers else { continue };
                let measured = step(&format!("{system}, {store}, {in_flight} in flight"), || {
                    self.repeated(|| {
                        let url = databases.new_url(store)?;
                        let measured = ask(Command::new(peers)
                            .args(throughput(&url, in_flight, runs_of(system, in_flight)))
                            .args(["--system", system, "--store", store]))?;
                        if measured["failed"] != 0 {
                            bail!("{system} failed {} runs: {}", measured["failed"], measured["first_failure"]);
                        }
                        Ok(measured)
                    })
                })?;
                rates.insert(format!("{system}_runs_per_s{}", suffix(in_flight)), measured["runs_per_s"].clone());
            }
            report.insert(store.to_owned(), Value::Object(rates));
        }
        report.insert("commits_per_run".to_owned(), Value::Object(commits));
        report.insert("commit_to_handler_ms".to_owned(), Value::Object(latency));
        for store in ["sqlite", "postgres"] {
            let url = databases.new_url(store)?;
            let idle = step(&format!("idle, {store}"), || ask(Command::new(ours).args(["idle", "--url", &url])))?;
            insert_in(&mut report, "idle_queries_per_s", store, idle["queries_per_s"].clone());
            let filled = step(&format!("100,000 finished runs, {store}"), || filled(ours, store, databases))?;
            insert_in(&mut report, "with_100000_finished_runs", store, filled);
            let (resumed, taken_over) = step(&format!("kill -9 and resume, {store}"), || {
                Ok((recovery(ours, store, databases, "same")?, recovery(ours, store, databases, "other")?))
            })?;
            insert_in(&mut report, "resume_ms", store, resumed["first_step_ms"].clone());
            insert_in(&mut report, "resume", store, resumed);
            let seconds = taken_over["first_step_ms"].as_f64().map(|ms| ms / 1_000.0);
            insert_in(&mut report, "takeover_s", store, json!(seconds));
        }
        Ok(Value::Object(report))
    }

    /// The measurement whose rate is the median.
    fn repeated(&self, mut measure: impl FnMut() -> Result<Value>) -> Result<Value> {
        let mut measured = (0..self.repeat.max(1)).map(|_| measure()).collect::<Result<Vec<_>>>()?;
        measured.sort_by(|a, b| {
            a["runs_per_s"].as_f64().unwrap_or(0.0).total_cmp(&b["runs_per_s"].as_f64().unwrap_or(0.0))
        });
        Ok(measured.swap_remove(measured.len() / 2))
    }
}

fn insert_in(report: &mut Map<String, Value>, field: &str, store: &str, value: Value) {
    let field = report.entry(field).or_insert_with(|| json!({}));
    field[store] = value;
}

/// 256 in flight is the figure without a suffix.
fn suffix(in_flight: u32) -> String {
    if in_flight == 256 { String::new() } else { format!("_at_{in_flight}") }
}

fn throughput(url: &str, in_flight: u32, runs: u32) -> [String; 7] {
    ["throughput", "--url", url, "--in-flight", &in_flight.to_string(), "--runs", &runs.to_string()].map(str::to_owned)
}

/// Enough for a few seconds each.
fn runs_of(system: &str, in_flight: u32) -> u32 {
    match (system, in_flight) {
        ("ours", 1) => 1_000,
        ("ours", 16) => 8_000,
        ("ours", _) => 30_000,
        (_, 1) => 300,
        (_, _) => 1_500,
    }
}

/// What 100,000 finished runs in the tables cost: the rate with them over the rate before.
fn filled(ours: &Path, store: &str, databases: &mut Databases) -> Result<Value> {
    let url = databases.new_url(store)?;
    let before = ask(Command::new(ours).args(throughput(&url, 256, 20_000)))?;
    ask(Command::new(ours).args(["fill", "--url", &url, "--runs", "80000"]))?;
    let after = ask(Command::new(ours).args(throughput(&url, 256, 20_000)))?;
    let rate = |measured: &Value| measured["runs_per_s"].as_f64().unwrap_or_default();
    Ok(json!({
        "runs_per_s_before": rate(&before),
        "runs_per_s_with": rate(&after),
        "ratio": rate(&after) / rate(&before),
    }))
}

/// 1,000 steps of 100 ms, 100 at a time; killed when half of them are done.
fn recovery(ours: &Path, store: &str, databases: &mut Databases, name: &str) -> Result<Value> {
    const RUNS: usize = 100;
    const STEPS: usize = 10;
    let url = databases.new_url(store)?;
    let log = databases.folder.join(format!("{store}-{name}.log"));
    let worker = |name: &str, start: usize| {
        let mut command = Command::new(ours);
        command.args(["resume", "--url", &url, "--name", name, "--log", &log.to_string_lossy()]);
        command.args(["--steps", &STEPS.to_string(), "--step-ms", "100", "--start", &start.to_string()]);
        command.stdout(Stdio::piped());
        command
    };
    let mut first = worker("same", RUNS).spawn()?;
    let halfway = || lines(&log).len() >= RUNS * STEPS / 2;
    let reached = shell::wait_until("half of the steps", Duration::from_secs(120), halfway);
    kill(&mut first)?;
    reached?;
    let (before, killed_at) = (lines(&log).len(), now_micros()?);
    let begun = now_micros()?;
    let second = worker(name, 0).spawn()?.wait_with_output()?;
    if !second.status.success() {
        bail!("the second worker failed ({})", second.status);
    }
    let lines = lines(&log);
    let mut executed: BTreeMap<&str, u32> = BTreeMap::new();
    for line in &lines {
        let (step, _) = line.rsplit_once(' ').context("a log line has no time")?;
        *executed.entry(step).or_default() += 1;
    }
    let since = if name == "same" { begun } else { killed_at };
    let first_step = lines.get(before).and_then(|line| line.rsplit_once(' ')?.1.parse::<u128>().ok());
    let run = |times: u32| executed.values().filter(|executed| **executed == times).count();
    let lost = RUNS * STEPS - executed.len();
    let more_often = executed.len() - run(1) - run(2);
    if lost > 0 || more_often > 0 || run(2) > RUNS {
        bail!(
            "on {store} {lost} steps were lost, {} run twice with {RUNS} in flight, and {more_often} more often: no figure is worth that",
            run(2)
        );
    }
    Ok(json!({
        "first_step_ms": first_step.map(|at| at.saturating_sub(since) as f64 / 1_000.0),
        "steps_lost": lost,
        "steps_run_twice": run(2),
        "steps_run_more_often": more_often,
        "in_flight": RUNS,
    }))
}

fn kill(child: &mut Child) -> Result<()> {
    child.kill().context("the first worker cannot be killed")?;
    child.wait()?;
    Ok(())
}

fn lines(log: &Path) -> Vec<String> {
    fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn now_micros() -> Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())
}

/// Runs a measurement and reads its one object.
fn ask(command: &mut Command) -> Result<Value> {
    let begun = Instant::now();
    let said = shell::run(command)?;
    let line = said.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("after {:?} no measurement but {line:?}", begun.elapsed()))
}

fn build_ours() -> Result<PathBuf> {
    step("build the engine for release", || {
        let mut build = workspace::plain_cargo("bench");
        build.args(["-p", "seatrial-store", "--bench", "engine", "--no-run", "--message-format=json"]);
        executable(&shell::run(&mut build)?, "engine")
    })
}

fn build_peers() -> Result<PathBuf> {
    step("build the peers for release (minutes the first time)", || {
        let mut build = workspace::plain_cargo("build");
        build.current_dir(workspace::root().join("tests/peers"));
        build.args(["--release", "--locked", "--message-format=json"]);
        // A folder of its own: other versions of the same crates.
        if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
            build.env("CARGO_TARGET_DIR", PathBuf::from(target).join("peers"));
        }
        executable(&shell::run(&mut build)?, "peers")
    })
}

/// Where cargo says it put a program.
fn executable(messages: &str, name: &str) -> Result<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo built no {name}"))
}
