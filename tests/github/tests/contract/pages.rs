//! What people see.

use poem::http::Method;
use seatrial_github_standin::{Author, NewPull, files};
use serde_json::json;

use crate::support::{SHOP, World};

async fn page(world: &World, path: &str) -> String {
    let answer = world.send(world.request(Method::GET, path)).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-security-policy").contains("default-src 'none'"));
    String::from_utf8(answer.bytes).unwrap()
}

#[tokio::test]
async fn hostile_titles_and_branches_are_only_text() {
    let world = World::start().await;
    let new = NewPull {
        title: "<script>alert(1)</script>\"'".into(),
        head: "x/<img-src=x-onerror=alert(1)>".into(),
        body: Some("<script>alert(2)</script>".into()),
        labels: vec!["<b>bold</b>".into()],
        files: files([("\"><script>.txt", "</textarea><script>alert(3)</script>")]),
        ..NewPull::default()
    };
    world.control.open_pull(SHOP, &new).await.unwrap();
    for path in ["/", "/acme/shop", "/acme/shop/pull/1"] {
        let html = page(&world, path).await;
        assert!(!html.contains("<script>") && !html.contains("<img-src") && !html.contains("<b>bold"));
        assert_eq!(html.matches("</textarea>").count(), html.matches("<textarea").count());
    }
}

#[tokio::test]
async fn the_page_of_a_pull_request_tells_all() {
    let world = World::start().await;
    let pull = world.open("a").await;
    assert_eq!(pull.html_url, format!("{}/acme/shop/pull/1", world.standin.url()));
    let made = world.post("/repos/acme/shop/issues/1/comments", json!({ "body": "**pending**" }));
    let url = made.await.json()["url"].as_str().unwrap().to_owned();
    world.call(Method::PATCH, &url, json!({ "body": "ready <!-- id:1 -->" })).await;
    let status = json!({ "state": "success", "context": "seatrial/preview", "description": "Ready" });
    world.post(&format!("/repos/acme/shop/statuses/{}", pull.head_sha), status).await;
    let html = page(&world, "/acme/shop/pull/1").await;
    for part in ["Work on a", &pull.head_sha, "seatrial/preview", "edited 1 time", "**pending**"] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("<!-- id:1 -->"));
}

#[tokio::test]
async fn the_buttons_work_from_here_only() {
    let world = World::start().await;
    let before = world.open("a").await;
    let press = async |action: &str, form: &str, site: &str| {
        let request = world
            .request(Method::POST, &format!("/acme/shop/pull/1/{action}"))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Sec-Fetch-Site", site)
            .body(form.to_owned());
        world.send(request).await.status
    };
    assert_eq!(press("close", "", "cross-site").await, 403);
    assert_eq!(press("push", "path=a.txt&content=2", "same-origin").await, 303);
    assert_eq!(press("comment", "by=mona&body=%2Fretry", "same-origin").await, 303);
    let comments = world.control.comments(SHOP, 1).await.unwrap();
    assert_eq!((comments[0].author.as_str(), comments[0].body.as_str()), ("mona", "/retry"));
    for (action, state) in [("close", "closed"), ("reopen", "open"), ("merge", "merged")] {
        assert_eq!(press(action, "", "same-origin").await, 303);
        assert_eq!(world.control.pull(SHOP, 1).await.unwrap().state, state);
    }
    assert_ne!(world.control.pull(SHOP, 1).await.unwrap().head_sha, before.head_sha);
    let mona = Author::user("mona");
    assert!(world.control.comment(SHOP, 9, &mona, "x").await.is_err());
}
