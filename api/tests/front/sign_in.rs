//! The ways in for people: GitHub, the setup link, tokens, and how often they may try.

use reqwest::{Method, Response, StatusCode};
use seatrial_github_standin::{DEFAULT_CLIENT_SECRET, Options, Standin};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use url::Url;

use crate::world::{World, assert_problem};

impl World {
    /// A session's cookie for whoever has the token.
    pub async fn sign_in_with(&self, token: &str) -> String {
        let response = self.enter(token).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        cookie(&response, "seatrial=")
    }

    async fn enter(&self, token: &str) -> Response {
        self.form("/sign-in", &format!("token={token}")).await
    }

    async fn form(&self, path: &str, body: &str) -> Response {
        let request = self.client.post(self.url(path)).header("origin", self.url(""));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body.to_owned());
        request.send().await.unwrap()
    }

    async fn with_cookie(&self, path: &str, cookie: &str) -> Response {
        self.client.get(self.url(path)).header("cookie", cookie).send().await.unwrap()
    }

    /// To GitHub and back; the last answer.
    async fn by_github(&self, login: &str) -> Response {
        let (authorize, errand) = self.to_github().await;
        let back = self.client.get(format!("{authorize}&login={login}")).send().await.unwrap();
        let back: Url = location(&back).parse().unwrap();
        assert_eq!(back.path(), "/sign-in/github/callback");
        self.client.get(back).header("cookie", errand).send().await.unwrap()
    }

    async fn to_github(&self) -> (String, String) {
        let sent = self.client.get(self.url("/sign-in/github?next=/runs")).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::SEE_OTHER);
        (location(&sent), cookie(&sent, "seatrial-sign-in="))
    }
}

fn location(response: &Response) -> String {
    response.headers()["location"].to_str().unwrap().to_owned()
}

fn cookie(response: &Response, name: &str) -> String {
    let cookies = response.headers().get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    let cookie = cookies.into_iter().find(|cookie| cookie.starts_with(name)).unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

async fn github() -> Standin {
    Standin::start("127.0.0.1:0", Options::default()).await.unwrap()
}

#[tokio::test]
async fn people_sign_in_with_github_and_see_their_teams() {
    let github = github().await;
    let world = World::with_github(github.url(), DEFAULT_CLIENT_SECRET).await;
    world.with_team().await;
    world.running(7, "A change").await;
    let page = world.client.get(world.url("/sign-in")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Sign in with GitHub"));

    let back = world.by_github("mia").await;
    assert_eq!((back.status(), &*location(&back)), (StatusCode::SEE_OTHER, "/runs"));
    let session = cookie(&back, "seatrial=");
    assert!(
        back.headers().get_all("set-cookie").iter().any(|set| set.to_str().unwrap().starts_with("seatrial-sign-in=;"))
    );
    let me: Value = world.with_cookie("/api/v1/me", &session).await.json().await.unwrap();
    assert_eq!(me, json!({ "name": "mia", "operator": false, "teams": [] }));
    let page = world.with_cookie("/", &session).await.text().await.unwrap();
    assert!(!page.contains("A change") && page.contains("You are in no team yet"), "{page}");

    // Made a member while signed in: it counts at once. GitHub's number is what counts.
    let id = github.control().unwrap().user("mia").await.unwrap().id;
    let account =
        seatrial_preview::access::Account { id: seatrial_preview::access::PersonId(id), login: "mia".to_owned() };
    let team = "payments".parse().unwrap();
    world.store.set_member(&team, &account, seatrial_preview::access::Role::Viewer).await.unwrap();
    assert!(world.with_cookie("/", &session).await.text().await.unwrap().contains("A change"));
    world.store.set_operator(account.id, true).await.unwrap();
    let me: Value = world.with_cookie("/api/v1/me", &session).await.json().await.unwrap();
    assert_eq!(me["operator"], true);
    // Nothing that GitHub gave is kept.
    assert!(!world.on_disk().windows(4).any(|part| part == b"ghu_"));
}

#[tokio::test]
async fn a_sign_in_that_was_not_begun_here_is_refused() {
    let github = github().await;
    let world = World::with_github(github.url(), DEFAULT_CLIENT_SECRET).await;
    let (authorize, errand) = world.to_github().await;
    let back = location(&world.client.get(format!("{authorize}&login=mia")).send().await.unwrap());

    // The attacker's link, in the victim's browser: no errand, or one of another sign-in.
    let without = world.client.get(&back).send().await.unwrap();
    assert_eq!(without.status(), StatusCode::BAD_REQUEST);
    let (_, other) = world.to_github().await;
    let with_other = world.client.get(&back).header("cookie", &other).send().await.unwrap();
    assert_eq!(with_other.status(), StatusCode::BAD_REQUEST);
    for refused in [without, with_other] {
        let cookies = refused.headers().get_all("set-cookie").iter();
        assert!(cookies.into_iter().all(|set| !set.to_str().unwrap().starts_with("seatrial=")));
    }
    // The right browser gets in; the code is good once.
    let right = world.client.get(&back).header("cookie", &errand).send().await.unwrap();
    assert_eq!(right.status(), StatusCode::SEE_OTHER);
    let again = world.client.get(&back).header("cookie", &errand).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::BAD_REQUEST);

    // Somebody who changes their mind is asked again.
    let cancelled = world.with_cookie("/sign-in/github/callback?error=access_denied&state=x", &errand).await;
    assert_eq!((cancelled.status(), &*location(&cancelled)), (StatusCode::SEE_OTHER, "/sign-in"));
}

#[tokio::test]
async fn a_wrong_client_secret_is_named() {
    let github = github().await;
    let world = World::with_github(github.url(), "wrong").await;
    let back = world.by_github("mia").await;
    assert!(back.status().is_client_error(), "{}", back.status());
    let page = back.text().await.unwrap();
    assert!(page.contains("SEATRIAL_GITHUB_CLIENT_SECRET"), "{page}");
}

#[tokio::test]
async fn without_a_client_github_is_not_offered() {
    let world = World::new().await;
    let page = world.client.get(world.url("/sign-in")).send().await.unwrap().text().await.unwrap();
    assert!(!page.contains("GitHub"));
    let refused = world.client.get(world.url("/sign-in/github")).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    assert!(refused.text().await.unwrap().contains("SEATRIAL_GITHUB_CLIENT_ID"));
}

#[tokio::test]
async fn the_setup_link_works_once() {
    let world = World::with_token(None).await;
    let access = world.operations.access();
    let stale = access.offer_setup().await.unwrap().unwrap();
    let code = access.offer_setup().await.unwrap().unwrap();
    let link = format!("/setup?code={}", code.expose_secret());
    // Opening it, as a mail scanner would, uses nothing up.
    for _ in 0..2 {
        let page = world.client.get(world.url(&link)).send().await.unwrap();
        assert_eq!(page.status(), StatusCode::OK);
    }
    let old = world.client.get(world.url(&format!("/setup?code={}", stale.expose_secret()))).send().await.unwrap();
    assert_eq!(old.status(), StatusCode::NOT_FOUND);

    let code = format!("code={}", code.expose_secret());
    let done = world.form("/setup", &code).await;
    assert_eq!(done.status(), StatusCode::OK);
    let session = cookie(&done, "seatrial=");
    let page = done.text().await.unwrap();
    let token = page.split("<code id=\"token\">").nth(1).unwrap().split('<').next().unwrap();
    let me: Value = world.ask(token, Method::GET, "/api/v1/me", None).await.json().await.unwrap();
    assert_eq!((&me["operator"], &me["name"]), (&json!(true), &json!("token first operator")));
    assert_eq!(world.with_cookie("/", &session).await.status(), StatusCode::OK);
    assert_eq!(world.form("/setup", &code).await.status(), StatusCode::NOT_FOUND);
    let audit: Value = world.ask(token, Method::GET, "/api/v1/audit", None).await.json().await.unwrap();
    assert_eq!(
        (&audit["items"][0]["who"], &audit["items"][0]["action"]),
        (&json!("the setup link"), &json!("token.create"))
    );
    assert!(access.offer_setup().await.unwrap().is_none(), "somebody can administer it now");
    assert!(!world.on_disk().windows(token.len()).any(|part| part == token.as_bytes()));
}

#[tokio::test]
async fn the_setup_link_opens_nothing_once_there_is_an_operator() {
    let world = World::with_token(None).await;
    let access = world.operations.access();
    let code = access.offer_setup().await.unwrap().unwrap();
    let account =
        seatrial_preview::access::Account { id: seatrial_preview::access::PersonId(7), login: "ada".to_owned() };
    world.store.ensure_person(&account, true).await.unwrap();
    world.store.set_operator(account.id, true).await.unwrap();
    let page = world.client.get(world.url(&format!("/setup?code={}", code.expose_secret()))).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::NOT_FOUND);
    let done = world.form("/setup", &format!("code={}", code.expose_secret())).await;
    assert_eq!(done.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn tries_to_sign_in_are_counted() {
    let world = World::new().await;
    for _ in 0..10 {
        assert_eq!(world.enter("wrong").await.status(), StatusCode::UNAUTHORIZED);
    }
    let limited = world.enter(crate::world::TOKEN).await;
    assert_eq!(limited.status(), StatusCode::TOO_MANY_REQUESTS);
    // A good token of a program is never kept waiting by somebody else's bad ones.
    assert_eq!(world.get("/api/v1/me").send().await.unwrap().status(), StatusCode::OK);
    let guess = world.client.get(world.url("/api/v1/me")).bearer_auth("wrong").send().await.unwrap();
    assert!(guess.headers().contains_key("retry-after"));
    assert_problem(guess, 429, "too_many_requests").await;
}

#[tokio::test]
async fn a_session_outlives_nothing_it_rests_on() {
    let world = World::new().await;
    let first = world.sign_in().await;
    // Signing in again ends the session that the browser had: it is another one then.
    let request = world.client.post(world.url("/sign-in")).header("origin", world.url("")).header("cookie", &first);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let again = request.body(format!("token={}", crate::world::TOKEN)).send().await.unwrap();
    let second = cookie(&again, "seatrial=");
    assert_ne!(first, second);
    assert_eq!(world.with_cookie("/", &first).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(world.with_cookie("/", &second).await.status(), StatusCode::OK);
    assert!(!world.on_disk().windows(second.len() - 9).any(|part| part == &second.as_bytes()[9..]));
}
