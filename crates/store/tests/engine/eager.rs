//! Starts that take a free slot of their own process, and what the commits of a run are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use seatrial_engine::{NewRun, OnConflict, RunState};
use tokio::sync::Notify;

use crate::place::On;
use crate::support::{Bench, run, within};
use crate::tapped::{Call, Tapped};

on_each_store!(
    a_start_with_a_free_slot_is_executed_without_a_claim,
    the_same_start_twice_at_once_is_executed_once,
    a_repeated_start_gives_the_slot_back,
    what_more_than_a_slot_holds_back_is_claimed,
    nothing_overtakes_what_is_queued,
    a_worker_that_closes_while_a_start_is_on_its_way_leaves_no_lease_behind,
    a_run_of_five_steps_takes_no_more_commits_than_promised,
    a_process_with_nothing_to_do_asks_once_in_two_seconds,
);

/// How often a worker has asked for what.
#[derive(Clone, Default)]
struct Asked {
    claims: Arc<AtomicUsize>,
    reads: Arc<AtomicUsize>,
    others: Arc<AtomicUsize>,
    asked: Arc<Notify>,
}

impl Asked {
    fn tap(&self, bench: &Bench) -> Arc<Tapped> {
        let counts = self.clone();
        Tapped::new(bench.store.journal(), move |call| {
            let count = match call {
                Call::Claim => &counts.claims,
                Call::Read => &counts.reads,
                _ => &counts.others,
            };
            count.fetch_add(1, Ordering::SeqCst);
            counts.asked.notify_waiters();
            async { Ok(()) }
        })
    }

    fn claims(&self) -> usize {
        self.claims.load(Ordering::SeqCst)
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    async fn reach(&self, reads: usize) {
        within("the worker asking", async {
            loop {
                let asked = self.asked.notified();
                if self.reads() >= reads {
                    return;
                }
                asked.await;
            }
        })
        .await;
    }
}

/// A worker that has found nothing to claim, and so offers its slots.
async fn idle_worker(bench: &Bench, slots: usize) -> (crate::support::Running, Asked) {
    let asked = Asked::default();
    let worker = bench.worker_on(asked.tap(bench), "w", |config| config.slots = slots);
    asked.reach(1).await;
    (worker, asked)
}

async fn a_start_with_a_free_slot_is_executed_without_a_claim(on: On) {
    let (bench, _clock) = Bench::with_manual_clock(on).await;
    let (worker, asked) = idle_worker(&bench, 4).await;
    let (claims, reads) = (asked.claims(), asked.reads());
    let id = bench.start(run("a")).await;
    let done = bench.reaches(id, RunState::Succeeded).await;
    assert_eq!(bench.script.calls(), ["a/one", "a/two", "a/three"]);
    assert_eq!((asked.claims() - claims, asked.reads() - reads), (0, 0), "claims and reads");
    assert_eq!((done.summary.epoch, done.summary.worker.as_deref()), (1, Some("w")));
    worker.kill().await;
}

async fn the_same_start_twice_at_once_is_executed_once(on: On) {
    let (bench, _clock) = Bench::with_manual_clock(on).await;
    let (worker, _) = idle_worker(&bench, 4).await;
    let new = run("a");
    let (first, second) = tokio::join!(bench.store.start(new.clone()), bench.store.start(new.clone()));
    assert!(first.unwrap().fresh ^ second.unwrap().fresh, "one of them has started it");
    bench.reaches(new.id, RunState::Succeeded).await;
    assert_eq!(bench.script.calls(), ["a/one", "a/two", "a/three"]);
    worker.kill().await;
}

async fn a_repeated_start_gives_the_slot_back(on: On) {
    let (bench, _clock) = Bench::with_manual_clock(on).await;
    let (worker, asked) = idle_worker(&bench, 1).await;
    let new = run("a");
    bench.start(new.clone()).await;
    bench.reaches(new.id, RunState::Succeeded).await;
    let claims = asked.claims();
    assert!(!bench.store.start(new.clone()).await.unwrap().fresh);
    let next = bench.start(run("b")).await;
    bench.reaches(next, RunState::Succeeded).await;
    assert_eq!(asked.claims() - claims, 0, "the only slot was free for the next start");
    worker.kill().await;
}

async fn what_more_than_a_slot_holds_back_is_claimed(on: On) {
    let bench = Bench::new(on).await;
    let asked = Asked::default();
    let worker = bench.worker_on(asked.tap(&bench), "w", |config| {
        config.limits.of_workflow.insert("played".to_owned(), 1);
    });
    bench.play.is(|_, _| async { Ok(serde_json::Value::Null) });
    let held_back = [
        crate::support::played("limited"),
        run("keyed").key("k", OnConflict::Queue),
        run("grouped").group("g"),
        run("once").deduplication("d"),
    ];
    for new in held_back {
        let what = new.input.clone();
        // The slots are offered again after each.
        asked.reach(asked.reads() + 1).await;
        let claims = asked.claims();
        let id = bench.start(new).await;
        bench.reaches(id, RunState::Succeeded).await;
        assert!(asked.claims() > claims, "{what} was not claimed");
    }
    // No worker here continues that version.
    let unknown = bench.start(NewRun { version: 9, ..run("unknown") }).await;
    assert_eq!(bench.run(unknown).await.summary.state, RunState::Queued);
    worker.drain().await;
}

async fn nothing_overtakes_what_is_queued(on: On) {
    let (bench, _clock) = Bench::with_manual_clock(on).await;
    let (worker, _) = idle_worker(&bench, 1).await;
    // The worker has not looked yet when the next is started.
    let first = bench.start(run("first").key("k", OnConflict::Queue)).await;
    let second = bench.start(run("second")).await;
    bench.reaches(first, RunState::Succeeded).await;
    bench.reaches(second, RunState::Succeeded).await;
    assert_eq!(bench.script.calls()[0], "first/one", "{:?}", bench.script.calls());
    worker.kill().await;
}

async fn a_worker_that_closes_while_a_start_is_on_its_way_leaves_no_lease_behind(on: On) {
    let bench = Bench::new(on).await;
    for n in 0..10 {
        let (worker, _) = idle_worker(&bench, 4).await;
        let new = run(&n.to_string());
        let (started, ()) = tokio::join!(bench.store.start(new), worker.drain());
        let left = bench.run(started.unwrap().id).await.summary;
        let is_held =
            left.state == RunState::Running && left.lease_until.is_some_and(|until| until > bench.clock.now());
        assert!(!is_held, "its lease is left behind: {left:?}");
    }
}

async fn a_run_of_five_steps_takes_no_more_commits_than_promised(on: On) {
    let commits = Arc::new(AtomicU64::new(0));
    let recorder = Commits(commits.clone());
    // Of this thread alone, on which all of this test runs.
    let _recorded = metrics::set_default_local_recorder(&recorder);
    let (bench, _clock) = Bench::with_manual_clock(on).await;
    bench.play.is(|cx, _| async move {
        for step in ["one", "two", "three", "four", "five"] {
            cx.step(step, || async { Ok::<_, seatrial_engine::Failure>(()) }).await?;
        }
        Ok(serde_json::Value::Null)
    });
    let (worker, asked) = idle_worker(&bench, 4).await;
    let (eager, claimed) = (crate::support::played("eager"), crate::support::played("claimed"));
    for new in [eager, claimed.key("k", OnConflict::Queue)] {
        let (committed, claims) = (commits.load(Ordering::SeqCst), asked.claims());
        let id = bench.start(new).await;
        let done = bench.reaches(id, RunState::Succeeded).await;
        assert_eq!(done.steps.len(), 5);
        // The start, four boundaries, the end; and the claim, unless it was started as claimed.
        let least = committed + 6 + u64::from(done.summary.key.is_some());
        // A commit is there to be read a moment before it is counted.
        within("all commits being counted", async {
            while commits.load(Ordering::SeqCst) < least {
                tokio::task::yield_now().await;
            }
        })
        .await;
        // Claims that find nothing are counted as well.
        let most = committed + 6 + (asked.claims() - claims) as u64;
        let took = commits.load(Ordering::SeqCst);
        assert!(took <= most, "{:?} took {} commits, not {}", done.input, took - committed, most - committed);
    }
    worker.kill().await;
}

struct Commits(Arc<AtomicU64>);

impl metrics::Recorder for Commits {
    fn describe_counter(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_gauge(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_histogram(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}

    fn register_counter(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        let is_counted = key.name() == "store_commits_total";
        if is_counted { metrics::Counter::from_arc(self.0.clone()) } else { metrics::Counter::noop() }
    }

    fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::noop()
    }

    fn register_histogram(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::noop()
    }
}

async fn a_process_with_nothing_to_do_asks_once_in_two_seconds(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    let (worker, asked) = idle_worker(&bench, 4).await;
    let (reads, claims) = (asked.reads(), asked.claims());
    let others = asked.others.load(Ordering::SeqCst);
    for round in 1..=20 {
        clock.advance(Duration::from_secs(2));
        asked.reach(reads + round).await;
    }
    assert_eq!(asked.reads() - reads, 20, "reads in 40 s");
    assert_eq!((asked.claims() - claims, asked.others.load(Ordering::SeqCst) - others), (0, 0), "claims and others");
    worker.kill().await;
}
