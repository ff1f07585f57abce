use reqwest::StatusCode;
use serde_json::Value;

use crate::world::{World, assert_problem, at, pull_request_event, sign};
use seatrial_preview::access::Visible;

#[tokio::test]
async fn a_delivery_is_accepted_with_its_run_and_its_duplicate_gets_the_same_answer() {
    let world = World::new().await;
    let body = pull_request_event("opened", 7, "Redesign the checkout");
    let first: Value = world.deliver("d-1", "pull_request", &body).await.json().await.unwrap();
    assert_eq!((&first["delivery"], &first["duplicate"]), (&"d-1".into(), &false.into()));

    let again = world.deliver("d-1", "pull_request", &body).await;
    assert_eq!(again.status(), StatusCode::ACCEPTED);
    let again: Value = again.json().await.unwrap();
    assert_eq!(again["duplicate"], true);
    assert_eq!(again["run"], first["run"]);
    assert_eq!(world.read("/api/v1/runs").await["items"].as_array().unwrap().len(), 1);

    let preview = &world.read("/api/v1/previews").await["items"][0];
    assert_eq!((&preview["state"], &preview["namespace"]), (&"queued".into(), &"pr-shop-7".into()));
}

#[tokio::test]
async fn wrong_signatures_are_refused_before_anything_is_read_or_stored() {
    let world = World::new().await;
    let body = pull_request_event("opened", 7, "x");
    let other = sign(b"another body");
    for signature in [None, Some(""), Some("sha256=00"), Some("sha1=abc"), Some(other.as_str())] {
        let response = world.webhook("d-1", "pull_request", &body, signature).await;
        assert_problem(response, 401, "signature_invalid").await;
    }
    // Not even JSON: the signature is looked at first.
    assert_problem(world.webhook("d-1", "pull_request", b"{", None).await, 401, "signature_invalid").await;
    assert!(world.read("/api/v1/deliveries").await["items"].as_array().unwrap().is_empty());
    assert!(world.store.find_environment_of(&Visible::All, &at(7)).await.unwrap().is_none());
}

#[tokio::test]
async fn what_cannot_be_understood_is_said() {
    let world = World::new().await;
    assert_problem(world.deliver("d-1", "pull_request", b"not json").await, 400, "invalid_request").await;
    let body = b"{}".to_vec();
    let without_event = world
        .client
        .post(world.url("/api/webhooks/github"))
        .header("x-github-delivery", "d-1")
        .header("x-hub-signature-256", sign(&body))
        .body(body)
        .send()
        .await
        .unwrap();
    let problem = assert_problem(without_event, 400, "invalid_request").await;
    assert_eq!(problem["pointer"], "/X-GitHub-Event");
    assert!(world.read("/api/v1/deliveries").await["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn unknown_events_are_accepted_and_kept_as_ignored() {
    let world = World::new().await;
    let response = world.deliver("d-2", "star", b"{}").await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let deliveries = world.read("/api/v1/deliveries").await;
    assert!(deliveries["items"][0]["ignored"].as_str().unwrap().contains("star"), "{deliveries}");
}

#[tokio::test]
async fn more_than_25_mb_are_too_much() {
    let world = World::new().await;
    let body = vec![b' '; 25 * 1024 * 1024 + 1];
    let response = world.deliver("d-3", "pull_request", &body).await;
    assert_problem(response, 413, "too_large").await;
}

#[tokio::test]
async fn closing_what_has_no_preview_starts_nothing() {
    let world = World::new().await;
    let receipt: Value =
        world.deliver("d-4", "pull_request", &pull_request_event("closed", 9, "x")).await.json().await.unwrap();
    assert!(receipt["run"].is_null() && receipt["ignored"].is_string(), "{receipt}");

    world.opened(9, "x").await;
    let receipt: Value =
        world.deliver("d-5", "pull_request", &pull_request_event("closed", 9, "x")).await.json().await.unwrap();
    assert!(receipt["run"].is_string(), "{receipt}");
    assert_eq!(world.read("/api/v1/previews/pr-shop-9").await["state"], "deleting");
}
