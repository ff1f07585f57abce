//! The engine's promises when things go wrong, proven by going through all of it: every point at
//! which a process can stop, every point at which it can be paused past its lease, and thousands of
//! random operations against a model. `broken` shows that each proof fails when what it proves is
//! broken on purpose.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
#[path = "../place/mod.rs"]
mod place;

#[macro_use]
mod stage;

mod broken;
mod checks;
mod clock;
mod crash;
mod demo;
mod found;
mod model;
mod process;
mod simulation;
mod stories;
mod zombies;
