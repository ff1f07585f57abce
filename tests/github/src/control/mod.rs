//! The control API: what only tests and the demonstration do to the stand-in.

pub(crate) mod actions;
mod breakage;
pub(crate) mod client;
mod inputs;
mod outputs;
pub(crate) mod routes;
pub(crate) mod switches;
pub mod types;
pub(crate) mod views;
