//! The App: its tokens, its installations, its deliveries.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use poem::http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Receiver, World};

fn token(claims: Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "alg": "RS256", "typ": "JWT" })), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn claims(world: &World, lives: i64) -> Value {
    let now = world.standin.clock().now().timestamp();
    json!({ "iss": "4242", "iat": now - 60, "exp": now + lives })
}

async fn as_app(world: &World, method: Method, path: &str, body: Value) -> Answer {
    let token = token(claims(world, 540), |_| b"unchecked".to_vec());
    world.send(world.request(method, path).bearer_auth(token).json(&body)).await
}

async fn installation_token(world: &World, body: Value) -> Answer {
    let path = "/repos/acme/shop/installation";
    let found = as_app(world, Method::GET, path, json!({})).await.json();
    let url = found["access_tokens_url"].as_str().unwrap().to_owned();
    as_app(world, Method::POST, &url, body).await
}

#[tokio::test]
async fn an_installation_token_lasts_an_hour() {
    let world = World::start().await;
    world.open("a").await;
    let made = installation_token(&world, json!({})).await;
    assert_eq!(made.status, 201);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let comment = async || {
        let path = "/repos/acme/shop/issues/1/comments";
        let request = world.request(Method::POST, path).bearer_auth(&token);
        world.send(request.json(&json!({ "body": "x" }))).await
    };
    let made = comment().await;
    assert_eq!(made.status, 201);
    assert_eq!(made.json()["user"]["login"], "seatrial[bot]");
    assert_eq!(made.json()["user"]["type"], "Bot");
    assert_eq!(made.json()["performed_via_github_app"]["id"], 4242);
    world.standin.clock().advance(chrono::Duration::minutes(59));
    assert_eq!(comment().await.status, 201);
    world.standin.clock().advance(chrono::Duration::minutes(2));
    assert_eq!(comment().await.status, 401);
}

#[tokio::test]
async fn a_token_has_no_more_than_was_asked_for() {
    let world = World::start().await;
    let head = world.open("a").await.head_sha;
    let only_read = json!({ "permissions": { "contents": "read", "statuses": "read" } });
    let made = installation_token(&world, only_read).await.json();
    let token = made["token"].as_str().unwrap();
    let path = format!("/repos/acme/shop/statuses/{head}");
    let request = world.request(Method::POST, &path).bearer_auth(token);
    let refused = world.send(request.json(&json!({ "state": "success" }))).await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.json()["message"], "Resource not accessible by integration");
    let too_much = json!({ "permissions": { "administration": "write" } });
    assert_eq!(installation_token(&world, too_much).await.status, 422);
    let nowhere = json!({ "repositories": ["none"] });
    assert_eq!(installation_token(&world, nowhere).await.status, 422);
}

#[tokio::test]
async fn the_apps_own_token_is_looked_at() {
    let world = World::start().await;
    let ask = async |token: String| {
        let answer = world.send(world.request(Method::GET, "/app").bearer_auth(token)).await;
        answer.status
    };
    let unchecked = |_: &[u8]| b"unchecked".to_vec();
    assert_eq!(ask(token(claims(&world, 540), unchecked)).await, 200);
    assert_eq!(ask(token(claims(&world, 3600), unchecked)).await, 401);
    assert_eq!(ask(token(claims(&world, -1), unchecked)).await, 401);
    let mut other = claims(&world, 540);
    other["iss"] = json!("1");
    assert_eq!(ask(token(other, unchecked)).await, 401);
    assert_eq!(ask("a.b.c".into()).await, 401);
    assert_eq!(world.get("/app").await.status, 401);
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der.as_ref()));
    world.control.set_app_key(&pem).await.unwrap();
    let sign = |text: &[u8]| {
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature).unwrap();
        signature
    };
    assert_eq!(ask(token(claims(&world, 540), sign)).await, 200);
    assert_eq!(ask(token(claims(&world, 540), unchecked)).await, 401);
}

#[tokio::test]
async fn the_app_finds_failed_deliveries_and_repeats_them() {
    let world = World::start().await;
    world.control.webhook("http://127.0.0.1:1/", "s").await.unwrap();
    world.open("a").await;
    world.control.settle().await.unwrap();
    let receiver = Receiver::start(202).await;
    world.control.webhook(&receiver.url, "s").await.unwrap();
    let mut next = "/app/hook/deliveries?per_page=2&status=failure".to_owned();
    let mut found = Vec::new();
    loop {
        let page = as_app(&world, Method::GET, &next, json!({})).await;
        found.extend(page.json().as_array().unwrap().clone());
        let link = page.header("link");
        if link.is_empty() {
            break;
        }
        next = link[1..link.find('>').unwrap()].to_owned();
    }
    let events: Vec<_> = found.iter().map(|one| one["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["pull_request", "push", "push"]);
    let path = format!("/app/hook/deliveries/{}", found[0]["id"]);
    let whole = as_app(&world, Method::GET, &path, json!({})).await.json();
    assert_eq!(whole["request"]["payload"]["action"], "opened");
    let again = as_app(&world, Method::POST, &format!("{path}/attempts"), json!({})).await;
    assert_eq!(again.status, 202);
    let event = receiver.next().await;
    assert_eq!(event.header("x-github-delivery"), found[0]["guid"]);
    assert_eq!(world.get("/app/hook/deliveries").await.status, 401);
}
