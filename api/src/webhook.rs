use std::sync::Arc;

use poem::error::ReadBodyError;
use poem::http::StatusCode;
use poem::web::Data;
use poem::{Body, IntoResponse, Request, Response, handler};
use seatrial_operations::Delivery;

use crate::config::Api;
use crate::problems::ProblemResponse;
use crate::wire::{Problem, WebhookReceipt};

/// GitHub sends at most this much.
const LIMIT: usize = 25 * 1024 * 1024;

/// `POST /api/webhooks/github`: 202 once the delivery and its run are stored.
#[handler]
pub(crate) async fn github(api: Data<&Arc<Api>>, request: &Request, body: Body) -> Response {
    let too_large = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "a delivery has at most 25 MB");
    let declared = request.header("content-length").and_then(|length| length.parse::<usize>().ok());
    if declared.is_some_and(|length| length > LIMIT) {
        return ProblemResponse(too_large()).into_response();
    }
    let body = match body.into_bytes_limit(LIMIT).await {
        Ok(body) => body,
        Err(ReadBodyError::PayloadTooLarge) => return ProblemResponse(too_large()).into_response(),
        Err(error) => {
            let problem = Problem::new(StatusCode::BAD_REQUEST, "body_unreadable", error.to_string());
            return ProblemResponse(problem).into_response();
        }
    };
    let delivery = Delivery {
        id: request.header("x-github-delivery"),
        event: request.header("x-github-event"),
        signature: request.header("x-hub-signature-256"),
        body: &body,
    };
    match api.operations.accept_webhook(delivery).await {
        Ok(receipt) => {
            let receipt = serde_json::to_vec(&WebhookReceipt::from(receipt)).unwrap_or_default();
            Response::builder().status(StatusCode::ACCEPTED).content_type("application/json").body(receipt)
        }
        Err(error) => ProblemResponse(error.into()).into_response(),
    }
}
