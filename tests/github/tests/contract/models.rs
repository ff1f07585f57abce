//! The client that Seatrial uses understands the answers.

use octocrab::Octocrab;
use octocrab::models::{StatusState, webhook_events::WebhookEvent};
use octocrab::params::State;
use seatrial_github_standin::DEFAULT_TOKEN;
use serde_json::{Value, json};

use crate::support::{Receiver, SHOP, World};

fn client(world: &World) -> Octocrab {
    Octocrab::builder().base_uri(world.standin.url()).unwrap().personal_token(DEFAULT_TOKEN.to_owned()).build().unwrap()
}

#[tokio::test]
async fn typed_answers_can_be_read() {
    let world = World::start().await;
    let head = world.open("a").await.head_sha;
    let github = client(&world);
    let repository = github.repos("acme", "shop").get().await.unwrap();
    assert_eq!(repository.full_name.as_deref(), Some(SHOP));
    let pulls = github.pulls("acme", "shop").list().state(State::Open).send().await.unwrap();
    assert_eq!(pulls.items[0].head.sha, head);
    let pull = github.pulls("acme", "shop").get(1).await.unwrap();
    assert_eq!((pull.number, pull.draft), (1, Some(false)));
    let issues = github.issues("acme", "shop");
    let comment = issues.create_comment(1, "pending").await.unwrap();
    let comment = issues.update_comment(comment.id, "ready").await.unwrap();
    assert_eq!(comment.body.as_deref(), Some("ready"));
    let comments = issues.list_comments(1).per_page(100).send().await.unwrap();
    assert_eq!((comments.items.len(), comments.items[0].id), (1, comment.id));
    let status = github
        .repos("acme", "shop")
        .create_status(head, StatusState::Pending)
        .context("seatrial/preview".to_owned())
        .send()
        .await
        .unwrap();
    assert_eq!(status.state, StatusState::Pending);
    let file = github.repos("acme", "shop").get_content().path("README.md").r#ref("main").send().await.unwrap();
    assert_eq!(file.items[0].decoded_content().as_deref(), Some("Shop\n"));
    let user = github.current().user().await.unwrap();
    assert_eq!(user.login, "seatrial-bot");
}

#[tokio::test]
async fn a_refusal_is_githubs_error() {
    let world = World::start().await;
    let error = client(&world).pulls("acme", "shop").get(9).await.unwrap_err();
    let octocrab::Error::GitHub { source, .. } = error else { panic!("{error:?}") };
    assert_eq!((source.status_code.as_u16(), source.message.as_str()), (404, "Not Found"));
    let path = "/repos/acme/shop/deployments";
    let body = json!({ "ref": "none", "auto_merge": false });
    let error = client(&world).post::<Value, Value>(path, Some(&body)).await.unwrap_err();
    let octocrab::Error::GitHub { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.status_code.as_u16(), 422);
}

#[tokio::test]
async fn typed_events_can_be_read() {
    let receiver = Receiver::start(202).await;
    let world = World::start().await;
    world.control.webhook(&receiver.url, "s").await.unwrap();
    world.open("a").await;
    let mona = seatrial_github_standin::Author::user("mona");
    world.control.comment(SHOP, 1, &mona, "/retry").await.unwrap();
    world.control.merge(SHOP, 1).await.unwrap();
    world.control.ping(SHOP).await.unwrap();
    for _ in 0..7 {
        let event = receiver.next().await;
        let kind = event.header("x-github-event").to_owned();
        let read = WebhookEvent::try_from_header_and_body(&kind, &event.body);
        assert!(read.is_ok(), "{}: {:?}", event.name(), read.err());
    }
}
