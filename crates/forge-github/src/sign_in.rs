//! Signing people in with GitHub: the web flow of an OAuth App or a GitHub App, with PKCE.
//!
//! What GitHub gives for the code is used once, to ask whose it is, and then dropped.

use std::time::Duration;

use async_trait::async_trait;
use http::header;
use http_body_util::{BodyExt as _, Limited};
use octocrab::Octocrab;
use octocrab::service::middleware::retry::RetryConfig;
use seatrial_preview::access::{Account, PersonId};
use seatrial_preview::ports::Identities;
use seatrial_preview::{Error, Result};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;
use url::Url;

use crate::failure::{self, Doing, bounded};

const PATIENCE: Duration = Duration::from_secs(15);
const ANSWER_LIMIT: usize = 64 * 1024;

/// What GitHub knows Seatrial's sign-in by.
#[derive(Debug, Clone)]
pub struct SignInConfig {
    /// `https://github.com`.
    pub web_url: Url,
    /// `https://api.github.com`.
    pub api_url: Url,
    pub client_id: String,
    pub client_secret: SecretString,
}

pub struct GithubSignIn {
    config: SignInConfig,
    web: Octocrab,
    api: Octocrab,
}

impl GithubSignIn {
    /// Asks nothing of GitHub yet. Must be called within a tokio runtime, after a rustls provider
    /// was installed.
    ///
    /// # Errors
    /// When an address cannot be used.
    pub fn new(config: SignInConfig) -> Result<Self> {
        let client = |url: &Url| {
            Octocrab::builder()
                .base_uri(url.as_str().trim_end_matches('/'))
                .and_then(|builder| builder.add_retry_config(RetryConfig::None).build())
                .map_err(|_| Error::invalid(format!("{url} is not usable as GitHub's address")))
        };
        Ok(Self { web: client(&config.web_url)?, api: client(&config.api_url)?, config })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        client: &Octocrab,
        request: http::request::Builder,
        body: Option<&serde_json::Value>,
        doing: Doing<'_>,
    ) -> Result<T> {
        let request = client
            .build_request(request.header(header::ACCEPT, "application/json"), body)
            .map_err(|_| Error::invalid(format!("the request to {} cannot be written as HTTP", doing.what)))?;
        let answer = timeout(PATIENCE, async {
            let response = client.execute(request).await.map_err(|error| failure::no_answer(doing, error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_LIMIT)
                .collect()
                .await
                .map_err(|_| Error::transient(format!("GitHub's answer to the request to {} broke off", doing.what)))?
                .to_bytes();
            match head.status.is_success() {
                // The answer holds a secret: what is wrong with it is not told.
                true => serde_json::from_slice(&body).map_err(|_| {
                    Error::invalid(format!("GitHub's answer to the request to {} is not understood", doing.what))
                }),
                false => Err(failure::refusal(doing, head.status, &head.headers, &body).error),
            }
        });
        answer.await.map_err(|_| {
            Error::transient(format!("GitHub took longer than {} s to {}", PATIENCE.as_secs(), doing.what))
        })?
    }
}

/// `POST /login/oauth/access_token` answers 200 also when it refuses.
#[derive(Deserialize)]
#[serde(untagged)]
enum Exchanged {
    Token { access_token: SecretString },
    Refused { error: String, error_description: Option<String> },
}

#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
}

#[async_trait]
impl Identities for GithubSignIn {
    fn authorize_url(&self, state: &str, challenge: &str, redirect: &Url) -> Url {
        let mut url = self.config.web_url.clone();
        url.set_path(&format!("{}/login/oauth/authorize", url.path().trim_end_matches('/')));
        url.query_pairs_mut()
            .clear()
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", redirect.as_str())
            .append_pair("state", state)
            .append_pair("code_challenge", challenge)
            .append_pair("code_challenge_method", "S256");
        url
    }

    async fn identify(&self, code: &str, verifier: &str, redirect: &Url) -> Result<Account> {
        let doing = Doing { what: "sign somebody in", permission: "none" };
        let body = json!({
            "client_id": self.config.client_id,
            "client_secret": self.config.client_secret.expose_secret(),
            "code": code,
            "redirect_uri": redirect.as_str(),
            "code_verifier": verifier,
        });
        let request = http::Request::builder().method("POST").uri("/login/oauth/access_token");
        let token = match self.ask(&self.web, request, Some(&body), doing).await? {
            Exchanged::Token { access_token } => access_token,
            Exchanged::Refused { error, error_description } => return Err(refused(&error, error_description)),
        };
        let doing = Doing { what: "say who signs in", permission: "none" };
        let request = http::Request::builder()
            .method("GET")
            .uri("/user")
            .header(header::AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
        let user: User = self.ask(&self.api, request, None, doing).await?;
        Ok(Account { id: PersonId(user.id), login: user.login })
    }
}

fn refused(error: &str, description: Option<String>) -> Error {
    match error {
        "incorrect_client_credentials" => Error::invalid(
            "GitHub does not know Seatrial's client: check SEATRIAL_GITHUB_CLIENT_ID and SEATRIAL_GITHUB_CLIENT_SECRET",
        ),
        "redirect_uri_mismatch" => Error::invalid(
            "GitHub does not send people back to this address: add SEATRIAL_PUBLIC_URL followed by /sign-in/github/callback to the App's callback URLs",
        ),
        other => Error::forbidden(format!(
            "GitHub did not accept the sign-in ({}); sign in again",
            bounded(&description.unwrap_or_else(|| other.to_owned()), 200)
        )),
    }
}
