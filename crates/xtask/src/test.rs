//! `cargo xtask test`: every check, ring by ring.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::postgres::Postgres;
use crate::progress::{seconds, step};
use crate::stage::Stage;
use crate::workspace::Profile;
use crate::{chart, house, shell, surface, workspace};

/// Every check that exists, ring by ring.
#[derive(Args)]
pub struct Test {
    /// Only this ring; may be given several times.
    #[arg(long)]
    ring: Vec<Ring>,
    /// A context of KUBECONFIG to use instead of the local cluster.
    #[arg(long)]
    context: Option<String>,
    /// Arguments for the tests: a part of their names, `--nocapture`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ring {
    /// Formatting, lints, import directions, licences, unused dependencies, links in the docs.
    House,
    /// Pure logic and outward text.
    Unit,
    /// The engine's promises and the store's, on SQLite and on a PostgreSQL server of their own.
    Engine,
    /// The GitHub adapter against the stand-in, and the stand-in against GitHub's own description.
    Github,
    /// REST, MCP, webhooks, pages and the gateway on a served program, and its commands; REST and
    /// webhooks by other people's tools.
    Surface,
    /// The charts: lint and templates.
    Chart,
    /// The adapters on the real cluster with only Seatrial's own permissions.
    Adapters,
    /// The whole program, as people on a pull request see it.
    Cluster,
}

impl Ring {
    fn needs_cluster(self) -> bool {
        matches!(self, Self::Adapters | Self::Cluster)
    }

    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

pub fn run(test: &Test) -> Result<ExitCode> {
    let rings: Vec<Ring> = if test.ring.is_empty() { Ring::value_variants().to_vec() } else { test.ring.clone() };
    let mut build = workspace::cargo("build");
    build.arg("--all-targets");
    let stage = if rings.iter().any(|ring| ring.needs_cluster()) {
        Some(Stage::set(test.context.clone(), Profile::Debug, &mut build)?)
    } else {
        None
    };
    let mut results = Vec::new();
    for ring in rings {
        println!("\n━━━ ring {} ━━━", ring.name());
        let begun = Instant::now();
        let outcome = run_ring(ring, stage.as_ref(), &test.arguments);
        if let Err(error) = &outcome {
            eprintln!("ring {}: {error:#}", ring.name());
        }
        results.push((ring, outcome.is_ok(), begun.elapsed()));
    }
    Ok(summarise(&results))
}

fn run_ring(ring: Ring, stage: Option<&Stage>, arguments: &[String]) -> Result<()> {
    match ring {
        Ring::House => house::check(),
        Ring::Unit => {
            test(&["--lib", "--bins"], None, arguments)?;
            test(&["--doc"], None, arguments)
        }
        Ring::Engine => {
            let server = Postgres::start()?;
            if shell::find("strace").is_none() {
                step("install strace", || shell::install("strace"))?;
            }
            let mut command =
                test_command(&["--test", "engine", "--test", "proofs", "--test", "product", "--test", "processes"]);
            workspace::show(command.env("SEATRIAL_TEST_POSTGRES", server.url()).arg("--").args(arguments))
        }
        Ring::Github => {
            test(&["--test", "contract", "--test", "standin", "--test", "webhook"], None, arguments)?;
            workspace::show(workspace::plain_cargo("run").args(["-p", "seatrial-github-standin", "--bin", "judge"]))
        }
        Ring::Surface => {
            test(&["--test", "front", "--test", "commands"], None, arguments)?;
            surface::check()
        }
        Ring::Chart => chart::check(),
        Ring::Adapters => {
            let Some(stage) = stage else { bail!("the ring needs a cluster") };
            test(&["--test", "real", "--test", "cluster"], Some(stage), arguments)
        }
        Ring::Cluster => {
            let Some(stage) = stage else { bail!("the ring needs a cluster") };
            // They wait for the cluster more than they compute.
            let mut arguments = arguments.to_vec();
            if !arguments.iter().any(|argument| argument.starts_with("--test-threads")) {
                arguments.push("--test-threads=4".to_owned());
            }
            test(&["--test", "e2e"], Some(stage), &arguments)
        }
    }
}

fn test_command(choice: &[&str]) -> Command {
    let mut command = workspace::cargo("test");
    command.args(choice);
    command
}

fn test(choice: &[&str], stage: Option<&Stage>, arguments: &[String]) -> Result<()> {
    let mut command = test_command(choice);
    if let Some(stage) = stage {
        stage.describe(&mut command);
    }
    workspace::show(command.arg("--").args(arguments))
}

fn summarise(results: &[(Ring, bool, Duration)]) -> ExitCode {
    println!();
    for (ring, passed, took) in results {
        println!("{} {:<9} {:>8}", if *passed { "✓" } else { "✗" }, ring.name(), seconds(*took));
    }
    let passed = results.iter().filter(|(_, passed, _)| *passed).count();
    println!("\nrings: {passed} passed, {} failed", results.len() - passed);
    if passed == results.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
