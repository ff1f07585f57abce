//! A preview as its visitors reach it: under its own name and no other, with all that HTTP has.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use seatrial_tests::{Change, PATIENCE, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_answers_under_its_own_name_and_no_other() -> Result<()> {
    World::tell("names", async |world| {
        let teal = world.open_pull("teal", Change::values(&[("colour", "teal")])).await?;
        let plum = world.open_pull("plum", Change::values(&[("colour", "plum")])).await?;
        world.wait_ready(teal.number, &teal.sha).await?;
        world.wait_ready(plum.number, &plum.sha).await?;
        let (of_teal, of_plum) = (authority(world, teal.number), authority(world, plum.number));
        let cases = [
            // Whoever claims to have been sent for another gets what the name in `Host` is.
            (format!("GET /version HTTP/1.1\r\nHost: {of_plum}\r\nX-Forwarded-Host: {of_teal}\r\n"), Some(&plum.sha)),
            (format!("GET /version HTTP/1.1\r\nHost: {of_plum}\r\nForwarded: host={of_teal}\r\n"), Some(&plum.sha)),
            (format!("GET /version HTTP/1.1\r\nHost: {}\r\n", of_teal.to_uppercase()), Some(&teal.sha)),
            // Two names are none.
            (format!("GET /version HTTP/1.1\r\nHost: {of_teal}\r\nHost: {of_plum}\r\n"), None),
            (format!("GET http://{of_teal}/version HTTP/1.1\r\nHost: {of_plum}\r\n"), None),
            // Nobody's names.
            (format!("GET /version HTTP/1.1\r\nHost: x.{of_teal}\r\n"), None),
            (format!("GET /version HTTP/1.1\r\nHost: {}\r\n", of_teal.replace("localhost", "example.com")), None),
            ("GET /version HTTP/1.1\r\nHost: 127.0.0.1\r\n".to_owned(), None),
            (format!("CONNECT {of_teal} HTTP/1.1\r\nHost: {of_teal}\r\n"), None),
        ];
        for (request, expected) in cases {
            let answer = ask(world, &format!("{request}Connection: close\r\n\r\n")).await?;
            for sha in [&teal.sha, &plum.sha] {
                let wanted = expected == Some(sha);
                ensure!(answer.contains(sha.as_str()) == wanted, "{request:?} was answered with {answer}");
            }
        }
        // A second request on the same connection is not the first one's.
        let both = format!(
            "GET /version HTTP/1.1\r\nHost: {of_teal}\r\n\r\nGET /version HTTP/1.1\r\nHost: {of_plum}\r\nConnection: close\r\n\r\n"
        );
        let answer = ask(world, &both).await?;
        let places = (answer.find(&teal.sha), answer.find(&plum.sha));
        ensure!(matches!(places, (Some(first), Some(second)) if first < second), "{answer}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_goes_through_both_ways_and_ends_with_the_preview() -> Result<()> {
    World::tell("websocket", async |world| {
        let pull = world.open_pull("chatty", Change::page("chatty")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        let mut stream = upgrade(world, n).await?;
        for text in ["ahoy", "how is the sea?"] {
            stream.write_all(text.as_bytes()).await?;
            let mut echo = vec![0; text.len()];
            timeout(PATIENCE, stream.read_exact(&mut echo)).await.context("there was no echo")??;
            ensure!(echo == text.as_bytes(), "the echo of {text:?} is {:?}", String::from_utf8_lossy(&echo));
        }
        world.close(&pull).await?;
        world.wait_receipt(n).await?;
        let mut rest = Vec::new();
        // An end or a broken connection are the same to whoever waits.
        let ended = timeout(Duration::from_secs(30), stream.read_to_end(&mut rest)).await;
        ensure!(ended.is_ok() && rest.is_empty(), "the connection outlived its preview: {rest:?}");
        world.check_gone(n).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_go_through_whole_in_both_directions_and_many_at_once() -> Result<()> {
    World::tell("large", async |world| {
        let pull = world.open_pull("heavy", Change::page("heavy")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        const SIZE: usize = 64 << 20;
        let authority = authority(world, n);
        let url = |path: &str| format!("http://127.0.0.1:{}{path}", world.program.gateway_port());
        let http = reqwest::Client::builder().no_proxy().build()?;
        let body = vec![b'x'; SIZE];
        let sent = http.post(url("/count")).header("host", &authority).body(body).send().await?.text().await?;
        ensure!(sent.trim() == SIZE.to_string(), "of {SIZE} bytes {sent} arrived");
        let got = http.get(url(&format!("/bytes?n={SIZE}"))).header("host", &authority).send().await?.bytes().await?;
        ensure!(got.len() == SIZE && got.iter().all(|byte| *byte == b'x'), "{} bytes came back", got.len());

        let many = (0..100).map(|_| async {
            let answer = http.get(url("/version")).header("host", &authority).send().await?;
            let status = answer.status();
            let text = answer.text().await?;
            ensure!(text.contains(&pull.sha), "{status}: {text}");
            anyhow::Ok(())
        });
        futures::future::try_join_all(many).await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_is_told_what_the_preview_is_doing_instead_of_answering() -> Result<()> {
    World::tell("pages", async |world| {
        let pull = world.open_pull("slow", Change::values(&[("hangSeconds", "60")])).await?;
        let n = pull.number;
        world.wait_step(n, "preview_up", "rollout").await?;
        let page = world.visit(n, "/").await?;
        ensure!(page.status == 503 && page.body.contains("is being deployed"), "{page:?}");
        world.push(&pull, Change::values(&[("crash", "true")])).await?;
        world.wait_comment(n, &["Preview failed at rollout"], PATIENCE).await?;
        world.wait_run(n, "preview_up").await?;
        let page = world.visit(n, "/").await?;
        ensure!(page.status == 503 && page.body.contains("Culprit") && page.body.contains("shop"), "{page:?}");
        Ok(())
    })
    .await
}

/// Host and port, as a browser writes them.
fn authority(world: &World, number: u64) -> String {
    world.url(number).trim_start_matches("http://").to_owned()
}

/// Sends bytes to the gateway as they are, and reads until it closes.
async fn ask(world: &World, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", world.program.gateway_port())).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.context("the gateway kept the connection")??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A connection that the application has taken over.
async fn upgrade(world: &World, number: u64) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", world.program.gateway_port())).await?;
    let request = format!(
        "GET /echo HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        authority(world, number)
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(PATIENCE, stream.read_u8()).await.context("there was no answer")?;
        head.push(byte.with_context(|| format!("the answer ended: {}", String::from_utf8_lossy(&head)))?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    ensure!(head.starts_with("HTTP/1.1 101"), "it was answered with {head}");
    // The key's answer as RFC 6455 has it as an example.
    ensure!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "the answer's key got lost: {head}");
    Ok(stream)
}
