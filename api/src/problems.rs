//! Errors as they are sent: problem+json to programs.

use std::any::Any;

use poem::http::header::HeaderName;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Error, IntoResponse, Response};
use poem_openapi::error::ParseParamError;

use crate::wire::Problem;

pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// A problem as a response of its own status.
pub(crate) struct ProblemResponse(pub Problem);

impl IntoResponse for ProblemResponse {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = Response::builder().status(self.0.status()).content_type(PROBLEM_JSON).body(body);
        if let Some(seconds) = self.0.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl ProblemResponse {
    pub fn with_header(self, name: HeaderName, value: &'static str) -> Response {
        let mut response = self.into_response();
        response.headers_mut().insert(name, HeaderValue::from_static(value));
        response
    }
}

/// A problem for an error of the framework: no such path, a body or a parameter that cannot be
/// read.
pub(crate) fn of_error(error: &Error) -> Problem {
    let status = error.status();
    let (code, detail) = match status {
        StatusCode::NOT_FOUND => ("not_found", "there is nothing under this path: see /api/docs".to_owned()),
        StatusCode::METHOD_NOT_ALLOWED => {
            ("method_not_allowed", "this path does not take this method: see /api/docs".to_owned())
        }
        StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "the request's body is too large".to_owned()),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            ("unsupported_media_type", "send the body as application/json".to_owned())
        }
        status if status.is_client_error() => ("invalid_request", error.to_string()),
        _ => {
            tracing::error!(%error, "a request failed by a fault of Seatrial's own");
            ("internal_error", "Seatrial made a mistake; it is in its log".to_owned())
        }
    };
    let mut problem = Problem::new(status, code, detail);
    if let Some(parameter) = error.downcast_ref::<ParseParamError>() {
        problem.pointer = Some(format!("/{}", parameter.name));
        problem.detail = format!("{}: {}", parameter.name, parameter.reason);
    }
    problem
}

/// For a handler that panicked. What it said goes to the log only.
pub(crate) fn of_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let said =
        panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(panic = said, "a request's handler panicked");
    let sentence = "Seatrial made a mistake; it is in its log";
    ProblemResponse(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", sentence)).into_response()
}
