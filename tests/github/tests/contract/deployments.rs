//! Statuses, checks and deployments.

use poem::http::Method;
use serde_json::{Value, json};

use seatrial_github_standin::{CheckView, StatusView};

use crate::support::{SHOP, World};

const DEPLOYMENTS: &str = "/repos/acme/shop/deployments";

#[tokio::test]
async fn statuses_are_checked_and_combined() {
    let world = World::start().await;
    let head = world.open("a").await.head_sha;
    let path = format!("/repos/acme/shop/statuses/{head}");
    let combined = format!("/repos/acme/shop/commits/{head}/status");
    assert_eq!(world.get(&combined).await.json()["state"], "pending");
    let set = async |body: Value| world.post(&path, body).await.status;
    assert_eq!(set(json!({ "state": "pending", "context": "a" })).await, 201);
    assert_eq!(set(json!({ "state": "success", "context": "b" })).await, 201);
    assert_eq!(world.get(&combined).await.json()["state"], "pending");
    assert_eq!(set(json!({ "state": "success", "context": "a" })).await, 201);
    let now = world.get(&combined).await.json();
    assert_eq!((now["state"].as_str(), now["total_count"].as_u64()), (Some("success"), Some(2)));
    assert_eq!(set(json!({ "state": "success", "description": "x".repeat(140) })).await, 201);
    assert_eq!(set(json!({ "state": "success", "description": "x".repeat(141) })).await, 422);
    assert_eq!(set(json!({ "state": "great" })).await, 422);
    assert_eq!(set(json!({ "state": "success", "target_url": "javascript:x" })).await, 422);
    let unknown = format!("/repos/acme/shop/statuses/{}", "a".repeat(40));
    let answer = world.post(&unknown, json!({ "state": "success" })).await;
    assert_eq!(answer.status, 422);
    assert!(answer.json()["message"].as_str().unwrap().starts_with("No commit found for SHA"));
}

#[tokio::test]
async fn checks_set_by_ci_can_be_read() {
    let world = World::start().await;
    let head = world.open("a").await.head_sha;
    let check = |status: &str, conclusion: Option<&str>| CheckView {
        sha: "a".into(),
        name: "image".into(),
        status: status.into(),
        conclusion: conclusion.map(String::from),
    };
    let path = format!("/repos/acme/shop/commits/{head}/check-runs");
    world.control.set_check(SHOP, &check("in_progress", None)).await.unwrap();
    assert_eq!(world.get(&path).await.json()["check_runs"][0]["status"], "in_progress");
    world.control.set_check(SHOP, &check("completed", Some("failure"))).await.unwrap();
    let runs = world.get(&path).await.json();
    assert_eq!(runs["total_count"], 1);
    assert_eq!(runs["check_runs"][0]["conclusion"], "failure");
    assert_eq!(runs["check_runs"][0]["pull_requests"][0]["number"], 1);
    let by_user = world.post("/repos/acme/shop/check-runs", json!({ "name": "x", "head_sha": head }));
    assert_eq!(by_user.await.status, 403);
}

#[tokio::test]
async fn a_deployment_needs_a_ref_and_green_statuses() {
    let world = World::start().await;
    world.open("a").await;
    let new = |reference: &str| json!({ "ref": reference, "auto_merge": false });
    assert_eq!(world.post(DEPLOYMENTS, new("none")).await.status, 422);
    let status = StatusView {
        sha: "a".into(),
        state: "pending".into(),
        context: "ci".into(),
        description: None,
        target_url: None,
        creator: String::new(),
    };
    world.control.set_status(SHOP, &status).await.unwrap();
    let conflict = world.post(DEPLOYMENTS, new("a")).await;
    assert_eq!(conflict.status, 409);
    assert_eq!(conflict.json()["errors"][0]["field"], "required_contexts");
    let mut anyway = new("a");
    anyway["required_contexts"] = json!([]);
    assert_eq!(world.post(DEPLOYMENTS, anyway).await.status, 201);
}

#[tokio::test]
async fn a_branch_behind_is_merged_unless_told_otherwise() {
    let world = World::start().await;
    let pull = world.open("a").await;
    let other = world.open("b").await;
    world.control.merge(SHOP, other.number).await.unwrap();
    let body = json!({ "ref": "a", "required_contexts": [] });
    let merged = world.post(DEPLOYMENTS, body.clone()).await;
    assert_eq!(merged.status, 202);
    let now = world.control.pull(SHOP, pull.number).await.unwrap();
    assert_ne!(now.head_sha, pull.head_sha);
    assert_eq!(world.post(DEPLOYMENTS, body).await.status, 201);
}

#[tokio::test]
async fn a_success_makes_earlier_deployments_inactive() {
    let world = World::start().await;
    world.open("a").await;
    let deploy = async |transient: bool, environment: &str| {
        let body = json!({
            "ref": "a", "environment": environment, "auto_merge": false, "required_contexts": [],
            "transient_environment": transient,
        });
        let made = world.post(DEPLOYMENTS, body).await;
        let url = made.json()["statuses_url"].as_str().unwrap().to_owned();
        let body = json!({ "state": "success", "environment_url": "http://pr-1.localhost/" });
        assert_eq!(world.post(&url, body).await.status, 201);
        made.json()["url"].as_str().unwrap().to_owned()
    };
    let first = deploy(false, "staging").await;
    deploy(false, "staging").await;
    deploy(true, "preview").await;
    deploy(true, "preview").await;
    let all = world.control.deployments(SHOP).await.unwrap();
    let states: Vec<&str> = all.iter().map(|one| one.state.as_str()).collect();
    // Transient ones are spared, as GitHub documents it.
    assert_eq!(states, ["inactive", "success", "success", "success"]);
    assert_eq!(all[1].environment_url.as_deref(), Some("http://pr-1.localhost/"));
    let active = format!("{DEPLOYMENTS}/{}", all[1].id);
    assert_eq!(world.call(Method::DELETE, &active, json!({})).await.status, 422);
    assert_eq!(world.call(Method::DELETE, &first, json!({})).await.status, 204);
    assert_eq!(world.get(&first).await.status, 404);
}
