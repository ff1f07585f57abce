//! Previews that ask for sign-in, as a browser goes about it.

use hyper::body::Incoming;
use hyper::{Request, Response};
use reqwest::StatusCode;
use url::Url;

use crate::application;
use crate::world::World;

const HOST: &str = "pr-7-shop.localhost";

/// A world with a preview that shows the cookies it was sent, and tries to set the pass itself.
async fn guarded() -> World {
    let world = World::with_sign_in().await;
    world.running(7, "x").await;
    let shows = async |request: Request<Incoming>| {
        let cookies: Vec<_> = request.headers().get_all("cookie").iter().collect();
        Response::builder()
            .header("set-cookie", "seatrial-preview=forged; Path=/")
            .header("set-cookie", "app=1")
            .body(application::text(format!("shown {cookies:?}")))
            .unwrap()
    };
    *world.cluster.application.lock().unwrap() = Some(application::serving(shows).await);
    world
}

impl World {
    async fn visit(&self, host: &str, path: &str, cookie: &str) -> reqwest::Response {
        let url = format!("http://{}{path}", self.gateway.address);
        self.client.get(url).header("host", host).header("cookie", cookie).send().await.unwrap()
    }

    /// The path and query on the preview's host where the pages send somebody who is signed in.
    async fn handed_over(&self, led_to: &str) -> String {
        let cookie = self.sign_in().await;
        let page = self.client.get(led_to).header("cookie", cookie).send().await.unwrap();
        assert_eq!(page.status(), StatusCode::OK);
        let page = page.text().await.unwrap();
        let start = page.split("0; url=").nth(1).unwrap();
        let url: Url = start.split('"').next().unwrap().replace("&amp;", "&").parse().unwrap();
        assert_eq!((url.host_str(), url.port()), (Some(HOST), Some(8081)));
        format!("{}?{}", url.path(), url.query().unwrap())
    }
}

fn location(response: &reqwest::Response) -> String {
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    response.headers()["location"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn who_is_signed_in_gets_a_pass_for_this_preview_and_no_other() {
    let world = guarded().await;
    world.running(8, "x").await;
    let led_to = location(&world.visit(HOST, "/cart?item=1", "app=0").await);
    assert!(led_to.starts_with(&world.url("/gateway-sign-in?")), "{led_to}");
    // Who is not signed in there, signs in first.
    let stranger = world.client.get(&led_to).send().await.unwrap();
    assert!(location(&stranger).starts_with("/sign-in?next=%2Fgateway-sign-in"), "{stranger:?}");

    let entrance = world.handed_over(&led_to).await;
    // For this host only, and once.
    assert_eq!(world.visit("pr-8-shop.localhost", &entrance, "").await.status(), StatusCode::FORBIDDEN);
    let entered = world.visit(HOST, &entrance, "").await;
    assert_eq!(location(&entered), "/cart?item=1");
    let set = entered.headers()["set-cookie"].to_str().unwrap();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax") && !set.contains("Domain"), "{set}");
    let pass = set.split(';').next().unwrap();
    assert_eq!(world.visit(HOST, &entrance, "").await.status(), StatusCode::FORBIDDEN);

    let shown = world.visit(HOST, "/cart", &format!("app=0; {pass}; last=1")).await;
    assert_eq!(shown.status(), StatusCode::OK);
    assert_eq!(shown.headers().get_all("set-cookie").iter().collect::<Vec<_>>(), ["app=1"]);
    assert_eq!(shown.text().await.unwrap(), r#"shown ["app=0; last=1"]"#);
    let elsewhere = world.visit("pr-8-shop.localhost", "/", pass).await;
    assert_eq!(elsewhere.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn who_has_no_pass_sees_nothing() {
    let world = guarded().await;
    let session = world.sign_in().await;
    for cookie in ["", "seatrial-preview=", "seatrial-preview=AAAA", session.as_str()] {
        location(&world.visit(HOST, "/", cookie).await);
    }
    let url = format!("http://{}/", world.gateway.address);
    let posted = world.client.post(&url).header("host", HOST).send().await.unwrap();
    assert_eq!(posted.status(), StatusCode::UNAUTHORIZED);
    let fetched = world.client.get(&url).header("host", HOST).header("sec-fetch-mode", "cors").send().await.unwrap();
    assert_eq!(fetched.status(), StatusCode::UNAUTHORIZED);
    let socket = world.client.get(&url).header("host", HOST).header("connection", "upgrade");
    let socket = socket.header("upgrade", "websocket").send().await.unwrap();
    assert_eq!(socket.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(*world.cluster.connected.lock().unwrap(), Vec::<String>::new());
    // Codes are made for previews only, and lead to where they are.
    let cookie = world.sign_in().await;
    let trap = world.url("/gateway-sign-in?host=evil.example&next=/");
    let page = world.client.get(trap).header("cookie", cookie).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::NOT_FOUND);
}
