//! The database goes away under load and comes back.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use seatrial_engine::{JournalError, RunId, SystemClock};
use seatrial_store::Store;

use crate::child::{Process, orders};
use crate::place::open_at;
use crate::process;
use crate::server::Server;
use crate::support::{ended, eventually, journal};
use crate::witness::{Journaled, check_ends, effects, read};

/// So many steps are left to do at most.
const AHEAD: usize = 180;

/// Runs whose start was acknowledged.
#[derive(Default)]
struct Load {
    started: Mutex<Vec<RunId>>,
    enough: AtomicBool,
}

impl Load {
    /// Starts runs one after another, not too far ahead of the process; one that was refused is
    /// started again.
    async fn start(&self, store: Store, witness: PathBuf) {
        while !self.enough.load(Ordering::Relaxed) {
            // The pace of the load, and below that of a client that was refused.
            tokio::time::sleep(Duration::from_millis(5)).await;
            let steps = self.started.lock().unwrap().len() * process::STEPS.len();
            if steps > effects(&read(&witness)).count() + AHEAD {
                continue;
            }
            let run = process::run();
            loop {
                match store.start(run.clone()).await {
                    Ok(started) => break self.started.lock().unwrap().push(started.id),
                    Err(JournalError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                    Err(e) => panic!("{e}"),
                }
            }
        }
    }

    fn started(&self) -> Vec<RunId> {
        self.started.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_postgresql_under_load_loses_nothing_and_stops_nobody() {
    let mut random = StdRng::seed_from_u64(3);
    let folder = tempfile::tempdir().unwrap();
    let server = Arc::new(tokio::task::spawn_blocking(Server::start).await.unwrap());
    let store = open_at(&server.url(), Arc::new(SystemClock)).await;
    let orders = orders(server.url(), &folder.path().join("witness"));
    let process = Process::start(&orders);
    let load = Arc::new(Load::default());
    let loading: Vec<_> = (0..2)
        .map(|_| {
            let (load, store, witness) = (load.clone(), store.clone(), orders.witness.clone());
            tokio::spawn(async move { load.start(store, witness).await })
        })
        .collect();
    let mut ended_before: Vec<Journaled> = Vec::new();
    for _ in 0..3 {
        // Both go on by themselves after the restart before.
        let starts = load.started().len() + random.random_range(10..20);
        let done = effects(&read(&orders.witness)).count() + random.random_range(60..120);
        eventually("the load and the process go on", async || {
            let goes_on = load.started().len() >= starts && effects(&read(&orders.witness)).count() >= done;
            goes_on.then_some(())
        })
        .await;
        ended_before.extend(journal(&store, &load.started()).await.into_iter().filter(|run| run.state.is_final()));
        let restarted = server.clone();
        tokio::task::spawn_blocking(move || restarted.restart()).await.unwrap();
    }
    load.enough.store(true, Ordering::Relaxed);
    for load in loading {
        load.await.unwrap();
    }
    let runs = load.started();
    ended(&store, runs.len()).await;
    process.end().await;
    let journal = journal(&store, &runs).await;
    check_ends(&read(&orders.witness), &journal).unwrap();
    assert!(!ended_before.is_empty());
    for run in ended_before {
        assert!(journal.contains(&run), "the end of this run was changed: {run:?}");
    }
}
