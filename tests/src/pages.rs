//! What a browser gets.

use anyhow::{Context, Result};
use reqwest::header::HOST;
use serde_json::Value;
use url::Url;

/// An answer over HTTP.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    /// The commit that the sample application says it is, when this is its `/version`.
    pub fn sha(&self) -> Option<String> {
        let version: Value = serde_json::from_str(&self.body).ok().filter(|_| self.status == 200)?;
        Some(version["sha"].as_str()?.to_owned())
    }
}

/// Opens a URL as a browser does, which takes every `*.localhost` for this machine.
pub(crate) async fn open(http: &reqwest::Client, url: &str) -> Result<Answer> {
    let mut url = Url::parse(url).with_context(|| format!("{url:?} is not a URL"))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.clone(),
    };
    if host.ends_with(".localhost") {
        url.set_host(Some("127.0.0.1"))?;
    }
    let answer = http.get(url.clone()).header(HOST, authority).send().await.with_context(|| format!("GET {url}"))?;
    Ok(Answer { status: answer.status().as_u16(), body: answer.text().await? })
}
