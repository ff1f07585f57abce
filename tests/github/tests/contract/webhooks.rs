//! Events: signed, in order, once, and recorded.

use seatrial_github_standin::{Author, HookChange, HookMode, NewCommit, Options, files, signature};

use crate::support::{Receiver, SHOP, World};

const SECRET: &str = "between us";

async fn world(receiver: &Receiver) -> World {
    let world = World::with(Options::default()).await;
    world.control.webhook(&receiver.url, SECRET).await.unwrap();
    world
}

fn change(text: &str) -> NewCommit {
    NewCommit { files: files([("a.txt", text)]), ..NewCommit::default() }
}

#[tokio::test]
async fn an_event_is_signed_and_has_githubs_form() {
    let receiver = Receiver::start(202).await;
    let world = world(&receiver).await;
    world.open("a").await;
    assert_eq!(receiver.names(2).await, ["push", "push"]);
    let opened = receiver.next().await;
    assert_eq!(opened.name(), "pull_request opened");
    assert_eq!(opened.header("x-hub-signature-256"), signature(SECRET, &opened.body));
    assert!(opened.header("user-agent").starts_with("GitHub-Hookshot/"));
    assert_eq!(opened.header("content-type"), "application/json");
    assert_eq!(opened.header("x-github-delivery").len(), 36);
    let payload = opened.json();
    assert_eq!(payload["pull_request"]["head"]["ref"], "a");
    assert_eq!(payload["repository"]["full_name"], SHOP);
    assert_eq!(payload["organization"]["login"], "acme");
    assert!(payload["installation"]["id"].is_u64() && payload["sender"]["login"].is_string());
}

#[tokio::test]
async fn events_come_in_the_order_of_what_happened() {
    let receiver = Receiver::start(202).await;
    let world = world(&receiver).await;
    let control = &world.control;
    world.open("a").await;
    let head = control.push(SHOP, 1, &change("2\n")).await.unwrap();
    control.comment(SHOP, 1, &Author::user("mona"), "/seatrial retry").await.unwrap();
    control.label(SHOP, 1, &["x"]).await.unwrap();
    control.unlabel(SHOP, 1, &["x"]).await.unwrap();
    control.draft(SHOP, 1).await.unwrap();
    control.ready(SHOP, 1).await.unwrap();
    control.retitle(SHOP, 1, "Better").await.unwrap();
    control.close(SHOP, 1).await.unwrap();
    control.reopen(SHOP, 1).await.unwrap();
    control.merge(SHOP, 1).await.unwrap();
    control.rename(SHOP, "store").await.unwrap();
    control.ping("acme/store").await.unwrap();
    let mut seen = receiver.names(3).await;
    seen.push(receiver.next().await.name());
    let moved = receiver.next().await;
    assert_eq!(moved.json()["after"], head.as_str());
    seen.push(moved.name());
    seen.extend(receiver.names(11).await);
    assert_eq!(
        seen,
        [
            "push",
            "push",
            "pull_request opened",
            "push",
            "pull_request synchronize",
            "issue_comment created",
            "pull_request labeled",
            "pull_request unlabeled",
            "pull_request converted_to_draft",
            "pull_request ready_for_review",
            "pull_request edited",
            "pull_request closed",
            "pull_request reopened",
            "push",
            "pull_request closed",
            "repository renamed",
        ]
    );
    assert_eq!(receiver.next().await.name(), "ping");
}

#[tokio::test]
async fn checks_statuses_images_and_new_owners_are_told() {
    let receiver = Receiver::start(202).await;
    let world = World::start().await;
    let head = world.open("a").await.head_sha;
    let control = &world.control;
    control.webhook(&receiver.url, SECRET).await.unwrap();
    control.create_check_run(SHOP, &head, "build", None).await.unwrap();
    assert_eq!(receiver.next().await.name(), "check_run created");
    control.create_check_run(SHOP, &head, "build", Some("failure")).await.unwrap();
    let done = receiver.next().await;
    assert_eq!(done.name(), "check_run completed");
    let run = &done.json()["check_run"];
    assert_eq!((run["head_sha"].as_str(), run["conclusion"].as_str()), (Some(head.as_str()), Some("failure")));

    control.publish_package(SHOP, "shop", "1.2.3").await.unwrap();
    let image = receiver.next().await;
    assert_eq!(image.name(), "registry_package published");
    let package = &image.json()["registry_package"];
    assert_eq!((package["name"].as_str(), package["package_type"].as_str()), (Some("shop"), Some("CONTAINER")));
    assert_eq!(package["package_version"]["container_metadata"]["tag"]["name"], "1.2.3");
    assert_eq!(image.json()["repository"]["full_name"], SHOP);

    control.transfer(SHOP, "mall").await.unwrap();
    let moved = receiver.next().await;
    assert_eq!(moved.name(), "repository transferred");
    assert_eq!(moved.json()["repository"]["full_name"], "mall/shop");
    assert_eq!(moved.json()["changes"]["owner"]["from"]["organization"]["login"], "acme");
    assert_eq!(world.get("/repos/acme/shop").await.status, 301);
    assert_eq!(world.get("/repos/mall/shop/pulls/1").await.status, 200);
}

#[tokio::test]
async fn a_failed_delivery_is_recorded_and_not_repeated_until_asked() {
    let receiver = Receiver::start(503).await;
    let world = world(&receiver).await;
    world.open("a").await;
    world.standin.settled().await;
    assert_eq!(receiver.waiting().await, 3);
    let deliveries = world.control.deliveries().await.unwrap();
    assert!(deliveries.iter().all(|one| one.status_code == Some(503) && !one.redelivery));
    let again = world.control.redeliver(deliveries[2].id).await.unwrap();
    assert_eq!((again.guid.as_str(), again.redelivery), (deliveries[2].guid.as_str(), true));
    let event = receiver.next().await;
    assert_eq!(event.header("x-github-delivery"), deliveries[2].guid);
    assert_eq!(event.header("x-hub-signature-256"), signature(SECRET, &event.body));
}

#[tokio::test]
async fn an_unreachable_receiver_is_a_502_in_the_record() {
    let world = World::start().await;
    world.control.webhook("http://127.0.0.1:1/hook", SECRET).await.unwrap();
    world.open("a").await;
    world.control.settle().await.unwrap();
    let deliveries = world.control.deliveries().await.unwrap();
    assert!(deliveries.iter().all(|one| one.status_code == Some(502)), "{deliveries:#?}");
}

#[tokio::test]
async fn held_events_come_in_any_order_and_lost_ones_not_at_all() {
    let receiver = Receiver::start(202).await;
    let world = world(&receiver).await;
    let mode = |mode| HookChange { mode: Some(mode), ..HookChange::default() };
    world.control.set_webhook(&mode(HookMode::Hold)).await.unwrap();
    world.open("a").await;
    world.control.settle().await.unwrap();
    assert_eq!(receiver.waiting().await, 0);
    let held: Vec<u64> = world.control.deliveries().await.unwrap().iter().map(|one| one.id).collect();
    world.control.release(&[held[2], held[1]]).await.unwrap();
    assert_eq!(receiver.names(2).await, ["pull_request opened", "push"]);
    world.control.release(&[]).await.unwrap();
    assert_eq!(receiver.names(1).await, ["push"]);
    world.control.set_webhook(&mode(HookMode::Lose)).await.unwrap();
    world.control.close(SHOP, 1).await.unwrap();
    world.control.settle().await.unwrap();
    assert_eq!(receiver.waiting().await, 0);
    let last = world.control.deliveries().await.unwrap().pop().unwrap();
    assert_eq!((last.action.as_deref(), last.status_code), (Some("closed"), Some(502)));
}
