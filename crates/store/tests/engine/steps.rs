//! Steps: memoised, retried, failing, reset by a retry.

use std::sync::Arc;
use std::time::Duration;

use seatrial_engine::{Backoff, Failure, FailureKind, RunState};
use seatrial_store::views::{AttemptOutcome, StepPhase};

use serde_json::json;
use tokio::sync::Notify;

use crate::support::{Bench, On, played, run, within};

on_each_store!(
    a_run_executes_its_steps_once_and_keeps_their_results,
    a_transient_failure_is_retried_and_every_attempt_is_kept,
    retries_end_and_a_permanent_failure_has_none,
    a_long_wait_is_parked_in_the_store_and_ends_when_its_time_has_come,
    an_attempt_that_takes_too_long_is_dropped_and_tried_again,
    a_wait_of_five_seconds_is_waited_out_and_a_longer_one_is_parked,
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

async fn an_attempt_that_takes_too_long_is_dropped_and_tried_again(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    let script = bench.script.clone();
    let dropped = Arc::new(Notify::new());
    let tells = dropped.clone();
    script.on("slow", move |call| {
        let told = TellsItsDrop(tells.clone());
        async move {
            if call == 1 {
                std::future::pending::<()>().await;
            }
            std::mem::forget(told);
            Ok("in time".to_owned())
        }
    });
    bench.play.is(move |cx, input| {
        let script = script.clone();
        async move {
            let backoff = Backoff { retries: 1, first: Duration::from_secs(60), max: Duration::from_secs(60) };
            let slow = cx.step("slow", || script.call(&input, "slow"));
            Ok(json!(slow.timeout(Duration::from_secs(3)).retry(backoff).await?))
        }
    });
    let worker = bench.worker("w");
    let id = bench.start(played("a")).await;
    bench.script.is_called("a/slow").await;
    clock.advance(Duration::from_secs(3));
    within("the attempt being dropped", dropped.notified()).await;
    let parked = bench.reaches(id, RunState::Waiting).await;
    let failure = parked.steps[0].attempts[0].failure.clone().unwrap();
    assert!(failure.is_transient() && failure.message.contains("did not finish within 3s"), "{failure}");
    clock.advance(Duration::from_secs(80));
    assert_eq!(bench.reaches(id, RunState::Succeeded).await.output, Some(json!("in time")));
    worker.kill().await;
}

struct TellsItsDrop(Arc<Notify>);

impl Drop for TellsItsDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

async fn a_wait_of_five_seconds_is_waited_out_and_a_longer_one_is_parked(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    bench.script.on("two", |call| async move {
        let seconds = if call == 1 { 5 } else { 6 };
        let kind = FailureKind::Transient { retry_after: Some(Duration::from_secs(seconds)) };
        if call < 3 { Err(Failure { kind, ..Failure::transient("later") }) } else { Ok("now".to_owned()) }
    });
    let worker = bench.worker("w");
    let id = bench.start(run("a")).await;
    bench.script.is_called("a/two").await;
    within("the failure being written", async {
        while !bench.run(id).await.steps.iter().any(|step| step.name == "two" && step.retry_at.is_some()) {
            clock.advance(Duration::from_millis(20));
        }
    })
    .await;
    // In place: the same claim tries again.
    clock.advance(Duration::from_secs(5));
    bench.script.is_called_times("a/two", 2).await;
    let parked = bench.reaches(id, RunState::Waiting).await;
    assert_eq!(parked.summary.epoch, 1);
    clock.advance(Duration::from_secs(6));
    assert_eq!(bench.reaches(id, RunState::Succeeded).await.summary.epoch, 2);
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
