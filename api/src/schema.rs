//! The JSON Schema of `.seatrial.yaml`, for editors: the one this program reads by.

use poem::handler;
use poem::http::header;
use poem::web::WithContentType;
use poem::{IntoResponse, Response};

pub(crate) const PATH: &str = "/api/seatrial-yaml.schema.json";

/// Generated from the settings, and compared with them by a test.
const SCHEMA: &str = include_str!("../seatrial-yaml.schema.json");

#[handler]
pub(crate) fn of_settings() -> Response {
    // Editors of any origin may read it; there is nothing secret in it.
    let content: WithContentType<&str> = SCHEMA.with_content_type("application/schema+json");
    content.with_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*").into_response()
}
