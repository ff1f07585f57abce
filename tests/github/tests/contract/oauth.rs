//! Signing in on the web: what the app, the browser and the person get.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::http::Method;
use seatrial_github_standin::{
    Action, Author, DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, Fault, NewPull, Options, files,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::support::{Answer, SHOP, World};

const CALLBACK: &str = "http://127.0.0.1:8080/sign-in/callback?from=github";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn form(pairs: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The address an app sends people to, with more parameters.
fn authorize(more: &[(&str, &str)]) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let mut fields = BTreeMap::from([
        ("client_id", DEFAULT_CLIENT_ID),
        ("redirect_uri", CALLBACK),
        ("state", "s&1"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    fields.extend(more.iter().copied());
    let fields: Vec<_> = fields.into_iter().collect();
    format!("/login/oauth/authorize?{}", form(&fields))
}

async fn visit(world: &World, address: &str) -> Answer {
    world.send(world.request(Method::GET, address)).await
}

/// What a redirect tells the app, and where.
fn told(answer: &Answer) -> (String, BTreeMap<String, String>) {
    assert_eq!(answer.status, 302, "{answer:?}");
    let url = Url::parse(answer.header("location")).unwrap();
    let fields = url.query_pairs().into_owned().collect();
    (url[..url::Position::AfterPath].to_owned(), fields)
}

async fn code_for(world: &World, login: &str) -> String {
    let answer = visit(world, &authorize(&[("login", login)])).await;
    told(&answer).1["code"].clone()
}

async fn post(world: &World, path: &str, fields: &[(&str, &str)]) -> Answer {
    let request = world
        .request(Method::POST, path)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Accept", "application/json")
        .header("Sec-Fetch-Site", "same-origin");
    world.send(request.body(form(fields))).await
}

/// Buys a token for a code, with what is given instead of what is right.
async fn exchange(world: &World, code: &str, instead: &[(&str, &str)]) -> Value {
    let mut fields = BTreeMap::from([
        ("client_id", DEFAULT_CLIENT_ID),
        ("client_secret", DEFAULT_CLIENT_SECRET),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ]);
    fields.extend(instead.iter().copied());
    let fields: Vec<_> = fields.into_iter().collect();
    let answer = post(world, "/login/oauth/access_token", &fields).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"));
    answer.json()
}

async fn user(world: &World, token: &str) -> Value {
    world.send(world.request(Method::GET, "/user").bearer_auth(token)).await.json()
}

#[tokio::test]
async fn a_code_buys_a_token_of_who_signed_in() {
    let world = World::start().await;
    let known = world.control.user("mona").await.unwrap();
    let answer = visit(&world, &authorize(&[("login", "mona")])).await;
    let (place, fields) = told(&answer);
    assert_eq!(place, "http://127.0.0.1:8080/sign-in/callback");
    assert_eq!((fields["state"].as_str(), fields["from"].as_str()), ("s&1", "github"));
    let bought = exchange(&world, &fields["code"], &[]).await;
    assert_eq!((bought["token_type"].as_str(), bought["scope"].as_str()), (Some("bearer"), Some("")));
    let token = bought["access_token"].as_str().unwrap();
    assert!(token.starts_with("ghu_"), "{token}");
    let me = user(&world, token).await;
    assert_eq!((me["login"].as_str(), me["type"].as_str()), (Some("mona"), Some("User")));
    assert_eq!(me["id"], known.id);
    assert_eq!(world.get("/users/Mona").await.json()["id"], known.id);
    // Another time and another spelling: the same person.
    let again = exchange(&world, &code_for(&world, "MONA").await, &[]).await;
    assert_eq!(user(&world, again["access_token"].as_str().unwrap()).await["id"], known.id);
    world.control.revoke_token(token).await.unwrap();
    assert_eq!(user(&world, token).await["message"], "Bad credentials");
}

#[tokio::test]
async fn the_page_asks_who_one_is_and_sends_one_back() {
    let world = World::start().await;
    let page = visit(&world, &authorize(&[])).await;
    assert!(page.header("content-security-policy").contains("form-action 'self' http://127.0.0.1:8080;"));
    let html = String::from_utf8(page.bytes).unwrap();
    for part in ["Sign in to seatrial", "value=\"mia\"", "value=\"s&amp;1\"", ">Authorize<", ">Cancel<"] {
        assert!(html.contains(part), "{part} in {html}");
    }
    let new = NewPull {
        title: "A page".into(),
        author: Author::user("hubot"),
        head: "a".into(),
        files: files([("a.txt", "1")]),
        ..NewPull::default()
    };
    world.control.open_pull(SHOP, &new).await.unwrap();
    let html = String::from_utf8(visit(&world, &authorize(&[])).await.bytes).unwrap();
    assert!(html.contains("value=\"hubot\""), "{html}");

    let pressed = [
        ("client_id", DEFAULT_CLIENT_ID),
        ("redirect_uri", CALLBACK),
        ("state", "s&1"),
        ("login", "mona"),
        ("decision", "authorize"),
    ];
    let (_, fields) = told(&post(&world, "/login/oauth/authorize", &pressed).await);
    assert_eq!(fields["state"], "s&1");
    // Without a challenge no verifier is asked for.
    let bought = exchange(&world, &fields["code"], &[("code_verifier", "")]).await;
    assert_eq!(user(&world, bought["access_token"].as_str().unwrap()).await["login"], "mona");

    let cancelled = [&pressed[..4], &[("decision", "cancel")]].concat();
    let (_, fields) = told(&post(&world, "/login/oauth/authorize", &cancelled).await);
    assert_eq!((fields["error"].as_str(), fields["state"].as_str()), ("access_denied", "s&1"));
    assert!(!fields.contains_key("code"));

    let elsewhere = world.request(Method::POST, "/login/oauth/authorize").header("Sec-Fetch-Site", "cross-site");
    assert_eq!(world.send(elsewhere.body(form(&pressed))).await.status, 403);
}

#[tokio::test]
async fn a_code_is_good_once_and_for_ten_minutes() {
    let world = World::start().await;
    let code = code_for(&world, "mona").await;
    assert!(exchange(&world, &code, &[]).await["access_token"].is_string());
    assert_eq!(exchange(&world, &code, &[]).await["error"], "bad_verification_code");
    let code = code_for(&world, "mona").await;
    world.standin.clock().advance(chrono::Duration::minutes(10));
    let refused = exchange(&world, &code, &[]).await;
    assert_eq!(refused["error"], "bad_verification_code");
    assert_eq!(refused["error_description"], "The code passed is incorrect or expired.");
    assert!(refused["error_uri"].as_str().unwrap().ends_with("#bad-verification-code"));
}

#[tokio::test]
async fn what_does_not_fit_buys_nothing() {
    let world = World::start().await;
    for (name, value, error) in [
        ("client_id", "Iv23liother", "incorrect_client_credentials"),
        ("client_secret", "wrong", "incorrect_client_credentials"),
        ("client_secret", "", "incorrect_client_credentials"),
        ("code", "00000000000000000000", "bad_verification_code"),
        ("redirect_uri", "http://127.0.0.1:8080/", "redirect_uri_mismatch"),
        ("code_verifier", "another-verifier-of-more-than-forty-three-characters", "bad_verification_code"),
        ("code_verifier", "", "bad_verification_code"),
    ] {
        let code = code_for(&world, "mona").await;
        let refused = exchange(&world, &code, &[(name, value)]).await;
        assert_eq!(refused["error"], error, "{name} {value}");
        assert!(refused["access_token"].is_null());
    }
}

#[tokio::test]
async fn people_are_only_sent_where_the_app_is_registered() {
    let other = "http://127.0.0.1:8080/other";
    let world = World::with(Options { callback_urls: vec![CALLBACK.into()], ..Options::default() }).await;
    assert_eq!(visit(&world, &authorize(&[])).await.status, 200);
    let (place, fields) = told(&visit(&world, &authorize(&[("redirect_uri", other), ("login", "mona")])).await);
    assert_eq!(place, "http://127.0.0.1:8080/sign-in/callback");
    assert_eq!(fields["error"], "redirect_uri_mismatch");
    let (place, fields) = told(&visit(&world, &authorize(&[("redirect_uri", ""), ("login", "mona")])).await);
    assert_eq!(place, "http://127.0.0.1:8080/sign-in/callback");
    assert!(fields.contains_key("code"));
    world.control.set_client("Ov23liother", "secret", &[other]).await.unwrap();
    assert_eq!(visit(&world, &authorize(&[])).await.status, 404, "the client is another now");
    let others = [("client_id", "Ov23liother"), ("redirect_uri", other), ("scope", "read:user user:email")];
    let (_, fields) = told(&visit(&world, &authorize(&[&others[..], &[("login", "mona")]].concat())).await);
    let bought = exchange(&world, &fields["code"], &[&others[..2], &[("client_secret", "secret")]].concat()).await;
    assert_eq!(bought["scope"], "read:user,user:email");
    assert!(bought["access_token"].as_str().unwrap().starts_with("gho_"));
}

#[tokio::test]
async fn only_people_sign_in_and_only_with_sha_256() {
    let world = World::start().await;
    for login in ["acme", "a b", "<script>", "seatrial[bot]"] {
        let answer = visit(&world, &authorize(&[("login", login)])).await;
        assert_eq!((answer.status, answer.header("content-type")), (422, "text/html; charset=utf-8"), "{login}");
    }
    for weak in [("code_challenge_method", "plain"), ("code_challenge", "short")] {
        let (_, fields) = told(&visit(&world, &authorize(&[weak, ("login", "mona")])).await);
        assert_eq!(fields["error"], "invalid_request");
    }
    assert_eq!(visit(&world, &authorize(&[("redirect_uri", "nowhere")])).await.status, 400);
}

#[tokio::test]
async fn the_answer_is_a_form_unless_json_is_asked_for() {
    let world = World::start().await;
    let code = code_for(&world, "mona").await;
    let body = serde_json::json!({
        "client_id": DEFAULT_CLIENT_ID, "client_secret": DEFAULT_CLIENT_SECRET, "code": code,
        "code_verifier": VERIFIER,
    });
    let request = world.request(Method::POST, "/login/oauth/access_token").json(&body);
    let answer = world.send(request).await;
    assert_eq!(answer.header("content-type"), "application/x-www-form-urlencoded; charset=utf-8");
    let fields: BTreeMap<String, String> = url::form_urlencoded::parse(&answer.bytes).into_owned().collect();
    assert_eq!(fields["token_type"], "bearer");
    assert_eq!(user(&world, &fields["access_token"]).await["login"], "mona");
}

#[tokio::test]
async fn faults_hit_the_sign_in_too() {
    let world = World::start().await;
    let code = code_for(&world, "mona").await;
    let fault = Fault::new(Action::DropAnswer).on("POST", "/login/oauth/access_token");
    world.control.fault(&fault).await.unwrap();
    let fields = [("client_id", DEFAULT_CLIENT_ID), ("client_secret", DEFAULT_CLIENT_SECRET), ("code", &code)];
    let request = world.request(Method::POST, "/login/oauth/access_token");
    assert!(request.body(form(&fields)).send().await.is_err());
    assert_eq!(exchange(&world, &code, &[]).await["error"], "bad_verification_code", "the code was used");
    let counts = world.control.request_counts().await.unwrap();
    assert_eq!(counts["POST /login/oauth/access_token"], 2);
}
