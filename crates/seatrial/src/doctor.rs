//! What is wrong, and what to do.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, bail};
use seatrial_forge_github::RateLimit;
use seatrial_preview::naming::UrlTemplate;
use seatrial_preview::ports::{Cluster, Releases};

use crate::settings::{DEFAULT_PREVIEW_URL, Settings};
use crate::wiring;

/// Looks at everything `serve` needs, without changing anything but the database's tables.
pub async fn examine(settings: &Settings) -> anyhow::Result<ExitCode> {
    let mut healthy = true;
    let mut tell = |what: &str, found: anyhow::Result<String>| match found {
        Ok(found) => println(&format!("ok    {what}: {found}")),
        Err(error) => {
            healthy = false;
            println(&format!("WRONG {what}: {error:#}"));
        }
    };
    tell("database", database(settings).await);
    tell("preview URL", wiring::preview_url(settings).map(|_| settings.preview_url.clone()));
    tell("helm", helm(settings).await);
    tell("kubernetes", kubernetes(settings).await);
    tell("github", github(settings).await);
    tell("webhook", settings.webhook_secret().map(|_| "its secret is set".to_owned()));
    tell("access", access(settings).await);
    tell("secrets", secrets(settings).await);
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A reader that has gone away (`| head`) is no error.
fn println(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

async fn access(settings: &Settings) -> anyhow::Result<String> {
    wiring::access(settings)?;
    let mut ways = Vec::new();
    if settings.bootstrap_token.is_some() {
        ways.push("SEATRIAL_BOOTSTRAP_TOKEN is set");
    }
    if settings.github_client_id.is_some() {
        ways.push("people sign in with GitHub");
    }
    let store = wiring::open_store(settings, preview_url(settings)?).await?;
    if settings.bootstrap_token.is_none() && !store.has_operator().await? {
        ways.push("there is no operator yet: \"seatrial serve\" prints a setup link");
    }
    Ok(if ways.is_empty() { "by tokens".to_owned() } else { ways.join("; ") })
}

async fn secrets(settings: &Settings) -> anyhow::Result<String> {
    let store = wiring::open_store(settings, preview_url(settings)?).await?;
    Ok(match wiring::vault(settings, &store).await?.has_key() {
        true => "those of projects can be stored and read".to_owned(),
        false => "SEATRIAL_ENCRYPTION_KEY is not set, so projects can have none".to_owned(),
    })
}

/// A wrong preview URL has a line of its own, and says nothing of what is looked at.
fn preview_url(settings: &Settings) -> anyhow::Result<UrlTemplate> {
    Ok(wiring::preview_url(settings).or_else(|_| UrlTemplate::parse(DEFAULT_PREVIEW_URL))?)
}

async fn database(settings: &Settings) -> anyhow::Result<String> {
    wiring::open_store(settings, preview_url(settings)?).await?.ping().await?;
    Ok(format!("{} is open, its tables are up to date", settings.database()))
}

async fn helm(settings: &Settings) -> anyhow::Result<String> {
    Ok(wiring::releases(settings)?.version().await?)
}

async fn kubernetes(settings: &Settings) -> anyhow::Result<String> {
    let cluster = wiring::cluster(settings).await?;
    let version = cluster.version().await?;
    let missing = cluster.missing_permissions().await?;
    if !missing.is_empty() {
        bail!(
            "{version} answers, but this account may not: {}. Install or update charts/seatrial, and use a token of its account",
            missing.join(", ")
        );
    }
    Ok(format!("{version}, with the rights of charts/seatrial"))
}

async fn github(settings: &Settings) -> anyhow::Result<String> {
    let forge = wiring::forge(settings)?;
    let login = forge.load_login().await.with_context(|| format!("asking {}", settings.github_api_url))?;
    let mut found = format!("{} knows these credentials as {login}", settings.github_api_url);
    if let Some(RateLimit { limit, remaining, resets_at }) = forge.rate_limit() {
        let until = resets_at.format("%H:%M UTC");
        found += &format!("; {remaining} of {limit} requests are left until {until}");
    }
    Ok(found)
}
