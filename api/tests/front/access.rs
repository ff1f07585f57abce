use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::world::{TOKEN, World, assert_problem};

/// Every operation of the description, with made-up parameters.
fn described() -> Vec<(Method, String)> {
    let spec: Value = serde_json::from_str(&seatrial_api::openapi_json()).unwrap();
    let mut routes = Vec::new();
    for (path, operations) in spec["paths"].as_object().unwrap() {
        let path = path.replace("{preview}", "pr-shop-7").replace("{run}", "0198c0de-0000-7000-8000-000000000001");
        for method in operations.as_object().unwrap().keys() {
            routes.push((method.to_uppercase().parse().unwrap(), format!("/api/v1{path}")));
        }
    }
    assert!(routes.len() >= 15, "{routes:?}");
    routes
}

#[tokio::test]
async fn nothing_for_programs_answers_without_the_token() {
    let world = World::new().await;
    let mut routes = described();
    for path in ["/metrics", "/api/openapi.json", "/api", "/api/v1", "/api/v1/nothing", "/api/mcp", "/api/x"] {
        routes.push((Method::GET, path.to_owned()));
    }
    routes.push((Method::POST, "/api/mcp".to_owned()));
    for (number, (method, path)) in routes.into_iter().enumerate() {
        let ask = || world.client.request(method.clone(), world.url(&path));
        let response = ask().send().await.unwrap();
        assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"), "{method} {path}");
        assert_problem(response, 401, "token_missing").await;
        // After ten tries an address has to wait.
        let (status, code) = if number < 10 { (401, "token_invalid") } else { (429, "too_many_requests") };
        assert_problem(ask().bearer_auth("wrong").send().await.unwrap(), status, code).await;
        assert_problem(ask().header("cookie", "seatrial=x").send().await.unwrap(), 401, "session_ended").await;
        assert_problem(ask().basic_auth("operator", Some(TOKEN)).send().await.unwrap(), 401, "token_missing").await;
    }
}

#[tokio::test]
async fn pages_lead_to_the_sign_in_and_back() {
    let world = World::new().await;
    for path in ["/", "/previews/pr-shop-7", "/runs?state=failed", "/deliveries", "/api/docs", "/nothing"] {
        let response = world.client.get(world.url(path)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{path}");
        let location = response.headers()["location"].to_str().unwrap();
        assert!(location.starts_with("/sign-in"), "{path}: {location}");
    }
    let response = world.client.get(world.url("/runs?state=failed")).send().await.unwrap();
    assert_eq!(response.headers()["location"], "/sign-in?next=%2Fruns%3Fstate%3Dfailed");
    let tokens_in_urls_do_not_count = world.client.get(world.url(&format!("/?token={TOKEN}"))).send().await.unwrap();
    assert_eq!(tokens_in_urls_do_not_count.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn health_answers_everybody() {
    let world = World::new().await;
    assert_eq!(world.client.get(world.url("/healthz")).send().await.unwrap().status(), StatusCode::OK);
    let ready = world.client.get(world.url("/readyz")).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::OK);
    let ready: Value = ready.json().await.unwrap();
    assert_eq!((&ready["ready"], &ready["checks"][1]["detail"]), (&true.into(), &"v1.34.1".into()));
}

#[tokio::test]
async fn without_a_configured_token_all_say_which_setting_is_missing() {
    let world = World::with_token(None).await;
    for path in ["/api/v1/previews", "/metrics", "/api/mcp"] {
        let response = world.get(path).send().await.unwrap();
        let problem = assert_problem(response, 401, "access_not_configured").await;
        assert!(problem["detail"].as_str().unwrap().contains("SEATRIAL_BOOTSTRAP_TOKEN"));
    }
    let page = world.client.get(world.url("/")).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::UNAUTHORIZED);
    assert!(page.text().await.unwrap().contains("SEATRIAL_BOOTSTRAP_TOKEN"));
}

#[tokio::test]
async fn a_session_opens_pages_and_api_until_it_is_ended() {
    let world = World::new().await;
    let cookie = world.sign_in().await;
    let get = |path: &str| world.client.get(world.url(path)).header("cookie", &cookie).send();
    assert_eq!(get("/").await.unwrap().status(), StatusCode::OK);
    assert_eq!(get("/api/v1/previews").await.unwrap().status(), StatusCode::OK);

    let sign_out = world
        .client
        .post(world.url("/sign-out"))
        .header("cookie", &cookie)
        .header("origin", world.url(""))
        .send()
        .await
        .unwrap();
    assert!(sign_out.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(get("/").await.unwrap().status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn sessions_are_for_our_own_pages_only() {
    let world = World::new().await;
    let cookie = world.sign_in().await;
    for origin in [Some("http://evil.example"), Some("null"), Some("http://pr-7-shop.localhost:8081"), None] {
        for path in ["/previews/pr-shop-7/delete", "/api/v1/previews/pr-shop-7/deploy", "/sign-out"] {
            let mut request = world.client.post(world.url(path)).header("cookie", &cookie);
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            assert_problem(request.send().await.unwrap(), 403, "cross_origin").await;
        }
    }
    let sign_in = world.client.post(world.url("/sign-in")).header("origin", "http://evil.example");
    assert_problem(sign_in.body(format!("token={TOKEN}")).send().await.unwrap(), 403, "cross_origin").await;
}

#[tokio::test]
async fn other_host_names_are_not_answered() {
    let world = World::new().await;
    for path in ["/", "/sign-in", "/api/v1/previews", "/api/mcp"] {
        let response = world.get(path).header("host", "rebound.example").send().await.unwrap();
        assert_problem(response, 421, "host_not_allowed").await;
    }
    assert_eq!(world.get("/healthz").header("host", "10.0.0.7").send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn wrong_tokens_open_no_session() {
    let world = World::new().await;
    let response = world
        .client
        .post(world.url("/sign-in"))
        .header("origin", world.url(""))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("token=wrong&next=//evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.headers().get("set-cookie").is_none());
    assert!(!response.text().await.unwrap().contains("evil.example"));
}
