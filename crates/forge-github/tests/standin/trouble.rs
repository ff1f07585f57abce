//! GitHub is slow, away, or has had enough of us; and tokens end.

use std::collections::BTreeMap;
use std::time::Duration;

use seatrial_forge_github::{Auth, GithubConfig, GithubForge};
use seatrial_github_standin::{Action, Control, DEFAULT_TOKEN, Fault, Options};
use seatrial_preview::ports::Forge;
use seatrial_preview::{ErrorKind, PullRequestRef};

use crate::{MARKER, World, key_pair, world, world_with};

fn status(code: u16) -> Action {
    Action::Status { code, body: String::new(), headers: BTreeMap::default() }
}

async fn sent(control: &Control) -> usize {
    control.requests().await.unwrap().len()
}

async fn minted(control: &Control) -> u64 {
    let counts = control.request_counts().await.unwrap();
    counts.iter().filter(|(name, _)| name.contains("access_tokens")).map(|(_, count)| count).sum()
}

async fn app_world() -> (World, GithubForge) {
    let (private, public) = key_pair();
    let world = world_with(Options { app_public_key: Some(public), ..Options::default() }).await;
    let forge = world.forge_as(Auth::App { id: 4242, private_key_pem: private.into() });
    (world, forge)
}

#[tokio::test]
async fn outages_are_transient_and_nothing_is_retried_here() {
    let world = world().await;
    let forge = world.forge();
    for action in [
        Action::Status { code: 502, body: "<html>".into(), headers: BTreeMap::default() },
        Action::DropAnswer,
        Action::DropBefore,
    ] {
        world.control.fault(&Fault::new(action)).await.unwrap();
        world.control.clear_requests().await.unwrap();
        let error = forge.load_pull_request(&world.at).await.unwrap_err();
        assert_eq!((error.kind, error.retry_after), (ErrorKind::Transient, None), "{error}");
        assert!(error.message.contains("read pull request acme/shop#1"), "{error}");
        assert_eq!(sent(&world.control).await, 1);
    }
    forge.load_pull_request(&world.at).await.unwrap();

    let url = world.github.url().to_owned();
    world.github.stop().await.unwrap();
    let auth = Auth::Token(DEFAULT_TOKEN.into());
    let forge = GithubForge::new(GithubConfig { api_url: url.parse().unwrap(), auth }).unwrap();
    let error = forge.load_pull_request(&world.at).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient, "{error}");
}

#[tokio::test]
async fn after_five_failures_in_a_row_github_is_left_alone() {
    let world = world().await;
    let forge = world.forge();
    world.control.fault(&Fault::new(Action::DropBefore).times(2)).await.unwrap();
    world.control.fault(&Fault::new(status(503)).times(3)).await.unwrap();
    for _ in 0..5 {
        let error = forge.load_pull_request(&world.at).await.unwrap_err();
        assert_eq!(error.retry_after, None, "{error}");
    }
    world.control.clear_requests().await.unwrap();
    let error = forge.create_comment(&world.at, MARKER).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient, "{error}");
    let wait = error.retry_after.unwrap();
    assert!(wait > Duration::from_secs(3) && wait <= Duration::from_secs(5), "{wait:?}");
    assert!(error.message.contains("5 requests in a row") && error.message.contains("comment on"), "{error}");
    assert_eq!(sent(&world.control).await, 0, "GitHub was asked all the same");
}

#[tokio::test]
async fn refusals_are_answers_and_open_no_breaker() {
    let world = world().await;
    let forge = world.forge();
    for code in [404, 403, 422, 409, 404, 403] {
        world.control.fault(&Fault::new(status(code))).await.unwrap();
        let error = forge.load_pull_request(&world.at).await.unwrap_err();
        assert_ne!(error.kind, ErrorKind::Transient, "{error}");
    }
    forge.load_pull_request(&world.at).await.unwrap();
}

#[tokio::test]
async fn a_limit_closes_the_gate_for_everything() {
    for (limit, longest) in
        [(Action::RateLimitPrimary { reset_seconds: 30 }, 31), (Action::RateLimitSecondary { retry_after: 20 }, 20)]
    {
        let world = world().await;
        let forge = world.forge();
        world.control.fault(&Fault::new(limit)).await.unwrap();
        let first = forge.load_pull_request(&world.at).await.unwrap_err();
        world.control.clear_requests().await.unwrap();
        let second = forge.create_comment(&world.at, MARKER).await.unwrap_err();
        for error in [first, second] {
            assert_eq!(error.kind, ErrorKind::Transient, "{error}");
            let wait = error.retry_after.unwrap();
            assert!(wait <= Duration::from_secs(longest), "{wait:?}");
            assert!(wait >= Duration::from_secs(longest - 6), "{wait:?}");
            assert!(error.message.contains("rate limit"), "{error}");
        }
        assert_eq!(sent(&world.control).await, 0, "GitHub was asked all the same");
        assert!(world.forge().load_pull_request(&world.at).await.is_ok(), "others are not held up");
    }
}

#[tokio::test]
async fn the_last_request_of_the_hour_is_the_last_that_is_sent() {
    let world = world().await;
    let forge = world.forge();
    world.control.set_rate_limit(3).await.unwrap();
    world.control.clear_requests().await.unwrap();
    for left in [2, 1, 0] {
        forge.load_pull_request(&world.at).await.unwrap();
        assert_eq!(forge.rate_limit().unwrap().remaining, left);
    }
    let error = forge.load_pull_request(&world.at).await.unwrap_err();
    assert!(error.retry_after.unwrap() > Duration::from_secs(3500), "{error}");
    let requests = world.control.requests().await.unwrap();
    assert!(requests.iter().all(|request| request.status == Some(200)), "GitHub had to refuse: {requests:#?}");
    assert_eq!(requests.len(), 3);
}

#[tokio::test]
async fn installations_have_limits_of_their_own() {
    let (world, forge) = app_world().await;
    world.control.repository("zoo/cage", Default::default()).await.unwrap();
    let cage = "zoo/cage".parse().unwrap();
    forge.load_pull_request(&world.at).await.unwrap();
    let limit = Fault::new(Action::RateLimitPrimary { reset_seconds: 30 });
    world.control.fault(&limit.on("GET", "/repos/acme/")).await.unwrap();
    forge.load_pull_request(&world.at).await.unwrap_err();
    assert!(forge.load_pull_request(&world.at).await.unwrap_err().retry_after.is_some());
    assert_eq!(forge.list_open_pull_requests(&cage).await.unwrap(), []);
}

#[tokio::test]
async fn a_comment_whose_answer_was_lost_is_found() {
    let world = world().await;
    let forge = world.forge();
    let lost = Fault::new(Action::DropAnswer).on("POST", "/repos/acme/shop/issues");
    world.control.fault(&lost).await.unwrap();
    let error = forge.create_comment(&world.at, MARKER).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient, "{error}");
    assert!(error.retry_after >= Some(Duration::from_secs(1)), "GitHub's lists take a moment");
    assert_eq!(forge.find_comments(&world.at, MARKER).await.unwrap().len(), 1);
    assert_eq!(world.control.comments("acme/shop", world.at.number).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_list_that_lags_shows_the_twin_in_the_end() {
    let world = world().await;
    let forge = world.forge();
    let first = forge.create_comment(&world.at, MARKER).await.unwrap();
    let stale = Fault::new(Action::StaleList).on("GET", "/repos/acme/shop/issues");
    world.control.fault(&stale).await.unwrap();
    assert_eq!(forge.find_comments(&world.at, MARKER).await.unwrap(), []);
    let twin = forge.create_comment(&world.at, MARKER).await.unwrap();
    assert_eq!(forge.find_comments(&world.at, MARKER).await.unwrap(), [first, twin], "oldest first");
    forge.delete_comment(&world.repository, twin).await.unwrap();
    assert_eq!(forge.find_comments(&world.at, MARKER).await.unwrap(), [first]);
}

#[tokio::test]
async fn an_app_asks_for_one_token_however_many_need_it() {
    let (world, forge) = app_world().await;
    let slow = Fault::new(Action::Delay { ms: 100 }).containing("access_tokens");
    world.control.fault(&slow).await.unwrap();
    let mut asking = tokio::task::JoinSet::new();
    let forge = std::sync::Arc::new(forge);
    for _ in 0..20 {
        let (forge, at) = (forge.clone(), world.at.clone());
        asking.spawn(async move { forge.load_pull_request(&at).await });
    }
    while let Some(pull) = asking.join_next().await {
        pull.unwrap().unwrap();
    }
    assert_eq!(minted(&world.control).await, 1);
    let counts = world.control.request_counts().await.unwrap();
    assert_eq!(counts["GET /repos/acme/shop/installation"], 1, "{counts:?}");
}

#[tokio::test]
async fn an_app_uses_its_installation_and_renews_its_token_once() {
    let (world, forge) = app_world().await;
    let id = forge.create_comment(&world.at, MARKER).await.unwrap();
    assert_eq!(forge.find_comments(&world.at, MARKER).await.unwrap(), [id]);
    assert_eq!(minted(&world.control).await, 1, "the token is kept");

    // A token that GitHub takes back early.
    let revoked = Fault::new(status(401)).on("GET", "/repos/acme/shop/pulls");
    world.control.fault(&revoked).await.unwrap();
    forge.load_pull_request(&world.at).await.unwrap();
    assert_eq!(minted(&world.control).await, 2, "a 401 leads to a new token");

    world.control.fault(&revoked.times(2)).await.unwrap();
    let error = forge.load_pull_request(&world.at).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Forbidden, "{error}");
    assert!(error.message.contains("private key belong together"), "{error}");
    assert_eq!(minted(&world.control).await, 3, "once, not for ever");

    let elsewhere = PullRequestRef { repository: "nobody/nothing".parse().unwrap(), number: 1 };
    let error = forge.load_pull_request(&elsewhere).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    assert!(error.message.contains("not installed"), "{error}");
}

#[tokio::test]
async fn what_is_missing_costs_no_new_token() {
    let (world, forge) = app_world().await;
    for _ in 0..3 {
        assert_eq!(forge.find_file(&world.repository, "main", "missing.yaml").await.unwrap(), None);
    }
    assert_eq!(minted(&world.control).await, 1);
}

#[tokio::test]
async fn an_app_that_was_installed_anew_is_found_again() {
    let (world, forge) = app_world().await;
    forge.load_pull_request(&world.at).await.unwrap();
    // As after the App was removed and installed again: the token is void, and so is what gave it.
    world.control.fault(&Fault::new(status(401)).on("GET", "/repos/acme/shop/pulls")).await.unwrap();
    world.control.fault(&Fault::new(status(404)).containing("access_tokens")).await.unwrap();
    let error = forge.load_pull_request(&world.at).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    forge.load_pull_request(&world.at).await.unwrap();
    let counts = world.control.request_counts().await.unwrap();
    assert_eq!(counts["GET /repos/acme/shop/installation"], 2, "{counts:?}");
}

#[tokio::test]
async fn an_app_follows_a_repository_to_its_new_name() {
    let (world, forge) = app_world().await;
    world.control.rename("acme/shop", "store").await.unwrap();
    let pull = forge.load_pull_request(&world.at).await.unwrap();
    assert_eq!(pull.at.repository.to_string(), "acme/store");
    let asked = world.control.requests().await.unwrap();
    let token = asked.iter().find(|request| request.path.contains("access_tokens")).unwrap();
    assert!(token.body.as_ref().unwrap()["repository_ids"][0].is_u64(), "{token:#?}");
    forge.create_comment(&world.at, MARKER).await.unwrap();
}
