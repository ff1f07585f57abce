use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::cli::{Reach, Remote};

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
    #[command(flatten)]
    pub reach: Reach,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve webhooks, API, MCP, pages and the gateway, and execute workflows, in one process.
    Serve,
    /// Serve webhooks, API, MCP, pages and the gateway, without executing workflows.
    Api,
    /// Execute workflows, without serving anything. Several may share one PostgreSQL database.
    Worker,
    /// Bring the database's tables up to date and end. `serve` does this by itself.
    Migrate,
    /// Check database, Helm, Kubernetes, GitHub and the settings, and say what to do about what is
    /// wrong.
    Doctor,
    /// Print completions for a shell: `seatrial completions bash > /etc/bash_completion.d/seatrial`.
    Completions { shell: clap_complete::Shell },
    #[command(flatten)]
    Remote(Remote),
}

impl Command {
    /// Whether it is a service, with a log, and not a command that answers and ends.
    pub fn is_long_running(&self) -> bool {
        matches!(self, Self::Serve | Self::Api | Self::Worker)
    }
}
