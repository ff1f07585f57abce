//! A stand-in for GitHub: its REST API, its webhooks and pages for people, with
//! state in memory and faults on request.
//!
//! Start it with [`Standin::start`], drive it with [`Control`], and give its
//! [`url`](Standin::url) to what is to be tested.

// The JSON of a pull request is one large literal.
#![recursion_limit = "256"]

mod apps;
mod auth;
mod branches;
mod call;
mod checks;
mod clock;
mod comments;
mod connections;
mod contents;
mod control;
mod deployments;
mod events;
mod faults;
mod gateway;
mod git;
mod hooks;
mod labels;
mod oauth;
mod pages;
mod pull_changes;
mod pulls;
mod ratelimit;
mod reactions;
mod reply;
mod repositories;
mod requests;
mod routes;
mod server;
mod shared;
mod state;
mod statuses;
mod text;
mod tokens;
mod users;
mod webhooks;

pub use auth::Permission;
pub use clock::Clock;
pub use control::client::Control;
pub use control::types::*;
pub use server::{DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, DEFAULT_LOGIN, DEFAULT_TOKEN, Options, Standin};
pub use users::AccountKind;
pub use webhooks::signature;
