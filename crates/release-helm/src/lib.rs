//! Helm, as the domain's [`Releases`](seatrial_preview::ports::Releases): the helm program, as a
//! child process that knows nothing of Seatrial's own secrets.
//!
//! What comes from a repository is hostile: archives are unpacked within limits, paths are
//! resolved inside the unpacked tree, values travel by file, and nothing passes through a shell.

mod builtin;
mod chart;
mod failure;
mod history;
mod mask;
mod process;
mod releases;
mod rendered;
mod unpack;
mod values;
mod version;
mod words;
mod workspace;

pub use releases::{HelmConfig, HelmReleases};
