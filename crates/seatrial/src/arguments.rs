use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Gives every pull request a running preview on Kubernetes.
///
/// Settings come from seatrial.toml, overridden by SEATRIAL_* environment variables; the README
/// lists them. Secrets belong into the environment.
#[derive(Debug, Parser)]
#[command(version, about, long_about)]
pub struct Arguments {
    /// The settings file. Without it, seatrial.toml in the current folder is read if it is there.
    #[arg(long, value_name = "FILE", env = "SEATRIAL_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve webhooks, API, MCP, pages and the gateway, and execute workflows, in one process.
    Serve,
    /// Bring the database's tables up to date and end. `serve` does this by itself.
    Migrate,
    /// Check database, Helm, Kubernetes, GitHub and the settings, and say what to do about what is
    /// wrong.
    Doctor,
}
