//! `cargo xtask bench deploy`: from the event to the comment, on a real cluster.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::stage::Stage;
use crate::workspace::{self, Profile};

#[derive(Args)]
pub struct Deploy {
    /// One JSON object on one line.
    #[arg(long)]
    pub json: bool,
    /// So many pull requests one after another: each is opened, pushed to and closed.
    #[arg(long, default_value_t = 10)]
    repeat: usize,
    /// So many at once.
    #[arg(long, default_value_t = 50)]
    at_once: usize,
    /// A context of KUBECONFIG to use instead of the local cluster.
    #[arg(long)]
    context: Option<String>,
}

impl Deploy {
    pub fn measure(&self) -> Result<Value> {
        let mut build = workspace::cargo("build");
        build.args(["--release", "--bin", "seatrial", "--bin", "bench-deploy"]);
        let stage = Stage::set(self.context.clone(), Profile::Release, &mut build)?;
        let program = workspace::program(Profile::Release, "bench-deploy")?;
        let mut command = Command::new(&program);
        stage.describe(&mut command);
        command.env("CARGO_MANIFEST_DIR", workspace::root().join("tests"));
        command.args(["--repeat", &self.repeat.to_string(), "--at-once", &self.at_once.to_string()]);
        // What it is at is told on its error output, in view of who waits.
        let output = command.stderr(Stdio::inherit()).output();
        let output = output.with_context(|| format!("cannot run {}", program.display()))?;
        if !output.status.success() {
            bail!("the benchmark failed ({})", output.status);
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let line = said.lines().last().unwrap_or_default();
        serde_json::from_str(line).with_context(|| format!("no measurement but {line:?}"))
    }
}
