use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use seatrial_engine::Clock;
use seatrial_preview::access::Token;
use seatrial_preview::ports::Identities;
use seatrial_store::access::{Hash, Session};
use seatrial_store::{Store, StoreError};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use super::{Principal, hash, new_secret};

/// How long a browser stays signed in.
pub const SESSION_LIFETIME: TimeDelta = TimeDelta::hours(12);
/// When a token was last used is written down at most so often.
const TOUCHED_EVERY: TimeDelta = TimeDelta::minutes(1);
/// The bootstrap token is what somebody thought of; it must not be guessable.
const SHORTEST_BOOTSTRAP: usize = 16;
/// What tokens begin with, so that scanners find leaked ones.
pub(crate) const TOKEN_PREFIX: &str = "seatrial_";

/// Why somebody was not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error(
        "nobody has been given access yet: open the setup link that Seatrial wrote at its start, or set SEATRIAL_BOOTSTRAP_TOKEN to a long random value and start it again"
    )]
    NotConfigured,
    #[error("this needs a token: send it as \"Authorization: Bearer <token>\"")]
    Missing,
    #[error(
        "the token is not valid: it may have been revoked, have expired, or be misspelt; make one with \"seatrial token create\""
    )]
    Wrong,
    #[error("the session has ended: sign in again")]
    SessionEnded,
    /// The database cannot be asked.
    #[error("{0}")]
    Unavailable(String),
}

impl Denied {
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotConfigured => "access_not_configured",
            Self::Missing => "token_missing",
            Self::Wrong => "token_invalid",
            Self::SessionEnded => "session_ended",
            Self::Unavailable(_) => "database_unavailable",
        }
    }
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What lets people and programs in.
#[derive(Default)]
pub struct AccessConfig {
    /// An operator's token for first set-up and automation. An empty one counts as none.
    pub bootstrap_token: Option<SecretString>,
    /// Who says who people are; without it nobody can sign in but by a token.
    pub identities: Option<Arc<dyn Identities>>,
}

/// The doors: tokens, sessions, sign-in.
pub struct Access {
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    /// SHA-256 of the operator's token; the token itself is not kept.
    pub(super) bootstrap: Option<Hash>,
    pub(super) identities: Option<Arc<dyn Identities>>,
}

impl Access {
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>, config: AccessConfig) -> Self {
        let token = config.bootstrap_token.filter(|token| !token.expose_secret().trim().is_empty());
        let bootstrap = token.map(|token| hash(token.expose_secret()));
        Self { store, clock, bootstrap, identities: config.identities }
    }

    /// Why a bootstrap token is not good enough.
    ///
    /// # Errors
    /// When it is short enough to be guessed.
    pub fn check_bootstrap(token: &SecretString) -> Result<(), String> {
        let length = token.expose_secret().trim().len();
        if length == 0 || length >= SHORTEST_BOOTSTRAP {
            return Ok(());
        }
        Err(format!(
            "the token has {length} characters and could be guessed: use {SHORTEST_BOOTSTRAP} or more, such as the output of `openssl rand -hex 32`"
        ))
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// [`Denied`], with what to do about it.
    pub async fn authenticate(&self, bearer: Option<&str>) -> Result<Principal, Denied> {
        let Some(given) = bearer.map(str::trim).filter(|given| !given.is_empty()) else {
            return Err(self.or_not_configured(Denied::Missing).await);
        };
        let given = hash(given);
        if let Some(expected) = self.bootstrap
            && bool::from(given.ct_eq(&expected))
        {
            return Ok(Principal::bootstrap(expected));
        }
        // Found by its hash: how long that takes says nothing about any token.
        match self.store.find_token(&given).await? {
            Some(token) => match self.admit(&token).await {
                Some(principal) => Ok(principal),
                None => Err(Denied::Wrong),
            },
            None => Err(self.or_not_configured(Denied::Wrong).await),
        }
    }

    /// A new session of somebody who has just shown who they are: the value of the cookie. It is
    /// valid for [`SESSION_LIFETIME`].
    ///
    /// # Errors
    /// `Unavailable`, when it cannot be stored.
    pub async fn open_session(&self, principal: &Principal) -> Result<SecretString, Denied> {
        let Some(owner) = principal.owner() else { return Err(Denied::Wrong) };
        let cookie = new_secret("").map_err(|error| Denied::Unavailable(error.to_string()))?;
        let until = self.clock.now() + SESSION_LIFETIME;
        self.store.open_session(&hash(cookie.expose_secret()), owner, until).await?;
        Ok(cookie)
    }

    /// Whose session it is, with what they may do now.
    ///
    /// # Errors
    /// [`Denied`], with what to do about it.
    pub async fn session(&self, cookie: &str) -> Result<Principal, Denied> {
        let principal = match self.store.find_session(&hash(cookie)).await? {
            Some(Session::Person(person, teams)) => {
                let account = &person.account;
                Some(Principal::person(account.id, &account.login, person.operator, teams))
            }
            Some(Session::Token(token)) => self.admit(&token).await,
            Some(Session::Bootstrap(hash)) => {
                self.bootstrap.filter(|expected| bool::from(expected.ct_eq(&hash))).map(Principal::bootstrap)
            }
            None => None,
        };
        principal.ok_or(Denied::SessionEnded)
    }

    /// The session is refused from now on, whoever still has its cookie.
    ///
    /// # Errors
    /// `Unavailable`, when that cannot be stored.
    pub async fn end_session(&self, cookie: &str) -> Result<(), Denied> {
        Ok(self.store.end_session(&hash(cookie)).await?)
    }

    async fn admit(&self, token: &Token) -> Option<Principal> {
        let now = self.clock.now();
        if !token.is_valid(now) {
            return None;
        }
        if token.last_used_at.is_none_or(|used| now - used >= TOUCHED_EVERY) {
            let touched = tokio::select! {
                touched = self.store.touch_token(token.id) => touched.map_err(|error| error.to_string()),
                () = self.clock.sleep(Duration::from_secs(1)) => Err("the database is slow".to_owned()),
            };
            if let Err(error) = touched {
                tracing::warn!(token = %token.id, error, "that the token was used is not written down");
            }
        }
        Some(Principal::token(token.id, &token.name, token.scope, token.team.clone()))
    }

    /// Where there is nobody to be, that is what is wrong.
    async fn or_not_configured(&self, denied: Denied) -> Denied {
        match self.is_configured().await {
            Ok(true) => denied,
            Ok(false) => Denied::NotConfigured,
            Err(unavailable) => unavailable,
        }
    }

    /// Whether anybody can administer this.
    pub(super) async fn is_configured(&self) -> Result<bool, Denied> {
        Ok(self.bootstrap.is_some() || self.store.has_operator().await?)
    }
}
