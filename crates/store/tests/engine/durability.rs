//! Crashes, leases and draining.

use std::sync::Arc;
use std::time::Duration;

use seatrial_engine::{
    ClaimRequest, Entry, FinishedAttempt, JournalError, Limits, OpenStep, RunState, StepKey, Transition, WorkerId,
};
use seatrial_store::views::AttemptOutcome;

use tokio::sync::Notify;

use crate::support::{Bench, On, entry, of_version_one, run};

on_each_store!(
    a_restarted_process_goes_on_at_the_step_it_was_in,
    another_worker_takes_over_when_the_lease_has_expired_and_not_before,
    a_worker_that_lost_its_lease_records_nothing,
    an_entry_whose_answer_was_lost_is_written_once,
    a_worker_told_to_stop_hands_its_runs_back_at_once,
    a_run_whose_step_ends_in_time_is_handed_back_at_the_step_boundary,
    what_was_acknowledged_is_there_when_the_file_is_opened_again,
);

fn claim_by(bench: &Bench, worker: &WorkerId, lease: Duration) -> ClaimRequest {
    let now = bench.clock.now();
    ClaimRequest {
        worker: worker.clone(),
        workflows: vec![of_version_one("scripted")],
        limit: 10,
        limits: Limits::default(),
        now,
        lease_until: now + lease,
    }
}

async fn a_restarted_process_goes_on_at_the_step_it_was_in(on: On) {
    let bench = Bench::new(on).await;
    bench.script.hangs("two");
    let worker = bench.worker("w");
    let id = bench.start(run("a")).await;
    bench.script.is_called("a/two").await;
    worker.kill().await;
    let after = bench.reopen().await;
    after.script.on("two", |_| async { Ok("again".to_owned()) });
    let worker = after.worker("w");
    let done = after.reaches(id, RunState::Succeeded).await;
    assert_eq!(after.script.calls(), ["a/one", "a/two", "a/two", "a/three"]);
    let outcomes: Vec<_> = done.steps[1].attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [Some(AttemptOutcome::Interrupted), Some(AttemptOutcome::Succeeded)]);
    worker.drain().await;
}

async fn another_worker_takes_over_when_the_lease_has_expired_and_not_before(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    let (one, two) = (WorkerId::new("one"), WorkerId::new("two"));
    let lease = Duration::from_secs(10);
    bench.start(run("a")).await;
    let first = bench.store.claim(&claim_by(&bench, &one, lease)).await.unwrap().pop().expect("claimed");
    clock.advance(Duration::from_millis(9_999));
    let early = bench.store.claim(&claim_by(&bench, &two, lease)).await.unwrap();
    assert!(early.is_empty());
    let due = bench.store.next_due(&[of_version_one("scripted")], bench.clock.now()).await.unwrap();
    assert_eq!(due, Some(bench.clock.now() + Duration::from_millis(1)));
    clock.advance(Duration::from_millis(1));
    let second = bench.store.claim(&claim_by(&bench, &two, lease)).await.unwrap().pop().expect("taken over");
    assert_eq!(second.id, first.id);
    assert!(second.epoch > first.epoch);
}

async fn an_entry_whose_answer_was_lost_is_written_once(on: On) {
    let bench = Bench::new(on).await;
    let worker = WorkerId::new("w");
    for input in ["a", "b"] {
        bench.start(run(input)).await;
    }
    let claims = bench.store.claim(&claim_by(&bench, &worker, Duration::from_secs(10))).await.unwrap();
    let key = StepKey { scope: String::new(), name: "one".to_owned(), occurrence: 0 };
    let open = OpenStep { key, position: 0, attempt: 1, started_at: bench.clock.now(), wait: None };
    let [first, other] = [0, 1].map(|which| Entry {
        finished: vec![FinishedAttempt::interrupted(open.clone(), bench.clock.now())],
        ..entry(&claims[which], &bench, None)
    });
    bench.store.record(first.clone()).await.unwrap();
    // Once more, beside one that is written for the first time.
    let (again, new) = tokio::join!(bench.store.record(first.clone()), bench.store.record(other.clone()));
    again.unwrap();
    new.unwrap();
    for id in [first.run, other.run] {
        assert_eq!(bench.run(id).await.steps[0].attempts.len(), 1);
    }
}

async fn a_worker_that_lost_its_lease_records_nothing(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    let (zombie, heir) = (WorkerId::new("zombie"), WorkerId::new("heir"));
    let lease = Duration::from_secs(10);
    let id = bench.start(run("a")).await;
    let lost = bench.store.claim(&claim_by(&bench, &zombie, lease)).await.unwrap().pop().unwrap();
    clock.advance(Duration::from_secs(11));
    bench.store.claim(&claim_by(&bench, &heir, lease)).await.unwrap().pop().unwrap();
    let now = bench.clock.now();
    let entry = Entry {
        run: id,
        row: lost.row,
        key: None,
        epoch: lost.epoch,
        parent: None,
        at: now,
        lease_until: now + lease,
        open: vec![OpenStep {
            key: StepKey { scope: String::new(), name: "one".into(), occurrence: 0 },
            position: 0,
            attempt: 1,
            started_at: now,
            wait: None,
        }],
        finished: Vec::new(),
        children: Vec::new(),
        transition: Some(Transition::Succeeded(serde_json::json!([]))),
    };
    let refused = bench.store.record(entry).await.unwrap_err();
    assert!(matches!(refused, JournalError::Fenced { .. }), "{refused}");
    let run = bench.run(id).await;
    assert_eq!((run.summary.state, run.steps.len()), (RunState::Running, 0));
}

async fn a_worker_told_to_stop_hands_its_runs_back_at_once(on: On) {
    let bench = Bench::new(on).await;
    bench.script.hangs("two");
    let worker = bench.worker("one");
    let id = bench.start(run("a")).await;
    bench.script.is_called("a/two").await;
    worker.drain().await;
    assert_eq!(bench.run(id).await.summary.state, RunState::Waiting);
    bench.script.on("two", |_| async { Ok("done elsewhere".to_owned()) });
    let other = bench.worker("two");
    bench.reaches(id, RunState::Succeeded).await;
    assert_eq!(bench.script.count("a/one"), 1);
    other.drain().await;
}

async fn a_run_whose_step_ends_in_time_is_handed_back_at_the_step_boundary(on: On) {
    let bench = Bench::new(on).await;
    let (told, may_end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tells, ends) = (told.clone(), may_end.clone());
    bench.script.on("two", move |_| {
        let (tells, ends) = (tells.clone(), ends.clone());
        async move {
            tells.notify_one();
            ends.notified().await;
            Ok("done here".to_owned())
        }
    });
    let worker = bench.worker_with("one", |config| config.grace = Duration::from_secs(20));
    let id = bench.start(run("a")).await;
    told.notified().await;
    worker.stop.cancel();
    may_end.notify_one();
    worker.drain().await;
    let left = bench.run(id).await;
    assert_eq!(left.summary.wait_reason.as_deref(), Some("handed back by a worker that is stopping"));
    assert_eq!(left.steps[1].attempts[0].outcome, Some(AttemptOutcome::Succeeded));
    let other = bench.worker("two");
    bench.reaches(id, RunState::Succeeded).await;
    assert_eq!(bench.script.calls(), ["a/one", "a/two", "a/three"]);
    other.drain().await;
}

async fn what_was_acknowledged_is_there_when_the_file_is_opened_again(on: On) {
    let bench = Bench::new(on).await;
    let id = bench.start(run("a")).await;
    let again = bench.after_it_was_closed().await;
    assert_eq!(again.run(id).await.summary.state, RunState::Queued);
}
