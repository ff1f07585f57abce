//! Which credentials go with a request: a token, or an App's installation for the repository.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use octocrab::Octocrab;
use octocrab::models::AppId;
use octocrab::service::middleware::retry::RetryConfig;
use seatrial_preview::{Error, RepositoryName, Result};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;
use url::Url;

use crate::limits::Holder;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An installation's token lives an hour; a new one is asked for so long before its end.
const RENEWED_BEFORE: Duration = Duration::from_secs(300);

/// How Seatrial is known to GitHub.
#[derive(Debug, Clone)]
pub enum Auth {
    /// A personal access token, classic or fine-grained.
    Token(SecretString),
    /// A GitHub App. Each repository gets a token of its own installation, limited to itself.
    App { id: u64, private_key_pem: SecretString },
}

/// The account's own client, and what an App was granted beyond it.
pub(crate) struct Access {
    account: Octocrab,
    app: Option<Grants>,
}

#[derive(Default)]
struct Grants {
    /// Held while an installation is looked for, so that those who come meanwhile find it known.
    search: Mutex<()>,
    repositories: Mutex<HashMap<RepositoryName, Arc<Grant>>>,
    installations: Mutex<HashMap<u64, Arc<Grant>>>,
}

/// What a token of an installation is limited to.
#[derive(Debug, Clone)]
pub(crate) enum Reach {
    All,
    /// Known by its number when it was found under a former name.
    Number(u64),
    Name(String),
}

/// An installation's grant: it gives tokens.
pub(crate) struct Grant {
    pub(crate) installation: u64,
    reach: Reach,
    /// Locked while a token is asked for, so that only one is.
    pub(crate) token: Mutex<Token>,
}

#[derive(Default)]
pub(crate) struct Token {
    current: Option<Current>,
    /// Counts tokens, so that only the one that was refused is thrown away.
    generation: u64,
}

struct Current {
    octocrab: Octocrab,
    made_at: Instant,
    renew_at: Instant,
}

/// Credentials, ready for a request.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) octocrab: Octocrab,
    pub(crate) holder: Holder,
    pub(crate) grant: Option<(Arc<Grant>, u64)>,
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
                Ok(Self { account: builder.personal_token(text).build().map_err(failed)?, app: None })
            }
            Auth::App { id, private_key_pem } => {
                let builder =
                    builder.app_from_rsa_pem(AppId(id), private_key_pem.expose_secret().as_bytes()).map_err(|_| {
                        Error::invalid(
                            "the GitHub App's private key is not an RSA key in PEM form; \
                             check SEATRIAL_GITHUB_APP_PRIVATE_KEY or SEATRIAL_GITHUB_APP_PRIVATE_KEY_FILE",
                        )
                    })?;
                Ok(Self { account: builder.build().map_err(failed)?, app: Some(Grants::default()) })
            }
        }
    }

    /// The key that speaks for the account itself. For an App it opens `/app` and below, and finds
    /// installations; nothing else.
    pub(crate) fn account(&self) -> Key {
        Key { octocrab: self.account.clone(), holder: Holder::Account, grant: None }
    }

    pub(crate) fn is_app(&self) -> bool {
        self.app.is_some()
    }

    /// The grant for all that an installation was given; `None` when we are no App.
    pub(crate) async fn installation(&self, installation: u64) -> Option<Arc<Grant>> {
        let grants = self.app.as_ref()?;
        let mut known = grants.installations.lock().await;
        Some(known.entry(installation).or_insert_with(|| Grant::new(installation, Reach::All)).clone())
    }

    /// To be held while an installation is looked for.
    pub(crate) async fn search(&self) -> Option<MutexGuard<'_, ()>> {
        Some(self.app.as_ref()?.search.lock().await)
    }

    /// The grant that was found for the repository.
    pub(crate) async fn known(&self, repository: &RepositoryName) -> Option<Arc<Grant>> {
        self.app.as_ref()?.repositories.lock().await.get(repository).cloned()
    }

    /// Remembers the installation that covers the repository.
    pub(crate) async fn learn(&self, repository: &RepositoryName, installation: u64, reach: Reach) -> Arc<Grant> {
        let grant = Grant::new(installation, reach);
        if let Some(grants) = &self.app {
            grants.repositories.lock().await.insert(repository.clone(), grant.clone());
        }
        grant
    }

    /// Forgets a grant that gives no tokens any more: the App may have been installed anew, or the
    /// repository renamed.
    pub(crate) async fn forget(&self, grant: &Arc<Grant>) {
        if let Some(grants) = &self.app {
            grants.repositories.lock().await.retain(|_, known| !Arc::ptr_eq(known, grant));
            grants.installations.lock().await.retain(|_, known| !Arc::ptr_eq(known, grant));
        }
    }

    /// The key of a token of the grant.
    pub(crate) fn key(&self, grant: &Arc<Grant>, token: &Token, now: Instant) -> Option<Key> {
        let current = token.current.as_ref()?;
        (now < current.renew_at).then(|| Key {
            octocrab: current.octocrab.clone(),
            holder: Holder::Installation(grant.installation),
            grant: Some((grant.clone(), token.generation)),
        })
    }

    /// Keeps a token that is good for `life`.
    pub(crate) fn keep(&self, token: &mut Token, text: &str, life: Duration, now: Instant) -> Result<()> {
        let octocrab = self.account.user_access_token(text).map_err(|error| Error::invalid(first_line(&error)))?;
        token.generation += 1;
        // A token that hardly lives is used for what it was asked for.
        let useful = life.saturating_sub(RENEWED_BEFORE).max(Duration::from_secs(1));
        token.current = Some(Current { octocrab, made_at: now, renew_at: now + useful });
        Ok(())
    }
}

impl Grant {
    fn new(installation: u64, reach: Reach) -> Arc<Self> {
        Arc::new(Self { installation, reach, token: Mutex::default() })
    }

    /// The body of the request for a token.
    pub(crate) fn request(&self) -> Value {
        match &self.reach {
            Reach::All => json!({}),
            Reach::Number(id) => json!({ "repository_ids": [id] }),
            Reach::Name(name) => json!({ "repositories": [name] }),
        }
    }
}

impl Key {
    /// Throws the token away, unless it was replaced already or is younger than `age`. False when
    /// there never was one that could be replaced.
    pub(crate) async fn reject(&self, age: Duration, now: Instant) -> bool {
        let Some((grant, generation)) = &self.grant else { return false };
        let mut token = grant.token.lock().await;
        let old = token.current.as_ref().is_some_and(|current| now >= current.made_at + age);
        if token.generation == *generation && old {
            token.current = None;
        }
        true
    }
}

/// octocrab appends backtraces to some of its messages.
fn first_line(error: &octocrab::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_replaced_before_it_expires_or_once_it_is_refused() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let access = Access::new(&"http://127.0.0.1:1".parse().unwrap(), Auth::Token("x".into())).unwrap();
        let (grant, start) = (Grant::new(7, Reach::All), Instant::now());
        let key = async |now| access.key(&grant, &*grant.token.lock().await, now);
        let keep = async |now| {
            access.keep(&mut *grant.token.lock().await, "t", Duration::from_secs(3600), now).unwrap();
        };
        assert!(key(start).await.is_none());
        keep(start).await;
        let first = key(start + Duration::from_secs(3299)).await.unwrap();
        assert_eq!(first.holder, Holder::Installation(7));
        assert!(key(start + Duration::from_secs(3300)).await.is_none(), "five minutes before its end");

        let young = start + Duration::from_secs(59);
        assert!(first.reject(Duration::from_secs(60), young).await);
        assert!(key(young).await.is_some(), "too young to lack what was granted since");
        assert!(first.reject(Duration::ZERO, young).await);
        assert!(key(young).await.is_none());
        keep(young).await;
        assert!(first.reject(Duration::ZERO, young).await);
        assert!(key(young).await.is_some(), "not the one that was refused");
        assert!(!access.account().reject(Duration::ZERO, young).await, "a personal token has no successor");
    }
}
