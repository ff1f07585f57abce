use reqwest::StatusCode;
use seatrial_engine::{NewRun, OnConflict};
use serde_json::json;

use crate::standins::pod;
use crate::world::{World, diagnosis};

const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'&</title><script>alert(2)</script>";

#[tokio::test]
async fn text_from_outside_is_escaped_everywhere() {
    let world = World::new().await;
    let (id, run) = world.failed(7, HOSTILE).await;
    world.cluster.pods.lock().unwrap().push(pod("shop-<b>", "waiting: <script>x</script>", false));
    world.cluster.log.lock().unwrap().push("</pre><script>alert('live log')</script>".to_owned());
    for path in ["/", "/?text=%22%3E%3Cscript%3Ealert(3)%3C/script%3E", "/runs", "/deliveries"] {
        clean(&world.page(path).await);
    }
    for path in
        [format!("/previews/{id}"), format!("/runs/{run}"), "/previews/pr-shop-7?log=%3Cscript%3Ex/%22%3E".to_owned()]
    {
        clean(&world.page(&path).await);
    }
    let page = world.page(&format!("/previews/{id}")).await;
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;"));
    assert!(page.contains("&lt;/pre&gt;&lt;script&gt;alert('live log')"));
    assert!(page.contains(&diagnosis().culprit.replace('"', "&quot;")));
}

/// No tag but our own, nothing that the policy would have to stop.
fn clean(page: &str) {
    let scripts: Vec<&str> =
        page.match_indices("<script").map(|(at, _)| &page[at..(at + 40).min(page.len())]).collect();
    assert!(scripts.iter().all(|tag| tag.starts_with("<script src=\"/assets/seatrial.js\"")), "{scripts:?}");
    assert!(!page.contains("<img src=x"));
    assert!(!page.contains(" style=") && !page.contains("<style") && !page.contains(" onclick="));
}

#[tokio::test]
async fn pages_forbid_all_that_is_not_theirs() {
    let world = World::new().await;
    let cookie = world.sign_in().await;
    for path in ["/", "/sign-in", "/nothing", "/api/docs", "/runs"] {
        let response = world.client.get(world.url(path)).header("cookie", &cookie).send().await.unwrap();
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let page = response.text().await.unwrap();
        for outside in ["src=\"http", "src=\"//", "<link rel=\"stylesheet\" href=\"http"] {
            assert!(!page.contains(outside), "{path} loads from outside");
        }
    }
}

#[tokio::test]
async fn a_preview_shows_its_steps_logs_and_actions() {
    let world = World::new().await;
    let id = world.running(7, "Redesign the checkout").await;
    world.cluster.pods.lock().unwrap().push(pod("shop-1", "running", true));
    world.cluster.log.lock().unwrap().push("listening on 8080".to_owned());
    let page = world.page(&format!("/previews/{id}")).await;
    for text in ["Redesign the checkout", "acme/shop#7", "rollout", "5.4 s", "listening on 8080", "Delete this preview"]
    {
        assert!(page.contains(text), "{text}");
    }
    assert!(page.contains("data-events=\"/api/v1/events?key=acme%2Fshop%237\""));
    let list = world.page("/?state=running").await;
    assert!(list.contains("http://pr-7-shop.localhost:8081"));
    assert!(world.page("/?state=failed").await.contains("No preview fits"));
}

#[tokio::test]
async fn what_concerns_no_pull_request_has_one_name() {
    let world = World::new().await;
    world.opened(7, "Add teal").await;
    let run = NewRun::named("reconcile", 1, json!({})).key("reconcile", OnConflict::Supersede);
    let run = world.store.start(run).await.unwrap().id;
    let (list, page) = (world.page("/runs").await, world.page(&format!("/runs/{run}")).await);
    assert!(list.contains(">Deploy acme/shop#7<") && list.contains(">Reconcile<"), "{list}");
    assert!(page.contains("<h1>Reconcile</h1>"), "{page}");
}

#[tokio::test]
async fn buttons_act_and_lead_back() {
    let world = World::new().await;
    let (id, run) = world.failed(7, "x").await;
    let cookie = world.sign_in().await;
    let press = |path: String| {
        world.client.post(world.url(&path)).header("cookie", &cookie).header("origin", world.url("")).send()
    };
    let response = press(format!("/previews/{id}/retry")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers()["location"], format!("/previews/{id}"));
    assert_eq!(press(format!("/runs/{run}/cancel")).await.unwrap().headers()["location"], format!("/runs/{run}"));
    assert_eq!(press("/previews/pr-shop-99/delete".to_owned()).await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn assets_and_the_documentation_come_from_the_program() {
    let world = World::new().await;
    for (path, kind) in [("/assets/seatrial.css", "text/css"), ("/assets/seatrial.js", "text/javascript")] {
        let response = world.client.get(world.url(path)).send().await.unwrap();
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with(kind));
    }
    assert!(world.page("/api/docs").await.contains("/api/docs/swagger-ui.js"));
    assert!(world.page("/api/docs/swagger-ui.js").await.contains("SwaggerUIBundle"));
}
