//! What is remembered of a preview's life, and the places there are.

use std::time::Duration;

use chrono::DateTime;
use seatrial_engine::{ClaimRequest, Limits, RunId, RunState, WorkerId, WorkflowVersions};
use seatrial_preview::EnvironmentId;
use seatrial_preview::environment::{EnvironmentState, Receipt};
use seatrial_preview::life::{Capacity, HeldBy, Place};
use seatrial_preview::ports::{ARRIVED, Fact, ROOM};
use seatrial_store::{Meaning, NewDelivery};

use super::*;
use seatrial_preview::access::Visible;

const HOUR: Duration = Duration::from_secs(3_600);

async fn environment(store: &Store, at: &PullRequestRef) -> EnvironmentId {
    store.ensure(&pull_request(at, "A change")).await.unwrap().id
}

fn receipt(at: &PullRequestRef) -> Fact {
    Fact::Deleted(Receipt {
        namespace: format!("pr-shop-{}", at.number).parse().unwrap(),
        trigger: "closed".to_owned(),
        removed: Vec::new(),
        release_uninstalled: true,
        verified_gone_at: DateTime::UNIX_EPOCH,
        took_ms: 1,
    })
}

/// A run of the pull request, parked until the signal comes.
async fn waits_for(store: &Store, at: &PullRequestRef, signal: &str) -> RunId {
    let run = store.start(run("preview_up", at)).await.unwrap().id;
    let now = store.find_run(run).await.unwrap().unwrap().summary.created_at;
    let request = ClaimRequest {
        worker: WorkerId::new("one"),
        workflows: vec![WorkflowVersions { name: "preview_up".to_owned(), versions: 1..=1 }],
        limit: 1,
        limits: Limits::default(),
        now,
        lease_until: now + HOUR,
    };
    let claim = store.claim(&request).await.unwrap().remove(0);
    assert_eq!(claim.id, run);
    store.record(parked(&claim, signal)).await.unwrap();
    run
}

fn parked(claim: &seatrial_engine::Claim, signal: &str) -> seatrial_engine::Entry {
    use seatrial_engine::{Entry, OpenStep, StepKey, Transition, Wait};
    Entry {
        run: claim.id,
        row: claim.row,
        key: claim.key.clone(),
        epoch: claim.epoch,
        parent: None,
        at: claim.claimed_at,
        lease_until: claim.lease_until,
        open: vec![OpenStep {
            key: StepKey { scope: String::new(), name: signal.to_owned(), occurrence: 0 },
            position: 0,
            attempt: 1,
            started_at: claim.claimed_at,
            wait: Some(Wait { until: None, signal: Some(signal.to_owned()) }),
        }],
        finished: Vec::new(),
        children: Vec::new(),
        transition: Some(Transition::Park {
            wake_at: None,
            signals_seen: Some(0),
            cancel_seen: true,
            reason: format!("waits for {signal}"),
        }),
    }
}

async fn is_woken(store: &Store, run: RunId) -> bool {
    let summary = store.find_run(run).await.unwrap().unwrap().summary;
    summary.state == RunState::Waiting && summary.wake_at.is_some()
}

async fn the_facts_of_a_life_are_kept(on: On) {
    let (store, _place) = store(on).await;
    let at = at("acme/shop", 7);
    let id = environment(&store, &at).await;
    let kept_until = DateTime::UNIX_EPOCH + HOUR * 24 * 365 * 100;
    for fact in [
        Fact::Life { ttl: HOUR * 5, sleep_after: Some(HOUR) },
        Fact::Pinned(true),
        Fact::KeptUntil(kept_until),
        Fact::Asleep(true),
        Fact::Warned,
    ] {
        store.remember(id, fact).await.unwrap();
    }
    let life = store.find(&at).await.unwrap().unwrap().life;
    assert_eq!((life.ttl, life.sleep_after), (HOUR * 5, Some(HOUR)));
    assert!(life.pinned && life.asleep_since.is_some() && life.warned_at.is_some());
    assert_eq!(life.kept_until, Some(kept_until));
    store.remember(id, Fact::Used).await.unwrap();
    assert_eq!(store.find(&at).await.unwrap().unwrap().life.warned_at, None);
    store.remember(id, Fact::Asleep(false)).await.unwrap();
    assert_eq!(store.find(&at).await.unwrap().unwrap().life.asleep_since, None);
    store.remember(id, receipt(&at)).await.unwrap();
    let life = store.find(&at).await.unwrap().unwrap().life;
    assert!(!life.pinned && life.kept_until.is_none());
}

async fn places_are_given_to_the_first_come(on: On) {
    let (store, _place) = store(on).await;
    let capacity = Capacity { cluster: Some(2), repository: None };
    let at: Vec<_> = (1..=4).map(|number| at("acme/shop", number)).collect();
    let mut ids = Vec::new();
    for at in &at {
        ids.push(environment(&store, at).await);
    }
    // Who waits does so in a run.
    let third = waits_for(&store, &at[2], ROOM).await;
    let fourth = store.start(run("preview_up", &at[3])).await.unwrap().id;
    let mut places = Vec::new();
    for id in &ids {
        places.push(store.reserve(*id, capacity).await.unwrap());
    }
    let waiting = |position| Place::Waiting { position, wait: None, held_by: HeldBy::Cluster };
    assert_eq!(places, [Place::Taken, Place::Taken, waiting(1), waiting(2)]);
    assert!(!is_woken(&store, third).await);

    store.remember(ids[0], receipt(&at[0])).await.unwrap();
    assert!(is_woken(&store, third).await);
    // Whoever asks first: the place is the third's.
    assert_eq!(store.reserve(ids[3], capacity).await.unwrap(), waiting(2));
    assert_eq!(store.reserve(ids[2], capacity).await.unwrap(), Place::Taken);
    assert_eq!(store.reserve(ids[3], capacity).await.unwrap(), waiting(1));
    // Who gave up is waited for by nobody.
    let fifth = environment(&store, &super::at("acme/shop", 5)).await;
    assert_eq!(store.reserve(fifth, capacity).await.unwrap(), waiting(2));
    store.cancel(fourth, "given up", DateTime::UNIX_EPOCH).await.unwrap();
    assert_eq!(store.reserve(fifth, capacity).await.unwrap(), waiting(1));
    // What sleeps needs no place.
    store.remember(ids[1], Fact::Asleep(true)).await.unwrap();
    assert_eq!(store.reserve(ids[3], capacity).await.unwrap(), Place::Taken);
}

async fn who_waits_for_their_own_limit_holds_up_nobody_else(on: On) {
    let (store, _place) = store(on).await;
    let capacity = Capacity { cluster: Some(3), repository: Some(1) };
    let mut places = Vec::new();
    for at in [at("acme/shop", 1), at("acme/shop", 2), at("acme/tool", 1)] {
        let id = environment(&store, &at).await;
        places.push(store.reserve(id, capacity).await.unwrap());
    }
    let waiting = Place::Waiting { position: 1, wait: None, held_by: HeldBy::Repository };
    assert_eq!(places, [Place::Taken, waiting, Place::Taken]);
}

async fn what_arrived_wakes_who_waits_for_it(on: On) {
    let (store, _place) = store(on).await;
    let (waits, other) = (at("acme/shop", 1), at("acme/tool", 1));
    environment(&store, &waits).await;
    environment(&store, &other).await;
    let run = waits_for(&store, &waits, ARRIVED).await;
    let other = waits_for(&store, &other, ARRIVED).await;
    let arrived = |id: &str, sha: Option<&str>| NewDelivery {
        meaning: Meaning::Arrived {
            repository: waits.repository.clone(),
            sha: sha.map(|digit| digit.repeat(40).parse().unwrap()),
        },
        ..delivery(id, &waits)
    };
    store.accept_delivery(arrived("d-1", Some("9"))).await.unwrap();
    assert!(!is_woken(&store, run).await, "another commit's");
    store.accept_delivery(arrived("d-2", None)).await.unwrap();
    assert!(is_woken(&store, run).await);
    assert!(!is_woken(&store, other).await);
}

async fn a_renamed_repository_keeps_its_environments(on: On) {
    let (store, _place) = store(on).await;
    let (old, new) = (at("acme/shop_1", 1), at("acme/store", 1));
    // A name that differs where LIKE would not look.
    let alike = at("acme/shopX1", 1);
    let id = environment(&store, &old).await;
    store.start(run("preview_up", &old)).await.unwrap();
    store.start(run("preview_up", &alike)).await.unwrap();
    let renamed = NewDelivery {
        meaning: Meaning::Renamed { from: old.repository.clone(), to: new.repository.clone() },
        ..delivery("d-1", &old)
    };
    store.accept_delivery(renamed).await.unwrap();
    let view = store.find_environment_of(&Visible::All, &new).await.unwrap().unwrap();
    assert_eq!(view.environment.id, id);
    assert_eq!(view.state, EnvironmentState::Queued);
    assert!(store.find_environment_of(&Visible::All, &old).await.unwrap().is_none());
    let keys: Vec<_> =
        store.list_runs(&Visible::All, &RunFilter::default(), &PageRequest::default()).await.unwrap().items;
    let mut keys: Vec<_> = keys.into_iter().filter_map(|run| run.key).collect();
    keys.sort();
    assert_eq!(keys, ["acme/shopX1#1", "acme/store#1"]);
}

on_each_store!(
    the_facts_of_a_life_are_kept,
    places_are_given_to_the_first_come,
    who_waits_for_their_own_limit_holds_up_nobody_else,
    what_arrived_wakes_who_waits_for_it,
    a_renamed_repository_keeps_its_environments,
);
