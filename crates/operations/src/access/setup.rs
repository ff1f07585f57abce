//! The first start: nobody can come in yet, so whoever reads the program's output may, once.

use chrono::TimeDelta;
use seatrial_preview::access::{Scope, Token, TokenId};
use seatrial_store::views::AuditEntry;
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::doors::TOKEN_PREFIX;
use super::{Access, Denied, Principal, Via, hash, new_secret};
use crate::error::OperationError;

/// How long the link is good for; the next start makes another.
const OFFERED_FOR: TimeDelta = TimeDelta::hours(24);

/// What the setup link leads to.
#[derive(Debug)]
pub struct SetupDone {
    /// An operator's token. Shown now and never again.
    pub token: SecretString,
    pub principal: Principal,
}

impl Access {
    /// The code of the setup link, while nobody can administer this; it replaces the one before.
    ///
    /// # Errors
    /// `Unavailable`, when the database cannot be asked.
    pub async fn offer_setup(&self) -> Result<Option<SecretString>, Denied> {
        if self.is_configured().await? {
            return Ok(None);
        }
        let code = new_secret("").map_err(|error| Denied::Unavailable(error.to_string()))?;
        self.store.offer_setup(&hash(code.expose_secret()), self.clock.now() + OFFERED_FOR).await?;
        Ok(Some(code))
    }

    /// Whether the link would still work.
    ///
    /// # Errors
    /// `Unavailable`, when the database cannot be asked.
    pub async fn is_setup_offered(&self, code: &str) -> Result<bool, Denied> {
        // A link that lies about in a log opens nothing any more once somebody can administer this.
        Ok(!self.is_configured().await? && self.store.is_setup_offered(&hash(code)).await?)
    }

    /// Uses the link up, for an operator's token.
    ///
    /// # Errors
    /// `NotFound` when it is not the link of the last start, or was used.
    pub async fn set_up(&self, code: &str) -> Result<SetupDone, OperationError> {
        if self.is_configured().await? || !self.store.use_setup(&hash(code)).await? {
            return Err(OperationError::not_found(
                "setup_used_up",
                "this setup link has been used, has ended, or is not that of the last start: sign in, or start Seatrial again for another",
            ));
        }
        let secret = new_secret(TOKEN_PREFIX).map_err(|error| OperationError::Broken(error.to_string()))?;
        let token = Token {
            id: TokenId(Uuid::now_v7()),
            name: "first operator".to_owned(),
            scope: Scope::Admin,
            team: None,
            created_by: "the setup link".to_owned(),
            created_at: self.clock.now(),
            expires_at: None,
            last_used_at: None,
            revoked_at: None,
        };
        self.store.create_token(&token, &hash(secret.expose_secret())).await?;
        // Of all that is written down, this is where everything else begins.
        let entry = AuditEntry {
            seq: 0,
            at: token.created_at,
            who: token.created_by.clone(),
            via: Via::Page.as_str().to_owned(),
            address: None,
            action: "token.create".to_owned(),
            target: token.name.clone(),
            repository: None,
            team: None,
            outcome: "done".to_owned(),
            detail: None,
        };
        self.store.write_audit(&entry).await?;
        let principal = Principal::token(token.id, &token.name, token.scope, None);
        Ok(SetupDone { token: secret, principal })
    }
}
