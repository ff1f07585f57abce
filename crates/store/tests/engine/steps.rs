//! Steps: memoised, retried, failing, reset by a retry.

use std::time::Duration;

use seatrial_engine::{Failure, FailureKind, RunState};
use seatrial_store::views::{AttemptOutcome, StepPhase};

use crate::support::{Bench, On, run};

on_each_store!(
    a_run_executes_its_steps_once_and_keeps_their_results,
    a_transient_failure_is_retried_and_every_attempt_is_kept,
    retries_end_and_a_permanent_failure_has_none,
    a_long_wait_is_parked_in_the_store_and_ends_when_its_time_has_come,
    a_failed_run_is_retried_from_its_failed_step,
    a_panic_in_a_step_fails_the_run_and_the_worker_goes_on,
);

async fn a_run_executes_its_steps_once_and_keeps_their_results(on: On) {
    let bench = Bench::new(on).await;
    let worker = bench.worker("w");
    let id = bench.start(run("a")).await;
    let done = bench.reaches(id, RunState::Succeeded).await;
    assert_eq!(bench.script.calls(), ["a/one", "a/two", "a/three"]);
    assert_eq!(done.output, Some(serde_json::json!(["one of a", "two of a", "three of a"])));
    let steps: Vec<_> = done.steps.iter().map(|s| (s.name.as_str(), s.status, s.attempts.len())).collect();
    assert_eq!(
        steps,
        [("one", StepPhase::Succeeded, 1), ("two", StepPhase::Succeeded, 1), ("three", StepPhase::Succeeded, 1)]
    );
    worker.drain().await;
}

async fn a_transient_failure_is_retried_and_every_attempt_is_kept(on: On) {
    let bench = Bench::new(on).await;
    bench.script.on("two", |call| async move {
        if call < 3 { Err(Failure::transient(format!("hiccup {call}"))) } else { Ok("third time lucky".to_owned()) }
    });
    let worker = bench.worker("w");
    let id = bench.start(run("a")).await;
    let done = bench.reaches(id, RunState::Succeeded).await;
    let outcomes: Vec<_> =
        done.steps[1].attempts.iter().map(|a| (a.outcome, a.failure.as_ref().map(|f| f.message.clone()))).collect();
    assert_eq!(
        outcomes,
        [
            (Some(AttemptOutcome::Failed), Some("hiccup 1".to_owned())),
            (Some(AttemptOutcome::Failed), Some("hiccup 2".to_owned())),
            (Some(AttemptOutcome::Succeeded), None)
        ]
    );
    worker.drain().await;
}

async fn retries_end_and_a_permanent_failure_has_none(on: On) {
    let bench = Bench::new(on).await;
    let worker = bench.worker("w");
    bench.script.on("one", |_| async { Err(Failure::transient("always")) });
    let id = bench.start(run("a")).await;
    let failed = bench.reaches(id, RunState::Failed).await;
    assert_eq!(bench.script.count("a/one"), 3, "one attempt and two retries");
    assert_eq!(failed.summary.failure.unwrap().message, "always");
    bench.script.on("one", |_| async { Err(Failure::permanent("no")) });
    let id = bench.start(run("b")).await;
    bench.reaches(id, RunState::Failed).await;
    assert_eq!(bench.script.calls().iter().filter(|call| call.starts_with("b/")).count(), 1);
    worker.drain().await;
}

async fn a_long_wait_is_parked_in_the_store_and_ends_when_its_time_has_come(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    bench.script.on("two", |call| async move {
        if call == 1 {
            let kind = FailureKind::Transient { retry_after: Some(Duration::from_secs(3600)) };
            Err(Failure { kind, ..Failure::transient("rate limited") })
        } else {
            Ok("later".to_owned())
        }
    });
    let worker = bench.worker("w");
    let id = bench.start(run("a")).await;
    let parked = bench.reaches(id, RunState::Waiting).await;
    let wake_at = parked.summary.wake_at.unwrap();
    assert!(wake_at - bench.clock.now() >= chrono::TimeDelta::seconds(3600), "{wake_at}");
    clock.advance(Duration::from_secs(3599));
    assert_eq!(bench.run(id).await.summary.state, RunState::Waiting);
    clock.advance(Duration::from_secs(2));
    bench.reaches(id, RunState::Succeeded).await;
    assert_eq!(bench.script.calls(), ["a/one", "a/two", "a/two", "a/three"], "the first step is not run again");
    worker.kill().await;
}

async fn a_failed_run_is_retried_from_its_failed_step(on: On) {
    let bench = Bench::new(on).await;
    bench.script.on("two", |call| async move {
        if call == 1 { Err(Failure::permanent("broken")) } else { Ok("mended".to_owned()) }
    });
    let worker = bench.worker("w");
    let id = bench.start(run("a")).await;
    bench.reaches(id, RunState::Failed).await;
    bench.store.retry(id, None).await.unwrap();
    let done = bench.reaches(id, RunState::Succeeded).await;
    assert_eq!(bench.script.calls(), ["a/one", "a/two", "a/two", "a/three"]);
    assert_eq!(done.steps[1].attempts.len(), 2, "both attempts are kept");
    let refused = bench.store.retry(id, None).await.unwrap_err();
    assert!(refused.to_string().contains("only a failed or cancelled run"), "{refused}");
    worker.drain().await;
}

async fn a_panic_in_a_step_fails_the_run_and_the_worker_goes_on(on: On) {
    let bench = Bench::new(on).await;
    bench.script.on("two", |_| async { panic!("a mistake") });
    let worker = bench.worker("w");
    let id = bench.start(run("a")).await;
    let failed = bench.reaches(id, RunState::Failed).await;
    assert!(failed.summary.failure.unwrap().message.contains("a mistake"));
    bench.script.on("two", |_| async { Ok("fine".to_owned()) });
    let id = bench.start(run("b")).await;
    bench.reaches(id, RunState::Succeeded).await;
    worker.drain().await;
}
