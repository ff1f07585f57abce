//! `cargo xtask demo`: the whole story on real parts.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::stage::Stage;
use crate::workspace::{self, Profile};

/// The whole story: a pull request gets its preview, survives a kill, and goes away again.
#[derive(Args)]
pub struct Demo {
    /// End by itself; the exit code is 0 only if everything held.
    #[arg(long)]
    once: bool,
    /// A context of KUBECONFIG to use instead of the local cluster.
    #[arg(long)]
    context: Option<String>,
}

pub fn run(demo: Demo) -> Result<ExitCode> {
    let mut build = workspace::cargo("build");
    build.args(["--bin", "seatrial", "--bin", "demo"]);
    let stage = Stage::set(demo.context, Profile::Debug, &mut build)?;
    let program = workspace::program(Profile::Debug, "demo")?;
    let mut command = std::process::Command::new(&program);
    stage.describe(&mut command);
    command.env("CARGO_MANIFEST_DIR", workspace::root().join("tests"));
    if demo.once {
        command.arg("--once");
    }
    let status = command.status().with_context(|| format!("cannot run {}", program.display()))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
