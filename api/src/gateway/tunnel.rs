//! An upgraded connection: bytes both ways.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::stream::Noted;

/// Carries bytes both ways until both sides have ended, or one broke off, or the gateway stops.
pub(super) async fn carry(
    client: poem::OnUpgrade,
    application: hyper::upgrade::OnUpgrade,
    used: Noted,
    stopping: CancellationToken,
) {
    let carried = async {
        let (client, application) = tokio::try_join!(async { client.await.map_err(io::Error::other) }, async {
            application.await.map_err(io::Error::other)
        })?;
        let (mut client, mut application) = (Used { stream: client, used }, TokioIo::new(application));
        tokio::io::copy_bidirectional(&mut client, &mut application).await
    };
    tokio::select! {
        ended = carried => {
            if let Err(error) = ended {
                tracing::debug!(%error, "an upgraded connection to a preview ended");
            }
        }
        () = stopping.cancelled() => {}
    }
}

/// What the client sends and reads is use of the preview.
struct Used<S> {
    stream: S,
    used: Noted,
}

impl<S: AsyncRead + Unpin> AsyncRead for Used<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() {
            (self.used)();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Used<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if written.is_ready() {
            (self.used)();
        }
        written
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
