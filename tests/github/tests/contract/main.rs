//! What callers may rely on, checked over HTTP.
#![expect(clippy::unwrap_used, reason = "these are tests: what cannot be had fails them")]

mod apps;
mod auth;
mod changes;
mod comments;
mod deployments;
mod faults;
mod files;
mod models;
mod oauth;
mod pages;
mod support;
mod webhooks;
