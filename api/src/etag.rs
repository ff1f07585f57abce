//! `ETag` on what is read: whoever has it already is told so (RFC 9110).

use std::sync::Arc;

use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response, Result};
use sha2::{Digest as _, Sha256};

/// Of JSON only: logs and events are streams, and never the same twice.
pub(crate) async fn tag<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let response = next.call(request).await?.into_response();
    let json = response.content_type().is_some_and(|kind| kind.starts_with("application/json"));
    if !reads || !json || response.status() != StatusCode::OK {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let body = body.into_bytes().await?;
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&body)[..16]));
    // Kept by nobody but the caller, and asked about each time.
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Ok(value) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, value);
    }
    let matches = |known: &HeaderValue| {
        let known = known.to_str().unwrap_or_default();
        known.trim() == "*" || known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)
    };
    if known.as_ref().is_some_and(matches) {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        return Ok(Response::from_parts(parts, ().into()));
    }
    Ok(Response::from_parts(parts, body.into()))
}
