//! Timers, signals and children, and branches that wait beside each other.

use std::time::Duration;

use seatrial_engine::{AttemptOutcome, Failure, NewRun, NewSignal, OnConflict, RunDetail, RunState, StepPhase};
use serde_json::{Value, json};

use crate::place::On;
use crate::support::{Bench, PlayedChild, played};

on_each_store!(
    a_sleep_goes_on_while_no_program_runs,
    a_signal_sent_before_the_wait_is_not_lost,
    a_signal_wakes_the_run_that_waits_for_it,
    each_signal_is_taken_once_and_in_order,
    a_signal_sent_twice_under_one_id_comes_once,
    a_wait_ends_at_its_deadline,
    a_signal_after_the_deadline_is_left_to_the_next_wait,
    a_signal_that_cannot_be_read_is_passed_over,
    a_child_is_not_started_with_the_run_of_another_workflow,
    a_parent_gets_what_its_child_returned,
    a_childs_failure_is_its_parents_to_handle,
    cancelling_a_parent_cancels_its_children,
    a_run_that_sleeps_or_waits_is_superseded,
    a_branch_that_waits_lets_the_others_finish,
    a_dropped_branch_does_not_keep_the_run_from_waiting,
    a_result_that_is_not_json_does_not_keep_the_run_from_waiting,
    a_wait_beyond_the_calendar_is_a_wait,
    an_ended_run_takes_no_signal,
);

const DAY: Duration = Duration::from_secs(86_400);

fn signal(name: &str, payload: Value) -> NewSignal {
    NewSignal { name: name.to_owned(), payload, deduplication: None }
}

async fn a_sleep_goes_on_while_no_program_runs(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    let script = bench.script.clone();
    bench.play.is(move |cx, input| {
        let script = script.clone();
        async move {
            cx.step("before", || script.call(&input, "before")).await?;
            cx.sleep("night", DAY).await?;
            cx.step("after", || script.call(&input, "after")).await?;
            Ok(json!((cx.now() - cx.started_at()).num_seconds()))
        }
    });
    let worker = bench.worker("w");
    let id = bench.start(played("a")).await;
    let parked = bench.reaches(id, RunState::Waiting).await;
    assert_eq!(parked.summary.wake_at, Some(bench.clock.now() + DAY));
    let night = &parked.steps[1];
    assert_eq!(
        (night.name.as_str(), night.status, night.retry_at),
        ("night", StepPhase::Waiting, parked.summary.wake_at)
    );
    worker.kill().await;
    clock.advance(DAY - Duration::from_millis(1));
    let after = bench.reopen().await;
    assert_eq!(after.run(id).await.summary.wake_at, Some(after.clock.now() + Duration::from_millis(1)));
    let worker = after.worker("another");
    clock.advance(Duration::from_millis(1));
    let done = after.reaches(id, RunState::Succeeded).await;
    assert_eq!(done.output, Some(json!(86_400)));
    assert_eq!(bench.script.calls(), ["a/before", "a/after"]);
    assert_eq!(done.steps[1].attempts.len(), 1, "it slept once");
    worker.kill().await;
}

async fn a_signal_sent_before_the_wait_is_not_lost(on: On) {
    let bench = Bench::new(on).await;
    bench.play.is(|cx, _| async move { Ok(json!(cx.wait_for::<u32>("approved", None).await?)) });
    let id = bench.start(played("a")).await;
    bench.store.signal(id, signal("approved", json!(7)), bench.clock.now()).await.unwrap();
    let worker = bench.worker("w");
    assert_eq!(bench.reaches(id, RunState::Succeeded).await.output, Some(json!(7)));
    worker.drain().await;
}

async fn a_signal_wakes_the_run_that_waits_for_it(on: On) {
    let bench = Bench::new(on).await;
    bench.play.is(|cx, _| async move { Ok(json!(cx.wait_for::<String>("approved", DAY).await?)) });
    let worker = bench.worker("w");
    let id = bench.start(played("a")).await;
    let parked = bench.reaches(id, RunState::Waiting).await;
    assert_eq!(parked.summary.wait_reason.as_deref(), Some("waits for approved"));
    assert_eq!(parked.summary.current_step.as_deref(), Some("approved"));
    bench.store.signal(id, signal("unrelated", json!(1)), bench.clock.now()).await.unwrap();
    bench.store.signal(id, signal("approved", json!("by ada")), bench.clock.now()).await.unwrap();
    assert_eq!(bench.reaches(id, RunState::Succeeded).await.output, Some(json!("by ada")));
    worker.drain().await;
}

async fn each_signal_is_taken_once_and_in_order(on: On) {
    let bench = Bench::new(on).await;
    bench.play.is(|cx, _| async move {
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(cx.wait_for::<u32>("number", None).await?);
        }
        Ok(json!(seen))
    });
    let id = bench.start(played("a")).await;
    let worker = bench.worker("w");
    for number in 1..=3 {
        bench.store.signal(id, signal("number", json!(number)), bench.clock.now()).await.unwrap();
    }
    assert_eq!(bench.reaches(id, RunState::Succeeded).await.output, Some(json!([1, 2, 3])));
    worker.drain().await;
}

async fn a_signal_sent_twice_under_one_id_comes_once(on: On) {
    let bench = Bench::new(on).await;
    bench.play.is(|cx, _| async move {
        let first = cx.wait_for::<u32>("number", None).await?;
        let second = cx.wait_for::<u32>("number", Duration::from_millis(50)).await?;
        Ok(json!([first, second]))
    });
    let id = bench.start(played("a")).await;
    for number in 1..=2 {
        let once = NewSignal { deduplication: Some("the same".to_owned()), ..signal("number", json!(number)) };
        bench.store.signal(id, once, bench.clock.now()).await.unwrap();
    }
    let worker = bench.worker("w");
    assert_eq!(bench.reaches(id, RunState::Succeeded).await.output, Some(json!([1, null])));
    worker.drain().await;
}

async fn a_signal_after_the_deadline_is_left_to_the_next_wait(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    bench.play.is(|cx, _| async move {
        let in_time: Option<Value> = cx.wait_for("go", DAY).await?;
        let later: Option<Value> = cx.wait_for("go", DAY).await?;
        Ok(json!([in_time, later]))
    });
    let worker = bench.worker("w");
    let id = bench.start(played("a")).await;
    bench.reaches(id, RunState::Waiting).await;
    // No program runs at the deadline, nor when the signal is sent.
    worker.kill().await;
    clock.advance(DAY + Duration::from_millis(1));
    let after = bench.reopen().await;
    after.store.signal(id, signal("go", json!("late")), after.clock.now()).await.unwrap();
    let worker = after.worker("another");
    assert_eq!(after.reaches(id, RunState::Succeeded).await.output, Some(json!([null, "late"])));
    worker.drain().await;
}

async fn a_signal_that_cannot_be_read_is_passed_over(on: On) {
    let bench = Bench::new(on).await;
    bench.play.is(|cx, _| async move {
        let cents: Option<u32> = cx.wait_for("paid", DAY).await?;
        let note: Option<String> = cx.wait_for("paid", DAY).await?;
        Ok(json!([cents, note]))
    });
    let worker = bench.worker("w");
    let id = bench.start(played("a")).await;
    bench.reaches(id, RunState::Waiting).await;
    bench.store.signal(id, signal("paid", json!("in cash")), bench.clock.now()).await.unwrap();
    let reason = |run: &RunDetail| run.summary.wait_reason.clone().unwrap_or_default();
    let waits = bench.changes_to(id, |run| reason(run).contains("cannot be read")).await;
    assert!(reason(&waits).contains("expected u32") && reason(&waits).contains("send it again"), "{}", reason(&waits));
    worker.kill().await;
    // It is still there for a wait that can read it, also after a restart.
    let after = bench.reopen().await;
    after.store.signal(id, signal("paid", json!(700)), after.clock.now()).await.unwrap();
    let worker = after.worker("w");
    assert_eq!(after.reaches(id, RunState::Succeeded).await.output, Some(json!([700, "in cash"])));
    worker.drain().await;
}

async fn a_child_is_not_started_with_the_run_of_another_workflow(on: On) {
    let bench = Bench::new(on).await;
    bench.play.is(|cx, _| async move {
        let refused = cx.start_child::<PlayedChild>("other", played("a")).await.unwrap_err();
        Ok(json!(refused.message))
    });
    let worker = bench.worker("w");
    let id = bench.start(played("a")).await;
    let said = bench.reaches(id, RunState::Succeeded).await.output.unwrap_or_default();
    assert!(said.as_str().is_some_and(|said| said.contains("a run of child")), "{said}");
    worker.drain().await;
}

async fn a_wait_ends_at_its_deadline(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    bench.play.is(|cx, _| async move { Ok(json!(cx.wait_for::<u32>("approved", DAY).await?)) });
    let worker = bench.worker("w");
    let id = bench.start(played("a")).await;
    bench.reaches(id, RunState::Waiting).await;
    clock.advance(DAY);
    assert_eq!(bench.reaches(id, RunState::Succeeded).await.output, Some(Value::Null));
    // What comes too late for the wait stays for nobody.
    let late = bench.store.signal(id, signal("approved", json!(1)), bench.clock.now()).await.unwrap_err();
    assert!(late.to_string().contains("comes too late"), "{late}");
    worker.kill().await;
}

async fn a_parent_gets_what_its_child_returned(on: On) {
    let bench = Bench::new(on).await;
    let script = bench.script.clone();
    bench.play.is(move |cx, input| {
        let script = script.clone();
        async move {
            cx.step("before", || script.call(&input, "before")).await?;
            let sum = cx.child::<PlayedChild>("sum", &"1 2".to_owned()).await?;
            cx.step("after", || script.call(&input, "after")).await?;
            Ok(sum)
        }
    });
    bench.child.is(|cx, input| async move {
        cx.step("add", || async {
            Ok::<_, Failure>(json!(input.split(' ').map(|n| n.parse::<u32>().unwrap()).sum::<u32>()))
        })
        .await
    });
    let worker = bench.worker("w");
    let id = bench.start(played("a")).await;
    let done = bench.reaches(id, RunState::Succeeded).await;
    assert_eq!(done.output, Some(json!(3)));
    assert_eq!(bench.script.calls(), ["a/before", "a/after"]);
    let child = done.steps.iter().find(|step| step.name == "sum").unwrap().output.clone().unwrap();
    let child = bench.run(child.as_str().unwrap().parse().unwrap()).await;
    assert_eq!((child.summary.parent, child.summary.state), (Some(id), RunState::Succeeded));
    worker.drain().await;
}

async fn a_childs_failure_is_its_parents_to_handle(on: On) {
    let bench = Bench::new(on).await;
    bench.play.is(|cx, input| async move {
        if input == "holder" {
            cx.wait_for::<Value>("never", None).await?;
        }
        let failed = cx.child::<PlayedChild>("risky", &String::new()).await.unwrap_err();
        let refused = cx
            .start_child::<PlayedChild>(
                "rejected",
                NewRun::of::<PlayedChild>(&String::new())?.key("k", OnConflict::Reject),
            )
            .await
            .unwrap_err();
        Ok(json!([failed.message, refused.message.contains("holds the key k")]))
    });
    bench.child.is(|_, _| async { Err(Failure::permanent("it broke")) });
    bench.start(played("holder").key("k", OnConflict::Queue)).await;
    let id = bench.start(played("a")).await;
    let worker = bench.worker("w");
    assert_eq!(bench.reaches(id, RunState::Succeeded).await.output, Some(json!(["it broke", true])));
    worker.drain().await;
}

async fn cancelling_a_parent_cancels_its_children(on: On) {
    let bench = Bench::new(on).await;
    let script = bench.script.clone();
    script.hangs("long");
    bench.play.is(|cx, _| async move { cx.child::<PlayedChild>("work", &"c".to_owned()).await });
    bench.child.is(move |cx, input| {
        let script = script.clone();
        async move {
            let outcome = cx.step("long", || script.call(&input, "long")).await;
            if outcome.is_err() {
                let cx = cx.shielded("cancelled");
                cx.step("tidy", || script.call(&input, "tidy")).await?;
            }
            outcome.map(Value::from)
        }
    });
    let worker = bench.worker("w");
    let id = bench.start(played("a")).await;
    bench.script.is_called("c/long").await;
    let parked = bench.reaches(id, RunState::Waiting).await;
    let child = parked.steps[0].output.clone().unwrap().as_str().unwrap().parse().unwrap();
    bench.store.cancel(id, "enough", bench.clock.now()).await.unwrap();
    assert_eq!(bench.reaches(id, RunState::Cancelled).await.summary.cancel_reason.as_deref(), Some("enough"));
    let child = bench.reaches(child, RunState::Cancelled).await;
    assert_eq!(child.steps[0].attempts[0].outcome, Some(AttemptOutcome::Cancelled));
    assert_eq!(bench.script.count("c/tidy"), 1);
    worker.drain().await;
}

async fn a_run_that_sleeps_or_waits_is_superseded(on: On) {
    let bench = Bench::new(on).await;
    let script = bench.script.clone();
    bench.play.is(move |cx, input| {
        let script = script.clone();
        async move {
            let waited = match input.as_str() {
                "sleeps" => cx.sleep("long", DAY).await,
                "waits" => cx.wait_for::<Value>("never", None).await.map(drop),
                _ => cx.step("begin", || script.call(&input, "begin")).await.map(drop),
            };
            if waited.is_err() {
                cx.shielded("cancelled").step("tidy", || script.call(&input, "tidy")).await?;
            }
            waited.map(|()| json!(input))
        }
    });
    let worker = bench.worker("w");
    for old in ["sleeps", "waits"] {
        let run = bench.start(played(old).key("k", OnConflict::Supersede)).await;
        bench.reaches(run, RunState::Waiting).await;
        let new = bench.start(played(&format!("after {old}")).key("k", OnConflict::Supersede)).await;
        bench.reaches(new, RunState::Succeeded).await;
        assert_eq!(bench.run(run).await.summary.state, RunState::Cancelled);
    }
    let expected = ["sleeps/tidy", "after sleeps/begin", "waits/tidy", "after waits/begin"];
    assert_eq!(bench.script.calls(), expected, "the old one has stopped before the new one begins");
    worker.drain().await;
}

async fn a_branch_that_waits_lets_the_others_finish(on: On) {
    let bench = Bench::new(on).await;
    let script = bench.script.clone();
    bench.play.is(move |cx, input| {
        let script = script.clone();
        async move {
            let (left, right) = (cx.scope("left"), cx.scope("right"));
            let waits = async { left.wait_for::<u32>("go", None).await };
            let works = async {
                for _ in 0..3 {
                    right.step("work", || script.call(&input, "work")).await?;
                }
                Ok::<_, Failure>(())
            };
            let (number, ()) = tokio::try_join!(waits, works)?;
            Ok(json!(number))
        }
    });
    let worker = bench.worker("w");
    let id = bench.start(played("a")).await;
    let parked = bench.reaches(id, RunState::Waiting).await;
    assert_eq!(bench.script.count("a/work"), 3, "the other branch has finished before the run was parked");
    let works: Vec<_> = parked.steps.iter().filter(|step| step.scope == "right").map(|step| step.occurrence).collect();
    assert_eq!(works, [0, 1, 2]);
    bench.store.signal(id, signal("go", json!(5)), bench.clock.now()).await.unwrap();
    assert_eq!(bench.reaches(id, RunState::Succeeded).await.output, Some(json!(5)));
    assert_eq!(bench.script.count("a/work"), 3);
    worker.drain().await;
}

async fn a_dropped_branch_does_not_keep_the_run_from_waiting(on: On) {
    let bench = Bench::new(on).await;
    let script = bench.script.clone();
    script.on("breaks", |_| async { Err(Failure::permanent("broken")) });
    script.hangs("hangs");
    bench.play.is(move |cx, input| {
        let script = script.clone();
        async move {
            let (left, right) = (cx.scope("left"), cx.scope("right"));
            let hangs = async { left.step("hangs", || script.call(&input, "hangs")).await };
            let breaks = async { right.step("breaks", || script.call(&input, "breaks")).await };
            let broken = tokio::try_join!(hangs, breaks).unwrap_err();
            let word = cx.wait_for::<String>("word", None).await?;
            Ok(json!([broken.message, word]))
        }
    });
    let worker = bench.worker("w");
    let id = bench.start(played("a")).await;
    let parked = bench.reaches(id, RunState::Waiting).await;
    let dropped = parked.steps.iter().find(|step| step.name == "hangs").unwrap();
    assert_eq!(dropped.attempts[0].outcome, Some(AttemptOutcome::Interrupted));
    bench.store.signal(id, signal("word", json!("go on")), bench.clock.now()).await.unwrap();
    // The function comes by both branches again: one has failed, the other is tried anew.
    assert_eq!(bench.reaches(id, RunState::Succeeded).await.output, Some(json!(["broken", "go on"])));
    worker.drain().await;
}

async fn a_result_that_is_not_json_does_not_keep_the_run_from_waiting(on: On) {
    let bench = Bench::new(on).await;
    bench.play.is(|cx, _| async move {
        // A key that is no text.
        let odd = || async { Ok::<_, Failure>(std::collections::BTreeMap::from([(vec![1], 2)])) };
        let refused = cx.step("odd", odd).await.unwrap_err();
        let word = cx.wait_for::<String>("word", None).await?;
        Ok(json!([refused.message.contains("is not JSON"), word]))
    });
    let worker = bench.worker("w");
    let id = bench.start(played("a")).await;
    let parked = bench.reaches(id, RunState::Waiting).await;
    assert_eq!(parked.steps[0].status, StepPhase::Failed);
    bench.store.signal(id, signal("word", json!("go on")), bench.clock.now()).await.unwrap();
    assert_eq!(bench.reaches(id, RunState::Succeeded).await.output, Some(json!([true, "go on"])));
    worker.drain().await;
}

async fn a_wait_beyond_the_calendar_is_a_wait(on: On) {
    let bench = Bench::new(on).await;
    bench.play.is(|cx, _| async move { Ok(json!(cx.wait_for::<u32>("go", Duration::MAX).await?)) });
    let worker = bench.worker("w");
    let id = bench.start(played("a")).await;
    bench.reaches(id, RunState::Waiting).await;
    bench.store.signal(id, signal("go", json!(1)), bench.clock.now()).await.unwrap();
    assert_eq!(bench.reaches(id, RunState::Succeeded).await.output, Some(json!(1)));
    worker.drain().await;
}

async fn an_ended_run_takes_no_signal(on: On) {
    let bench = Bench::new(on).await;
    bench.play.is(|_, _| async { Ok(Value::Null) });
    let worker = bench.worker("w");
    let id = bench.start(played("a")).await;
    bench.reaches(id, RunState::Succeeded).await;
    let refused = bench.store.signal(id, signal("x", Value::Null), bench.clock.now()).await.unwrap_err();
    assert!(refused.to_string().contains("has already succeeded"), "{refused}");
    worker.drain().await;
}
