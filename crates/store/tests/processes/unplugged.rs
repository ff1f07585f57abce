//! The plug is pulled: writes that were not synced are lost. What was acknowledged is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use seatrial_engine::{RunId, RunState, SystemClock};
use seatrial_store::Store;
use seatrial_store::views::StepPhase;
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;

use crate::child::{Process, orders};
use crate::disk::{Disk, Loss};
use crate::place::options;
use crate::process::{Orders, Starts, Synchronous};
use crate::strace::{Event, parse};
use crate::support::{ended, eventually, journal};
use crate::witness::{Line, check_ends, check_order, read};

/// Enough of them that SQLite moves its log into the database in between.
const RUNS: usize = 120;
/// So often the plug is pulled, with everything lost that can be, and again with a part of it.
const PULLS: usize = 40;

#[tokio::test]
async fn what_was_acknowledged_survives_the_loss_of_unsynced_writes() {
    let traced = Traced::new(Starts::Runs(RUNS)).await;
    let mut events = traced.events();
    let syncs = |of: &Path| events.iter().filter(|e| matches!(e, Event::SyncBegins { path, .. } if path == of)).count();
    assert!(syncs(&traced.database()) > 1, "the log was never moved into the database: more runs are needed");
    let outcome = traced.check(&events).await.unwrap();
    assert!(outcome.looked_at >= 2 * PULLS - 5 && outcome.runs_found > PULLS * RUNS / 4, "{outcome:?}");

    // The same on a disk that only says that it has synced SQLite's log.
    let log = traced.database().with_extension("db-wal");
    events.retain(|event| !matches!(event, Event::SyncBegins { path, .. } if *path == log));
    let complaint = traced.check(&events).await.unwrap_err();
    assert!(complaint.contains("is gone"), "{complaint}");
}

#[tokio::test]
async fn a_store_that_does_not_sync_is_found_out() {
    for synchronous in [Synchronous::Off, Synchronous::Normal] {
        let traced = Traced::new(Starts::Raw(20, synchronous)).await;
        let complaint = traced.check(&traced.events()).await.unwrap_err();
        assert!(complaint.contains("is gone"), "{synchronous:?}: {complaint}");
    }
    let traced = Traced::new(Starts::Raw(20, Synchronous::Full)).await;
    traced.check(&traced.events()).await.unwrap();
}

/// A process that has ended, and the log of what it wrote.
struct Traced {
    folder: TempDir,
    orders: Orders,
}

#[derive(Debug, Default)]
struct Outcome {
    looked_at: usize,
    runs_found: usize,
}

impl Traced {
    async fn new(starts: Starts) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut orders = orders(url(&folder), &folder.path().join("witness"));
        orders.starts = starts;
        let process = Process::start_traced(&orders, &folder.path().join("log"));
        if let Starts::Runs(runs) = starts {
            eventually("all runs end", async || {
                let lines = read(&orders.witness);
                (lines.iter().filter(|line| matches!(line, Line::Ended(_))).count() == runs).then_some(())
            })
            .await;
        }
        process.end().await;
        Self { folder, orders }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join(DATABASE)
    }

    fn events(&self) -> Vec<Event> {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        parse(&log, &self.orders.witness)
    }

    /// Pulls the plug at many moments, and looks each time at what is left; now and then another
    /// process goes on with it.
    async fn check(&self, events: &[Event]) -> Result<Outcome, String> {
        let mut random = StdRng::seed_from_u64(4);
        let last = events.len();
        // The most that is said and not yet synced again: before each sync's end.
        let worst: Vec<_> = (0..last).filter(|at| matches!(events[*at], Event::SyncEnds { .. })).collect();
        let worst: Vec<_> =
            (1..PULLS).filter_map(|n| worst.get(worst.len() * n / PULLS)).chain([&last]).copied().collect();
        let any: Vec<_> = (0..PULLS).map(|_| random.random_range(0..=last)).collect();
        let mut disk = Disk::of(&self.database());
        let mut said = Said::default();
        let mut outcome = Outcome::default();
        for at in 0..=last {
            if let Some(pull) = worst.iter().position(|worst| *worst == at) {
                let found = Found::new(&disk.after(Loss::Everything));
                outcome.add(said.look_for(&found).await.map_err(|e| format!("after {at} of {last} events: {e}"))?);
                if matches!(self.orders.starts, Starts::Runs(_)) && [PULLS / 3, 2 * PULLS / 3].contains(&pull) {
                    self.go_on(&said, &found).await.map_err(|e| format!("gone on after {at} of {last} events: {e}"))?;
                }
            }
            if any.contains(&at) {
                let found = Found::new(&disk.after(Loss::Some(&mut random)));
                let looked = said.look_for(&found).await;
                outcome.add(looked.map_err(|e| format!("after {at} of {last} events, with a part: {e}"))?);
            }
            match events.get(at) {
                Some(Event::Says(line)) => said.add(*line),
                Some(event) => disk.apply(event),
                None => {}
            }
        }
        Ok(outcome)
    }

    async fn go_on(&self, said: &Said, found: &Found) -> Result<(), String> {
        let store = Store::open(options(&found.url(), Arc::new(SystemClock))).await.map_err(|e| e.to_string())?;
        let mut orders = orders(found.url(), &found.0.path().join("witness"));
        orders.life = 2;
        let process = Process::start(&orders);
        let runs = found.runs().await;
        ended(&store, runs.len()).await;
        process.end().await;
        let lines = [said.lines.clone(), read(&orders.witness)].concat();
        let journal = journal(&store, &runs).await;
        check_ends(&lines, &journal)?;
        check_order(&lines, &journal, orders.slots)
    }
}

impl Outcome {
    fn add(&mut self, runs_found: usize) {
        self.looked_at += 1;
        self.runs_found += runs_found;
    }
}

const DATABASE: &str = "runs.db";

fn url(folder: &TempDir) -> String {
    format!("sqlite://{}", folder.path().join(DATABASE).display())
}

/// What is there when the power comes back.
struct Found(TempDir);

impl Found {
    fn new(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        Self(folder)
    }

    fn url(&self) -> String {
        url(&self.0)
    }

    async fn runs(&self) -> Vec<RunId> {
        let mut connection = SqliteConnection::connect(&self.url()).await.unwrap();
        let runs: Vec<_> = sqlx::query_scalar("SELECT id FROM runs").fetch_all(&mut connection).await.unwrap();
        runs.into_iter().map(RunId).collect()
    }
}

/// What others know.
#[derive(Default)]
struct Said {
    lines: Vec<Line>,
    of_run: BTreeMap<RunId, Known>,
}

#[derive(Default)]
struct Known {
    /// A step is carried out when those before it are recorded: so many.
    recorded: usize,
    ended: bool,
}

impl Said {
    fn add(&mut self, line: Line) {
        self.lines.push(line);
        match line {
            Line::Started(run) => drop(self.of_run.entry(run).or_default()),
            Line::Effect { run, step, .. } => self.of_run.entry(run).or_default().recorded = step,
            Line::Ended(run) => self.of_run.entry(run).or_default().ended = true,
        }
    }

    /// Opens the store there. Returns how many runs it has.
    async fn look_for(&self, found: &Found) -> Result<usize, String> {
        let store = Store::open(options(&found.url(), Arc::new(SystemClock))).await.map_err(|e| e.to_string())?;
        let mut connection = SqliteConnection::connect(&found.url()).await.unwrap();
        let integrity: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
        if integrity != "ok" {
            return Err(format!("the database is damaged: {integrity}"));
        }
        for (run, known) in &self.of_run {
            let Some(there) = store.find_run(*run).await.map_err(|e| e.to_string())? else {
                return Err(format!("run {run} was acknowledged and is gone"));
            };
            let recorded = there.steps.iter().filter(|step| step.status == StepPhase::Succeeded).count();
            if recorded < known.recorded {
                return Err(format!("{} steps of run {run} were acknowledged, {recorded} are there", known.recorded));
            }
            if known.ended && there.summary.state != RunState::Succeeded {
                return Err(format!("run {run} had succeeded and is {}", there.summary.state.as_str()));
            }
        }
        Ok(found.runs().await.len())
    }
}
