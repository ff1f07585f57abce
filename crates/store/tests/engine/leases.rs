//! What a worker does when it holds a lease no longer: nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use seatrial_engine::{
    Backoff, ClaimRequest, Failure, Held, JournalError, Limits, Renewal, RunDetail, RunState, Transition, WorkerId,
};
use serde_json::{Value, json};
use sqlx::Connection as _;
use tokio::sync::Notify;

use crate::support::{Bench, On, of_version_one, played, run, within};
use crate::tapped::{Call, Tapped};

on_each_store!(
    a_worker_that_takes_its_own_run_back_ends_what_it_was_doing,
    a_worker_cut_off_from_its_journal_stops_before_its_lease_ends,
    a_worker_that_leaves_ends_its_own_leases_only,
    what_the_journal_refuses_fails_its_run_alone,
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

/// The new process of a worker has begun while the old one drains.
async fn a_worker_that_leaves_ends_its_own_leases_only(on: On) {
    let bench = Bench::new(on).await;
    bench.script.hangs("one");
    let claims_nothing = Tapped::new(bench.store.journal(), |call| {
        let is_claim = matches!(call, Call::Claim);
        async move { if is_claim { std::future::pending().await } else { Ok(()) } }
    });
    let old = bench.worker_on(claims_nothing, "w", |config| config.lease = Duration::from_secs(1));
    let new = bench.reopen().await;
    let successor = new.worker("w");
    let id = new.start(run("a")).await;
    new.script.is_called("a/one").await;
    let held = new.run(id).await.summary;
    old.drain().await;
    let after = new.run(id).await.summary;
    assert_eq!((after.epoch, after.state), (held.epoch, RunState::Running));
    assert!(after.lease_until >= held.lease_until, "{after:?}");
    successor.drain().await;
}

async fn what_the_journal_refuses_fails_its_run_alone(on: On) {
    let bench = Bench::new(on).await;
    let script = bench.script.clone();
    bench.play.is(move |cx, input| {
        let script = script.clone();
        async move {
            // PostgreSQL keeps no such name.
            let name = if input == "odd" { "a\0b" } else { "plain" };
            cx.step(name, || script.call(&input, "work")).await?;
            Ok(json!(input))
        }
    });
    let worker = bench.worker("w");
    let (odd, plain) = (bench.start(played("odd")).await, bench.start(played("plain")).await);
    bench.reaches(plain, RunState::Succeeded).await;
    let ended = bench.changes_to(odd, |run| run.summary.state.is_final()).await.summary;
    if on == On::Postgres {
        assert_eq!(ended.state, RunState::Failed);
        let message = ended.failure.unwrap().message;
        assert!(message.contains("the journal cannot keep what the run has done"), "{message}");
    } else {
        assert_eq!(ended.state, RunState::Succeeded);
    }
    worker.drain().await;
}

/// SQLite has one writer: there is nobody to meet.
#[tokio::test]
async fn a_lease_whose_row_is_being_written_is_not_renewed() {
    let (bench, clock) = Bench::with_manual_clock(On::Postgres).await;
    let id = bench.start(run("a")).await;
    let now = bench.clock.now();
    let request = ClaimRequest {
        worker: WorkerId::new("w"),
        workflows: vec![of_version_one("scripted")],
        limit: 1,
        limits: Limits::default(),
        now,
        lease_until: now + Duration::from_secs(10),
    };
    let claim = bench.store.claim(&request).await.unwrap().pop().unwrap();
    let mut other = sqlx::PgConnection::connect(&bench.place.url()).await.unwrap();
    let mut writes = other.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM runs WHERE id = $1 FOR UPDATE").bind(id.0).execute(&mut *writes).await.unwrap();
    clock.advance(Duration::from_secs(3));
    let held = Held { run: id, epoch: claim.epoch };
    let until = bench.clock.now() + Duration::from_secs(10);
    assert_eq!(bench.store.renew(&[held], until).await.unwrap(), [Renewal::Busy(held)]);
    writes.rollback().await.unwrap();
    assert_eq!(bench.run(id).await.summary.lease_until, Some(request.lease_until));
    assert_eq!(bench.store.renew(&[held], until).await.unwrap(), []);
    assert_eq!(bench.run(id).await.summary.lease_until, Some(until));
}
