//! SIGKILL, at any moment.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use seatrial_engine::{AttemptOutcome, SystemClock};

use crate::child::{Process, orders};
use crate::place::{On, Place};
use crate::process::STEPS;
use crate::support::{ended, eventually, journal, start};
use crate::witness::{check_ends, check_order, effects, read, runs_at};

on_each_store!(
    killed_again_and_again_every_run_ends_and_each_step_is_recorded_once,
    another_process_takes_over_when_the_lease_has_expired,
);

const RUNS: usize = 40;
const KILLS: usize = 8;
const SLOTS: usize = 8;

async fn killed_again_and_again_every_run_ends_and_each_step_is_recorded_once(on: On) {
    let mut random = StdRng::seed_from_u64(2);
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(on).await;
    let store = place.open(Arc::new(SystemClock)).await;
    let runs = start(&store, RUNS).await;
    let mut orders = orders(place.url(), &folder.path().join("witness"));
    orders.slots = SLOTS;
    let mut process = Process::start(&orders);
    for kill in 0..KILLS {
        if kill % 4 == 3 {
            // While it opens the store, claims, or has just begun. Nothing is waited for here and
            // below: the moment of the kill is what is drawn.
            tokio::time::sleep(Duration::from_millis(random.random_range(0..150))).await;
        } else {
            // Somewhere on the way to the end; a part of the way is left after the last kill.
            let way = RUNS * STEPS.len() * (kill + 1) / (KILLS + 1);
            let at = random.random_range(way - 12..way + 12);
            eventually("the process works", async || (effects(&read(&orders.witness)).count() >= at).then_some(()))
                .await;
            tokio::time::sleep(Duration::from_micros(random.random_range(0..6_000))).await;
        }
        process.kill();
        orders.life += 1;
        process = Process::start(&orders);
    }
    ended(&store, RUNS).await;
    process.end().await;
    let (lines, journal) = (read(&orders.witness), journal(&store, &runs).await);
    check_ends(&lines, &journal).unwrap();
    check_order(&lines, &journal, SLOTS).unwrap();
    let repeated = effects(&lines).count() - RUNS * STEPS.len();
    assert!((1..=KILLS * SLOTS).contains(&repeated), "{repeated} steps were in flight at {KILLS} kills");
}

async fn another_process_takes_over_when_the_lease_has_expired(on: On) {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(on).await;
    let store = place.open(Arc::new(SystemClock)).await;
    let runs = start(&store, 4).await;
    let mut first = orders(place.url(), &folder.path().join("witness"));
    first.lease = Duration::from_secs(2);
    first.hold = Some((2, folder.path().join("never")));
    let mut second = first.clone();
    (second.name, second.life, second.hold) = ("another".to_owned(), 2, None);
    let process = Process::start(&first);
    eventually("all runs are held", async || (runs_at(&read(&first.witness), 2, 1) == runs.len()).then_some(())).await;
    process.kill();
    let mut leases: Vec<DateTime<Utc>> = Vec::new();
    for run in &runs {
        leases.push(store.find_run(*run).await.unwrap().unwrap().summary.lease_until.unwrap());
    }
    let process = Process::start(&second);
    ended(&store, runs.len()).await;
    process.end().await;
    let (lines, journal) = (read(&first.witness), journal(&store, &runs).await);
    check_ends(&lines, &journal).unwrap();
    check_order(&lines, &journal, first.slots).unwrap();
    for (run, lease_until) in runs.iter().zip(leases) {
        let run = store.find_run(*run).await.unwrap().unwrap();
        let attempts: Vec<_> = run.steps[2].attempts.iter().map(|a| (a.outcome, a.finished_at)).collect();
        let [.., (Some(AttemptOutcome::Interrupted), Some(taken_over)), (Some(AttemptOutcome::Succeeded), _)] =
            attempts[..]
        else {
            panic!("{attempts:?}");
        };
        assert!(taken_over >= lease_until, "taken over at {taken_over}, held until {lease_until}");
        assert_eq!(run.summary.worker.as_deref(), Some("another"));
    }
}
