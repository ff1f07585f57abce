use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use poem::http::uri::PathAndQuery;
use poem::http::{HeaderValue, Method, StatusCode, Uri, Version, header};
use poem::{Body, Request, Response};
use seatrial_operations::views::ByteStream;
use tokio_util::sync::CancellationToken;

use super::headers::{cut_hop_by_hop, join_cookies, set_forwarded, wants_websocket};
use super::stream::{Boxed, Noted, Progress, watched};
use super::tunnel;

/// How long nothing may happen until the application's answer begins: no piece of an upload goes
/// through, no answer comes. The answer itself may take as long as it likes, and be silent:
/// downloads and event streams are.
pub(super) const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no answer, in words, for the page that is shown instead.
#[derive(Debug)]
pub(super) enum Trouble {
    Broken(String),
    Late(String),
}

/// Sends the request over the stream and returns the answer, both bodies as they come. The stream
/// ends with the answer, and when the client goes away. `used` is called as long as bytes go to
/// and fro.
pub(super) async fn forward(
    stream: Box<dyn ByteStream>,
    request: Request,
    authority: &str,
    url: &str,
    used: Noted,
    stopping: &CancellationToken,
    patience: Duration,
) -> Result<Response, Trouble> {
    let upgrade = wants_websocket(request.headers()) && request.method() == Method::GET;
    let client = upgrade.then(|| request.take_upgrade().ok()).flatten();
    let progress = Progress::new();
    let outgoing = outgoing(request, authority, url, client.is_some(), &progress, &used);

    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Trouble::Broken(format!("the connection to the application broke: {error}")))?;
    // Ends when the answer is read, when nobody wants it any more, or when an upgraded connection
    // is handed over.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to a preview ended");
        }
    });
    let answer = progress
        .within(patience, sender.send_request(outgoing))
        .await
        .ok_or_else(|| Trouble::Late(format!("the application did not answer within {} s", ANSWER_PATIENCE.as_secs())))?
        .map_err(|error| Trouble::Broken(format!("the application did not answer as HTTP: {error}")))?;
    Ok(incoming(answer, client, used, stopping))
}

fn outgoing(
    mut request: Request,
    authority: &str,
    url: &str,
    upgrade: bool,
    progress: &Progress,
    used: &Noted,
) -> hyper::Request<Boxed> {
    let client = request.remote_addr().as_socket_addr().map(|address| address.ip());
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let (progress, used) = (progress.clone(), used.clone());
    let noted: Noted = Arc::new(move || {
        progress.note();
        used();
    });
    let body = watched(request.take_body().into(), noted);

    let mut outgoing = hyper::Request::new(body);
    *outgoing.method_mut() = request.method().clone();
    *outgoing.uri_mut() = Uri::from(path);
    *outgoing.version_mut() = Version::HTTP_11;
    *outgoing.headers_mut() = std::mem::take(request.headers_mut());
    let headers = outgoing.headers_mut();
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    cut_hop_by_hop(headers);
    join_cookies(headers);
    set_forwarded(headers, client, authority, url);
    if let Ok(host) = HeaderValue::from_str(authority) {
        headers.insert(header::HOST, host);
    }
    if upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    outgoing
}

fn incoming(
    mut answer: hyper::Response<hyper::body::Incoming>,
    client: Option<poem::OnUpgrade>,
    used: Noted,
    stopping: &CancellationToken,
) -> Response {
    let upgraded = if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        client.map(|client| (client, hyper::upgrade::on(&mut answer)))
    } else {
        None
    };
    let (mut parts, body) = answer.into_parts();
    cut_hop_by_hop(&mut parts.headers);
    let mut response = Response::builder().status(parts.status).body(());
    *response.headers_mut() = parts.headers;
    if let Some((client, application)) = upgraded {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        tokio::spawn(tunnel::carry(client, application, used, stopping.clone()));
        return response;
    }
    let body = watched(body.map_err(std::io::Error::other).boxed(), used);
    response.set_body(Body::from(body));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use futures::stream;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::*;

    async fn sent(stream: impl ByteStream, request: Request) -> Result<Response, Trouble> {
        sent_within(ANSWER_PATIENCE, stream, request).await
    }

    async fn sent_within(patience: Duration, stream: impl ByteStream, request: Request) -> Result<Response, Trouble> {
        let stopping = CancellationToken::new();
        let used: Noted = Arc::new(|| {});
        forward(Box::new(stream), request, "a.localhost", "http://a.localhost", used, &stopping, patience).await
    }

    /// Lets everybody go on for as long as they can: all happens in this thread and in memory.
    async fn everybody_goes_on() {
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
        }
    }

    /// What the application is asked, up to `end`.
    async fn asked(stream: &mut DuplexStream, end: &[u8]) -> String {
        let mut asked = Vec::new();
        while !asked.ends_with(end) {
            asked.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(asked).unwrap()
    }

    const PIECE: usize = 64 << 10;

    /// An upload that would never end, and how many of its pieces were asked for.
    fn endless() -> (Request, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let pieces = stream::repeat_with(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from_static(&[0; PIECE]))
        });
        (Request::builder().method(Method::POST).body(Body::from_bytes_stream(pieces)), asked)
    }

    #[tokio::test]
    async fn an_application_that_does_not_read_holds_the_upload_back() {
        let (ours, theirs) = duplex(PIECE);
        let (request, asked) = endless();
        let sending = tokio::spawn(sent(ours, request));
        everybody_goes_on().await;
        assert!(asked.load(Ordering::Relaxed) * PIECE < 2 << 20, "{asked:?} pieces are held in memory");
        drop(theirs);
        assert!(sending.await.unwrap().is_err());
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_holds_the_application_back() {
        let (ours, mut theirs) = duplex(PIECE);
        let written = Arc::new(AtomicUsize::new(0));
        let count = written.clone();
        let application = tokio::spawn(async move {
            asked(&mut theirs, b"\r\n\r\n").await;
            theirs.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await.unwrap();
            while theirs.write_all(&[0; PIECE]).await.is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let answer = sent(ours, Request::builder().finish()).await.unwrap();
        everybody_goes_on().await;
        assert!(written.load(Ordering::Relaxed) * PIECE < 2 << 20, "{written:?} pieces are held in memory");
        // And nobody who wants it any more ends it.
        drop(answer);
        application.await.unwrap();
    }

    #[tokio::test]
    async fn silence_is_borne_for_a_while_before_the_answer_and_for_ever_in_it() {
        const PATIENCE: Duration = Duration::from_millis(50);
        let (ours, theirs) = duplex(PIECE);
        let late = sent_within(PATIENCE, ours, Request::builder().finish()).await;
        assert!(matches!(late, Err(Trouble::Late(_))), "{late:?}");
        drop(theirs);

        let (ours, mut theirs) = duplex(PIECE);
        let application = async {
            asked(&mut theirs, b"\r\n\r\n").await;
            theirs.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe").await.unwrap();
        };
        let (answer, ()) = tokio::join!(sent_within(PATIENCE, ours, Request::builder().finish()), application);
        let mut body = answer.unwrap().into_body().into_async_read();
        let mut text = [0; 2];
        body.read_exact(&mut text).await.unwrap();
        assert!(timeout(PATIENCE * 4, body.read_u8()).await.is_err());
        theirs.write_all(b"llo").await.unwrap();
        let mut rest = String::new();
        body.read_to_string(&mut rest).await.unwrap();
        assert_eq!((&text, rest.as_str()), (b"he", "llo"));
    }

    #[tokio::test]
    async fn a_slow_upload_is_not_cut_short() {
        const PATIENCE: Duration = Duration::from_secs(1);
        let (ours, mut theirs) = duplex(PIECE);
        let pieces = stream::unfold(0, |sent| async move {
            tokio::time::sleep(PATIENCE / 3).await;
            (sent < 5).then(|| (Ok::<_, std::io::Error>(Bytes::from_static(b"piece")), sent + 1))
        });
        let request = Request::builder().method(Method::POST).body(Body::from_bytes_stream(pieces));
        let application = async {
            let asked = asked(&mut theirs, b"0\r\n\r\n").await;
            theirs.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            asked
        };
        let (answer, asked) = tokio::join!(sent_within(PATIENCE, ours, request), application);
        assert_eq!(answer.unwrap().status(), StatusCode::NO_CONTENT);
        assert_eq!(asked.matches("piece").count(), 5);
    }

    #[tokio::test]
    async fn what_is_not_http_is_said() {
        let (ours, mut theirs) = duplex(PIECE);
        theirs.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await.unwrap();
        assert!(matches!(sent(ours, Request::builder().finish()).await, Err(Trouble::Broken(_))));
    }
}
