use std::net::SocketAddr;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};
use reqwest::StatusCode;
use seatrial_preview::access::Visible;
use seatrial_preview::ports::Fact;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::application;
use crate::world::World;

impl World {
    async fn open(&self, host: &str, path: &str) -> reqwest::Response {
        let url = format!("http://{}{path}", self.gateway.address);
        let request = self.client.get(url).header("host", host).header("x-forwarded-for", "6.6.6.6");
        request.header("connection", "close, x-mine").header("x-mine", "1").send().await.unwrap()
    }
}

/// An application: answers each connection's first request with `answer`, after which `echo`
/// sends back what comes. Returns what it was asked in the end.
async fn application(answer: &'static str, echo: bool) -> (SocketAddr, tokio::sync::oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
            let mut piece = [0; 1024];
            let read = stream.read(&mut piece).await.unwrap();
            assert_ne!(read, 0, "the request broke off");
            asked.extend_from_slice(&piece[..read]);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = tell.send(String::from_utf8(asked).unwrap());
        if echo {
            let (mut reader, mut writer) = stream.split();
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        }
    });
    (address, told)
}

#[tokio::test]
async fn unknown_hosts_are_not_found() {
    let world = World::new().await;
    let response = world.open("<script>.localhost", "/").await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(!response.text().await.unwrap().contains("<script>"));
    // Seatrial's own pages are not here.
    assert_eq!(world.open(&world.gateway.address.to_string(), "/sign-in").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_running_preview_is_forwarded_to() {
    let world = World::new().await;
    world.running(7, "x").await;
    let answer = "HTTP/1.1 201 Created\r\nx-app: shop\r\nconnection: x-hop\r\nx-hop: 1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let (address, asked) = application(answer, false).await;
    *world.cluster.application.lock().unwrap() = Some(address);
    let response = world.open("PR-7-Shop.localhost:8081", "/cart?item=1").await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["x-app"], "shop");
    assert!(response.headers().get("x-hop").is_none(), "hop-by-hop headers are cut");
    assert_eq!(response.text().await.unwrap(), "hello");

    let asked = asked.await.unwrap().to_ascii_lowercase();
    assert!(asked.starts_with("get /cart?item=1 http/1.1\r\n"), "{asked}");
    assert!(asked.contains("host: pr-7-shop.localhost:8081\r\n"));
    assert!(asked.contains("x-forwarded-for: 127.0.0.1\r\n") && !asked.contains("6.6.6.6"), "{asked}");
    assert!(asked.contains("x-forwarded-host: pr-7-shop.localhost:8081\r\n"));
    assert!(!asked.contains("x-mine"), "what Connection names goes no further");
}

#[tokio::test]
async fn an_upgrade_carries_bytes_both_ways() {
    let world = World::new().await;
    world.running(7, "x").await;
    let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let (address, asked) = application(answer, true).await;
    *world.cluster.application.lock().unwrap() = Some(address);
    let mut client = TcpStream::connect(world.gateway.address).await.unwrap();
    client
        .write_all(
            b"GET /socket HTTP/1.1\r\nhost: pr-7-shop.localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n",
        )
        .await
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    assert!(asked.await.unwrap().to_ascii_lowercase().contains("upgrade: websocket"));
    client.write_all(b"over and back").await.unwrap();
    let mut back = [0; 13];
    client.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"over and back");
}

#[tokio::test]
async fn what_does_not_answer_is_said() {
    let world = World::new().await;
    world.running(7, "x").await;
    let response = world.open("pr-7-shop.localhost", "/").await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert!(response.text().await.unwrap().contains("no pod of the service is ready"));
}

#[tokio::test]
async fn a_preview_that_is_not_ready_says_so_and_refreshes() {
    let world = World::new().await;
    world.opened(7, "<b>bold</b>").await;
    let response = world.open("pr-7-shop.localhost", "/").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    let page = response.text().await.unwrap();
    assert!(page.contains("http-equiv=\"refresh\"") && page.contains("Queued") && !page.contains("<b>bold"));

    drop(world);
    let world = World::new().await;
    world.failed(8, "x").await;
    let response = world.open("pr-8-shop.localhost", "/").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.text().await.unwrap().contains("Culprit"));
}

/// What the gateway answers to these bytes: the status, and the namespaces that it connected to.
async fn raw(world: &World, request: &str) -> (u16, Vec<String>) {
    world.cluster.connected.lock().unwrap().clear();
    let mut client = TcpStream::connect(world.gateway.address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no answer to {request:?}: {answer:?}"));
    (status, world.cluster.connected.lock().unwrap().clone())
}

#[tokio::test]
async fn a_preview_is_reached_by_its_own_name_only() {
    let world = World::new().await;
    world.running(7, "x").await;
    world.running(8, "x").await;
    let echo = async |request: Request<Incoming>| {
        Response::new(application::text(format!("{} {:?}", request.uri(), request.headers())))
    };
    *world.cluster.application.lock().unwrap() = Some(application::serving(echo).await);
    let reached = |number| (200, vec![format!("pr-shop-{number}")]);
    let close = "connection: close\r\n\r\n";
    for host in ["pr-7-shop.localhost", "PR-7-Shop.LocalHost:8081", "pr-7-shop.localhost.", "pr-7-shop.localhost.:80"] {
        assert_eq!(raw(&world, &format!("GET / HTTP/1.1\r\nhost: {host}\r\n{close}")).await, reached(7), "{host}");
    }
    for headers in [
        "x-forwarded-host: pr-8-shop.localhost",
        "forwarded: host=pr-8-shop.localhost",
        "x-original-host: pr-8-shop.localhost",
        "x-host: pr-8-shop.localhost",
    ] {
        let request = format!("GET / HTTP/1.1\r\nhost: pr-7-shop.localhost\r\n{headers}\r\n{close}");
        assert_eq!(raw(&world, &request).await, reached(7), "{headers}");
    }
    let absolute = "GET http://pr-8-shop.localhost:8081/x HTTP/1.1\r\nhost:";
    assert_eq!(raw(&world, &format!("{absolute} pr-8-shop.localhost\r\n{close}")).await, reached(8));

    let nowhere = |status| (status, Vec::<String>::new());
    for contradiction in [
        format!("{absolute} pr-7-shop.localhost\r\n{close}"),
        format!("GET http://x@pr-8-shop.localhost/ HTTP/1.1\r\nhost: pr-8-shop.localhost\r\n{close}"),
        format!("GET / HTTP/1.1\r\nhost: pr-7-shop.localhost\r\nhost: pr-8-shop.localhost\r\n{close}"),
        format!("GET / HTTP/1.1\r\nhost: pr-7-shop.localhost\r\nHost: pr-7-shop.localhost\r\n{close}"),
        format!("GET / HTTP/1.1\r\nhost:\r\n{close}"),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
    ] {
        assert_eq!(raw(&world, &contradiction).await, nowhere(400), "{contradiction}");
    }
    for other in [
        "pr-9-shop.localhost",
        "x.pr-7-shop.localhost",
        "pr-7-shop.localhost.evil",
        "pr-7-shop",
        "pr-7-shop.localhost..",
        "127.0.0.1",
    ] {
        assert_eq!(raw(&world, &format!("GET / HTTP/1.1\r\nhost: {other}\r\n{close}")).await, nowhere(404), "{other}");
    }
    let tunnel = "CONNECT pr-7-shop.localhost:80 HTTP/1.1\r\nhost: pr-7-shop.localhost:80\r\nconnection: close\r\n\r\n";
    assert_eq!(raw(&world, tunnel).await, nowhere(405));
}

#[tokio::test]
async fn a_visit_wakes_what_sleeps() {
    let world = World::new().await;
    let id = world.running(7, "x").await;
    world.store.remember(id, Fact::Asleep(true)).await.unwrap();
    let response = world.open("pr-7-shop.localhost", "/").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    let page = response.text().await.unwrap();
    assert!(page.contains("Waking up") && page.contains("http-equiv=\"refresh\""), "{page}");
    // The page's other parts, and the page again, ask for nothing more.
    world.open("pr-7-shop.localhost", "/favicon.ico").await;
    world.open("pr-7-shop.localhost", "/").await;
    let runs = world.read("/api/v1/runs").await;
    let workflows: Vec<&str> =
        runs["items"].as_array().unwrap().iter().map(|run| run["workflow"].as_str().unwrap()).collect();
    assert_eq!(workflows, ["preview_wake", "preview_up"]);
    assert_eq!(*world.cluster.connected.lock().unwrap(), Vec::<String>::new());
    // It says so until the application answers.
    world.claim().await;
    let response = world.open("pr-7-shop.localhost", "/").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.text().await.unwrap().contains("Waking up"));
}

#[tokio::test]
async fn a_visit_is_remembered() {
    let world = World::new().await;
    world.running(7, "x").await;
    let (address, _asked) = application("HTTP/1.1 204 No Content\r\n\r\n", false).await;
    *world.cluster.application.lock().unwrap() = Some(address);
    let active_at = async || {
        let found = world.store.find_environment_of(&Visible::All, &crate::world::at(7)).await.unwrap().unwrap();
        found.environment.life.active_at
    };
    let before = active_at().await;
    assert_eq!(world.open("pr-7-shop.localhost", "/").await.status(), StatusCode::NO_CONTENT);
    // It is written beside the answer.
    let remembered = async { while active_at().await == before {} };
    tokio::time::timeout(Duration::from_secs(30), remembered).await.unwrap();
}

#[tokio::test]
async fn an_earlier_commit_stays_up_while_the_next_is_deployed() {
    let world = World::new().await;
    world.running(7, "x").await;
    world.forge.pull_requests.lock().unwrap().push(crate::world::pull_request(7, "x"));
    world.post("/api/v1/previews/pr-shop-7/deploy").send().await.unwrap();
    let (address, _asked) = application("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nold", false).await;
    *world.cluster.application.lock().unwrap() = Some(address);
    assert_eq!(world.open("pr-7-shop.localhost", "/").await.text().await.unwrap(), "old");
    // And when it has just gone away, that is no error.
    *world.cluster.application.lock().unwrap() = None;
    assert_eq!(world.open("pr-7-shop.localhost", "/").await.status(), StatusCode::SERVICE_UNAVAILABLE);
}
