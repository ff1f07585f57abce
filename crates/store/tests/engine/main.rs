//! What the engine promises, on the real store.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
#[path = "../place/mod.rs"]
mod place;

mod control;
mod durability;
mod keys;
mod leases;
mod queue;
mod steps;
mod support;
mod tapped;
mod waits;
