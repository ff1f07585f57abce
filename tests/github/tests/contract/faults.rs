//! What goes wrong on request.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use poem::http::Method;
use seatrial_github_standin::{Action, DEFAULT_TOKEN, Fault};
use serde_json::json;

use crate::support::{SHOP, World};

const COMMENTS: &str = "/repos/acme/shop/issues/1/comments";

#[tokio::test]
async fn a_dropped_answer_was_written_all_the_same() {
    let world = World::start().await;
    world.open("a").await;
    let fault = Fault::new(Action::DropAnswer).on("POST", "/repos/acme/shop/issues");
    world.control.fault(&fault).await.unwrap();
    let request = world.request(Method::POST, COMMENTS).bearer_auth(DEFAULT_TOKEN);
    let result = request.json(&json!({ "body": "written" })).send().await;
    assert!(result.is_err(), "{result:?}");
    let comments = world.control.comments(SHOP, 1).await.unwrap();
    assert_eq!(comments.len(), 1);
    assert_eq!(comments[0].body, "written");
    let requests = world.control.requests().await.unwrap();
    let last = requests.last().unwrap();
    assert_eq!((last.status, last.fault.as_deref()), (None, Some("drop_answer")));
    assert_eq!(world.post(COMMENTS, json!({ "body": "again" })).await.status, 201);
}

#[tokio::test]
async fn a_request_dropped_before_did_nothing() {
    let world = World::start().await;
    world.open("a").await;
    world.control.fault(&Fault::new(Action::DropBefore)).await.unwrap();
    let request = world.request(Method::POST, COMMENTS).bearer_auth(DEFAULT_TOKEN);
    assert!(request.json(&json!({ "body": "lost" })).send().await.is_err());
    assert!(world.control.comments(SHOP, 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn faults_hit_what_they_match_as_often_as_they_say() {
    let world = World::start().await;
    let fault = Fault::new(Action::Status {
        code: 502,
        body: "<html>Bad gateway</html>".into(),
        headers: BTreeMap::from([("X-Why".into(), "test".into())]),
    });
    let fault = fault.on("GET", "/repos").containing("/branches").after(1).times(2);
    world.control.fault(&fault).await.unwrap();
    let branches = "/repos/acme/shop/branches/main";
    let mut seen = Vec::new();
    for path in ["/repos/acme/shop", branches, branches, branches, branches] {
        seen.push(world.get(path).await.status);
    }
    assert_eq!(seen, [200, 200, 502, 502, 200]);
    assert!(world.control.faults().await.unwrap().is_empty());
    let counts = world.control.request_counts().await.unwrap();
    assert_eq!(counts[&format!("GET {branches}")], 4);
    world.control.clear_requests().await.unwrap();
    assert!(world.control.requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn rate_limits_look_like_githubs() {
    let world = World::start().await;
    let primary = Fault::new(Action::RateLimitPrimary { reset_seconds: 30 });
    world.control.fault(&primary).await.unwrap();
    let secondary = Fault::new(Action::RateLimitSecondary { retry_after: 7 });
    world.control.fault(&secondary).await.unwrap();
    let answer = world.get("/user").await;
    assert_eq!((answer.status, answer.header("x-ratelimit-remaining")), (403, "0"));
    let reset: i64 = answer.header("x-ratelimit-reset").parse().unwrap();
    let ahead = reset - world.standin.clock().now().timestamp();
    assert!((25..=30).contains(&ahead), "{ahead}");
    assert!(answer.json()["message"].as_str().unwrap().contains("API rate limit exceeded"));
    let answer = world.get("/user").await;
    assert_eq!((answer.status, answer.header("retry-after")), (403, "7"));
    assert!(answer.json()["message"].as_str().unwrap().contains("secondary rate limit"));
}

#[tokio::test]
async fn a_delay_is_one_and_faults_can_be_taken_back() {
    let world = World::start().await;
    let delay = Fault::new(Action::Delay { ms: 60 });
    world.control.fault(&delay).await.unwrap();
    let started = Instant::now();
    assert_eq!(world.get("/user").await.status, 200);
    assert!(started.elapsed() >= Duration::from_millis(60));
    world.control.fault(&delay.times(9)).await.unwrap();
    world.control.clear_faults().await.unwrap();
    assert!(world.control.faults().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_stale_list_lacks_its_newest_item_once() {
    let world = World::start().await;
    world.open("a").await;
    for body in ["first", "second"] {
        world.control.comment_as(SHOP, 1, "mona", body).await.unwrap();
    }
    world.control.fault(&Fault::new(Action::StaleList).on("GET", COMMENTS)).await.unwrap();
    let bodies = async || -> Vec<String> {
        let list = world.get(COMMENTS).await.json();
        list.as_array().unwrap().iter().map(|one| one["body"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(bodies().await, ["first"]);
    assert_eq!(bodies().await, ["first", "second"]);
}
