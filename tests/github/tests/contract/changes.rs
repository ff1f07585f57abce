//! Pull requests through their life.

use poem::http::Method;
use seatrial_github_standin::{Author, NewCommit, NewPull, files};
use serde_json::json;

use crate::support::{SHOP, World};

fn change(text: &str) -> NewCommit {
    NewCommit { files: files([("a.txt", text)]), ..NewCommit::default() }
}

#[tokio::test]
async fn lists_go_by_state_and_branch() {
    let world = World::start().await;
    for branch in ["a", "b", "c"] {
        world.open(branch).await;
    }
    world.control.close(SHOP, 1).await.unwrap();
    let numbers = async |query: &str| -> Vec<u64> {
        let list = world.get(&format!("/repos/acme/shop/pulls{query}")).await.json();
        list.as_array().unwrap().iter().map(|one| one["number"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers("").await, [3, 2]);
    assert_eq!(numbers("?state=closed").await, [1]);
    assert_eq!(numbers("?state=all&direction=asc").await, [1, 2, 3]);
    assert_eq!(numbers("?head=acme:b").await, [2]);
    assert_eq!(world.get("/repos/acme/shop/pulls?state=odd").await.status, 422);
    assert_eq!(world.get("/repos/acme/shop/pulls/9").await.status, 404);
}

#[tokio::test]
async fn a_push_moves_the_head_and_a_forced_one_replaces_it() {
    let world = World::start().await;
    let pull = world.open("a").await;
    let second = world.control.push(SHOP, 1, &change("2\n")).await.unwrap();
    let at = async || world.get("/repos/acme/shop/pulls/1").await.json();
    let now = at().await;
    assert_eq!(now["head"]["sha"], second.as_str());
    assert_eq!((now["commits"].as_u64(), now["changed_files"].as_u64()), (Some(2), Some(1)));
    let forced = NewCommit { force: true, ..change("3\n") };
    let third = world.control.push(SHOP, 1, &forced).await.unwrap();
    assert_ne!(third, second);
    let commits = world.get("/repos/acme/shop/pulls/1/commits").await.json();
    let shas: Vec<_> = commits.as_array().unwrap().iter().map(|one| one["sha"].clone()).collect();
    assert_eq!(shas, [json!(pull.head_sha), json!(third)]);
    let files = world.get("/repos/acme/shop/pulls/1/files").await.json();
    assert_eq!(files[0]["filename"], "a.txt");
    assert_eq!(files[0]["status"], "added");
}

#[tokio::test]
async fn merged_is_final_and_closed_is_not() {
    let world = World::start().await;
    world.open("a").await;
    world.control.close(SHOP, 1).await.unwrap();
    assert_eq!(world.control.reopen(SHOP, 1).await.unwrap().state, "open");
    assert_eq!(world.control.merge(SHOP, 1).await.unwrap().state, "merged");
    assert!(world.control.reopen(SHOP, 1).await.is_err());
    let merged = world.get("/repos/acme/shop/pulls/1").await.json();
    assert_eq!((merged["merged"].as_bool(), merged["state"].as_str()), (Some(true), Some("closed")));
    assert_eq!(world.get("/repos/acme/shop/contents/a.txt").await.status, 200);
}

#[tokio::test]
async fn a_fork_can_go_away_under_its_pull_request() {
    let world = World::start().await;
    world.control.fork(SHOP, "mona").await.unwrap();
    let new = NewPull {
        title: "From a fork".into(),
        author: Author::user("mona"),
        head_repository: Some("mona/shop".into()),
        head: "fix".into(),
        files: files([("fix.txt", "1\n")]),
        ..NewPull::default()
    };
    let pull = world.control.open_pull(SHOP, &new).await.unwrap();
    let now = world.get("/repos/acme/shop/pulls/1").await.json();
    assert_eq!(now["head"]["repo"]["full_name"], "mona/shop");
    assert_eq!(now["head"]["repo"]["fork"], true);
    // Its commit can be read through the base repository.
    let file = format!("/repos/acme/shop/contents/fix.txt?ref={}", pull.head_sha);
    assert_eq!(world.get(&file).await.status, 200);
    world.control.remove_repository("mona/shop").await.unwrap();
    let now = world.get("/repos/acme/shop/pulls/1").await.json();
    assert!(now["head"]["repo"].is_null() && now["head"]["sha"] == pull.head_sha.as_str());
}

#[tokio::test]
async fn labels_titles_bases_and_drafts_change() {
    let world = World::start().await;
    world.open("a").await;
    world.control.branch(SHOP, "next", "main").await.unwrap();
    world.control.label(SHOP, 1, &["preview", "big"]).await.unwrap();
    world.control.unlabel(SHOP, 1, &["big"]).await.unwrap();
    world.control.retitle(SHOP, 1, "Better").await.unwrap();
    world.control.draft(SHOP, 1).await.unwrap();
    let now = world.control.retarget(SHOP, 1, "next").await.unwrap();
    assert_eq!(now.labels, ["preview"]);
    assert_eq!((now.title.as_str(), now.base_branch.as_str(), now.draft), ("Better", "next", true));
    assert!(world.control.merge(SHOP, 1).await.is_err(), "drafts are not merged");
    assert!(!world.control.ready(SHOP, 1).await.unwrap().draft);
    let missing = "/repos/acme/shop/issues/1/labels/none";
    assert_eq!(world.call(Method::DELETE, missing, json!({})).await.status, 404);
    let odd = world.control.label(SHOP, 1, &["a/b & c"]).await.unwrap();
    assert_eq!(odd.labels, ["preview", "a/b & c"]);
    let path = "/repos/acme/shop/issues/1/labels/a%2Fb%20%26%20c";
    assert_eq!(world.call(Method::DELETE, path, json!({})).await.status, 200);
}

#[tokio::test]
async fn a_renamed_repository_redirects_from_its_old_name() {
    let world = World::start().await;
    let id = world.get("/repos/acme/shop").await.json()["id"].clone();
    world.control.rename(SHOP, "store").await.unwrap();
    let moved = world.get("/repos/acme/shop/pulls?state=all").await;
    assert_eq!(moved.status, 301);
    let place = moved.header("location").to_owned();
    assert!(place.ends_with(&format!("/repositories/{id}/pulls?state=all")), "{place}");
    assert_eq!(world.get(&place).await.status, 200);
    assert_eq!(world.post("/repos/acme/shop/deployments", json!({})).await.status, 307);
    assert_eq!(world.get("/repos/acme/store").await.json()["id"], id);
    // The old name can be taken again.
    world.control.repository(SHOP, files([("a", "b")])).await.unwrap();
    assert_ne!(world.get("/repos/acme/shop").await.json()["id"], id);
}
