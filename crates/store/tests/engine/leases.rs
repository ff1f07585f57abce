//! What a worker does when it holds a lease no longer: nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use seatrial_engine::{Backoff, Failure, JournalError, RunDetail, RunState, Transition};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::{Bench, On, played, run, within};
use crate::tapped::{Call, Tapped};

on_each_store!(
    a_worker_that_takes_its_own_run_back_ends_what_it_was_doing,
    a_worker_cut_off_from_its_journal_stops_before_its_lease_ends,
    no_branch_begins_an_effect_while_the_run_is_being_parked,
);

/// How many executions are in the middle of a step, and how many were at most.
#[derive(Clone, Default)]
struct Inside {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    left: Arc<Notify>,
}

struct Present(Inside);

impl Inside {
    fn enter(&self) -> Present {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Present(self.clone())
    }

    async fn is_empty(&self) {
        within("the step being dropped", async {
            loop {
                let left = self.left.notified();
                if self.now.load(Ordering::SeqCst) == 0 {
                    return;
                }
                left.await;
            }
        })
        .await;
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
        self.0.left.notify_waiters();
    }
}

/// Step two hangs the first time it is called, and is done at once the next time.
fn hangs_once(bench: &Bench) -> Inside {
    let inside = Inside::default();
    let seen = inside.clone();
    bench.script.on("two", move |call| {
        let present = seen.enter();
        async move {
            if call == 1 {
                std::future::pending::<()>().await;
            }
            drop(present);
            Ok("done".to_owned())
        }
    });
    inside
}

async fn a_worker_that_takes_its_own_run_back_ends_what_it_was_doing(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    let inside = hangs_once(&bench);
    // Of the renewal and the claim, which race after a pause, the claim comes first.
    let journal = Tapped::new(bench.store.journal(), |call| {
        let is_renewal = matches!(call, Call::Renew);
        async move { if is_renewal { std::future::pending().await } else { Ok(()) } }
    });
    let worker = bench.worker_on(journal, "w", |_| {});
    let id = bench.start(run("a")).await;
    bench.script.is_called("a/two").await;
    clock.advance(Duration::from_secs(11));
    bench.reaches(id, RunState::Succeeded).await;
    assert_eq!(bench.script.count("a/two"), 2);
    inside.is_empty().await;
    assert_eq!(inside.most.load(Ordering::SeqCst), 1, "the step was in progress twice at once");
    worker.kill().await;
}

async fn a_worker_cut_off_from_its_journal_stops_before_its_lease_ends(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    let inside = hangs_once(&bench);
    let is_cut_off = Arc::new(AtomicBool::new(false));
    let cut_off = is_cut_off.clone();
    let journal = Tapped::new(bench.store.journal(), move |_| {
        let is_cut_off = cut_off.load(Ordering::SeqCst);
        async move { if is_cut_off { Err(JournalError::Unavailable("cut off".to_owned())) } else { Ok(()) } }
    });
    let worker = bench.worker_on(journal, "one", |_| {});
    let id = bench.start(run("a")).await;
    bench.script.is_called("a/two").await;
    is_cut_off.store(true, Ordering::SeqCst);
    // Nobody else may take the run yet.
    clock.advance(Duration::from_millis(9_900));
    inside.is_empty().await;
    clock.advance(Duration::from_millis(101));
    let heir = bench.worker("two");
    bench.reaches(id, RunState::Succeeded).await;
    assert_eq!((bench.script.count("a/one"), bench.script.count("a/two")), (1, 2));
    worker.kill().await;
    heir.kill().await;
}

async fn no_branch_begins_an_effect_while_the_run_is_being_parked(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    let script = bench.script.clone();
    script.on(
        "work",
        |call| async move { if call == 1 { Err(Failure::transient("busy")) } else { Ok("done".to_owned()) } },
    );
    bench.play.is(move |cx, input| {
        let script = script.clone();
        async move {
            let (left, right) = (cx.scope("left"), cx.scope("right"));
            let (first, max) = (Duration::from_secs(4), Duration::from_secs(4));
            let backoff = Backoff { retries: 1, first, max };
            let works = async { left.step("work", || script.call(&input, "work")).retry(backoff).await };
            let waits = async {
                right.sleep("nap", Duration::from_secs(2)).await?;
                right.wait_for::<Value>("go", Duration::from_secs(3_600)).await
            };
            tokio::try_join!(works, waits).map(|(work, _)| json!(work))
        }
    });
    let (parks, parked) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (parking, go_on) = (parks.clone(), parked.clone());
    let journal = Tapped::new(bench.store.journal(), move |call| {
        let parks = matches!(call, Call::Record(entry) if matches!(entry.transition, Some(Transition::Park { .. })));
        let (parking, go_on) = (parking.clone(), go_on.clone());
        async move {
            if parks {
                parking.notify_one();
                go_on.notified().await;
            }
            Ok(())
        }
    });
    let worker = bench.worker_on(journal, "w", |_| {});
    let id = bench.start(played("a")).await;
    bench.script.is_called("a/work").await;
    // All that has happened is written, and both branches wait in place.
    let is_written = |run: &RunDetail| {
        run.steps.len() == 2 && run.steps.iter().any(|step| step.retry_at.is_some() && step.name == "work")
    };
    within("the failure being written", async {
        while !is_written(&bench.run(id).await) {
            clock.advance(Duration::from_millis(20));
        }
    })
    .await;
    clock.advance(Duration::from_secs(2));
    within("the run being parked", parks.notified()).await;
    assert_eq!(bench.script.count("a/work"), 1, "the case is not the one that is meant: it was retried before");
    // The backoff of the left branch is over while the journal is writing.
    clock.advance(Duration::from_secs(4));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.script.count("a/work"), 1, "an effect began that nobody will record");
    parked.notify_one();
    bench.script.is_called_times("a/work", 2).await;
    parked.notify_one();
    bench.changes_to(id, |run| run.steps.iter().any(|step| step.name == "work" && step.output.is_some())).await;
    worker.kill().await;
}
