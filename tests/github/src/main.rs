//! The stand-in as a program of its own.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use seatrial_github_standin::{
    DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, NewRepository, Options, Permission, Standin, TokenSpec, files_of,
};
use tracing_subscriber::EnvFilter;

/// A stand-in for GitHub: REST API, webhooks and pages, with state in memory.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address to listen on; port 0 takes one that is free.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Address others reach it at, where that is not the one it listens on.
    #[arg(long)]
    public_url: Option<String>,
    /// Where events go.
    #[arg(long)]
    webhook_url: Option<String>,
    /// What events are signed with.
    #[arg(long, default_value = "", env = "STANDIN_WEBHOOK_SECRET", hide_env_values = true)]
    webhook_secret: String,
    /// A personal token as LOGIN=TOKEN; may write to every repository. Can be repeated.
    #[arg(long, value_name = "LOGIN=TOKEN")]
    token: Vec<String>,
    /// The App's number.
    #[arg(long)]
    app_id: Option<u64>,
    /// The App's client id, for sign-in.
    #[arg(long, default_value = DEFAULT_CLIENT_ID)]
    client_id: String,
    /// The App's client secret.
    #[arg(long, default_value = DEFAULT_CLIENT_SECRET, env = "STANDIN_CLIENT_SECRET", hide_env_values = true)]
    client_secret: String,
    /// Where people may be sent back to after signing in; anywhere unless given. Can be repeated.
    #[arg(long)]
    callback_url: Vec<String>,
    /// File with the App's public key in PEM; where it is given, signatures are checked.
    #[arg(long)]
    app_public_key: Option<PathBuf>,
    /// File with repositories, pull requests and tokens to start with (JSON).
    #[arg(long)]
    seed: Option<PathBuf>,
    /// A repository made from a folder, as OWNER/NAME=FOLDER. Can be repeated.
    #[arg(long, value_name = "OWNER/NAME=FOLDER")]
    repository: Vec<String>,
}

fn options(arguments: Arguments) -> anyhow::Result<Options> {
    let mut options = Options {
        public_url: arguments.public_url,
        webhook_url: arguments.webhook_url,
        webhook_secret: arguments.webhook_secret,
        client_id: arguments.client_id,
        client_secret: arguments.client_secret,
        callback_urls: arguments.callback_url,
        ..Options::default()
    };
    for pair in &arguments.token {
        let (login, token) = pair.split_once('=').context("a token is LOGIN=TOKEN")?;
        options.tokens.push(TokenSpec {
            token: token.to_owned(),
            login: login.to_owned(),
            permission: Some(Permission::Write),
        });
    }
    if let Some(id) = arguments.app_id {
        options.app_id = id;
    }
    if let Some(path) = arguments.app_public_key {
        let pem = std::fs::read_to_string(&path).with_context(|| format!("reading {path:?}"))?;
        options.app_public_key = Some(pem);
    }
    if let Some(path) = arguments.seed {
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path:?}"))?;
        options.seed = serde_json::from_str(&text).with_context(|| format!("reading {path:?}"))?;
    }
    for pair in &arguments.repository {
        let (name, folder) = pair.split_once('=').context("a repository is OWNER/NAME=FOLDER")?;
        let (owner, name) = name.split_once('/').context("a repository is OWNER/NAME=FOLDER")?;
        options.seed.repositories.push(NewRepository {
            owner: owner.to_owned(),
            name: name.to_owned(),
            files: files_of(folder.as_ref())?,
            ..NewRepository::default()
        });
    }
    Ok(options)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let listen = arguments.listen.clone();
    let standin = Standin::start(&listen, options(arguments)?).await?;
    let line = serde_json::json!({
        "url": standin.url(), "address": standin.address().to_string(),
        "token": seatrial_github_standin::DEFAULT_TOKEN,
    });
    writeln!(std::io::stdout(), "{line}")?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.context("waiting for Ctrl-C"),
        result = terminated() => result,
    }?;
    standin.stop().await
}

async fn terminated() -> anyhow::Result<()> {
    let kind = tokio::signal::unix::SignalKind::terminate();
    tokio::signal::unix::signal(kind)?.recv().await;
    Ok(())
}
