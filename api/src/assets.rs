//! The pages' style and script, served from the program itself.

use poem::http::header;
use poem::{Response, Route, get, handler};

const CSS: &str = include_str!("assets/seatrial.css");
const JS: &str = include_str!("assets/seatrial.js");
const ICON: &str = include_str!("assets/icon.svg");

pub(crate) fn is_asset(path: &str) -> bool {
    matches!(path, "/assets/seatrial.css" | "/assets/seatrial.js" | "/assets/icon.svg")
}

pub(crate) fn routes() -> Route {
    Route::new().at("/seatrial.css", get(css)).at("/seatrial.js", get(js)).at("/icon.svg", get(icon))
}

#[handler]
fn css() -> Response {
    asset("text/css; charset=utf-8", CSS)
}

#[handler]
fn js() -> Response {
    asset("text/javascript; charset=utf-8", JS)
}

#[handler]
fn icon() -> Response {
    asset("image/svg+xml", ICON)
}

/// Asked for again with each page, so that a new version is never mixed with an old page.
pub(crate) fn asset(content_type: &'static str, content: &'static str) -> Response {
    Response::builder().header(header::CACHE_CONTROL, "no-cache").content_type(content_type).body(content)
}
