//! What the engine promises, on the real store.

mod support;
mod durability;
mod keys;
mod steps;
