//! Programs that others keep: installed into a Python environment of their own when they are first
//! needed.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;
use crate::workspace::cache;

/// Where a prebuilt program lies, by its package, with a version, and its name.
pub fn tool((package, program): (&str, &str)) -> Result<PathBuf> {
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
