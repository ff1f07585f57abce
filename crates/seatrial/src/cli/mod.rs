//! The commands that do what the API does: over the API where a server runs, else on the database
//! itself. Both ways speak REST, so there is one way to say it and one way to show it.

mod access;
mod audit;
mod client;
mod delivery;
mod preview;
mod project;
mod run;
mod show;
mod token;

use clap::{Args, Subcommand};
use secrecy::SecretString;
use url::Url;

use crate::settings::Settings;
use client::Client;
pub use show::text;

/// Where to ask, and how to answer.
#[derive(Debug, Args)]
pub struct Reach {
    /// The server to ask: https://seatrial.example.com. Without it, the one that the settings
    /// describe; where that does not answer, the database itself.
    #[arg(long, global = true, env = "SEATRIAL_SERVER", value_name = "URL", help_heading = "Where to ask")]
    pub server: Option<Url>,
    /// The token to ask with. Without it, the bootstrap token of the settings.
    #[arg(long, global = true, env = "SEATRIAL_TOKEN", hide_env_values = true, help_heading = "Where to ask")]
    pub token: Option<SecretString>,
    /// JSON as the API gives it, for programs.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What can be done by the API.
#[derive(Debug, Subcommand)]
pub enum Remote {
    /// Previews of pull requests: list, get, deploy, logs, retry, sleep, wake, keep, delete.
    #[command(subcommand, arg_required_else_help = true)]
    Preview(preview::Preview),
    /// Runs of workflows: list, show, cancel, retry.
    #[command(subcommand, arg_required_else_help = true)]
    Run(run::Run),
    /// Repositories and the teams they belong to: add, list, get, change, remove, secrets.
    #[command(subcommand, arg_required_else_help = true)]
    Project(project::Project),
    /// Teams and their members.
    #[command(subcommand, arg_required_else_help = true)]
    Team(access::Team),
    /// People who see and do everything.
    #[command(subcommand, arg_required_else_help = true)]
    Operator(access::Operator),
    /// Tokens for programs and people: create, list, revoke.
    #[command(subcommand, arg_required_else_help = true)]
    Token(token::Token),
    /// What GitHub sent: list, get, redeliver.
    #[command(subcommand, arg_required_else_help = true)]
    Delivery(delivery::Delivery),
    /// Who did what.
    #[command(subcommand, arg_required_else_help = true)]
    Audit(audit::Audit),
    /// Whose token this is, and what may be done with it.
    Whoami,
}

/// # Errors
/// The API's own sentence, or why it cannot be asked.
pub async fn run(remote: Remote, reach: &Reach, settings: Settings) -> anyhow::Result<()> {
    let client = Client::reach(reach, settings).await?;
    match remote {
        Remote::Preview(command) => command.run(&client).await,
        Remote::Run(command) => command.run(&client).await,
        Remote::Project(command) => command.run(&client).await,
        Remote::Team(command) => command.run(&client).await,
        Remote::Operator(command) => command.run(&client).await,
        Remote::Token(command) => command.run(&client).await,
        Remote::Delivery(command) => command.run(&client).await,
        Remote::Audit(command) => command.run(&client).await,
        Remote::Whoami => access::whoami(&client).await,
    }
}
