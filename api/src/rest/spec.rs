use poem::{Response, handler};
use serde_json::{Value, json};

use super::service;

pub(super) const DESCRIPTION: &str = "Seatrial gives every pull request a running preview on Kubernetes.

Every request needs a token, as `Authorization: Bearer <token>`. Errors are `application/problem+json` \
with a stable `code`, a sentence in `detail` that says what to do, and a `pointer` to the field that is wrong. \
Lists have pages: give the `next` of one page as `after` for the next. Long work answers 202 with the URL of its run.";

/// The OpenAPI description, as `GET /api/openapi.json` gives it. `api/openapi.json` of the
/// repository is a copy.
pub fn description() -> String {
    let mut spec: Value = serde_json::from_str(&service().spec()).unwrap_or_default();
    // Access is decided before any handler, for all of them alike.
    spec["components"]["securitySchemes"] = json!({
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "The value of SEATRIAL_BOOTSTRAP_TOKEN. In a browser, the session of the pages serves as well.",
        }
    });
    spec["security"] = json!([{ "token": [] }]);
    format!("{spec:#}\n")
}

#[handler]
pub(crate) fn describe() -> Response {
    Response::builder().content_type("application/json").body(description())
}
