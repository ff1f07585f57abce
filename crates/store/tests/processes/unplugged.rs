//! The plug is pulled: writes that were not synced are lost. What was acknowledged is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use seatrial_engine::{RunId, RunState, SystemClock};
use seatrial_store::views::StepPhase;
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;

use crate::child::{Process, orders};
use crate::disk::{Disk, Loss};
use crate::place::open_at;
use crate::process::{Orders, Starts, Synchronous};
use crate::strace::{Event, parse};
use crate::support::eventually;
use crate::witness::{Line, read};

const DATABASE: &str = "runs.db";
const RUNS: usize = 40;

#[tokio::test]
async fn what_was_acknowledged_survives_the_loss_of_unsynced_writes() {
    let traced = Traced::new(Starts::Runs(RUNS)).await;
    let mut events = traced.events();
    let outcome = check(&events, &traced.database()).await.unwrap();
    assert!(outcome.looked_at > 80 && outcome.runs_found > RUNS, "{outcome:?}");
    let checkpoints =
        events.iter().filter(|event| matches!(event, Event::SyncBegins { path, .. } if *path == traced.database()));
    assert!(checkpoints.count() > 1, "the database itself was never written: more runs are needed");

    // The same on a disk that does not do as it is told.
    events.retain(|event| !matches!(event, Event::SyncEnds { .. }));
    let complaint = check(&events, &traced.database()).await.unwrap_err();
    assert!(complaint.contains("is gone"), "{complaint}");
}

#[tokio::test]
async fn a_store_that_does_not_sync_is_found_out() {
    for synchronous in [Synchronous::Off, Synchronous::Normal] {
        let traced = Traced::new(Starts::Raw(20, synchronous)).await;
        let complaint = check(&traced.events(), &traced.database()).await.unwrap_err();
        assert!(complaint.contains("is gone"), "{synchronous:?}: {complaint}");
    }
    let traced = Traced::new(Starts::Raw(20, Synchronous::Full)).await;
    check(&traced.events(), &traced.database()).await.unwrap();
}

/// A process that has ended, and the log of what it wrote.
struct Traced {
    folder: TempDir,
    orders: Orders,
}

impl Traced {
    async fn new(starts: Starts) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join(DATABASE).display());
        let mut orders = orders(url, &folder.path().join("witness"));
        orders.starts = starts;
        let process = Process::start_traced(&orders, &folder.path().join("log"));
        if let Starts::Runs(runs) = starts {
            eventually("all runs end", async || {
                (read(&orders.witness).iter().filter(|line| matches!(line, Line::Ended(_))).count() == runs)
                    .then_some(())
            })
            .await;
        }
        process.end().await;
        Self { folder, orders }
    }

    fn database(&self) -> std::path::PathBuf {
        self.folder.path().join(DATABASE)
    }

    fn events(&self) -> Vec<Event> {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        parse(&log, &self.orders.witness)
    }
}

#[derive(Debug, Default)]
struct Outcome {
    looked_at: usize,
    runs_found: usize,
}

/// Pulls the plug at many moments, and looks each time at what is left.
async fn check(events: &[Event], database: &Path) -> Result<Outcome, String> {
    let mut random = StdRng::seed_from_u64(4);
    let last = events.len();
    // The most that is said and not yet synced again: before each sync's end.
    let mut worst: Vec<_> = (0..last).filter(|at| matches!(events[*at], Event::SyncEnds { .. })).collect();
    worst = (0..50).filter_map(|n| worst.get(worst.len() * n / 50).copied()).chain([last]).collect();
    let any: Vec<_> = (0..50).map(|_| random.random_range(0..=last)).collect();
    let mut disk = Disk::of(database);
    let mut said = Said::default();
    let mut outcome = Outcome::default();
    for at in 0..=last {
        if worst.contains(&at) {
            outcome.add(said.look_for(&disk.after(Loss::Everything)).await.map_err(|e| format!("at {at}: {e}"))?);
        }
        if any.contains(&at) {
            let found = disk.after(Loss::Some(&mut random));
            outcome.add(said.look_for(&found).await.map_err(|e| format!("at {at}, with a part: {e}"))?);
        }
        match events.get(at) {
            Some(Event::Says(line)) => said.add(*line),
            Some(event) => disk.apply(event),
            None => {}
        }
    }
    Ok(outcome)
}

impl Outcome {
    fn add(&mut self, runs_found: usize) {
        self.looked_at += 1;
        self.runs_found += runs_found;
    }
}

/// What others know.
#[derive(Default)]
struct Said {
    started: BTreeSet<RunId>,
    ended: BTreeSet<RunId>,
    /// A step is carried out when those before it are recorded: so many.
    recorded: BTreeMap<RunId, usize>,
}

impl Said {
    fn add(&mut self, line: Line) {
        match line {
            Line::Started(run) => drop(self.started.insert(run)),
            Line::Ended(run) => drop(self.ended.insert(run)),
            Line::Effect { run, step, .. } => drop(self.recorded.insert(run, step)),
        }
    }

    /// Opens the store on those files. Returns how many runs there are.
    async fn look_for(&self, files: &BTreeMap<String, Vec<u8>>) -> Result<usize, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let url = format!("sqlite://{}", folder.path().join(DATABASE).display());
        let store = open_at(&url, Arc::new(SystemClock)).await;
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        let integrity: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
        if integrity != "ok" {
            return Err(format!("the database is damaged: {integrity}"));
        }
        for run in &self.started {
            if store.find_run(*run).await.unwrap().is_none() {
                return Err(format!("run {run} was acknowledged and is gone"));
            }
        }
        for (run, recorded) in &self.recorded {
            let found =
                store.find_run(*run).await.unwrap().ok_or_else(|| format!("run {run} has begun and is gone"))?;
            let there = found.steps.iter().filter(|step| step.status == StepPhase::Succeeded).count();
            if there < *recorded {
                return Err(format!("{recorded} steps of run {run} were acknowledged, {there} are recorded"));
            }
        }
        for run in &self.ended {
            let state = store.find_run(*run).await.unwrap().map(|run| run.summary.state);
            if state != Some(RunState::Succeeded) {
                return Err(format!("run {run} had succeeded and is {state:?}"));
            }
        }
        let runs: i64 = sqlx::query_scalar("SELECT count(*) FROM runs").fetch_one(&mut connection).await.unwrap();
        Ok(usize::try_from(runs).unwrap())
    }
}
