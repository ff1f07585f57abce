//! Applications that previews show: HTTP servers in this process.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use futures::Stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

pub type Body = BoxBody<Bytes, io::Error>;
pub type Pieces = mpsc::Sender<Result<Frame<Bytes>, io::Error>>;

/// Serves every connection with `answer`.
pub async fn serving<F, R>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            let service = hyper::service::service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

pub fn text(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

/// A body to which pieces can be added, each only when there is room for it.
pub fn pieces() -> (Pieces, Body) {
    let (sender, mut receiver) = mpsc::channel(1);
    (sender, StreamBody::new(futures::stream::poll_fn(move |cx| receiver.poll_recv(cx))).boxed())
}

pub fn piece(text: &'static str) -> Result<Frame<Bytes>, io::Error> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// So many pieces of a mebibyte.
pub fn mebibytes(count: usize) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + Sync + 'static {
    static ZEROES: [u8; 1 << 20] = [0; 1 << 20];
    futures::stream::iter((0..count).map(|_| Ok(Bytes::from_static(&ZEROES))))
}

/// The next piece of a body, as text.
pub async fn next(body: &mut (impl hyper::body::Body<Data = Bytes, Error: std::fmt::Debug> + Unpin)) -> String {
    let frame = body.frame().await.expect("the body has ended").unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}
