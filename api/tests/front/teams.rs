//! Who sees what, who may do what, and what is written down of it.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::world::{TOKEN, World, assert_problem};

impl World {
    /// Asks as whoever has the token.
    pub async fn ask(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Response {
        let request = self.client.request(method, self.url(path)).bearer_auth(token);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        request.send().await.unwrap()
    }

    /// The operator does it, and it works.
    pub async fn operator(&self, method: Method, path: &str, body: Value) -> Value {
        let response = self.ask(TOKEN, method, path, Some(body)).await;
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    /// A team that owns acme/shop, and a token of each scope in it.
    pub async fn with_team(&self) -> [String; 3] {
        self.operator(Method::POST, "/api/v1/teams", json!({ "name": "payments" })).await;
        let project = json!({ "repository": "acme/shop", "team": "payments" });
        self.operator(Method::POST, "/api/v1/projects", project).await;
        [
            self.token("payments", "read").await,
            self.token("payments", "deploy").await,
            self.token("payments", "admin").await,
        ]
    }

    async fn token(&self, team: &str, scope: &str) -> String {
        let wanted = json!({ "name": scope, "scope": scope, "team": team });
        let made = self.operator(Method::POST, "/api/v1/tokens", wanted).await;
        made["value"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_team_sees_its_own_and_to_others_it_does_not_exist() {
    let world = World::new().await;
    let [reads, ..] = world.with_team().await;
    world.operator(Method::POST, "/api/v1/teams", json!({ "name": "search" })).await;
    let stranger = world.token("search", "admin").await;
    let (preview, run) = world.failed(7, "A change").await;

    let paths = [
        format!("/api/v1/previews/{preview}"),
        "/api/v1/previews/pr-shop-7".to_owned(),
        "/api/v1/previews/acme%2Fshop%237".to_owned(),
        "/api/v1/previews/pr-shop-7/failure".to_owned(),
        "/api/v1/previews/pr-shop-7/pods".to_owned(),
        "/api/v1/previews/pr-shop-7/logs".to_owned(),
        "/api/v1/previews/pr-shop-7/why-not-ready".to_owned(),
        format!("/api/v1/runs/{run}"),
        "/api/v1/deliveries/delivery-7".to_owned(),
        "/api/v1/projects/acme/shop".to_owned(),
        "/api/v1/projects/acme/shop/secrets".to_owned(),
        "/api/v1/teams/payments".to_owned(),
        "/api/v1/teams/payments/members".to_owned(),
    ];
    for path in &paths {
        let seen = world.ask(&reads, Method::GET, path, None).await;
        assert_eq!(seen.status(), StatusCode::OK, "{path}");
        let hidden = world.ask(&stranger, Method::GET, path, None).await;
        assert_eq!(hidden.status(), StatusCode::NOT_FOUND, "{path}");
    }
    for (method, path, body) in [
        (Method::POST, "/api/v1/previews/pr-shop-7/deploy".to_owned(), None),
        (Method::POST, "/api/v1/previews/pr-shop-7/retry".to_owned(), None),
        (Method::POST, "/api/v1/previews/pr-shop-7/sleep".to_owned(), None),
        (Method::PATCH, "/api/v1/previews/pr-shop-7/life".to_owned(), Some(json!({ "pinned": true }))),
        (Method::DELETE, "/api/v1/previews/pr-shop-7".to_owned(), None),
        (Method::POST, "/api/v1/previews".to_owned(), Some(json!({ "repository": "acme/shop", "number": 7 }))),
        (
            Method::POST,
            "/api/v1/previews/approvals".to_owned(),
            Some(json!({ "repository": "acme/shop", "number": 7, "commit": "a".repeat(40) })),
        ),
        (Method::POST, format!("/api/v1/runs/{run}/cancel"), None),
        (Method::POST, format!("/api/v1/runs/{run}/retry"), None),
        (Method::POST, "/api/v1/deliveries/delivery-7/redeliver".to_owned(), None),
        (Method::PATCH, "/api/v1/projects/acme/shop".to_owned(), Some(json!({ "max_previews": 1 }))),
        (Method::PUT, "/api/v1/projects/acme/shop/secrets/A".to_owned(), Some(json!({ "value": "x" }))),
        (Method::PUT, "/api/v1/teams/payments/members/ada".to_owned(), Some(json!({ "role": "viewer" }))),
    ] {
        let hidden = world.ask(&stranger, method, &path, body).await;
        assert_eq!(hidden.status(), StatusCode::NOT_FOUND, "{path}");
    }
    for list in ["previews", "runs", "deliveries", "projects"] {
        let path = format!("/api/v1/{list}");
        let count = async |token: &str| {
            let page: Value = world.ask(token, Method::GET, &path, None).await.json().await.unwrap();
            page["items"].as_array().unwrap().len()
        };
        assert_eq!((count(&reads).await, count(&stranger).await), (1, 0), "{list}");
    }
    let by_number = "/api/v1/previews?repository=acme/shop&number=7";
    let page: Value = world.ask(&stranger, Method::GET, by_number, None).await.json().await.unwrap();
    assert_eq!(page["items"], json!([]));
    // Nothing of it has happened.
    let run: Value = world.ask(&reads, Method::GET, &format!("/api/v1/runs/{run}"), None).await.json().await.unwrap();
    assert_eq!(run["run"]["state"], "failed");
}

/// GitHub answers to a repository's former name with the pull request of its present one.
#[tokio::test]
async fn a_former_name_is_no_way_to_anothers_repository() {
    let world = World::new().await;
    let [_, deploys, _] = world.with_team().await;
    let mut moved = crate::world::pull_request(7, "A change");
    moved.at.repository = "acme/others".parse().unwrap();
    world.forge.answers.lock().unwrap().push((crate::world::at(7), moved));
    let body = Some(json!({ "repository": "acme/shop", "number": 7 }));
    let refused = world.ask(&deploys, Method::POST, "/api/v1/previews", body).await;
    assert_eq!(assert_problem(refused, 400, "invalid_request").await["pointer"], "/repository");
    assert_eq!(world.read("/api/v1/runs").await["items"], json!([]));
    assert_eq!(world.read("/api/v1/previews").await["items"], json!([]));
}

#[tokio::test]
async fn pages_and_agents_are_held_to_the_same() {
    let world = World::new().await;
    let [reads, ..] = world.with_team().await;
    world.operator(Method::POST, "/api/v1/teams", json!({ "name": "search" })).await;
    let stranger = world.token("search", "admin").await;
    world.running(7, "A change").await;
    for (token, status, found) in [(&reads, StatusCode::OK, true), (&stranger, StatusCode::NOT_FOUND, false)] {
        let cookie = world.sign_in_with(token).await;
        let page = async |path: &str| world.client.get(world.url(path)).header("cookie", &cookie).send().await.unwrap();
        assert_eq!(page("/previews/pr-shop-7").await.status(), status);
        assert_eq!(page("/").await.text().await.unwrap().contains("A change"), found);
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": "get_preview_environment", "arguments": { "preview": "pr-shop-7" } } });
        let answer: Value = world
            .client
            .post(world.url("/api/mcp"))
            .bearer_auth(token)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25")
            .json(&call)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(answer["result"]["isError"].as_bool().unwrap_or(false), !found, "{answer}");
    }
    // What is seen but may not be changed says so.
    let cookie = world.sign_in_with(&reads).await;
    let press = world.client.post(world.url("/previews/pr-shop-7/delete")).header("cookie", &cookie);
    let pressed = press.header("origin", world.url("")).send().await.unwrap();
    assert_eq!(pressed.status(), StatusCode::FORBIDDEN);
    assert!(pressed.text().await.unwrap().contains("needs the role developer in team payments"));
}

#[tokio::test]
async fn a_scope_is_the_most_that_can_be_done() {
    let world = World::new().await;
    let [reads, deploys, administers] = world.with_team().await;
    world.running(7, "A change").await;
    let pin = || Some(json!({ "pinned": true }));
    let secret = || Some(json!({ "value": "a secret value" }));
    for (token, pins, sets, makes_team) in [
        (&reads, 403, 403, 403),
        (&deploys, 200, 403, 403),
        (&administers, 200, 200, 403),
        (&TOKEN.to_owned(), 200, 200, 201),
    ] {
        let life = world.ask(token, Method::PATCH, "/api/v1/previews/pr-shop-7/life", pin()).await;
        assert_eq!(life.status().as_u16(), pins);
        let set = world.ask(token, Method::PUT, "/api/v1/projects/acme/shop/secrets/A", secret()).await;
        assert_eq!(set.status().as_u16(), sets);
        let team = world.ask(token, Method::POST, "/api/v1/teams", Some(json!({ "name": "new" }))).await;
        assert_eq!(team.status().as_u16(), makes_team);
    }
    let refused = world.ask(&reads, Method::DELETE, "/api/v1/previews/pr-shop-7", None).await;
    let problem = assert_problem(refused, 403, "forbidden").await;
    assert_eq!(
        problem["detail"],
        "deleting a preview needs the role developer in team payments, and token read of team payments has viewer: ask a maintainer of it or an operator"
    );
    let metrics = world.ask(&administers, Method::GET, "/metrics", None).await;
    assert_problem(metrics, 403, "forbidden").await;
    let me: Value = world.ask(&deploys, Method::GET, "/api/v1/me", None).await.json().await.unwrap();
    assert_eq!(me["teams"], json!([{ "team": "payments", "role": "developer" }]));
    assert_eq!(me["operator"], false);
}

#[tokio::test]
async fn a_token_is_shown_once_and_ends_when_it_is_revoked() {
    let world = World::new().await;
    let [_, deploys, administers] = world.with_team().await;
    assert!(deploys.starts_with("seatrial_") && deploys.len() > 50);
    let listed = world.ask(&administers, Method::GET, "/api/v1/tokens", None).await.text().await.unwrap();
    assert!(!listed.contains(&deploys));
    let on_disk = world.on_disk();
    assert!(!on_disk.windows(deploys.len()).any(|part| part == deploys.as_bytes()));
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 3);
    let id = items.iter().find(|token| token["scope"] == "deploy").unwrap()["id"].as_str().unwrap().to_owned();

    let cookie = world.sign_in_with(&deploys).await;
    let look = async || world.client.get(world.url("/")).header("cookie", &cookie).send().await.unwrap().status();
    assert_eq!(look().await, StatusCode::OK);
    for _ in 0..2 {
        let revoked = world.ask(&administers, Method::DELETE, &format!("/api/v1/tokens/{id}"), None).await;
        assert_eq!(revoked.status(), StatusCode::OK);
    }
    assert_problem(world.ask(&deploys, Method::GET, "/api/v1/me", None).await, 401, "token_invalid").await;
    assert_eq!(look().await, StatusCode::SEE_OTHER, "the session rested on it");

    let past = json!({ "name": "x", "scope": "read", "team": "payments", "expires_at": "2020-01-01T00:00:00Z" });
    let refused = world.ask(&administers, Method::POST, "/api/v1/tokens", Some(past)).await;
    assert_eq!(assert_problem(refused, 400, "invalid_request").await["pointer"], "/expires_at");
    let operators = json!({ "name": "x", "scope": "read" });
    let refused = world.ask(&administers, Method::POST, "/api/v1/tokens", Some(operators)).await;
    assert_problem(refused, 403, "forbidden").await;
}

#[tokio::test]
async fn members_are_known_by_their_number_on_github() {
    let world = World::new().await;
    let [_, deploys, administers] = world.with_team().await;
    let path = "/api/v1/teams/payments/members/ada";
    let set = world.ask(&administers, Method::PUT, path, Some(json!({ "role": "viewer" }))).await;
    assert_eq!(set.json::<Value>().await.unwrap(), json!({ "login": "ada", "github_id": 2, "role": "viewer" }));
    let nobody = "/api/v1/teams/payments/members/nobody";
    let refused = world.ask(&administers, Method::PUT, nobody, Some(json!({ "role": "viewer" }))).await;
    assert_problem(refused, 404, "login_not_found").await;
    let refused = world.ask(&deploys, Method::DELETE, path, None).await;
    assert_problem(refused, 403, "forbidden").await;
    assert_eq!(world.ask(&administers, Method::DELETE, path, None).await.status(), StatusCode::NO_CONTENT);
    assert_problem(world.ask(&administers, Method::DELETE, path, None).await, 404, "member_not_found").await;

    let busy = world.ask(TOKEN, Method::DELETE, "/api/v1/teams/payments", None).await;
    assert_problem(busy, 409, "team_has_projects").await;
    let gone = world.ask(TOKEN, Method::DELETE, "/api/v1/projects/acme/shop", None).await;
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    let gone = world.ask(TOKEN, Method::DELETE, "/api/v1/teams/payments", None).await;
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    assert_problem(world.ask(&administers, Method::GET, "/api/v1/me", None).await, 401, "token_invalid").await;
}

#[tokio::test]
async fn every_write_is_written_down() {
    let world = World::new().await;
    let [reads, deploys, administers] = world.with_team().await;
    world.running(7, "A change").await;
    let life = "/api/v1/previews/pr-shop-7/life";
    world.ask(&deploys, Method::PATCH, life, Some(json!({ "pinned": true }))).await;
    world.ask(&reads, Method::DELETE, "/api/v1/previews/pr-shop-7", None).await;
    let secret = Some(json!({ "value": "correct horse battery" }));
    world.ask(&administers, Method::PUT, "/api/v1/projects/acme/shop/secrets/A", secret).await;

    let audit: Value = world.ask(&administers, Method::GET, "/api/v1/audit", None).await.json().await.unwrap();
    let audit = audit["items"].as_array().unwrap();
    let told = |entry: &Value| {
        ["who", "via", "action", "target", "outcome"].map(|field| entry[field].as_str().unwrap_or_default().to_owned())
    };
    let newest: Vec<_> = audit.iter().take(3).map(told).collect();
    assert_eq!(
        newest,
        [
            ["token admin of team payments", "rest", "secret.put", "acme/shop/A", "done"],
            ["token read of team payments", "rest", "preview.delete", "acme/shop#7", "forbidden"],
            ["token deploy of team payments", "rest", "preview.keep", "acme/shop#7", "done"],
        ]
    );
    assert_eq!(audit[0]["address"], "127.0.0.1");
    assert!(!serde_json::to_string(&audit).unwrap().contains("correct horse"));
    // Making the team, its project and its three tokens.
    assert_eq!(audit.len(), 8);
    let seen: Value = world.ask(&deploys, Method::GET, "/api/v1/audit", None).await.json().await.unwrap();
    assert_eq!(seen["items"], json!([]), "it is for maintainers");
    let path = "/api/v1/audit?action=token.create&who=operator";
    let filtered: Value = world.ask(TOKEN, Method::GET, path, None).await.json().await.unwrap();
    assert_eq!(filtered["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn secrets_go_in_and_never_come_out() {
    let world = World::new().await;
    let [.., administers] = world.with_team().await;
    world.running(7, "A change").await;
    let value = "postgres://shop:hunter2hunter2@db/shop";
    let path = "/api/v1/projects/acme/shop/secrets/DATABASE_URL";
    let set = world.ask(&administers, Method::PUT, path, Some(json!({ "value": value }))).await;
    assert_eq!(set.status(), StatusCode::OK);
    let mut said = set.text().await.unwrap();
    for path in ["/api/v1/projects/acme/shop/secrets", "/api/v1/projects/acme/shop", "/api/v1/audit"] {
        said += &world.ask(&administers, Method::GET, path, None).await.text().await.unwrap();
    }
    assert!(said.contains("DATABASE_URL"));
    *world.cluster.log.lock().unwrap() = vec![format!("connecting to {value}"), "ready".to_owned()];
    let log = world.ask(&administers, Method::GET, "/api/v1/previews/pr-shop-7/logs", None).await;
    assert_eq!(log.text().await.unwrap(), "connecting to ***\nready\n");
    said += &world.page("/previews/pr-shop-7").await;
    assert!(!said.contains("hunter2"));
    let on_disk = world.on_disk();
    assert!(!on_disk.windows(7).any(|part| part == b"hunter2"));

    let bad =
        world.ask(&administers, Method::PUT, "/api/v1/projects/acme/shop/secrets/a%20b", Some(json!({ "value": "x" })));
    assert_eq!(assert_problem(bad.await, 400, "invalid_request").await["pointer"], "/secret");
    assert_eq!(world.ask(&administers, Method::DELETE, path, None).await.status(), StatusCode::NO_CONTENT);
    assert_problem(world.ask(&administers, Method::DELETE, path, None).await, 404, "secret_not_found").await;
}
