//! Who may do what, and what everybody gets told.

use poem::http::Method;
use seatrial_github_standin::{NewRepository, Permission, TokenSpec};
use serde_json::json;

use crate::support::{SHOP, World};

#[tokio::test]
async fn a_wrong_token_is_refused_even_for_public_things() {
    let world = World::start().await;
    let request = world.request(Method::GET, "/repos/acme/shop").bearer_auth("ghp_wrong");
    let answer = world.send(request).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["message"], "Bad credentials");
}

#[tokio::test]
async fn without_a_token_public_things_can_be_read_but_not_written() {
    let world = World::start().await;
    world.open("a").await;
    let read = world.send(world.request(Method::GET, "/repos/acme/shop")).await;
    assert_eq!((read.status, read.header("x-ratelimit-limit")), (200, "60"));
    let write = world.request(Method::POST, "/repos/acme/shop/issues/1/comments");
    let write = world.send(write.json(&json!({ "body": "x" }))).await;
    assert_eq!(write.status, 401);
    assert_eq!(world.send(world.request(Method::GET, "/user")).await.status, 401);
}

#[tokio::test]
async fn a_private_repository_is_not_there_for_others() {
    let world = World::start().await;
    let new = NewRepository { owner: "acme".into(), name: "secret".into(), private: true, ..NewRepository::default() };
    world.control.create_repository(&new).await.unwrap();
    let anonymous = world.request(Method::GET, "/repos/acme/secret");
    assert_eq!(world.send(anonymous).await.status, 404);
    let token = TokenSpec { token: "ghp_mona".into(), login: "mona".into(), permission: None };
    world.control.add_token(&token).await.unwrap();
    let hers = || world.request(Method::GET, "/repos/acme/secret").bearer_auth("ghp_mona");
    assert_eq!(world.send(hers()).await.status, 404);
    world.control.set_permission("acme/secret", "mona", Permission::Read).await.unwrap();
    assert_eq!(world.send(hers()).await.status, 200);
    world.control.revoke_token("ghp_mona").await.unwrap();
    assert_eq!(world.send(hers()).await.status, 401);
}

#[tokio::test]
async fn readers_comment_but_set_no_status() {
    let world = World::start().await;
    let pull = world.open("a").await;
    let token = TokenSpec { token: "ghp_mona".into(), login: "mona".into(), permission: None };
    world.control.add_token(&token).await.unwrap();
    let send = async |path: &str, body| {
        let request = world.request(Method::POST, path).bearer_auth("ghp_mona");
        world.send(request.json(&body)).await.status
    };
    let comment = json!({ "body": "/seatrial retry" });
    assert_eq!(send("/repos/acme/shop/issues/1/comments", comment).await, 201);
    let path = format!("/repos/acme/shop/statuses/{}", pull.head_sha);
    assert_eq!(send(&path, json!({ "state": "success" })).await, 403);
    let deployment = json!({ "ref": "a" });
    assert_eq!(send("/repos/acme/shop/deployments", deployment).await, 403);
}

#[tokio::test]
async fn permissions_are_told_as_github_tells_them() {
    let world = World::start().await;
    world.control.set_permission(SHOP, "mona", Permission::Maintain).await.unwrap();
    let path = "/repos/acme/shop/collaborators/mona/permission";
    let told = world.get(path).await.json();
    assert_eq!((told["permission"].as_str(), told["role_name"].as_str()), (Some("write"), Some("maintain")));
    let none = "/repos/acme/shop/collaborators/nobody/permission";
    assert_eq!(world.get(none).await.status, 404);
}

#[tokio::test]
async fn every_answer_has_githubs_headers() {
    let world = World::start().await;
    let answer = world.get("/repos/acme/shop").await;
    assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    assert_eq!(answer.header("x-github-media-type"), "github.v3; format=json");
    assert_eq!(answer.header("x-ratelimit-resource"), "core");
    assert_eq!(answer.header("x-ratelimit-used"), "1");
    assert_eq!(answer.header("x-ratelimit-remaining"), "4999");
    assert!(!answer.header("x-github-request-id").is_empty());
}

#[tokio::test]
async fn an_unchanged_answer_is_not_sent_again() {
    let world = World::start().await;
    let tag = world.get("/repos/acme/shop/branches/main").await;
    let again = world
        .request(Method::GET, "/repos/acme/shop/branches/main")
        .bearer_auth(seatrial_github_standin::DEFAULT_TOKEN)
        .header("If-None-Match", tag.header("etag"));
    let again = world.send(again).await;
    assert_eq!((again.status, again.bytes.len()), (304, 0));
    // It costs nothing either.
    assert_eq!((tag.header("x-ratelimit-used"), again.header("x-ratelimit-used")), ("1", "1"));
}

#[tokio::test]
async fn a_client_without_a_name_is_refused() {
    let world = World::start().await;
    let nameless = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/repos/acme/shop", world.standin.url());
    assert_eq!(nameless.get(url).send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn the_hourly_limit_ends_and_comes_back() {
    let world = World::start().await;
    world.control.set_rate_limit(2).await.unwrap();
    for _ in 0..2 {
        assert_eq!(world.get("/user").await.status, 200);
    }
    let refused = world.get("/user").await;
    assert_eq!((refused.status, refused.header("x-ratelimit-remaining")), (403, "0"));
    assert_eq!(world.get("/rate_limit").await.json()["rate"]["remaining"], 0);
    world.standin.clock().advance(chrono::Duration::hours(1));
    assert_eq!(world.get("/user").await.status, 200);
}

#[tokio::test]
async fn people_see_the_repositories_they_have_a_part_in() {
    let world = World::start().await;
    let hubot = TokenSpec { token: "ghp_hubot".into(), login: "hubot".into(), permission: None };
    world.control.add_token(&hubot).await.unwrap();
    let list = async || {
        let answer = world.send(world.request(Method::GET, "/user/repos").bearer_auth("ghp_hubot")).await;
        let list = answer.json();
        let one =
            |one: &serde_json::Value| (one["full_name"].to_string(), one["permissions"]["push"].as_bool().unwrap());
        list.as_array().unwrap().iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(list().await, [], "that it is public is not enough");
    for (permission, push) in [(Permission::Read, false), (Permission::Write, true)] {
        world.control.set_permission(SHOP, "hubot", permission).await.unwrap();
        assert_eq!(list().await, [(format!("{SHOP:?}"), push)]);
    }
    assert_eq!(world.send(world.request(Method::GET, "/user/repos")).await.status, 401);
}
