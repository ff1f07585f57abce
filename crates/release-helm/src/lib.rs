//! Helm, as the domain's [`Releases`](seatrial_preview::ports::Releases): the helm program, as a
//! child process that knows nothing of Seatrial's own secrets.
//!
//! What comes from a repository is hostile: archives are unpacked within limits, paths are
//! resolved inside the unpacked tree, values travel by file, and nothing passes through a shell.

mod builtin;
mod chart;
mod failure;
mod history;
mod index;
mod mask;
mod process;
mod releases;
mod remote;
mod rendered;
mod schema;
mod unpack;
mod values;
mod version;
mod words;
mod workspace;

#[cfg(test)]
#[path = "../../registry-oci/src/standin.rs"]
#[expect(dead_code, reason = "not all of it is asked here")]
mod standin;

pub use releases::{HelmConfig, HelmReleases};
