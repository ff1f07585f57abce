//! The engine's promises to real processes: killed, stopped, without their database, and on a
//! disk that loses what was not synced.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
#[path = "../place/mod.rs"]
mod place;

mod child;
mod disk;
mod kills;
mod process;
mod restart;
mod server;
mod strace;
mod support;
mod unplugged;
mod witness;
mod zombies;
