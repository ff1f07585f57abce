//! What every request gets: an id, a line in the log, a count, and headers that keep browsers
//! from doing more than the pages mean.

use std::sync::Arc;
use std::time::Instant;

use poem::http::{HeaderValue, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response, Result};
use tracing::Instrument;
use uuid::Uuid;

use crate::config::Api;
use crate::problems::{self, ProblemResponse};
use crate::{assets, pages, rest};

/// Everything from this server, no inline code, nobody's frame.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
connect-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'";

pub(crate) async fn answer<E: Endpoint>(_: Arc<Api>, next: Arc<E>, request: Request) -> Result<Response> {
    let id = Uuid::now_v7();
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let span = tracing::info_span!("request", %id, %method, ?path);
    let begun = Instant::now();
    let mut response = async {
        let response = match next.call(request).await {
            Ok(response) => response.into_response(),
            Err(error) => of_error(error, &path),
        };
        let status = response.status().as_u16();
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        match surface(&path) {
            "health" | "assets" => tracing::debug!(status, ms, "answered"),
            _ => tracing::info!(status, ms, "answered"),
        }
        response
    }
    .instrument(span)
    .await;

    let labels = [("surface", surface(&path).to_owned()), ("status", response.status().as_u16().to_string())];
    metrics::counter!("seatrial_http_requests_total", &labels).increment(1);
    metrics::histogram!("seatrial_http_request_seconds", &labels[..1]).record(begun.elapsed().as_secs_f64());

    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        headers.insert("x-request-id", id);
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    // What has a tag may be kept and asked about.
    if !assets::is_asset(&path) && !headers.contains_key(header::ETAG) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

fn of_error(error: poem::Error, path: &str) -> Response {
    if error.is_from_response() {
        return error.into_response();
    }
    let problem = problems::of_error(&error);
    if path.starts_with("/api/") || path == "/metrics" {
        let mut response = ProblemResponse(problem).into_response();
        if response.status() == StatusCode::METHOD_NOT_ALLOWED
            && let Some(methods) = rest::allowed_methods(path).and_then(|methods| methods.parse().ok())
        {
            response.headers_mut().insert(header::ALLOW, methods);
        }
        response
    } else {
        pages::error(&problem)
    }
}

/// Few values: each is a series of its own in the metrics.
fn surface(path: &str) -> &'static str {
    match path {
        "/healthz" | "/readyz" | "/metrics" => "health",
        path if path.starts_with("/api/webhooks/") => "webhook",
        path if path.starts_with("/api/mcp") => "mcp",
        path if path.starts_with("/api/") => "rest",
        path if path.starts_with("/assets/") => "assets",
        _ => "pages",
    }
}
