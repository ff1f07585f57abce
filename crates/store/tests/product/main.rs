//! Deliveries and environments, on the real store.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
#[path = "../place/mod.rs"]
mod place;
mod access;
mod life;
mod migrations;

use std::sync::Arc;

use place::{On, Place};
use seatrial_engine::{NewRun, OnConflict, RunId, RunState, SystemClock};
use seatrial_preview::access::Visible;
use seatrial_preview::environment::{EnvironmentState, ServiceTarget};
use seatrial_preview::failure::FailureSnapshot;
use seatrial_preview::ids::{CommentId, DeploymentId};
use seatrial_preview::naming::UrlTemplate;
use seatrial_preview::ports::Fact;
use seatrial_preview::pull_request::{Base, Head, PullRequest, PullRequestState};
use seatrial_preview::{DeliveryId, PullRequestRef};
use seatrial_store::views::DeliveryFilter;
use seatrial_store::views::{EnvironmentFilter, PageRequest, RunFilter};
use seatrial_store::{Meaning, NewDelivery, Store, StoreError, StoreOptions};
use sqlx::Connection as _;

on_each_store!(
    a_delivery_is_stored_once_with_its_environment_and_its_run,
    an_ignored_delivery_is_stored_once_with_its_reason,
    a_delivery_whose_run_cannot_start_leaves_nothing,
    a_teardown_starts_only_where_there_is_something_to_tear_down,
    two_repositories_of_one_name_get_namespaces_and_hosts_of_their_own,
    facts_are_remembered_and_a_new_request_clears_what_is_history,
    the_newest_snapshot_is_found,
    lists_filter_and_go_on_page_by_page,
);

async fn store(on: On) -> (Store, Place) {
    let place = Place::new(on).await;
    let store = place.open(Arc::new(SystemClock)).await;
    (store, place)
}

fn at(repository: &str, number: u64) -> PullRequestRef {
    PullRequestRef { repository: repository.parse().unwrap(), number }
}

fn pull_request(at: &PullRequestRef, title: &str) -> PullRequest {
    let sha = |digit: &str| digit.repeat(40).parse().unwrap();
    PullRequest {
        at: at.clone(),
        title: title.to_owned(),
        author: "ada".to_owned(),
        author_is_bot: false,
        draft: false,
        state: PullRequestState::Open,
        head: Head { sha: sha("a"), branch: "feature".to_owned(), repository: Some(at.repository.clone()) },
        base: Base { branch: "main".to_owned(), sha: sha("b") },
        labels: Vec::new(),
        html_url: format!("https://github.example/{}/pull/{}", at.repository, at.number),
    }
}

fn run(workflow: &str, at: &PullRequestRef) -> NewRun {
    NewRun::named(workflow, 1, serde_json::json!({})).key(at.to_string(), OnConflict::Supersede)
}

fn start(at: &PullRequestRef, workflow: &str, unless_idle: Option<&str>) -> Meaning {
    Meaning::Start {
        pull_request: Box::new(pull_request(at, "A change")),
        run: run(workflow, at),
        unless_idle: unless_idle.map(str::to_owned),
    }
}

fn delivery(id: &str, at: &PullRequestRef) -> NewDelivery {
    NewDelivery {
        id: DeliveryId(id.to_owned()),
        event: "pull_request".to_owned(),
        action: Some("opened".to_owned()),
        at: Some(at.clone()),
        payload: b"{}".to_vec(),
        repeats: None,
        meaning: start(at, "preview_up", None),
    }
}

async fn a_delivery_is_stored_once_with_its_environment_and_its_run(on: On) {
    let (store, _place) = store(on).await;
    let at = at("acme/shop", 7);
    let first = store.accept_delivery(delivery("d-1", &at)).await.unwrap();
    let again = store.accept_delivery(delivery("d-1", &at)).await.unwrap();
    assert!(first.fresh && !again.fresh);
    assert_eq!(again.run, first.run);
    let runs = store.list_runs(&Visible::All, &RunFilter::default(), &PageRequest::default()).await.unwrap();
    assert_eq!(runs.items.iter().map(|run| Some(run.id)).collect::<Vec<_>>(), [first.run]);
    let view = store.find_environment_of(&Visible::All, &at).await.unwrap().unwrap();
    assert_eq!(view.state, EnvironmentState::Queued);
    assert_eq!(view.environment.namespace.as_str(), "pr-shop-7");
    assert_eq!(view.environment.url, "http://pr-7-shop.localhost:8081");
    let deliveries =
        store.list_deliveries(&Visible::All, &DeliveryFilter::default(), &PageRequest::default()).await.unwrap().items;
    assert_eq!(deliveries.len(), 1);
    assert_eq!((deliveries[0].run, deliveries[0].at.as_ref()), (first.run, Some(&at)));
}

async fn an_ignored_delivery_is_stored_once_with_its_reason(on: On) {
    let (store, _place) = store(on).await;
    let ignored = |id: &str, reason: &str| NewDelivery {
        meaning: Meaning::Ignored(reason.to_owned()),
        ..delivery(id, &at("acme/shop", 7))
    };
    // Many at once share a commit; each is stored, and one that comes twice at the same time once.
    let ids: Vec<String> = (0..40).map(|number| format!("d-{}", number / 2)).collect();
    let all = ids.iter().map(|id| store.accept_delivery(ignored(id, "a push")));
    let answers = futures::future::try_join_all(all).await.unwrap();
    assert_eq!(answers.iter().filter(|answer| answer.fresh).count(), 20);
    assert!(answers.iter().all(|answer| answer.run.is_none() && answer.ignored.as_deref() == Some("a push")));
    // What was said first stands.
    let again = store.accept_delivery(ignored("d-0", "another reason")).await.unwrap();
    assert_eq!((again.fresh, again.ignored.as_deref()), (false, Some("a push")));
    // One that started a run is not made an ignored one by its repetition.
    let started = store.accept_delivery(delivery("d-run", &at("acme/shop", 7))).await.unwrap();
    let again = store.accept_delivery(ignored("d-run", "x")).await.unwrap();
    assert_eq!((again.fresh, again.run, again.ignored), (false, started.run, None));
    let page = PageRequest { after: None, limit: 100 };
    let stored = store.list_deliveries(&Visible::All, &DeliveryFilter::default(), &page).await.unwrap().items;
    assert_eq!(stored.len(), 21);
}

async fn a_delivery_whose_run_cannot_start_leaves_nothing(on: On) {
    let (store, _place) = store(on).await;
    let at = at("acme/shop", 7);
    store.start(run("preview_up", &at)).await.unwrap();
    let mut rejected = delivery("d-1", &at);
    let Meaning::Start { run, .. } = &mut rejected.meaning else { unreachable!("it starts a run") };
    run.on_conflict = OnConflict::Reject;
    assert!(matches!(store.accept_delivery(rejected).await, Err(StoreError::Journal(_))));
    assert!(
        store
            .list_deliveries(&Visible::All, &DeliveryFilter::default(), &PageRequest::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert!(store.find_environment_of(&Visible::All, &at).await.unwrap().is_none());
}

async fn a_teardown_starts_only_where_there_is_something_to_tear_down(on: On) {
    let (store, _place) = store(on).await;
    let at = at("acme/shop", 7);
    let closed =
        |id: &str| NewDelivery { meaning: start(&at, "preview_down", Some("nothing to remove")), ..delivery(id, &at) };
    assert_eq!(store.accept_delivery(closed("d-1")).await.unwrap().run, None);
    let stored =
        store.list_deliveries(&Visible::All, &DeliveryFilter::default(), &PageRequest::default()).await.unwrap().items;
    assert_eq!(stored[0].ignored.as_deref(), Some("nothing to remove"));
    assert!(store.find_environment_of(&Visible::All, &at).await.unwrap().is_none());
    store.accept_delivery(delivery("d-2", &at)).await.unwrap();
    assert!(store.accept_delivery(closed("d-3")).await.unwrap().run.is_some());
}

async fn two_repositories_of_one_name_get_namespaces_and_hosts_of_their_own(on: On) {
    let (store, _place) = store(on).await;
    let first = store.ensure(&pull_request(&at("acme/shop", 7), "one")).await.unwrap();
    let second = store.ensure(&pull_request(&at("other/shop", 7), "two")).await.unwrap();
    assert_eq!(first.namespace.as_str(), "pr-shop-7");
    assert!(second.namespace.as_str().starts_with("pr-shop-7-"), "{}", second.namespace);
    assert_ne!(first.host, second.host);
    let again = store.ensure(&pull_request(&at("other/shop", 7), "renamed")).await.unwrap();
    assert_eq!((again.id, again.namespace, again.host), (second.id, second.namespace, second.host.clone()));
    assert_eq!(again.title, "renamed");
    let found = store.find_environment_by_host(&second.host.to_uppercase()).await.unwrap().unwrap();
    assert_eq!(found.environment.id, second.id);
}

async fn facts_are_remembered_and_a_new_request_clears_what_is_history(on: On) {
    let (store, _place) = store(on).await;
    let at = at("acme/shop", 7);
    let pull_request = pull_request(&at, "A change");
    let id = store.ensure(&pull_request).await.unwrap().id;
    let target = ServiceTarget { service: "shop".to_owned(), port: 8080 };
    for fact in [
        Fact::Comment(Some(CommentId(5))),
        Fact::Deployment(DeploymentId(6)),
        Fact::Target(target.clone()),
        Fact::Live(pull_request.head.sha.clone()),
        Fact::Refused("a draft".to_owned()),
    ] {
        store.remember(id, fact).await.unwrap();
    }
    let known = store.find(&at).await.unwrap().unwrap();
    assert_eq!((known.comment, known.deployment), (Some(CommentId(5)), Some(DeploymentId(6))));
    assert_eq!((known.target, known.live_sha), (Some(target), Some(pull_request.head.sha.clone())));
    assert_eq!(known.refusal.as_deref(), Some("a draft"));
    store.remember(id, Fact::Requested(pull_request.head.sha.clone())).await.unwrap();
    let known = store.find(&at).await.unwrap().unwrap();
    assert_eq!(known.refusal, None);
    assert!(known.live_sha.is_some(), "what is live stays live until something else is");
}

#[tokio::test]
async fn another_databases_url_is_refused_without_showing_it() {
    let options = StoreOptions {
        url: "mysql://ada:hunter2@db/seatrial".to_owned(),
        preview_url: UrlTemplate::parse("http://pr-{number}-{repo}.localhost:8081").unwrap(),
        clock: Arc::new(SystemClock),
    };
    let refused = Store::open(options).await.err().expect("refused").to_string();
    assert!(refused.contains("sqlite://FILE") && !refused.contains("hunter2"), "{refused}");
}

async fn the_newest_snapshot_is_found(on: On) {
    let (store, _place) = store(on).await;
    let id = store.ensure(&pull_request(&at("acme/shop", 7), "A change")).await.unwrap().id;
    assert!(store.find_snapshot(id).await.unwrap().is_none());
    let newest = RunId::new();
    for (seconds, run) in [(2, newest), (1, RunId::new())] {
        let snapshot = FailureSnapshot {
            taken_at: chrono::DateTime::from_timestamp(seconds, 0).unwrap(),
            step: "rollout".to_owned(),
            diagnosis: None,
            pods: Vec::new(),
            events: Vec::new(),
            logs: Vec::new(),
            manifest: None,
        };
        store.keep_snapshot(id, run.0, &snapshot).await.unwrap();
    }
    let (run, snapshot) = store.find_snapshot(id).await.unwrap().unwrap();
    assert_eq!((run, snapshot.taken_at.timestamp()), (newest, 2));
}

async fn lists_filter_and_go_on_page_by_page(on: On) {
    let (store, _place) = store(on).await;
    for number in 1..=5 {
        store.accept_delivery(delivery(&format!("d-{number}"), &at("acme/shop", number))).await.unwrap();
    }
    store.start(run("preview_down", &at("acme/shop", 1))).await.unwrap();
    let all = EnvironmentFilter::default();
    let mut seen = Vec::new();
    let mut page = PageRequest { after: None, limit: 2 };
    loop {
        let found = store.list_environments(&Visible::All, &all, &page).await.unwrap();
        assert!(found.items.len() <= 2);
        seen.extend(found.items.into_iter().map(|view| view.environment.at.number));
        match found.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4, 5]);
    let deleting = EnvironmentFilter { state: Some(EnvironmentState::Deleting), ..EnvironmentFilter::default() };
    let found = store.list_environments(&Visible::All, &deleting, &PageRequest::default()).await.unwrap().items;
    assert_eq!(found.iter().map(|view| view.environment.at.number).collect::<Vec<_>>(), [1]);
    let cancelled = RunFilter { state: Some(RunState::Cancelled), ..RunFilter::default() };
    assert_eq!(store.list_runs(&Visible::All, &cancelled, &PageRequest::default()).await.unwrap().items.len(), 1);
    let bad = store
        .list_runs(&Visible::All, &RunFilter::default(), &PageRequest { after: Some("x".to_owned()), limit: 1 })
        .await;
    assert!(matches!(bad, Err(StoreError::Invalid(_))));
    let counts = store.counts().await.unwrap();
    assert!(counts.environments.contains(&(EnvironmentState::Queued, 4)), "{counts:?}");
}

/// A pull request that is reopened and closed again: the second event is stored while the first is
/// not committed yet. SQLite has one writer.
#[tokio::test]
async fn a_teardown_sees_the_start_that_is_being_stored() {
    let (store, place) = store(On::Postgres).await;
    let at = at("acme/shop", 7);
    store.accept_delivery(delivery("d-1", &at)).await.unwrap();
    // All is torn down.
    place.execute("UPDATE runs SET workflow = 'preview_down', state = 'succeeded'").await;
    let mut other = sqlx::PgConnection::connect(&place.url()).await.unwrap();
    let mut reopens = other.begin().await.unwrap();
    sqlx::raw_sql(
        "SELECT pg_advisory_xact_lock(24231, hashtext(key)) FROM runs;
         INSERT INTO runs (id, workflow, version, state, input, key, created_at)
         SELECT gen_random_uuid(), 'preview_up', 1, 'queued', '{}', key, 0 FROM runs",
    )
    .execute(&mut *reopens)
    .await
    .unwrap();
    let closes = NewDelivery { meaning: start(&at, "preview_down", Some("nothing to remove")), ..delivery("d-2", &at) };
    let asked = store.clone();
    let closed = tokio::spawn(async move { asked.accept_delivery(closes).await.unwrap() });
    let mut watch = sqlx::PgConnection::connect(&place.url()).await.unwrap();
    let is_waiting = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                      WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database()";
    while !closed.is_finished() && sqlx::query_scalar::<_, i64>(is_waiting).fetch_one(&mut watch).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    reopens.commit().await.unwrap();
    assert!(closed.await.unwrap().run.is_some(), "the preview would stay for ever");
}
