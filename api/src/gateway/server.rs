//! The gateway's own way of listening. Unlike the front's it notices at once when a client goes
//! away, gives slow heads a limit and long streams none, and asks HTTP/2 clients whether they are
//! still there.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Endpoint, Request, Response};
use seatrial_operations::Operations;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::sign_in::SignIn;
use crate::serve::Serving;

/// A connection that has sent no whole request head for so long is closed: one that was just
/// opened, and one that is kept open between requests.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// A client of HTTP/2 is asked so often whether it is still there, and must say so within the other.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_PATIENCE: Duration = Duration::from_secs(20);
/// Requests that are being answered get this long when the gateway stops.
const FAREWELL: Duration = Duration::from_secs(10);
/// After an error of accepting, such as too many open files.
const BREATH: Duration = Duration::from_millis(100);

/// Serves previews by their hosts; with `sign_in`, to those only who are signed in to Seatrial's
/// pages. Nothing of [`crate::serve`] answers here.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve_gateway(
    listen: SocketAddr,
    operations: Arc<Operations>,
    sign_in: Option<SignIn>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<Serving> {
    let stopping = CancellationToken::new();
    let endpoint = super::endpoint(operations, sign_in, stopping.clone());
    serve_on(listen, endpoint, HEAD_PATIENCE, stopping, shutdown).await
}

async fn serve_on<E: Endpoint<Output = Response> + 'static>(
    listen: SocketAddr,
    endpoint: E,
    head_patience: Duration,
    stopping: CancellationToken,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<Serving> {
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("the gateway cannot listen on {listen}: {error}")))?;
    let address = listener.local_addr()?;
    let door = Door { endpoint: Arc::new(endpoint), head_patience, stopping, over: CancellationToken::new() };
    let finished = tokio::spawn(async move {
        let open = TaskTracker::new();
        tokio::select! {
            () = door.accept(&listener, &open) => {}
            () = shutdown => {}
        }
        drop(listener);
        door.stopping.cancel();
        open.close();
        if tokio::time::timeout(FAREWELL, open.wait()).await.is_err() {
            tracing::info!(connections = open.len(), "the gateway cuts connections that are still open");
        }
        door.over.cancel();
        Ok(())
    });
    Ok(Serving { address, finished })
}

struct Door<E> {
    endpoint: Arc<E>,
    head_patience: Duration,
    /// Connections end with the requests that they have.
    stopping: CancellationToken,
    /// Connections end.
    over: CancellationToken,
}

impl<E: Endpoint<Output = Response> + 'static> Door<E> {
    async fn accept(&self, listener: &TcpListener, open: &TaskTracker) {
        loop {
            match listener.accept().await {
                Ok((stream, client)) => drop(open.spawn(self.serve(stream, client))),
                Err(error) => {
                    tracing::warn!(%error, "the gateway could not take a connection");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    /// The connection and its requests are one future: when the client goes away, all of them are
    /// dropped, and what they wait for with them.
    fn serve(&self, stream: TcpStream, client: SocketAddr) -> impl Future<Output = ()> + Send + 'static {
        // Events and keystrokes are small and in a hurry.
        let _ = stream.set_nodelay(true);
        let local = LocalAddr(Addr::from(stream.local_addr().unwrap_or(client)));
        let remote = RemoteAddr(Addr::from(client));
        let (endpoint, begun) = (self.endpoint.clone(), CancellationToken::new());
        let asked = begun.clone();
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            asked.cancel();
            let request = Request::from((request, local.clone(), remote.clone(), Scheme::HTTP));
            let endpoint = endpoint.clone();
            async move { Ok::<hyper::Response<_>, Infallible>(endpoint.get_response(request).await.into()) }
        });
        let (patience, stopping, over) = (self.head_patience, self.stopping.clone(), self.over.clone());
        async move {
            let builder = builder(patience);
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            // Until it is known whether it is HTTP/1.1 or HTTP/2, hyper has no limit of its own.
            let ended = tokio::select! {
                ended = connection.as_mut() => Some(ended),
                () = begun.cancelled() => None,
                () = tokio::time::sleep(patience) => return,
                () = stopping.cancelled() => None,
            };
            let ended = match ended {
                Some(ended) => ended,
                None => tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = over.cancelled() => return,
                    () = stopping.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        tokio::select! {
                            ended = connection => ended,
                            () = over.cancelled() => return,
                        }
                    }
                },
            };
            if let Err(error) = ended {
                tracing::debug!(%error, %client, "a connection to the gateway ended");
            }
        }
    }
}

fn builder(head_patience: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head_patience);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE)
        .max_concurrent_streams(256)
        .max_header_list_size(64 << 10);
    builder
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use poem::Body;
    use poem::endpoint::make;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);
    const LIMIT: Duration = Duration::from_secs(30);

    async fn serving(
        endpoint: impl Endpoint<Output = Response> + 'static,
    ) -> (TcpStream, Serving, oneshot::Sender<()>) {
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { drop(stopped.await) };
        let anywhere = "127.0.0.1:0".parse().unwrap();
        let serving = serve_on(anywhere, endpoint, PATIENCE, CancellationToken::new(), shutdown).await.unwrap();
        (TcpStream::connect(serving.address).await.unwrap(), serving, stop)
    }

    fn greets() -> impl Endpoint<Output = Response> {
        make(async |_| Response::builder().body("hello"))
    }

    #[tokio::test]
    async fn connections_that_ask_nothing_are_closed() {
        for begun in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nhost: a", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"] {
            let (mut client, _serving, _stop) = serving(greets()).await;
            client.write_all(begun.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            timeout(LIMIT, client.read_to_end(&mut answer)).await.expect(begun).unwrap();
            assert_eq!(String::from_utf8_lossy(&answer).contains("hello"), begun.ends_with("\r\n\r\n"), "{begun:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_may_be_silent_for_long() {
        let silent = make(async |_| {
            let pieces = stream::once(async {
                tokio::time::sleep(PATIENCE * 5).await;
                Ok::<_, io::Error>("at last")
            });
            Response::builder().body(Body::from_bytes_stream(pieces))
        });
        let (mut client, _serving, _stop) = serving(silent).await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        timeout(LIMIT, client.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.contains("at last"), "{answer}");
    }

    #[tokio::test]
    async fn what_is_being_answered_is_answered_before_the_end() {
        let (tell, asked) = oneshot::channel();
        let (go, gone) = oneshot::channel::<()>();
        let told = std::sync::Mutex::new(Some((tell, gone)));
        let slow = make(move |_| {
            let (tell, gone) = told.lock().unwrap().take().unwrap();
            async move {
                tell.send(()).unwrap();
                gone.await.unwrap();
                Response::builder().body("hello")
            }
        });
        let (mut client, serving, stop) = serving(slow).await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        timeout(LIMIT, asked).await.unwrap().unwrap();
        stop.send(()).unwrap();
        // Nobody new is let in.
        let refused = async { while TcpStream::connect(serving.address).await.is_ok() {} };
        timeout(LIMIT, refused).await.unwrap();
        go.send(()).unwrap();
        let mut answer = String::new();
        timeout(LIMIT, client.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.ends_with("hello"), "{answer}");
        timeout(FAREWELL / 2, serving.finished).await.unwrap().unwrap().unwrap();
    }
}
