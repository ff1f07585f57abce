//! The gateway carries bytes as they come, both ways, and ends with the client.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, TryStreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::application::{Body, mebibytes, next, piece, pieces, serving, text};
use crate::world::World;

const HOST: &str = "pr-7-shop.localhost";
/// What must happen, happens within this time or the test fails.
const LIMIT: Duration = Duration::from_secs(30);

async fn running(address: std::net::SocketAddr) -> World {
    let world = World::new().await;
    world.running(7, "x").await;
    *world.cluster.application.lock().unwrap() = Some(address);
    world
}

async fn http1(world: &World) -> hyper::client::conn::http1::SendRequest<Body> {
    let stream = TcpStream::connect(world.gateway.address).await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// With prior knowledge, as browsers never do it and proxies before us may.
async fn http2(world: &World) -> hyper::client::conn::http2::SendRequest<Body> {
    let stream = TcpStream::connect(world.gateway.address).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Sends back what comes, as it comes.
async fn echo(request: Request<Incoming>) -> Response<Body> {
    Response::new(request.into_body().map_err(std::io::Error::other).boxed())
}

#[tokio::test]
async fn pieces_go_both_ways_at_once() {
    let world = running(serving(echo).await).await;
    let (sender, body) = pieces();
    let request = Request::post("/echo").header("host", HOST).body(body).unwrap();
    let mut connection = http1(&world).await;
    let mut answer = timeout(LIMIT, connection.send_request(request)).await.unwrap().unwrap();
    // Each piece is back before the next one leaves: nobody collects them.
    for text in ["one", "two", "three"] {
        sender.send(piece(text)).await.unwrap();
        assert_eq!(timeout(LIMIT, next(answer.body_mut())).await.unwrap(), text);
    }
    drop(sender);
    assert!(answer.body_mut().frame().await.is_none());

    let (sender, body) = pieces();
    let request = Request::post(format!("http://{HOST}/echo")).version(Version::HTTP_2).body(body).unwrap();
    let mut answer = timeout(LIMIT, http2(&world).await.send_request(request)).await.unwrap().unwrap();
    for text in ["one", "two"] {
        sender.send(piece(text)).await.unwrap();
        assert_eq!(timeout(LIMIT, next(answer.body_mut())).await.unwrap(), text);
    }
}

#[tokio::test]
async fn large_bodies_go_through_whole() {
    const MIB: usize = 32;
    let world = running(
        serving(async |request: Request<Incoming>| {
            let mut body = request.into_body();
            let mut length = 0;
            while let Some(frame) = body.frame().await {
                length += frame.unwrap().into_data().unwrap().len();
            }
            let download = BodyExt::boxed(StreamBody::new(mebibytes(MIB).map_ok(Frame::data)));
            Response::builder().header("x-length", length).body(download).unwrap()
        })
        .await,
    )
    .await;
    let url = format!("http://{}/", world.gateway.address);
    let upload = reqwest::Body::wrap_stream(mebibytes(MIB));
    let answer = world.client.post(url).header("host", HOST).body(upload).send().await.unwrap();
    assert_eq!(answer.headers()["x-length"], (MIB << 20).to_string().as_str());
    let mut download = answer.bytes_stream();
    let mut length = 0;
    while let Some(piece) = download.next().await {
        length += piece.unwrap().len();
    }
    assert_eq!(length, MIB << 20);
}

#[tokio::test]
async fn events_come_at_once_and_end_with_the_client() {
    let (events, body) = pieces();
    let body = Arc::new(Mutex::new(Some(body)));
    let world = running(
        serving(move |_| {
            let body = body.lock().unwrap().take().unwrap();
            async move { Response::builder().header("content-type", "text/event-stream").body(body).unwrap() }
        })
        .await,
    )
    .await;
    let request = Request::get("/events").header("host", HOST).body(text("")).unwrap();
    let mut connection = http1(&world).await;
    let mut answer = timeout(LIMIT, connection.send_request(request)).await.unwrap().unwrap();
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        events.send(piece(event)).await.unwrap();
        assert_eq!(timeout(LIMIT, next(answer.body_mut())).await.unwrap(), event);
    }
    // The stream is silent now, and the application is told all the same.
    drop((answer, connection));
    timeout(LIMIT, events.closed()).await.unwrap();
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_request() {
    let (tell, asked) = oneshot::channel();
    let (ended, end) = oneshot::channel::<()>();
    let told = Arc::new(Mutex::new(Some((tell, ended))));
    let world = running(
        serving(move |_| {
            let (tell, ended) = told.lock().unwrap().take().unwrap();
            async move {
                tell.send(()).unwrap();
                std::future::pending::<()>().await;
                drop(ended);
                Response::new(text(""))
            }
        })
        .await,
    )
    .await;
    let mut client = TcpStream::connect(world.gateway.address).await.unwrap();
    client.write_all(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    timeout(LIMIT, asked).await.unwrap().unwrap();
    drop(client);
    assert!(timeout(LIMIT, end).await.unwrap().is_err(), "dropped with the request's future");
}

#[tokio::test]
async fn many_are_served_at_once() {
    const MANY: usize = 100;
    // Nobody is answered before all are there.
    let all = Arc::new(Barrier::new(MANY));
    let world = running(
        serving(move |_| {
            let all = all.clone();
            async move {
                all.wait().await;
                Response::new(text("together"))
            }
        })
        .await,
    )
    .await;
    let url = format!("http://{}/", world.gateway.address);
    let half = (0..MANY / 2).map(|_| world.client.get(&url).header("host", HOST).send());
    // And as many over one connection.
    let connection = http2(&world).await;
    let other_half = (0..MANY / 2).map(|_| {
        let mut connection = connection.clone();
        async move {
            let request = Request::get(format!("http://{HOST}/")).version(Version::HTTP_2).body(text("")).unwrap();
            connection.send_request(request).await
        }
    });
    let both = futures::future::join(futures::future::try_join_all(half), futures::future::try_join_all(other_half));
    let (one, other) = timeout(LIMIT, both).await.unwrap();
    assert!(one.unwrap().iter().all(|answer| answer.status() == StatusCode::OK));
    assert!(other.unwrap().iter().all(|answer| answer.status() == StatusCode::OK));
}

#[tokio::test]
async fn http2_is_translated() {
    let world = running(
        serving(async |request: Request<Incoming>| {
            let seen = format!("{:?} {} {:?}", request.version(), request.uri(), request.headers());
            Response::builder().header("connection", "close").header("x-app", "shop").body(text(seen)).unwrap()
        })
        .await,
    )
    .await;
    let request = Request::get("http://PR-7-shop.localhost:8081/cart?item=1")
        .version(Version::HTTP_2)
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(text(""))
        .unwrap();
    let mut connection = http2(&world).await;
    let answer = connection.send_request(request).await.unwrap();
    assert_eq!(answer.headers()["x-app"], "shop");
    let seen = answer.into_body().collect().await.unwrap().to_bytes();
    let seen = String::from_utf8(seen.to_vec()).unwrap();
    assert!(seen.starts_with("HTTP/1.1 /cart?item=1 "), "{seen}");
    assert!(seen.contains(r#""cookie": "a=1; b=2""#), "{seen}");
    assert!(seen.to_ascii_lowercase().contains(r#""host": "pr-7-shop.localhost:8081""#), "{seen}");

    let contradicted = Request::get(format!("http://{HOST}/")).header("host", "pr-8-shop.localhost");
    let answer = connection.send_request(contradicted.body(text("")).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let unknown = Request::get("http://pr-8-shop.localhost/").body(text("")).unwrap();
    assert_eq!(connection.send_request(unknown).await.unwrap().status(), StatusCode::NOT_FOUND);
}

/// Sends back messages until the client closes; gives the close frame back.
async fn chat() -> (std::net::SocketAddr, oneshot::Receiver<Option<CloseFrame>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, closed) = oneshot::channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        socket.send("welcome".into()).await.unwrap();
        while let Some(message) = socket.next().await {
            match message.unwrap() {
                Message::Close(frame) => {
                    tell.send(frame).unwrap();
                    while socket.next().await.is_some() {}
                    return;
                }
                message @ (Message::Text(_) | Message::Binary(_)) => socket.send(message).await.unwrap(),
                _ => {}
            }
        }
    });
    (address, closed)
}

#[tokio::test]
async fn a_websocket_talks_through() {
    let (address, closed) = chat().await;
    let world = running(address).await;
    let stream = TcpStream::connect(world.gateway.address).await.unwrap();
    let request = format!("ws://{HOST}/socket?room=1").into_client_request().unwrap();
    let (mut socket, answer) = timeout(LIMIT, tokio_tungstenite::client_async(request, stream)).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    // The application speaks first.
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("welcome"));
    let large = Message::binary(vec![7; 3 << 20]);
    for message in [Message::text("over and back"), large, Message::text("")] {
        socket.send(message.clone()).await.unwrap();
        assert!(timeout(LIMIT, socket.next()).await.unwrap().unwrap().unwrap() == message);
    }
    socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"there?")));
    let goodbye = CloseFrame { code: CloseCode::Library(4001), reason: "done".into() };
    socket.close(Some(goodbye.clone())).await.unwrap();
    assert_eq!(timeout(LIMIT, closed).await.unwrap().unwrap(), Some(goodbye.clone()));
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Close(Some(goodbye)));
    assert!(socket.next().await.is_none());
}

#[tokio::test]
async fn no_other_protocol_is_changed_to() {
    let world = running(
        serving(async |request: Request<Incoming>| Response::new(text(format!("{:?}", request.headers())))).await,
    )
    .await;
    let mut client = TcpStream::connect(world.gateway.address).await.unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close, upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(!answer.contains("h2c") && !answer.contains("http2-settings"), "{answer}");
}
