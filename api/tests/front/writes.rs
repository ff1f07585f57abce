//! What makes reading cheap, and writing safe to repeat.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{TOKEN, World, assert_problem, pull_request};

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let world = World::new().await;
    world.running(7, "A change").await;
    let read = async |known: Option<&str>| {
        let request = world.get("/api/v1/previews/pr-shop-7");
        let request = if let Some(known) = known { request.header("if-none-match", known) } else { request };
        request.send().await.unwrap()
    };
    let first = read(None).await;
    assert_eq!(first.headers()["cache-control"], "private, no-cache");
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let again = read(Some(&known)).await;
        assert_eq!((again.status(), again.headers()["etag"].to_str().unwrap()), (StatusCode::NOT_MODIFIED, &*tag));
        assert!(again.bytes().await.unwrap().is_empty());
    }
    let pinned = world.patch("/api/v1/previews/pr-shop-7/life").json(&json!({ "pinned": true })).send().await.unwrap();
    assert_eq!(pinned.status(), StatusCode::OK);
    let changed = read(Some(&tag)).await;
    assert_eq!(changed.status(), StatusCode::OK);
    assert_ne!(changed.headers()["etag"].to_str().unwrap(), tag);
}

#[tokio::test]
async fn a_write_that_is_sent_again_is_done_once() {
    let world = World::new().await;
    world.forge.pull_requests.lock().unwrap().push(pull_request(7, "A change"));
    let deploy = async |key: &str, number: u64| {
        let body = json!({ "repository": "acme/shop", "number": number });
        world.post("/api/v1/previews").header("idempotency-key", key).json(&body).send().await.unwrap()
    };
    let first = deploy("k-1", 7).await;
    assert!(first.headers().get("idempotency-replayed").is_none());
    let location = first.headers()["location"].clone();
    let first: Value = first.json().await.unwrap();
    let again = deploy("k-1", 7).await;
    assert_eq!((again.status(), &again.headers()["location"]), (StatusCode::ACCEPTED, &location));
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.json::<Value>().await.unwrap(), first);
    assert_eq!(world.read("/api/v1/runs").await["items"].as_array().unwrap().len(), 1);

    assert_problem(deploy("k-1", 8).await, 409, "idempotency_key_reused").await;
    // A refusal stays what it was, too.
    assert_problem(deploy("k-2", 8).await, 404, "pull_request_not_found").await;
    world.forge.pull_requests.lock().unwrap().push(pull_request(8, "Another"));
    assert_problem(deploy("k-2", 8).await, 404, "pull_request_not_found").await;
    assert_eq!(deploy("k-3", 8).await.status(), StatusCode::ACCEPTED);
    assert_problem(deploy(&"k".repeat(201), 7).await, 400, "invalid_request").await;
}

#[tokio::test]
async fn the_value_of_a_token_is_not_kept_for_a_repetition() {
    let world = World::new().await;
    let make = async || {
        let wanted = json!({ "name": "ci", "scope": "read" });
        world.post("/api/v1/tokens").header("idempotency-key", "k").json(&wanted).send().await.unwrap()
    };
    let made: Value = make().await.json().await.unwrap();
    assert_problem(make().await, 409, "shown_once").await;
    let listed = world.read("/api/v1/tokens").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let value = made["value"].as_str().unwrap();
    assert!(!world.on_disk().windows(value.len()).any(|part| part == value.as_bytes()));
}

#[tokio::test]
async fn a_delivery_can_be_sent_through_again() {
    let world = World::new().await;
    let (_, first) = world.opened(7, "A change").await;
    let detail = world.read("/api/v1/deliveries/delivery-7").await;
    assert_eq!(detail["delivery"]["run"], first.to_string());
    let payload: Value = serde_json::from_str(detail["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload["pull_request"]["title"], "A change");

    let again = world.ask(TOKEN, Method::POST, "/api/v1/deliveries/delivery-7/redeliver", None).await;
    assert_eq!(again.status(), StatusCode::ACCEPTED);
    let location = again.headers()["location"].to_str().unwrap().to_owned();
    let receipt: Value = again.json().await.unwrap();
    assert_ne!(receipt["run"], first.to_string());
    let second = world.read(&location).await;
    assert_eq!((&second["delivery"]["repeats"], &second["delivery"]["run"]), (&json!("delivery-7"), &receipt["run"]));
    // The first one is superseded by it, as by any newer event.
    let page = world.read("/api/v1/deliveries?event=pull_request&repository=acme/shop&started=true").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let none = world.read("/api/v1/deliveries?started=false").await;
    assert_eq!(none["items"], json!([]));
    let missing = world.ask(TOKEN, Method::POST, "/api/v1/deliveries/nothing/redeliver", None).await;
    assert_problem(missing, 404, "delivery_not_found").await;
}

#[tokio::test]
async fn a_run_is_retried_from_a_named_step() {
    let world = World::new().await;
    let (_, run) = world.failed(7, "A change").await;
    let retry =
        async |from: &str| world.ask(TOKEN, Method::POST, &format!("/api/v1/runs/{run}/retry?from={from}"), None).await;
    let problem = assert_problem(retry("nothing").await, 400, "invalid_request").await;
    assert_eq!(problem["detail"], "from: the run has no step \"nothing\"; it has admit, namespace, release, rollout");
    assert_eq!(retry("namespace").await.status(), StatusCode::ACCEPTED);
    let detail = world.read(&format!("/api/v1/runs/{run}")).await;
    let state = |name: &str| {
        let steps = detail["steps"].as_array().unwrap();
        steps.iter().find(|step| step["name"] == name).map(|step| step["state"].clone()).unwrap()
    };
    assert_eq!((state("admit"), state("namespace")), (json!("succeeded"), json!("pending")));
}

#[tokio::test]
async fn the_cluster_says_how_full_it_is() {
    let world = World::new().await;
    world.running(7, "A change").await;
    world.opened(8, "Another").await;
    let cluster = world.read("/api/v1/clusters/default").await;
    assert_eq!(
        cluster,
        json!({ "name": "default", "reachable": true, "version": "v1.34.1", "running": 1, "deploying": 0, "queued": 1,
                "sleeping": 0 })
    );
    assert_eq!(world.read("/api/v1/clusters").await["items"], json!([cluster]));
    let missing = world.get("/api/v1/clusters/other").send().await.unwrap();
    assert_problem(missing, 404, "cluster_not_found").await;
}
