//! What people ask of a run: stop by force, go on from a step, fork. And runs of older code.

use std::time::Duration;

use seatrial_engine::{
    AttemptOutcome, ClaimRequest, Failure, Fork, JournalError, Limits, NewRun, NewSignal, ORPHANED_AFTER, OnConflict,
    RunId, RunState, StepKey, WorkerId, WorkflowVersions,
};
use serde_json::{Value, json};

use crate::place::On;
use crate::support::{Bench, PlayedChild, Scripted, of_version_one, played, run};
use seatrial_preview::access::Visible;

on_each_store!(
    a_run_stopped_by_force_records_nothing_more,
    an_ended_run_goes_on_from_a_step_that_is_named,
    a_fork_has_done_what_came_before_the_step,
    a_run_of_an_older_version_goes_on_when_the_code_says_so,
    a_run_of_an_unknown_version_is_parked_with_the_reason,
    a_run_is_left_to_the_worker_that_continues_its_version,
    a_fork_keeps_the_signals_and_waits_for_new_ones,
    a_fork_does_not_wait_for_a_child_of_the_old_run,
    a_retried_run_is_told_of_a_child_that_ended_meanwhile,
    a_retried_run_starts_a_child_anew_that_did_not_succeed,
    a_run_that_cannot_be_read_keeps_no_other_from_being_claimed,
    a_run_is_not_its_own_parent,
    a_circle_of_parents_is_stopped,
    a_run_of_an_unknown_version_does_not_hold_up_what_supersedes_it,
    patched_is_false_for_a_run_that_sleeps_behind_it,
    patched_is_false_for_runs_that_went_further_and_true_for_new_ones,
    a_result_that_cannot_be_read_parks_the_run,
    what_does_not_exist_is_said_to_be_missing,
    a_trace_context_is_kept,
);

fn step(name: &str) -> StepKey {
    StepKey { scope: String::new(), name: name.to_owned(), occurrence: 0 }
}

async fn a_run_stopped_by_force_records_nothing_more(on: On) {
    let bench = Bench::new(on).await;
    bench.script.hangs("two");
    let worker = bench.worker("w");
    let id = bench.start(run("a").key("k", OnConflict::Queue)).await;
    let next = bench.start(run("b").key("k", OnConflict::Queue)).await;
    bench.script.is_called("a/two").await;
    bench.store.force_stop(id, "it does not stop", bench.clock.now()).await.unwrap();
    let stopped = bench.run(id).await;
    assert_eq!(stopped.summary.state, RunState::Cancelled);
    bench.script.is_called("b/two").await;
    assert_eq!(bench.script.count("a/clean-up"), 0, "no clean-up runs");
    assert_eq!(bench.run(next).await.summary.state, RunState::Running);
    let two = stopped.steps.iter().flat_map(|step| &step.attempts).last().unwrap();
    assert_eq!(two.outcome, Some(AttemptOutcome::Interrupted));
    let again = bench.store.force_stop(id, "again", bench.clock.now()).await.unwrap_err();
    assert!(matches!(again, JournalError::Illegal(_)), "{again}");
    worker.drain().await;
}

async fn an_ended_run_goes_on_from_a_step_that_is_named(on: On) {
    let bench = Bench::new(on).await;
    let worker = bench.worker("w");
    let id = bench.start(run("a")).await;
    bench.reaches(id, RunState::Succeeded).await;
    bench.store.retry(id, Some(&step("two"))).await.unwrap();
    let done = bench.reaches(id, RunState::Succeeded).await;
    assert_eq!(bench.script.calls(), ["a/one", "a/two", "a/three", "a/two", "a/three"]);
    assert_eq!(done.steps.iter().map(|step| step.attempts.len()).collect::<Vec<_>>(), [1, 2, 2]);
    let unknown = bench.store.retry(id, Some(&step("four"))).await.unwrap_err();
    assert!(unknown.to_string().contains("has no step four"), "{unknown}");
    worker.drain().await;
}

async fn a_fork_has_done_what_came_before_the_step(on: On) {
    let bench = Bench::new(on).await;
    bench.script.on("three", |call| async move {
        if call == 1 { Err(Failure::permanent("broken")) } else { Ok("mended".to_owned()) }
    });
    let worker = bench.worker("w");
    let old = bench.start(run("a")).await;
    bench.reaches(old, RunState::Failed).await;
    let fork = Fork { id: RunId::new(), from: step("three"), on_conflict: OnConflict::Reject };
    let new = bench.store.fork(old, fork.clone()).await.unwrap();
    assert!(new.fresh && new.id != old);
    let done = bench.reaches(new.id, RunState::Succeeded).await;
    assert_eq!(bench.script.calls(), ["a/one", "a/two", "a/three", "a/three"]);
    assert_eq!(done.summary.forked_from, Some(old));
    assert_eq!(bench.run(old).await.summary.state, RunState::Failed, "the old run stays as it was");
    assert!(!bench.store.fork(old, fork).await.unwrap().fresh, "the same fork is made once");
    worker.drain().await;
}

async fn a_run_of_an_older_version_goes_on_when_the_code_says_so(on: On) {
    let bench = Bench::new(on).await;
    bench.play.is(|cx, _| async move { Ok(json!(cx.version())) });
    let worker = bench.worker("w");
    let id = bench.start(NewRun { version: 1, ..played("a") }).await;
    assert_eq!(bench.reaches(id, RunState::Succeeded).await.output, Some(json!(1)));
    worker.drain().await;
}

async fn a_run_of_an_unknown_version_is_parked_with_the_reason(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    let worker = bench.worker("w");
    let id = bench.start(NewRun { version: 9, ..run("a") }).await;
    clock.advance(ORPHANED_AFTER);
    let parked = bench.reaches(id, RunState::Waiting).await;
    let reason = parked.summary.wait_reason.unwrap();
    assert!(reason.contains("begun by version 9 of workflow scripted"), "{reason}");
    assert!(bench.script.calls().is_empty());
    bench.store.cancel(id, "not needed", bench.clock.now()).await.unwrap();
    clock.advance(ORPHANED_AFTER);
    let ended = bench.reaches(id, RunState::Cancelled).await;
    assert_eq!(ended.summary.cancel_reason.as_deref(), Some("not needed"));
    worker.kill().await;
}

async fn a_run_of_an_unknown_version_does_not_hold_up_what_supersedes_it(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    let worker = bench.worker("w");
    let old = bench.start(NewRun { version: 9, ..run("old") }.key("k", OnConflict::Supersede)).await;
    clock.advance(ORPHANED_AFTER);
    bench.reaches(old, RunState::Waiting).await;
    let new = bench.start(run("new").key("k", OnConflict::Supersede)).await;
    clock.advance(ORPHANED_AFTER);
    bench.reaches(new, RunState::Succeeded).await;
    assert_eq!(bench.run(old).await.summary.state, RunState::Cancelled);
    worker.kill().await;
}

/// A rolling deployment: both versions of the program work on one journal.
async fn a_run_is_left_to_the_worker_that_continues_its_version(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    let newer = WorkflowVersions { name: "scripted".to_owned(), versions: 2..=2 };
    let (old, new) = (bench.start(run("old")).await, bench.start(NewRun { version: 2, ..run("new") }).await);
    let take = async |workflows: WorkflowVersions| {
        let now = bench.clock.now();
        let request = ClaimRequest {
            worker: WorkerId::new("w"),
            workflows: vec![workflows],
            limit: 10,
            limits: Limits::default(),
            now,
            lease_until: now + Duration::from_secs(10),
        };
        bench.store.claim(&request).await.unwrap().iter().map(|claim| claim.id).collect::<Vec<_>>()
    };
    assert_eq!(take(newer.clone()).await, [new]);
    let due = async |workflows| bench.store.next_due(&[workflows], bench.clock.now()).await.unwrap();
    // Its own lease is the next it waits for; the queued run is none of its business.
    assert_eq!(due(newer.clone()).await, Some(bench.clock.now() + Duration::from_secs(10)));
    assert_eq!(due(of_version_one("scripted")).await, Some(bench.clock.now()));
    clock.advance(ORPHANED_AFTER);
    assert_eq!(due(newer.clone()).await, Some(bench.clock.now()), "nobody has taken it");
    assert_eq!(take(newer).await, [new, old]);
}

async fn patched_is_false_for_runs_that_went_further_and_true_for_new_ones(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    let tell = |bench: &Bench, with_patch: bool| {
        let script = bench.script.clone();
        bench.play.is(move |cx, input| {
            let script = script.clone();
            async move {
                let new = with_patch && cx.patched("greet");
                if new {
                    cx.step("greet", || script.call(&input, "greet")).await?;
                }
                cx.step("work", || script.call(&input, "work")).await?;
                cx.sleep("pause", Duration::from_secs(3_600)).await?;
                cx.step("end", || script.call(&input, "end")).await?;
                Ok(json!(new))
            }
        });
    };
    tell(&bench, false);
    let worker = bench.worker("w");
    let old = bench.start(played("old")).await;
    bench.reaches(old, RunState::Waiting).await;
    tell(&bench, true);
    let new = bench.start(played("new")).await;
    bench.reaches(new, RunState::Waiting).await;
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(bench.reaches(old, RunState::Succeeded).await.output, Some(json!(false)));
    assert_eq!(bench.reaches(new, RunState::Succeeded).await.output, Some(json!(true)));
    assert_eq!((bench.script.count("old/greet"), bench.script.count("new/greet")), (0, 1));
    worker.kill().await;
}

async fn patched_is_false_for_a_run_that_sleeps_behind_it(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    let tell = |with_patch: bool| {
        bench.play.is(move |cx, _| async move {
            let new = with_patch && cx.patched("greet");
            cx.sleep("pause", Duration::from_secs(3_600)).await?;
            Ok(json!(new))
        });
    };
    tell(false);
    let worker = bench.worker("w");
    let old = bench.start(played("old")).await;
    bench.reaches(old, RunState::Waiting).await;
    tell(true);
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(bench.reaches(old, RunState::Succeeded).await.output, Some(json!(false)));
    worker.kill().await;
}

async fn a_result_that_cannot_be_read_parks_the_run(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    bench.play.is(|cx, _| async move {
        cx.step("count", || async { Ok::<_, Failure>("three".to_owned()) }).await?;
        cx.sleep("pause", Duration::from_secs(3_600)).await?;
        Ok(Value::Null)
    });
    let worker = bench.worker("w");
    let id = bench.start(played("a")).await;
    bench.reaches(id, RunState::Waiting).await;
    bench.play.is(|cx, _| async move {
        cx.step("count", || async { Ok::<_, Failure>(3) }).await?;
        Ok(Value::Null)
    });
    clock.advance(Duration::from_secs(3_600));
    let parked = bench.changes_to(id, |run| run.summary.epoch == 2 && run.summary.state == RunState::Waiting).await;
    let reason = parked.summary.wait_reason.unwrap();
    assert!(reason.contains("step count recorded cannot be read"), "{reason}");
    bench.store.cancel(id, "not needed", bench.clock.now()).await.unwrap();
    bench.reaches(id, RunState::Cancelled).await;
    worker.kill().await;
}

async fn what_does_not_exist_is_said_to_be_missing(on: On) {
    let bench = Bench::new(on).await;
    let (nobody, now) = (RunId::new(), bench.clock.now());
    for answer in [
        bench.store.cancel(nobody, "x", now).await,
        bench.store.force_stop(nobody, "x", now).await,
        bench.store.retry(nobody, None).await,
    ] {
        assert_eq!(answer, Err(JournalError::NotFound(nobody)));
    }
    assert_eq!(bench.store.find_run(nobody).await, Ok(None));
    assert_eq!(bench.store.position(nobody).await, Ok(None));
}

async fn a_trace_context_is_kept(on: On) {
    let bench = Bench::new(on).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    bench.start(NewRun::of::<Scripted>(&"a".to_owned()).unwrap().trace(parent)).await;
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
    assert_eq!(claim.trace.as_deref(), Some(parent));
}

async fn a_fork_keeps_the_signals_and_waits_for_new_ones(on: On) {
    let bench = Bench::new(on).await;
    let script = bench.script.clone();
    bench.play.is(move |cx, input| {
        let script = script.clone();
        async move {
            let first = cx.wait_for::<u32>("number", None).await?;
            cx.step("between", || script.call(&input, "between")).await?;
            Ok(json!([first, cx.wait_for::<u32>("number", None).await?]))
        }
    });
    let worker = bench.worker("w");
    let old = bench.start(played("a")).await;
    let send = async |run, number: u32| {
        let signal = NewSignal { name: "number".to_owned(), payload: json!(number), deduplication: None };
        bench.store.signal(run, signal, bench.clock.now()).await.unwrap();
    };
    send(old, 1).await;
    bench.script.is_called("a/between").await;
    bench.reaches(old, RunState::Waiting).await;
    let fork = Fork { id: RunId::new(), from: step("between"), on_conflict: OnConflict::Queue };
    let new = bench.store.fork(old, fork).await.unwrap().id;
    bench.reaches(new, RunState::Waiting).await;
    send(new, 2).await;
    send(old, 3).await;
    assert_eq!(bench.reaches(new, RunState::Succeeded).await.output, Some(json!([1, 2])));
    assert_eq!(bench.reaches(old, RunState::Succeeded).await.output, Some(json!([1, 3])));
    worker.drain().await;
}

fn tells_of_a_child(bench: &Bench) {
    let script = bench.script.clone();
    bench.play.is(move |cx, input| {
        let script = script.clone();
        async move {
            let child = NewRun::of::<PlayedChild>(&"c".to_owned())?;
            let child = cx.start_child::<PlayedChild>("start", child).await?;
            cx.step("between", || script.call(&input, "between")).await?;
            cx.await_child::<PlayedChild>("await", child).await
        }
    });
}

async fn a_fork_does_not_wait_for_a_child_of_the_old_run(on: On) {
    let bench = Bench::new(on).await;
    tells_of_a_child(&bench);
    bench.child.is(|cx, _| async move { Ok(json!(cx.wait_for::<u32>("go", None).await?)) });
    let worker = bench.worker("w");
    let old = bench.start(played("a")).await;
    bench.script.is_called("a/between").await;
    let parked = bench.reaches(old, RunState::Waiting).await;
    let child: RunId = parked.steps[0].output.clone().unwrap().as_str().unwrap().parse().unwrap();
    bench.reaches(child, RunState::Waiting).await;
    let fork = || Fork { id: RunId::new(), from: step("between"), on_conflict: OnConflict::Queue };
    let refused = bench.store.fork(old, fork()).await.unwrap_err();
    assert!(refused.to_string().contains(&child.to_string()), "{refused}");
    let go = NewSignal { name: "go".to_owned(), payload: json!(7), deduplication: None };
    bench.store.signal(child, go, bench.clock.now()).await.unwrap();
    bench.reaches(old, RunState::Succeeded).await;
    // Now that it has ended, the fork is told of it as the old run was.
    let new = bench.store.fork(old, fork()).await.unwrap().id;
    assert_eq!(bench.reaches(new, RunState::Succeeded).await.output, Some(json!(7)));
    worker.drain().await;
}

async fn a_retried_run_is_told_of_a_child_that_ended_meanwhile(on: On) {
    let bench = Bench::new(on).await;
    tells_of_a_child(&bench);
    bench.script.on("between", |call| async move {
        if call == 1 { Err(Failure::permanent("broken")) } else { Ok("mended".to_owned()) }
    });
    bench.child.is(|cx, _| async move { Ok(json!(cx.wait_for::<u32>("go", None).await?)) });
    let worker = bench.worker("w");
    let id = bench.start(played("a")).await;
    let failed = bench.reaches(id, RunState::Failed).await;
    let child: RunId = failed.steps[0].output.clone().unwrap().as_str().unwrap().parse().unwrap();
    let go = NewSignal { name: "go".to_owned(), payload: json!(7), deduplication: None };
    bench.store.signal(child, go, bench.clock.now()).await.unwrap();
    bench.reaches(child, RunState::Succeeded).await;
    bench.store.retry(id, None).await.unwrap();
    assert_eq!(bench.reaches(id, RunState::Succeeded).await.output, Some(json!(7)));
    worker.drain().await;
}

/// Cancelled with its parent, and failed by itself.
async fn a_retried_run_starts_a_child_anew_that_did_not_succeed(on: On) {
    let bench = Bench::new(on).await;
    tells_of_a_child(&bench);
    let worker = bench.worker("w");
    let ended = async |story: u32| {
        let id = bench.start(played("a")).await;
        if story == 1 {
            let parked = bench.reaches(id, RunState::Waiting).await;
            bench.store.cancel(id, "not now", bench.clock.now()).await.unwrap();
            bench.reaches(id, RunState::Cancelled).await;
            let child = parked.steps[0].output.clone().unwrap().as_str().unwrap().parse().unwrap();
            bench.reaches(child, RunState::Cancelled).await;
        } else {
            bench.reaches(id, RunState::Failed).await;
        }
        id
    };
    bench.child.is(|cx, _| async move { Ok(json!(cx.wait_for::<u32>("go", None).await?)) });
    let cancelled = ended(1).await;
    bench.child.is(|_, _| async { Err(Failure::permanent("it broke")) });
    let failed = ended(2).await;
    bench.child.is(|_, _| async { Ok(json!("mended")) });
    for id in [cancelled, failed] {
        bench.store.retry(id, None).await.unwrap();
        assert_eq!(bench.reaches(id, RunState::Succeeded).await.output, Some(json!("mended")));
    }
    worker.drain().await;
}

async fn a_run_that_cannot_be_read_keeps_no_other_from_being_claimed(on: On) {
    let bench = Bench::new(on).await;
    let unreadable = bench.start(run("a").key("k", OnConflict::Supersede)).await;
    let other = bench.start(run("b")).await;
    bench.place.execute("UPDATE runs SET open = 'what a newer program writes' WHERE key = 'k'").await;
    let worker = bench.worker("w");
    bench.reaches(other, RunState::Succeeded).await;
    let parked = bench.reaches(unreadable, RunState::Waiting).await;
    let reason = parked.summary.wait_reason.unwrap();
    assert!(reason.contains("cannot be read by this version"), "{reason}");
    let page = seatrial_store::views::PageRequest::default();
    let listed =
        bench.store.list_runs(&Visible::All, &seatrial_store::views::RunFilter::default(), &page).await.unwrap();
    assert_eq!(listed.items.len(), 2, "the others are shown, and it is");
    let newest = bench.start(run("c").key("k", OnConflict::Supersede)).await;
    bench.reaches(newest, RunState::Succeeded).await;
    assert_eq!(bench.run(unreadable).await.summary.state, RunState::Cancelled);
    worker.drain().await;
}

async fn a_run_is_not_its_own_parent(on: On) {
    let bench = Bench::new(on).await;
    let id = RunId::new();
    let refused = bench.store.start(NewRun { id, parent: Some(id), ..run("a") }).await.unwrap_err();
    assert!(matches!(refused, JournalError::Illegal(_)), "{refused}");
}

async fn a_circle_of_parents_is_stopped(on: On) {
    let bench = Bench::new(on).await;
    bench.script.hangs("one");
    let worker = bench.worker("w");
    let (first, second) = (RunId::new(), RunId::new());
    bench.start(NewRun { id: first, parent: Some(second), ..run("a") }).await;
    bench.start(NewRun { id: second, parent: Some(first), ..run("b") }).await;
    bench.script.is_called("a/one").await;
    bench.script.is_called("b/one").await;
    let cancelled = bench.store.cancel(first, "enough", bench.clock.now());
    crate::support::within("the circle being stopped", cancelled).await.unwrap();
    bench.reaches(first, RunState::Cancelled).await;
    bench.reaches(second, RunState::Cancelled).await;
    worker.drain().await;
}
