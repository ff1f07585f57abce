//! A [`World`] for each test and for the demonstration: a stand-in for GitHub with one
//! repository, a Seatrial of its own, and the cluster that both share with other worlds.
//!
//! What is needed from outside (a cluster, Helm, a registry, the built program) is prepared by
//! `cargo xtask test --ring cluster` and `cargo xtask demo`; see [`Setting`].

mod account;
mod cluster;
mod evidence;
mod pages;
mod ports;
mod program;
mod registry;
mod rest;
mod sample;
mod setting;
mod webhook;
mod wire;
mod world;

pub use cluster::{Cluster, Trouble, is_rolled_out};
pub use pages::Answer;
pub use program::{Program, TOKEN};
pub use rest::{Attempt, Rest, Run, RunState, Step, StepStatus};
pub use sample::{Change, settings};
pub use setting::Setting;
pub use webhook::{SECRET, Webhook};
pub use world::{Options, PATIENCE, Pull, World, said, until};

/// How often something is asked again that cannot tell by itself when it has changed.
pub(crate) const ASK_EVERY: std::time::Duration = std::time::Duration::from_millis(50);

/// This crate's folder, as cargo runs it: two clones may share a target folder, and so this very
/// program.
pub(crate) fn folder() -> std::path::PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), Into::into)
}
