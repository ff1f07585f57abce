//! `cargo xtask`: what developing, showing and testing Seatrial needs besides cargo itself.

mod bench;
mod chart;
mod cluster;
mod demo;
mod generate;
mod house;
mod postgres;
mod progress;
mod shell;
mod stage;
mod surface;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What developing, showing and testing Seatrial needs besides cargo itself.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// A real Kubernetes with one node on this machine.
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// The whole story on real parts, from an opened pull request to the receipt.
    Demo(demo::Demo),
    /// Every check that exists, ring by ring.
    Test(test::Test),
    /// What things cost, measured.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Writes the generated files anew: `api/*.json`.
    Generate,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Cluster(command) => cluster::run(&command),
        Task::Demo(demo) => demo::run(demo),
        Task::Test(test) => test::run(&test),
        Task::Bench(bench) => bench::run(&bench),
        Task::Generate => generate::run(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
