//! Limits, fairness between groups, priority, schedules, retention.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seatrial_engine::{
    Claim, ClaimRequest, Limits, Missed, NewRun, OnConflict, Retention, RunState, Schedule, Tick, Transition, WorkerId,
    WorkflowVersions,
};
use seatrial_store::views::{PageRequest, RunFilter};
use serde_json::json;

use crate::place::On;
use crate::support::{Bench, entry, of_version_one, played, run, within};
use seatrial_preview::access::Visible;

on_each_store!(
    limits_of_a_workflow_and_of_a_group_hold_over_all_workers,
    groups_take_turns_and_the_place_in_the_queue_is_told,
    higher_priority_goes_first,
    a_schedule_starts_one_run_a_tick_whoever_asks,
    missed_ticks_follow_the_policy,
    a_tick_whose_key_is_taken_is_skipped,
    finished_runs_are_pruned_by_age_and_number,
    a_parent_is_kept_while_its_child_lives,
    the_newest_run_of_a_key_is_kept,
    many_workers_claim_each_run_once_and_no_two_of_a_key_at_once,
    a_worker_keeps_schedules_limits_and_the_retention,
);

async fn claim(bench: &Bench, limit: usize, limits: &Limits) -> Vec<Claim> {
    let now = bench.clock.now();
    let request = ClaimRequest {
        worker: WorkerId::new("w"),
        workflows: vec![of_version_one("scripted"), WorkflowVersions { name: "played".to_owned(), versions: 1..=2 }],
        limit,
        limits: limits.clone(),
        now,
        lease_until: now + Duration::from_secs(60),
    };
    bench.store.claim(&request).await.unwrap()
}

fn inputs(claims: &[Claim]) -> Vec<String> {
    claims.iter().map(|claim| claim.input.as_str().unwrap().to_owned()).collect()
}

async fn limits_of_a_workflow_and_of_a_group_hold_over_all_workers(on: On) {
    let bench = Bench::new(on).await;
    for n in 0..6 {
        bench.start(run(&format!("a{n}")).group("a")).await;
    }
    for n in 0..3 {
        bench.start(run(&format!("b{n}")).group("b")).await;
        bench.start(played(&format!("p{n}"))).await;
    }
    let mut limits = Limits { of_each_group: Some(2), ..Limits::default() };
    limits.of_workflow.insert("played".to_owned(), 1);
    limits.of_group.insert("b".to_owned(), 1);
    let taken = claim(&bench, 20, &limits).await;
    let mut names = inputs(&taken);
    names.sort();
    assert_eq!(names, ["a0", "a1", "b0", "p0"]);
    assert!(claim(&bench, 20, &limits).await.is_empty(), "another worker finds no room");
    let a0 = taken.iter().find(|claim| claim.input == "a0").unwrap();
    bench.store.record(entry(a0, &bench, Some(Transition::Succeeded(json!(null))))).await.unwrap();
    assert_eq!(inputs(&claim(&bench, 20, &limits).await), ["a2"]);
}

async fn groups_take_turns_and_the_place_in_the_queue_is_told(on: On) {
    let bench = Bench::new(on).await;
    for n in 0..4 {
        bench.start(run(&format!("big{n}")).group("big")).await;
    }
    let late = bench.start(run("small0").group("small")).await;
    let last = bench.start(run("small1").group("small")).await;
    assert_eq!(bench.store.position(late).await.unwrap(), Some(1), "behind one of the big group, not four");
    assert_eq!(bench.store.position(last).await.unwrap(), Some(3));
    let order = inputs(&claim(&bench, 6, &Limits::default()).await);
    assert_eq!(order, ["big0", "small0", "big1", "small1", "big2", "big3"]);
    assert_eq!(bench.store.position(late).await.unwrap(), None, "it is not queued any more");
}

async fn higher_priority_goes_first(on: On) {
    let bench = Bench::new(on).await;
    bench.start(run("low").priority(-1)).await;
    bench.start(run("first")).await;
    bench.start(run("high").priority(5)).await;
    bench.start(run("second")).await;
    assert_eq!(inputs(&claim(&bench, 3, &Limits::default()).await), ["high", "first", "second"]);
    assert_eq!(inputs(&claim(&bench, 3, &Limits::default()).await), ["low"]);
}

fn every_minute(missed: Missed) -> Tick {
    Tick { name: "nightly".to_owned(), run: run("tick"), missed, cron: "* * * * *".parse().unwrap() }
}

async fn ticks(bench: &Bench) -> usize {
    let page = PageRequest { after: None, limit: 200 };
    bench.store.list_runs(&Visible::All, &RunFilter::default(), &page).await.unwrap().items.len()
}

async fn a_schedule_starts_one_run_a_tick_whoever_asks(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    let other = bench.reopen().await;
    let schedule = every_minute(Missed::RunLatest);
    // The clock stands on a full minute: the first tick is now.
    for minute in 1..=3 {
        let asked = [&bench, &other].map(|bench| bench.store.tick(&schedule, bench.clock.now()));
        for next in futures_all(asked).await {
            assert_eq!(next.unwrap(), bench.clock.now() + Duration::from_secs(60));
        }
        assert_eq!(ticks(&bench).await, minute);
        clock.advance(Duration::from_secs(60));
    }
}

async fn missed_ticks_follow_the_policy(on: On) {
    for (missed, expected) in [(Missed::Skip, 0), (Missed::RunLatest, 1), (Missed::RunAll { at_most: 3 }, 3)] {
        let (bench, clock) = Bench::with_manual_clock(on).await;
        clock.advance(Duration::from_secs(1));
        let hourly = Tick { cron: "0 * * * *".parse().unwrap(), ..every_minute(missed) };
        bench.store.tick(&hourly, bench.clock.now()).await.unwrap();
        let before = ticks(&bench).await;
        clock.advance(Duration::from_secs(10 * 3_600 + 120));
        bench.store.tick(&hourly, bench.clock.now()).await.unwrap();
        assert_eq!(ticks(&bench).await - before, expected, "{missed:?}");
    }
}

async fn a_tick_whose_key_is_taken_is_skipped(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    let all = Tick { run: run("tick").key("k", OnConflict::Reject), ..every_minute(Missed::RunAll { at_most: 3 }) };
    bench.store.tick(&all, bench.clock.now()).await.unwrap();
    assert_eq!(ticks(&bench).await, 1);
    clock.advance(Duration::from_secs(180));
    // The first run has the key: three ticks are skipped, and not looked at again.
    bench.store.tick(&all, bench.clock.now()).await.unwrap();
    for claim in claim(&bench, 1, &Limits::default()).await {
        bench.store.record(entry(&claim, &bench, Some(Transition::Succeeded(json!(null))))).await.unwrap();
    }
    bench.store.tick(&all, bench.clock.now()).await.unwrap();
    assert_eq!(ticks(&bench).await, 1);
    clock.advance(Duration::from_secs(60));
    bench.store.tick(&all, bench.clock.now()).await.unwrap();
    assert_eq!(ticks(&bench).await, 2);
}

async fn finished_runs_are_pruned_by_age_and_number(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    let end = |claim: Claim| bench.store.record(entry(&claim, &bench, Some(Transition::Succeeded(json!(null)))));
    for n in 0..4 {
        bench.start(run(&n.to_string())).await;
        for claim in claim(&bench, 1, &Limits::default()).await {
            end(claim).await.unwrap();
        }
        clock.advance(Duration::from_secs(3_600));
    }
    let live = bench.start(run("live")).await;
    let by_age = Retention { age: Duration::from_secs(3 * 3_600), runs: 100 };
    assert_eq!(bench.store.prune(&by_age, bench.clock.now(), 10).await.unwrap(), 1);
    let by_number = Retention { age: Duration::from_secs(1_000 * 3_600), runs: 1 };
    assert_eq!(bench.store.prune(&by_number, bench.clock.now(), 1).await.unwrap(), 1, "in batches");
    assert_eq!(bench.store.prune(&by_number, bench.clock.now(), 10).await.unwrap(), 1);
    assert_eq!(bench.store.prune(&by_number, bench.clock.now(), 10).await.unwrap(), 0);
    assert_eq!(ticks(&bench).await, 2);
    assert_eq!(bench.run(live).await.summary.state, RunState::Queued);
}

async fn a_parent_is_kept_while_its_child_lives(on: On) {
    let bench = Bench::new(on).await;
    let parent = bench.start(run("parent")).await;
    let child = bench.start(NewRun { parent: Some(parent), ..run("child") }).await;
    let claims = claim(&bench, 1, &Limits::default()).await;
    bench.store.record(entry(&claims[0], &bench, Some(Transition::Succeeded(json!(null))))).await.unwrap();
    let none = Retention { age: Duration::ZERO, runs: 0 };
    let later = bench.clock.now() + Duration::from_secs(1);
    assert_eq!(bench.store.prune(&none, later, 10).await.unwrap(), 0);
    bench.store.cancel(child, "done", bench.clock.now()).await.unwrap();
    assert_eq!(bench.store.prune(&none, later + Duration::from_secs(1), 10).await.unwrap(), 2);
}

async fn the_newest_run_of_a_key_is_kept(on: On) {
    let bench = Bench::new(on).await;
    for input in ["a", "b"] {
        let id = bench.start(run(input).key("k", OnConflict::Queue)).await;
        bench.store.cancel(id, "done", bench.clock.now()).await.unwrap();
    }
    let newest = bench.start(run("c").key("k", OnConflict::Queue)).await;
    bench.store.cancel(newest, "done", bench.clock.now()).await.unwrap();
    let none = Retention { age: Duration::ZERO, runs: 0 };
    let later = bench.clock.now() + Duration::from_secs(1);
    assert_eq!(bench.store.prune(&none, later, 10).await.unwrap(), 2);
    assert_eq!(bench.run(newest).await.summary.state, RunState::Cancelled);
}

async fn many_workers_claim_each_run_once_and_no_two_of_a_key_at_once(on: On) {
    let bench = Bench::new(on).await;
    let inside: Arc<Mutex<HashSet<String>>> = Arc::default();
    let overlaps: Arc<Mutex<Vec<String>>> = Arc::default();
    let script = bench.script.clone();
    let (seen, found) = (inside.clone(), overlaps.clone());
    bench.play.is(move |cx, input| {
        let (script, inside, overlaps) = (script.clone(), seen.clone(), found.clone());
        async move {
            let key = input.split('/').next().unwrap_or_default().to_owned();
            if !inside.lock().unwrap().insert(key.clone()) {
                overlaps.lock().unwrap().push(input.clone());
            }
            for step in ["one", "two", "three"] {
                cx.step(step, || script.call(&input, step)).await?;
            }
            inside.lock().unwrap().remove(&key);
            Ok(json!(null))
        }
    });
    for n in 0..60 {
        let key = format!("k{}", n % 6);
        bench.start(played(&format!("{key}/{n}")).key(key, OnConflict::Queue)).await;
    }
    let mut benches = Vec::new();
    for _ in 0..3 {
        benches.push(bench.reopen().await);
    }
    let workers: Vec<_> = benches.iter().enumerate().map(|(n, b)| b.worker(&format!("w{n}"))).collect();
    let page = PageRequest { after: None, limit: 200 };
    let done = RunFilter { state: Some(RunState::Succeeded), ..RunFilter::default() };
    crate::support::within("all runs", async {
        while bench.store.list_runs(&Visible::All, &done, &page).await.unwrap().items.len() < 60 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let calls = bench.script.calls();
    assert_eq!(calls.len(), 180, "each step of each run once");
    assert_eq!(*overlaps.lock().unwrap(), Vec::<String>::new(), "begun while another of their key was going on");
    for worker in workers {
        worker.drain().await;
    }
}

async fn a_worker_keeps_schedules_limits_and_the_retention(on: On) {
    let (bench, clock) = Bench::with_manual_clock(on).await;
    bench.script.hangs("two");
    let worker = bench.worker_with("w", |config| {
        let cron = "* * * * *".parse().unwrap();
        config.schedules =
            vec![Schedule { name: "nightly".to_owned(), cron, missed: Missed::RunLatest, run: run("t") }];
        config.limits.of_workflow.insert("scripted".to_owned(), 1);
        config.retention = Some(Retention { age: Duration::from_secs(30), runs: 100 });
    });
    // The clock stands on a full minute.
    bench.script.is_called("t/two").await;
    let waits = bench.start(run("waits")).await;
    let page = PageRequest::default();
    let ticked =
        bench.store.list_runs(&Visible::All, &RunFilter::default(), &page).await.unwrap().items.pop().unwrap().id;
    assert_eq!(bench.run(waits).await.summary.state, RunState::Queued, "one at a time");
    bench.store.cancel(ticked, "enough", bench.clock.now()).await.unwrap();
    bench.script.is_called("waits/two").await;
    assert_eq!(bench.run(ticked).await.summary.state, RunState::Cancelled);
    within("the old run being deleted", async {
        while bench.store.find_run(ticked).await.unwrap().is_some() {
            clock.advance(Duration::from_secs(1));
        }
    })
    .await;
    worker.kill().await;
}

async fn futures_all<F: Future>(futures: [F; 2]) -> [F::Output; 2] {
    let [one, two] = futures;
    let (one, two) = tokio::join!(one, two);
    [one, two]
}
