//! API tokens.

use chrono::{DateTime, Utc};
use seatrial_preview::access::{Role, Scope, TeamName, Token, TokenId};
use seatrial_store::views::{Page, PageRequest};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use uuid::Uuid;

use crate::access::{Principal, TOKEN_PREFIX, hash, new_secret};
use crate::audit::Act;
use crate::error::OperationError;
use crate::operations::Operations;
use crate::previews::{check, of_page};

/// What a token is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// For people: what it is for.
    pub name: String,
    pub scope: Scope,
    /// Without a team it is an operator's.
    pub team: Option<TeamName>,
    pub expires_at: Option<DateTime<Utc>>,
}

impl Operations {
    /// Tokens of the teams one maintains; all of them for operators. Without their values.
    pub async fn list_tokens(&self, who: &Principal, page: &PageRequest) -> Result<Page<Token>, OperationError> {
        check(page)?;
        let visible = self.visible_to(who, Role::Maintainer);
        self.store.list_tokens(&visible, page).await.map_err(|error| of_page(error, page))
    }

    /// A new token, and its value: it is shown now and never again. A team's is for its
    /// maintainers, one without a team for operators.
    pub async fn create_token(&self, who: &Principal, new: &NewToken) -> Result<(Token, SecretString), OperationError> {
        let mut act = Act::new("token.create", &new.name);
        if let Some(team) = &new.team {
            act = act.team(team);
        }
        let detail = json!({ "scope": new.scope, "team": new.team, "expires_at": new.expires_at });
        self.audited(who, act.detail(detail), async {
            match &new.team {
                Some(team) => {
                    self.get_team(who, team).await?;
                    who.check(Role::Maintainer, Some(team), "making a token")?;
                }
                None => who.check_operator("making a token without a team")?,
            }
            let name = new.name.trim();
            if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
                return Err(OperationError::field("name", "must be 1 to 100 characters that say what it is for"));
            }
            if new.expires_at.is_some_and(|until| until <= self.now()) {
                return Err(OperationError::field("expires_at", "must be in the future"));
            }
            let secret = new_secret(TOKEN_PREFIX).map_err(|error| OperationError::Broken(error.to_string()))?;
            let token = Token {
                id: TokenId(Uuid::now_v7()),
                name: name.to_owned(),
                scope: new.scope,
                team: new.team.clone(),
                created_by: who.name().to_owned(),
                created_at: self.now(),
                expires_at: new.expires_at,
                last_used_at: None,
                revoked_at: None,
            };
            self.store.create_token(&token, &hash(secret.expose_secret())).await?;
            Ok((token, secret))
        })
        .await
    }

    /// It is refused from now on, and sessions that rest on it end. Revoking it again is fine.
    pub async fn revoke_token(&self, who: &Principal, id: TokenId) -> Result<Token, OperationError> {
        self.audited(who, Act::new("token.revoke", id), async {
            if who.operator_role().is_some() {
                who.check_operator("revoking a token")?;
            }
            let visible = self.visible_to(who, Role::Maintainer);
            let revoked = self.store.revoke_token(&visible, id).await?;
            revoked.ok_or_else(|| OperationError::not_found("token_not_found", format!("there is no token {id}")))
        })
        .await
    }
}
