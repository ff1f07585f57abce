//! What the proofs have found, as small as it gets.

use std::time::Duration;

use seatrial_engine::{
    Claim, ClaimRequest, Clock, Entry, Failure, FinishedAttempt, Fork, Journal as _, Limits, NewRun, OnConflict,
    OpenStep, RunId, RunState, StepKey, Transition, WorkerId, WorkflowVersions,
};
use serde_json::json;

use crate::broken::Fault;
use crate::demo::{Demo, Input, Plot};
use crate::place::On;
use crate::process::{Life, Point};
use crate::stage::{Ground, Stage, alone};

alone_on_each_store!(
    a_run_started_by_another_process_is_found_although_nobody_rings,
    a_run_of_a_dead_worker_is_taken_over_although_its_limit_is_one,
    a_run_that_parks_while_it_is_cancelled_sees_it,
    a_fork_that_is_asked_for_again_does_not_supersede_itself,
    a_child_with_the_deduplication_id_of_another_run_is_refused,
    a_run_that_is_superseded_in_the_queue_stops_its_children,
    a_child_that_ends_after_its_parent_is_waited_for_when_that_is_retried,
);

fn of_version_one(workflow: &str) -> WorkflowVersions {
    WorkflowVersions { name: workflow.to_owned(), versions: 1..=1 }
}

fn run() -> NewRun {
    NewRun::of::<Demo>(&Input { label: "a".to_owned(), plot: Plot::Steps }).unwrap()
}

fn request(stage: &Stage, limits: Limits) -> ClaimRequest {
    let now = stage.clock.now();
    ClaimRequest {
        worker: WorkerId::new("w"),
        workflows: vec![of_version_one("demo")],
        limit: 10,
        limits,
        now,
        lease_until: now + Duration::from_secs(10),
    }
}

fn entry(stage: &Stage, claim: &Claim, transition: Transition) -> Entry {
    let at = stage.clock.now();
    Entry {
        run: claim.id,
        row: claim.row,
        key: claim.key.clone(),
        epoch: claim.epoch,
        parent: None,
        at,
        lease_until: at + Duration::from_secs(10),
        open: Vec::new(),
        finished: Vec::new(),
        children: Vec::new(),
        transition: Some(transition),
    }
}

fn a_run_started_by_another_process_is_found_although_nobody_rings(on: On) {
    let ground = Ground::new(on);
    alone(async {
        let stage = Stage::new(&ground, Fault::None).await;
        let worker = stage.process(Point::Never, Life::Runs).await;
        let _works = worker.works("w");
        stage.settles().await;
        let other = stage.process(Point::Never, Life::Runs).await;
        let id = other.journal.start(run()).await.unwrap().id;
        let ended = stage
            .until("the run's end", async || {
                let run = other.journal.find_run(id).await.unwrap().unwrap();
                run.summary.state.is_final().then_some(run.summary.state)
            })
            .await;
        assert_eq!(ended, Ok(RunState::Succeeded));
    });
}

fn a_run_of_a_dead_worker_is_taken_over_although_its_limit_is_one(on: On) {
    let ground = Ground::new(on);
    alone(async {
        let stage = Stage::new(&ground, Fault::None).await;
        let store = stage.process(Point::Never, Life::Runs).await.store;
        let id = store.start(run()).await.unwrap().id;
        let limits = Limits { of_workflow: [("demo".to_owned(), 1)].into(), ..Limits::default() };
        store.claim(&request(&stage, limits.clone())).await.unwrap().pop().expect("claimed");
        stage.clock.advance(Duration::from_secs(11));
        let taken_over = store.claim(&request(&stage, limits)).await.unwrap();
        assert_eq!(taken_over.iter().map(|claim| claim.id).collect::<Vec<_>>(), [id]);
    });
}

fn a_run_that_parks_while_it_is_cancelled_sees_it(on: On) {
    let ground = Ground::new(on);
    alone(async {
        let stage = Stage::new(&ground, Fault::None).await;
        let store = stage.process(Point::Never, Life::Runs).await.store;
        let id = store.start(run()).await.unwrap().id;
        let claim = store.claim(&request(&stage, Limits::default())).await.unwrap().pop().expect("claimed");
        store.cancel(id, "not wanted any more", stage.clock.now()).await.unwrap();
        // It had not heard of it when it began to wait.
        let parks =
            Transition::Park { wake_at: None, signals_seen: None, cancel_seen: false, reason: "waits".to_owned() };
        store.record(entry(&stage, &claim, parks)).await.unwrap();
        let again = store.claim(&request(&stage, Limits::default())).await.unwrap().pop().expect("it is woken");
        assert_eq!(again.cancel.as_deref(), Some("not wanted any more"));
        let done = Transition::Succeeded(json!(null));
        store.record(entry(&stage, &again, done)).await.unwrap();
    });
}

fn a_fork_that_is_asked_for_again_does_not_supersede_itself(on: On) {
    let ground = Ground::new(on);
    alone(async {
        let stage = Stage::new(&ground, Fault::None).await;
        let store = stage.process(Point::Never, Life::Runs).await.store;
        let old = store.start(run().key("k", OnConflict::Queue)).await.unwrap().id;
        let claim = store.claim(&request(&stage, Limits::default())).await.unwrap().pop().expect("claimed");
        let mut ends = entry(&stage, &claim, Transition::Succeeded(json!(null)));
        let from = StepKey { scope: String::new(), name: "one".to_owned(), occurrence: 0 };
        let at = stage.clock.now();
        let open = OpenStep { key: from.clone(), position: 0, attempt: 1, started_at: at, wait: None };
        ends.finished.push(FinishedAttempt::interrupted(open, at));
        store.record(ends).await.unwrap();
        let fork = Fork { id: RunId::new(), from, on_conflict: OnConflict::Supersede };
        store.fork(old, fork.clone()).await.unwrap();
        let again = store.fork(old, fork.clone()).await.unwrap();
        assert_eq!((again.id, again.fresh), (fork.id, false));
        let forked = store.find_run(fork.id).await.unwrap().unwrap();
        assert_eq!(forked.summary.state, RunState::Queued);
    });
}

fn a_child_with_the_deduplication_id_of_another_run_is_refused(on: On) {
    let ground = Ground::new(on);
    alone(async {
        let stage = Stage::new(&ground, Fault::None).await;
        let store = stage.process(Point::Never, Life::Runs).await.store;
        store.start(run()).await.unwrap();
        let claim = store.claim(&request(&stage, Limits::default())).await.unwrap().pop().expect("claimed");
        let other = store.start(run().deduplication("once")).await.unwrap().id;
        let mut starts = Entry { transition: None, ..entry(&stage, &claim, Transition::Succeeded(json!(null))) };
        starts.children.push(NewRun { parent: Some(claim.id), ..run().deduplication("once") });
        // The parent would wait for a run that there is not.
        let refused = store.record(starts).await.unwrap_err();
        assert!(refused.to_string().contains(&other.to_string()), "{refused}");
    });
}

fn a_run_that_is_superseded_in_the_queue_stops_its_children(on: On) {
    let ground = Ground::new(on);
    alone(async {
        let stage = Stage::new(&ground, Fault::None).await;
        let store = stage.process(Point::Never, Life::Runs).await.store;
        let parent = store.start(run().key("k", OnConflict::Supersede)).await.unwrap().id;
        let claim = store.claim(&request(&stage, Limits::default())).await.unwrap().pop().expect("claimed");
        let child = NewRun { parent: Some(parent), ..run() };
        let mut fails = entry(&stage, &claim, Transition::Failed(Failure::permanent("broken")));
        fails.children.push(child.clone());
        store.record(fails).await.unwrap();
        // Queued again, with a child of its first execution.
        store.retry(parent, None).await.unwrap();
        store.start(run().key("k", OnConflict::Supersede)).await.unwrap();
        let state = async |id| store.find_run(id).await.unwrap().unwrap().summary.state;
        assert_eq!((state(parent).await, state(child.id).await), (RunState::Cancelled, RunState::Cancelled));
    });
}

fn a_child_that_ends_after_its_parent_is_waited_for_when_that_is_retried(on: On) {
    let ground = Ground::new(on);
    alone(async {
        let stage = Stage::new(&ground, Fault::None).await;
        let store = stage.process(Point::Never, Life::Runs).await.store;
        let parent = store.start(run()).await.unwrap().id;
        let claim = store.claim(&request(&stage, Limits::default())).await.unwrap().pop().expect("claimed");
        let child = NewRun { parent: Some(parent), ..run() };
        let mut fails = entry(&stage, &claim, Transition::Failed(Failure::permanent("broken")));
        fails.children.push(child.clone());
        store.record(fails).await.unwrap();
        store.cancel(child.id, "not wanted any more", stage.clock.now()).await.unwrap();

        store.retry(parent, None).await.unwrap();
        let claim = store.claim(&request(&stage, Limits::default())).await.unwrap().pop().expect("claimed again");
        assert_eq!(claim.signals.iter().map(|signal| signal.number).collect::<Vec<_>>(), [1]);
        let waits = "waits for a signal".to_owned();
        let parks = Transition::Park { wake_at: None, signals_seen: Some(1), cancel_seen: false, reason: waits };
        store.record(entry(&stage, &claim, parks)).await.unwrap();
        // Counted and not kept, it would wake the run at once, again and again.
        let due = store.next_due(&[of_version_one("demo")], stage.clock.now()).await.unwrap();
        assert_eq!(due, None);
    });
}
