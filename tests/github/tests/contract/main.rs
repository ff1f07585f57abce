//! What callers may rely on, checked over HTTP.

mod apps;
mod auth;
mod changes;
mod comments;
mod deployments;
mod faults;
mod files;
mod models;
mod pages;
mod support;
mod webhooks;
