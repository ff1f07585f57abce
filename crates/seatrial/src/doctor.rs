//! What is wrong, and what to do.

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
        Ok(found) => println!("ok    {what}: {found}"),
        Err(error) => {
            healthy = false;
            println!("WRONG {what}: {error:#}");
        }
    };
    tell("database", database(settings).await);
    tell("preview URL", wiring::preview_url(settings).map(|_| settings.preview_url.clone()));
    tell("helm", helm(settings).await);
    tell("kubernetes", kubernetes(settings).await);
    tell("github", github(settings).await);
    tell("webhook", settings.webhook_secret().map(|_| "its secret is set".to_owned()));
    tell(
        "access",
        match settings.bootstrap_token {
            Some(_) => Ok("SEATRIAL_BOOTSTRAP_TOKEN is set".to_owned()),
            None => {
                Err(anyhow::anyhow!("SEATRIAL_BOOTSTRAP_TOKEN is not set: nobody can use the API, MCP and the pages"))
            }
        },
    );
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn database(settings: &Settings) -> anyhow::Result<String> {
    // A wrong preview URL has a line of its own, and says nothing of the database.
    let preview_url = wiring::preview_url(settings).or_else(|_| UrlTemplate::parse(DEFAULT_PREVIEW_URL))?;
    wiring::open_store(settings, preview_url).await?.ping().await?;
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
