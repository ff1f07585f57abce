//! Which credentials go with a request: a token, or an App's installation for the repository.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use octocrab::Octocrab;
use octocrab::models::{AppId, InstallationId};
use octocrab::service::middleware::retry::RetryConfig;
use seatrial_preview::{Error, RepositoryName, Result};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How Seatrial is known to GitHub.
#[derive(Debug, Clone)]
pub enum Auth {
    /// A personal access token, classic or fine-grained.
    Token(SecretString),
    /// A GitHub App. Each repository gets a token of its own installation, limited to itself.
    App { id: u64, private_key_pem: SecretString },
}

/// Ready-made clients for the credentials.
pub(crate) enum Access {
    Token(Octocrab),
    App {
        /// Signs as the App itself; good for `/app` and for finding installations.
        app: Octocrab,
        /// One client a repository. It keeps its token until shortly before that expires, and
        /// asks for a new one when GitHub answers 401.
        installations: Mutex<HashMap<RepositoryName, Arc<Octocrab>>>,
    },
}

impl Access {
    pub(crate) fn new(api_url: &Url, auth: Auth) -> Result<Self> {
        let builder = Octocrab::builder()
            .base_uri(api_url.as_str().trim_end_matches('/'))
            .map_err(|_| Error::invalid(format!("{api_url} is not usable as the address of GitHub's API")))?
            .add_retry_config(RetryConfig::None)
            .set_connect_timeout(Some(CONNECT_TIMEOUT));
        let failed = |error: octocrab::Error| {
            Error::invalid(format!("the client for GitHub cannot be made: {}", first_line(&error)))
        };
        match auth {
            Auth::Token(token) => {
                let text = token.expose_secret().trim().to_owned();
                if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(Error::invalid(
                        "the GitHub token is empty or has characters that no token has; check SEATRIAL_GITHUB_TOKEN",
                    ));
                }
                Ok(Self::Token(builder.personal_token(text).build().map_err(failed)?))
            }
            Auth::App { id, private_key_pem } => {
                let builder =
                    builder.app_from_rsa_pem(AppId(id), private_key_pem.expose_secret().as_bytes()).map_err(|_| {
                        Error::invalid(
                            "the GitHub App's private key is not an RSA key in PEM form; \
                             check SEATRIAL_GITHUB_APP_PRIVATE_KEY or SEATRIAL_GITHUB_APP_PRIVATE_KEY_FILE",
                        )
                    })?;
                Ok(Self::App { app: builder.build().map_err(failed)?, installations: Mutex::default() })
            }
        }
    }

    /// The client that was made for the repository, if one is there already.
    pub(crate) async fn known(&self, repository: &RepositoryName) -> Option<Arc<Octocrab>> {
        match self {
            Self::Token(octocrab) => Some(Arc::new(octocrab.clone())),
            Self::App { installations, .. } => installations.lock().await.get(repository).cloned(),
        }
    }

    /// The client that speaks for the account itself, not for a repository.
    pub(crate) fn account(&self) -> &Octocrab {
        match self {
            Self::Token(octocrab) => octocrab,
            Self::App { app, .. } => app,
        }
    }

    pub(crate) fn is_app(&self) -> bool {
        matches!(self, Self::App { .. })
    }

    /// The client for all that an installation was given.
    pub(crate) async fn installation(&self, id: u64) -> Result<Arc<Octocrab>> {
        match self {
            Self::Token(octocrab) => Ok(Arc::new(octocrab.clone())),
            Self::App { app, .. } => {
                let octocrab = app.installation(InstallationId(id));
                Ok(Arc::new(octocrab.map_err(|error| Error::invalid(first_line(&error)))?))
            }
        }
    }

    /// Remembers the installation that covers the repository.
    pub(crate) async fn learn(&self, repository: &RepositoryName, installation: u64) -> Result<Arc<Octocrab>> {
        match self {
            Self::Token(octocrab) => Ok(Arc::new(octocrab.clone())),
            Self::App { app, installations } => {
                let octocrab = app
                    .installation_builder(InstallationId(installation))
                    .repositories(vec![repository.name().to_owned()])
                    .build()
                    .map_err(|error| Error::invalid(first_line(&error)))?;
                let octocrab = Arc::new(octocrab);
                installations.lock().await.insert(repository.clone(), octocrab.clone());
                Ok(octocrab)
            }
        }
    }

    /// Forgets the repository's installation: the App may have been installed anew.
    pub(crate) async fn forget(&self, repository: &RepositoryName) {
        if let Self::App { installations, .. } = self {
            installations.lock().await.remove(repository);
        }
    }
}

/// octocrab appends backtraces to some of its messages.
fn first_line(error: &octocrab::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
