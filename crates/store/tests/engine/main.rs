//! What the engine promises, on the real store.

mod durability;
mod keys;
mod steps;
mod support;
