//! Comments: limits, history, pages, reactions.

use poem::http::Method;
use seatrial_github_standin::Author;
use serde_json::json;

use crate::support::{PATIENCE, SHOP, World};

const COMMENTS: &str = "/repos/acme/shop/issues/1/comments";

#[tokio::test]
async fn a_comment_keeps_all_it_ever_said() {
    let world = World::start().await;
    world.open("a").await;
    let made = world.post(COMMENTS, json!({ "body": "pending" })).await;
    assert_eq!(made.status, 201);
    let url = made.json()["url"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), url);
    for body in ["deploying", "ready"] {
        let edited = world.call(Method::PATCH, &url, json!({ "body": body })).await;
        assert_eq!((edited.status, edited.json()["body"].as_str()), (200, Some(body)));
    }
    let comment = world.control.wait_comment(SHOP, 1, "ready", PATIENCE).await.unwrap();
    let said: Vec<&str> = comment.history.iter().map(|edit| edit.body.as_str()).collect();
    assert_eq!(said, ["pending", "deploying", "ready"]);
    assert_eq!(world.call(Method::DELETE, &url, json!({})).await.status, 204);
    assert_eq!(world.get(&url).await.status, 404);
    let kept = world.control.comments(SHOP, 1).await.unwrap();
    assert!(kept[0].deleted_at.is_some());
}

#[tokio::test]
async fn too_long_and_empty_comments_are_refused() {
    let world = World::start().await;
    world.open("a").await;
    // Characters count, not bytes.
    let longest = "ü".repeat(65_536);
    assert_eq!(world.post(COMMENTS, json!({ "body": longest })).await.status, 201);
    let long = world.post(COMMENTS, json!({ "body": "x".repeat(65_537) })).await;
    assert_eq!(long.status, 422);
    assert_eq!(long.json()["errors"][0]["message"], "Body is too long (maximum is 65536 characters)");
    assert_eq!(world.post(COMMENTS, json!({ "body": " " })).await.status, 422);
    assert_eq!(world.post(COMMENTS, json!({})).await.json()["errors"][0]["code"], "missing_field");
    assert_eq!(world.post(COMMENTS, json!({ "body": 1 })).await.status, 422);
    let nowhere = "/repos/acme/shop/issues/9/comments";
    assert_eq!(world.post(nowhere, json!({ "body": "x" })).await.status, 404);
    let broken = world.request(Method::POST, COMMENTS).bearer_auth("ghp_standin").body("{");
    assert_eq!(world.send(broken).await.status, 400);
}

#[tokio::test]
async fn lists_come_in_pages_with_links() {
    let world = World::start().await;
    world.open("a").await;
    for number in 0..5 {
        let body = format!("comment {number}");
        world.control.comment(SHOP, 1, &Author::user("mona"), &body).await.unwrap();
    }
    let mut next = format!("{COMMENTS}?per_page=2");
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let page = world.get(&next).await;
        pages += 1;
        let list = page.json();
        seen.extend(list.as_array().unwrap().iter().map(|one| one["body"].clone()));
        let link = page.header("link").to_owned();
        let Some(part) = link.split(", ").find(|part| part.ends_with("rel=\"next\"")) else {
            assert!(link.contains("rel=\"first\"") && link.contains("rel=\"prev\""), "{link}");
            break;
        };
        assert!(link.contains("page=3>; rel=\"last\""), "{link}");
        next = part[1..part.find('>').unwrap()].to_owned();
    }
    assert_eq!((pages, seen.len()), (3, 5));
    assert!(world.get(&format!("{COMMENTS}?per_page=5")).await.header("link").is_empty());
}

#[tokio::test]
async fn others_comments_are_changed_only_with_write_access() {
    let world = World::start().await;
    world.open("a").await;
    let comment = world.control.comment(SHOP, 1, &Author::user("mona"), "mine").await.unwrap();
    let path = format!("/repos/acme/shop/issues/comments/{}", comment.id);
    let token =
        seatrial_github_standin::TokenSpec { token: "ghp_hubot".into(), login: "hubot".into(), permission: None };
    world.control.add_token(&token).await.unwrap();
    let request = world.request(Method::PATCH, &path).bearer_auth("ghp_hubot");
    assert_eq!(world.send(request.json(&json!({ "body": "x" }))).await.status, 403);
    assert_eq!(world.call(Method::PATCH, &path, json!({ "body": "y" })).await.status, 200);
}

#[tokio::test]
async fn a_reaction_is_made_once() {
    let world = World::start().await;
    world.open("a").await;
    let comment = world.control.comment(SHOP, 1, &Author::user("mona"), "/retry").await.unwrap();
    let path = format!("/repos/acme/shop/issues/comments/{}/reactions", comment.id);
    let eyes = json!({ "content": "eyes" });
    assert_eq!(world.post(&path, eyes.clone()).await.status, 201);
    assert_eq!(world.post(&path, eyes).await.status, 200);
    assert_eq!(world.post(&path, json!({ "content": "no" })).await.status, 422);
    let comments = world.control.comments(SHOP, 1).await.unwrap();
    assert_eq!(comments[0].reactions, ["seatrial-bot: eyes"]);
}
