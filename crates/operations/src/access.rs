//! Who may come in. For now one operator's token opens everything; the [`Principal`] goes
//! through every operation so that teams can be checked where rows are read.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// How long a browser stays signed in.
pub const SESSION_LIFETIME: TimeDelta = TimeDelta::hours(12);

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    name: String,
}

impl Principal {
    /// Somebody who commented on a pull request; GitHub was asked whether they may.
    pub(crate) fn of_github(login: &str) -> Self {
        Self { name: format!("{login} on GitHub") }
    }

    fn operator() -> Self {
        Self { name: "operator".to_owned() }
    }

    /// For logs, and for the trigger of what was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Why somebody was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("no access is configured: set SEATRIAL_BOOTSTRAP_TOKEN to a long random value and start Seatrial again")]
    NotConfigured,
    #[error("this needs a token: send it as \"Authorization: Bearer <token>\"")]
    Missing,
    #[error("the token is not valid: check that it is the value of SEATRIAL_BOOTSTRAP_TOKEN")]
    Wrong,
    #[error("the session has ended: sign in again")]
    SessionEnded,
}

impl Denied {
    pub fn code(self) -> &'static str {
        match self {
            Self::NotConfigured => "access_not_configured",
            Self::Missing => "token_missing",
            Self::Wrong => "token_invalid",
            Self::SessionEnded => "session_ended",
        }
    }
}

/// The tokens that are accepted, and the sessions they opened.
pub struct Access {
    /// SHA-256 of the operator's token; the token itself is not kept.
    token: Option<[u8; 32]>,
    /// Signs sessions. Made of the token, so that sessions outlive a restart and end when the
    /// token is changed.
    session_key: [u8; 32],
    /// Sessions ended before their time, and when they would have ended by themselves.
    ended: Mutex<HashMap<Uuid, DateTime<Utc>>>,
}

impl Access {
    /// The operator's token. An empty one counts as none: then nobody is let in.
    pub fn bootstrap(token: Option<SecretString>) -> Self {
        let token = token.filter(|token| !token.expose_secret().trim().is_empty());
        let hash = token.as_ref().map(|token| Sha256::digest(token.expose_secret().as_bytes()).into());
        let session_key = token.as_ref().map_or([0; 32], |token| {
            let mut mac = mac(token.expose_secret().as_bytes());
            mac.update(b"seatrial browser sessions, version 1");
            mac.finalize().into_bytes().into()
        });
        Self { token: hash, session_key, ended: Mutex::default() }
    }

    /// Whose token it is. Takes the same time for every wrong token.
    pub fn authenticate(&self, bearer: Option<&str>) -> Result<Principal, Denied> {
        let expected = self.token.ok_or(Denied::NotConfigured)?;
        let given = bearer.ok_or(Denied::Missing)?;
        let given: [u8; 32] = Sha256::digest(given.as_bytes()).into();
        if bool::from(given.ct_eq(&expected)) { Ok(Principal::operator()) } else { Err(Denied::Wrong) }
    }

    /// A new session of somebody who has just shown a token: the value of the cookie. It is
    /// valid for [`SESSION_LIFETIME`].
    pub fn open_session(&self, _principal: &Principal, now: DateTime<Utc>) -> String {
        let mut content = [0; 24];
        content[..16].copy_from_slice(Uuid::now_v7().as_bytes());
        content[16..].copy_from_slice(&(now + SESSION_LIFETIME).timestamp_millis().to_be_bytes());
        let mut mac = mac(&self.session_key);
        mac.update(&content);
        let signature = mac.finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([&content[..], &signature[..]].concat())
    }

    /// Whose session it is.
    pub fn session(&self, cookie: &str, now: DateTime<Utc>) -> Result<Principal, Denied> {
        if self.token.is_none() {
            return Err(Denied::NotConfigured);
        }
        let (id, until) = self.read_session(cookie).ok_or(Denied::SessionEnded)?;
        if until <= now || self.ended().contains_key(&id) {
            return Err(Denied::SessionEnded);
        }
        Ok(Principal::operator())
    }

    /// The session is refused from now on, whoever still has its cookie.
    pub fn end_session(&self, cookie: &str, now: DateTime<Utc>) {
        if let Some((id, until)) = self.read_session(cookie) {
            let mut ended = self.ended();
            ended.retain(|_, until| *until > now);
            ended.insert(id, until);
        }
    }

    fn read_session(&self, cookie: &str) -> Option<(Uuid, DateTime<Utc>)> {
        let bytes = URL_SAFE_NO_PAD.decode(cookie).ok().filter(|bytes| bytes.len() == 56)?;
        let (content, signature) = bytes.split_at(24);
        let mut mac = mac(&self.session_key);
        mac.update(content);
        mac.verify_slice(signature).ok()?;
        let (id, until) = content.split_at(16);
        let until = DateTime::from_timestamp_millis(i64::from_be_bytes(until.try_into().ok()?))?;
        Some((Uuid::from_slice(id).ok()?, until))
    }

    fn ended(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, DateTime<Utc>>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        Access::bootstrap(Some("correct horse battery staple".to_owned().into()))
    }

    fn noon() -> DateTime<Utc> {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn only_the_token_opens() {
        assert!(access().authenticate(Some("correct horse battery staple")).is_ok());
        assert_eq!(access().authenticate(Some("correct horse battery stapl")), Err(Denied::Wrong));
        assert_eq!(access().authenticate(Some("")), Err(Denied::Wrong));
        assert_eq!(access().authenticate(None), Err(Denied::Missing));
    }

    #[test]
    fn without_a_token_nobody_comes_in() {
        for access in [Access::bootstrap(None), Access::bootstrap(Some(" ".to_owned().into()))] {
            assert_eq!(access.authenticate(Some("")), Err(Denied::NotConfigured));
            let cookie = access.open_session(&Principal::operator(), noon());
            assert_eq!(access.session(&cookie, noon()), Err(Denied::NotConfigured));
        }
    }

    #[test]
    fn sessions_end() {
        let access = access();
        let cookie = access.open_session(&Principal::operator(), noon());
        assert!(access.session(&cookie, noon() + TimeDelta::hours(11)).is_ok());
        assert_eq!(access.session(&cookie, noon() + SESSION_LIFETIME), Err(Denied::SessionEnded));
        access.end_session(&cookie, noon());
        assert_eq!(access.session(&cookie, noon()), Err(Denied::SessionEnded));
    }

    #[test]
    fn sessions_outlive_a_restart_but_not_the_token() {
        let cookie = access().open_session(&Principal::operator(), noon());
        assert!(access().session(&cookie, noon()).is_ok());
        let changed = Access::bootstrap(Some("another".to_owned().into()));
        assert_eq!(changed.session(&cookie, noon()), Err(Denied::SessionEnded));
    }

    #[test]
    fn a_forged_session_is_refused() {
        let access = access();
        let cookie = access.open_session(&Principal::operator(), noon());
        let mut bytes = URL_SAFE_NO_PAD.decode(&cookie).unwrap();
        bytes[20] ^= 1;
        for forged in [URL_SAFE_NO_PAD.encode(&bytes), String::new(), cookie[1..].to_owned(), "a".repeat(5000)] {
            assert_eq!(access.session(&forged, noon()), Err(Denied::SessionEnded));
        }
    }
}
