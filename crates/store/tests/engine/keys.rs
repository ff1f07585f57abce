//! Deduplication ids and concurrency keys.

use std::sync::Arc;

use seatrial_engine::{JournalError, OnConflict, RunState};
use seatrial_store::views::StepPhase;
use tokio::sync::Notify;

use crate::support::{Bench, On, run, within};
use seatrial_preview::access::Visible;

on_each_store!(
    the_same_deduplication_id_returns_the_same_run,
    queued_runs_of_one_key_follow_one_another,
    a_taken_key_rejects,
    the_newest_supersedes_and_begins_after_the_old_one_has_cleaned_up,
    a_run_parked_in_a_backoff_is_superseded_too,
    starts_at_the_same_time_leave_one_run_of_the_key,
);

async fn the_same_deduplication_id_returns_the_same_run(on: On) {
    let bench = Bench::new(on).await;
    let first = bench.store.start(run("a").deduplication("delivery-1")).await.unwrap();
    let second = bench.store.start(run("a").deduplication("delivery-1")).await.unwrap();
    assert!(first.fresh && !second.fresh);
    assert_eq!(first.id, second.id);
}

async fn queued_runs_of_one_key_follow_one_another(on: On) {
    let bench = Bench::new(on).await;
    bench.script.hangs("two");
    let worker = bench.worker("w");
    let first = bench.start(run("a").key("k", OnConflict::Queue)).await;
    let second = bench.start(run("b").key("k", OnConflict::Queue)).await;
    let other = bench.start(run("c").key("other", OnConflict::Queue)).await;
    bench.script.is_called("a/two").await;
    bench.script.is_called("c/two").await;
    assert_eq!(bench.run(second).await.summary.state, RunState::Queued);
    bench.store.cancel(first, "enough", bench.clock.now()).await.unwrap();
    bench.script.is_called("b/two").await;
    assert_eq!(bench.run(first).await.summary.state, RunState::Cancelled);
    assert_eq!(bench.run(other).await.summary.state, RunState::Running);
    worker.drain().await;
}

async fn a_taken_key_rejects(on: On) {
    let bench = Bench::new(on).await;
    let holder = bench.start(run("a").key("k", OnConflict::Queue)).await;
    let refused = bench.store.start(run("b").key("k", OnConflict::Reject)).await.unwrap_err();
    assert_eq!(refused, JournalError::KeyTaken { key: "k".to_owned(), by: holder });
}

async fn the_newest_supersedes_and_begins_after_the_old_one_has_cleaned_up(on: On) {
    let bench = Bench::new(on).await;
    bench.script.hangs("two");
    // The old run stays in its clean-up until both others wait: else the first of them may begin.
    let clean = Arc::new(Notify::new());
    let cleaned = clean.clone();
    bench.script.on("clean-up", move |_| {
        let cleaned = cleaned.clone();
        async move {
            cleaned.notified().await;
            Ok(String::new())
        }
    });
    let worker = bench.worker("w");
    let old = bench.start(run("old").key("k", OnConflict::Supersede)).await;
    bench.script.is_called("old/two").await;
    let dropped = bench.start(run("dropped").key("k", OnConflict::Supersede)).await;
    let newest = bench.start(run("new").key("k", OnConflict::Supersede)).await;
    clean.notify_one();
    bench.script.is_called("new/two").await;
    let calls = bench.script.calls();
    let clean_up = calls.iter().position(|call| call == "old/clean-up").expect("the old run cleans up");
    let begin = calls.iter().position(|call| call == "new/one").unwrap();
    assert!(clean_up < begin, "{calls:?}");
    assert!(!calls.iter().any(|call| call.starts_with("dropped/")), "{calls:?}");
    let old = bench.run(old).await;
    assert_eq!(old.summary.state, RunState::Cancelled);
    assert!(old.steps.iter().any(|step| step.scope == "cancelled" && step.status == StepPhase::Succeeded));
    assert_eq!(bench.run(dropped).await.summary.state, RunState::Cancelled);
    assert_eq!(bench.run(newest).await.summary.state, RunState::Running);
    worker.drain().await;
}

async fn a_run_parked_in_a_backoff_is_superseded_too(on: On) {
    let (bench, _clock) = Bench::with_manual_clock(on).await;
    bench.script.on("two", |_| async {
        let kind = seatrial_engine::FailureKind::Transient { retry_after: Some(std::time::Duration::from_secs(600)) };
        Err(seatrial_engine::Failure { kind, ..seatrial_engine::Failure::transient("busy") })
    });
    let worker = bench.worker("w");
    let old = bench.start(run("old").key("k", OnConflict::Supersede)).await;
    bench.reaches(old, RunState::Waiting).await;
    bench.script.on("two", |_| async { Ok("fine".to_owned()) });
    let newest = bench.start(run("new").key("k", OnConflict::Supersede)).await;
    bench.reaches(newest, RunState::Succeeded).await;
    let old = bench.run(old).await;
    assert_eq!(old.summary.state, RunState::Cancelled);
    let two = old.steps.iter().find(|step| step.name == "two").unwrap();
    assert_eq!(two.status, StepPhase::Failed, "it waits for no further attempt");
    assert_eq!(bench.script.count("old/two"), 1);
    assert_eq!(bench.script.count("old/clean-up"), 1);
    worker.kill().await;
}

async fn starts_at_the_same_time_leave_one_run_of_the_key(on: On) {
    let bench = Bench::new(on).await;
    let worker = bench.worker("w");
    let mut starts = tokio::task::JoinSet::new();
    for n in 0..20 {
        let store = bench.store.clone();
        starts.spawn(async move { store.start(run(&n.to_string()).key("k", OnConflict::Supersede)).await.unwrap().id });
    }
    let ids = within("the starts", starts.join_all()).await;
    let mut ended = Vec::new();
    for id in ids {
        within("the run's end", async {
            loop {
                let state = bench.run(id).await.summary.state;
                if state.is_final() {
                    ended.push(state);
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    let page = seatrial_store::views::PageRequest::default();
    let listed =
        bench.store.list_runs(&Visible::All, &seatrial_store::views::RunFilter::default(), &page).await.unwrap();
    assert_eq!(listed.items[0].state, RunState::Succeeded, "the newest is not superseded: {ended:?}");
    assert!(ended.iter().all(|state| matches!(state, RunState::Succeeded | RunState::Cancelled)), "{ended:?}");
    worker.drain().await;
}
