//! `cargo xtask generate`: the files that are generated, committed and compared.

use std::process::ExitCode;

use anyhow::Result;

use crate::workspace;

/// Writes them anew, by the tests that compare them.
pub fn run() -> Result<ExitCode> {
    workspace::show(workspace::cargo("test").args(["--quiet", "generated"]).env("UPDATE_GENERATED", "1"))?;
    Ok(ExitCode::SUCCESS)
}
