//! `Idempotency-Key`: a write that is sent again, because its answer was lost, is answered as the
//! first was and not done again.

use std::sync::Arc;

use poem::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response, Result};
use seatrial_operations::OperationError;
use seatrial_operations::views::{Begun, KeptAnswer};
use sha2::{Digest as _, Sha256};

use crate::config::Api;
use crate::guard::Caller;
use crate::problems::{self, ProblemResponse};
use crate::rest;
use crate::wire::Problem;

pub(crate) const HEADER: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The answer to this holds a secret, which is kept nowhere.
const SHOWN_ONCE: &str = "/api/v1/tokens";

fn is_key(text: &str) -> bool {
    (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// PUT and DELETE may be repeated as they are; the header is for the others.
pub(crate) async fn once<E: Endpoint>(api: Arc<Api>, next: Arc<E>, mut request: Request) -> Result<Response> {
    let method = request.method();
    let writes = matches!(*method, Method::POST | Method::PATCH) && rest::takes(request.original_uri().path(), method);
    let key = request.headers().get(HEADER).filter(|_| writes).cloned();
    let caller = request.extensions().get::<Caller>().cloned();
    let (Some(key), Some(Caller(who))) = (key, caller) else {
        return next.call(request).await.map(IntoResponse::into_response);
    };
    let Some(key) = key.to_str().ok().filter(|key| is_key(key)) else {
        let error =
            OperationError::field("Idempotency-Key", "must be 1 to 200 visible ASCII characters, such as a UUID");
        return Ok(ProblemResponse(error.into()).into_response());
    };
    let body = request.take_body().into_bytes().await?;
    let path = request.original_uri().path().to_owned();
    let mut seen = Sha256::new();
    for part in [request.method().as_str().as_bytes(), request.original_uri().to_string().as_bytes(), &body] {
        seen.update(part.len().to_be_bytes());
        seen.update(part);
    }
    request.set_body(body);

    let begun = match api.operations.begin_write(&who, key, &seen.finalize().into()).await {
        Ok(begun) => begun,
        Err(error) => return Ok(ProblemResponse(error.into()).into_response()),
    };
    match begun {
        Begun::Fresh => {}
        Begun::Answered(kept) => return Ok(replay(kept)),
        Begun::AtWork => {
            return Ok(conflict(
                "write_at_work",
                "a request with this Idempotency-Key is being answered: wait, then send it again",
            ));
        }
        Begun::Other => {
            return Ok(conflict(
                "idempotency_key_reused",
                "this Idempotency-Key was used for another request: take a new one for each write",
            ));
        }
    }
    let response = match next.call(request).await {
        Ok(response) => response.into_response(),
        Err(error) if error.is_from_response() => error.into_response(),
        Err(error) => ProblemResponse(problems::of_error(&error)).into_response(),
    };
    let (parts, body) = response.into_parts();
    let body = body.into_bytes().await?;
    let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    // What failed for a reason that may pass can be tried again with the same key.
    let kept = if parts.status.is_server_error() || parts.status == StatusCode::TOO_MANY_REQUESTS {
        api.operations.abandon_write(&who, key).await
    } else if path.trim_end_matches('/') == SHOWN_ONCE && parts.status.is_success() {
        let problem = Problem::new(
            StatusCode::CONFLICT,
            "shown_once",
            "the first request with this Idempotency-Key made the token, and its value was shown in that answer only: revoke it and make another if it was lost",
        );
        let answer = KeptAnswer {
            status: problem.status,
            location: None,
            content_type: Some(problems::PROBLEM_JSON.to_owned()),
            body: serde_json::to_vec(&problem).unwrap_or_default(),
        };
        api.operations.finish_write(&who, key, &answer).await
    } else {
        let answer = KeptAnswer {
            status: parts.status.as_u16(),
            location: text(header::LOCATION),
            content_type: text(header::CONTENT_TYPE),
            body: body.to_vec(),
        };
        api.operations.finish_write(&who, key, &answer).await
    };
    if let Err(error) = kept {
        // It is done; sent again within five minutes it is refused as being at work.
        tracing::error!(%error, "the answer to a write with an Idempotency-Key was not kept");
    }
    Ok(Response::from_parts(parts, body.into()))
}

fn replay(kept: KeptAnswer) -> Response {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::builder().status(status).header(REPLAYED, "true").body(kept.body);
    for (name, value) in [(header::LOCATION, kept.location), (header::CONTENT_TYPE, kept.content_type)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn conflict(code: &str, sentence: &str) -> Response {
    ProblemResponse(Problem::new(StatusCode::CONFLICT, code, sentence)).into_response()
}
