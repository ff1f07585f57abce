//! Bodies that tell of every piece that goes through them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, timeout_at};

pub(super) type Boxed = BoxBody<Bytes, std::io::Error>;

/// Told of pieces that go through.
pub(super) type Noted = Arc<dyn Fn() + Send + Sync>;

/// Passes the body on as it comes, and calls `noted` for each piece and for its end.
pub(super) fn watched(body: Boxed, noted: Noted) -> Boxed {
    Watched { body, noted }.boxed()
}

struct Watched {
    body: Boxed,
    noted: Noted,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        (self.noted)();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// When something last went on.
#[derive(Clone)]
pub(super) struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    pub(super) fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as nothing stands still for longer than `patience`; `None` when it does.
    pub(super) async fn within<T>(&self, patience: Duration, what: impl Future<Output = T>) -> Option<T> {
        let mut what = std::pin::pin!(what);
        loop {
            let deadline = self.last() + patience;
            match timeout_at(deadline, what.as_mut()).await {
                Ok(done) => return Some(done),
                Err(_) if self.last() + patience > deadline => {}
                Err(_) => return None,
            }
        }
    }
}
