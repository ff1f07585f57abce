use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use seatrial_operations::OperationError;
use seatrial_operations::views::TokenId;
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::errors::{ListError, WriteError, parse};
use super::text::Text;
use super::{Tag, page};
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::{NewToken, Scope, Token, TokenPage};

pub(crate) struct Tokens;

/// A token to be made.
#[derive(Object)]
#[oai(example)]
struct WantedToken {
    /// What it is for.
    #[oai(validator(min_length = 1, max_length = 100))]
    name: Text,
    scope: Scope,
    /// The team whose projects it is for. Without it the token is an operator's.
    team: Option<Text>,
    /// When it ends to be valid; without it, never.
    expires_at: Option<DateTime<Utc>>,
}

impl Example for WantedToken {
    fn example() -> Self {
        Self {
            name: "deploys from CI".into(),
            scope: Scope::Deploy,
            team: Some("payments".into()),
            expires_at: DateTime::from_timestamp(4_102_444_800, 0),
        }
    }
}

#[derive(ApiResponse)]
enum TokenCreated {
    /// It was made. Its value is in this answer only.
    #[oai(status = 201)]
    Created(Json<NewToken>),
}

#[OpenApi(prefix_path = "/tokens", tag = "Tag::Access")]
impl Tokens {
    /// List tokens
    ///
    /// Of the teams one maintains, the newest first; all of them for operators. Without values.
    #[oai(path = "/", method = "get", operation_id = "listTokens")]
    async fn list(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// The `next` of the page before.
        after: Query<Option<String>>,
        /// How many at most.
        #[oai(validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<Option<u32>>,
    ) -> Result<Json<TokenPage>, ListError> {
        Ok(Json(api.operations.list_tokens(&caller.0.0, &page(after, limit)).await?.into()))
    }

    /// Make a token
    ///
    /// Its value is shown in this answer only. A team's is for the team's maintainers, one without
    /// a team for operators.
    #[oai(path = "/", method = "post", operation_id = "createToken")]
    async fn create(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        body: Json<WantedToken>,
    ) -> Result<TokenCreated, WriteError> {
        let wanted = seatrial_operations::NewToken {
            name: body.name.to_owned(),
            scope: body.scope.into(),
            team: body.team.as_deref().map(|team| parse("team", team)).transpose()?,
            expires_at: body.expires_at,
        };
        let (token, value) = api.operations.create_token(&caller.0.0, &wanted).await?;
        let value = value.expose_secret().to_owned();
        Ok(TokenCreated::Created(Json(NewToken { value, token: token.into() })))
    }

    /// Revoke a token
    ///
    /// It is refused from now on, and sessions that were opened with it end. May be repeated.
    #[oai(path = "/:token", method = "delete", operation_id = "revokeToken")]
    async fn revoke(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        token: Path<String>,
    ) -> Result<Json<Token>, WriteError> {
        let id = Uuid::parse_str(&token)
            .map_err(|_| OperationError::field("token", format!("{:?} is not the id of a token", *token)))?;
        Ok(Json(api.operations.revoke_token(&caller.0.0, TokenId(id)).await?.into()))
    }
}
