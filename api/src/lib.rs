//! The ways in: the webhook, REST under `/api/v1`, MCP under `/api/mcp`, the pages, health, and
//! the gateway that makes previews' URLs open. All of them call [`seatrial_operations`].
//!
//! Nothing but the webhook, health, the ways to sign in and the gateway answers without a token;
//! [`guard`] is the one place that decides it, and it knows paths, not handlers: what it does not
//! know is closed.

mod address;
mod app;
mod assets;
mod config;
mod docs;
mod etag;
mod gateway;
mod guard;
mod health;
mod idempotency;
mod limits;
mod local;
mod mcp;
mod observe;
mod pages;
mod problems;
mod rest;
mod schema;
mod serve;
mod session;
mod webhook;
mod wire;

pub use app::app;
pub use config::ApiConfig;
pub use gateway::{SignIn, serve_gateway};
pub use local::{LocalAnswer, LocalApi};
pub use mcp::tools_json as mcp_tools_json;
pub use rest::description as openapi_json;
pub use serve::{Serving, serve};
