//! What the engine promises, on the real store.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod durability;
mod keys;
mod steps;
mod support;
