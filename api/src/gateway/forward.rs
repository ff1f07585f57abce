use std::time::Duration;

use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use poem::http::uri::{PathAndQuery, Scheme};
use poem::http::{HeaderValue, StatusCode, Uri, Version, header};
use poem::{Body, Request, Response};
use seatrial_operations::views::ByteStream;
use tokio_util::sync::CancellationToken;

use super::headers::{cut_hop_by_hop, set_forwarded, wanted_upgrade};

/// How long the application may take until its answer begins. Its body may take as long as it
/// likes: downloads and event streams do.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// Sends the request over the stream and returns the answer, both bodies as they come.
///
/// # Errors
/// In words, for the page that is shown instead.
pub(super) async fn forward(
    stream: Box<dyn ByteStream>,
    request: Request,
    authority: &str,
    stopping: &CancellationToken,
) -> Result<Response, String> {
    let upgrade = wanted_upgrade(request.headers());
    let client_upgrade = upgrade.as_ref().and_then(|_| request.take_upgrade().ok());
    let outgoing = outgoing(request, authority, upgrade.clone().filter(|_| client_upgrade.is_some()));

    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("the connection to the application broke: {error}"))?;
    let stop = stopping.clone();
    // Ends with the connection: when the answer is read, when the client goes away, or when an
    // upgraded connection is handed over.
    tokio::spawn(async move {
        tokio::select! {
            ended = connection.with_upgrades() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection to a preview ended");
                }
            }
            () = stop.cancelled() => {}
        }
    });

    let answer = tokio::time::timeout(ANSWER_PATIENCE, sender.send_request(outgoing))
        .await
        .map_err(|_| format!("the application did not answer within {} s", ANSWER_PATIENCE.as_secs()))?
        .map_err(|error| format!("the application did not answer as HTTP: {error}"))?;
    Ok(incoming(answer, client_upgrade, stopping))
}

type Outgoing = hyper::Request<http_body_util::combinators::BoxBody<bytes::Bytes, std::io::Error>>;

fn outgoing(mut request: Request, authority: &str, upgrade: Option<HeaderValue>) -> Outgoing {
    let client = request.remote_addr().as_socket_addr().map(|address| address.ip());
    let scheme = if *request.scheme() == Scheme::HTTPS { "https" } else { "http" };
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let body = request.take_body();

    let mut outgoing: Outgoing = hyper::Request::new(body.into());
    *outgoing.method_mut() = request.method().clone();
    *outgoing.uri_mut() = Uri::from(path);
    *outgoing.version_mut() = Version::HTTP_11;
    *outgoing.headers_mut() = std::mem::take(request.headers_mut());
    let headers = outgoing.headers_mut();
    cut_hop_by_hop(headers);
    set_forwarded(headers, client, authority, scheme);
    if let Ok(host) = HeaderValue::from_str(authority) {
        headers.insert(header::HOST, host);
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
    outgoing
}

fn incoming(
    mut answer: hyper::Response<hyper::body::Incoming>,
    client_upgrade: Option<poem::OnUpgrade>,
    stopping: &CancellationToken,
) -> Response {
    let upgraded = if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        client_upgrade.map(|client| (client, hyper::upgrade::on(&mut answer)))
    } else {
        None
    };
    let protocol = answer.headers().get(header::UPGRADE).cloned();
    let (mut parts, body) = answer.into_parts();
    cut_hop_by_hop(&mut parts.headers);
    let mut response = Response::builder().status(parts.status).body(());
    *response.headers_mut() = parts.headers;
    if let Some((client, application)) = upgraded {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            response.headers_mut().insert(header::UPGRADE, protocol);
        }
        tokio::spawn(splice(client, application, stopping.clone()));
        return response;
    }
    response.set_body(Body::from(body.map_err(std::io::Error::other).boxed()));
    response
}

/// Carries bytes both ways until one side ends.
async fn splice(client: poem::OnUpgrade, application: hyper::upgrade::OnUpgrade, stopping: CancellationToken) {
    let carried = async {
        let mut client = client.await.map_err(std::io::Error::other)?;
        let mut application = TokioIo::new(application.await.map_err(std::io::Error::other)?);
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
