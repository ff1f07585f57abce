//! The GitHub App, its installations and their tokens.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use serde_json::{Map, Value, json};

use crate::auth::{Caller, Token};
use crate::call::{self, Call};
use crate::clock::iso;
use crate::reply::{Answer, Refusal, Reply};
use crate::state::{Repository, State};
use crate::text::{encode, node_id};
use crate::users::{AccountKind, merge};

/// The App under test.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) id: u64,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    /// Where people may be sent back to after signing in; anywhere where none is registered.
    pub(crate) callback_urls: Vec<String>,
    pub(crate) slug: String,
    pub(crate) name: String,
    pub(crate) owner: String,
    /// DER; without it signatures are taken on trust.
    pub(crate) public_key: Option<Vec<u8>>,
    pub(crate) permissions: BTreeMap<String, String>,
    pub(crate) created_at: DateTime<Utc>,
}

/// The App on one account.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    pub(crate) id: u64,
    pub(crate) account: String,
    pub(crate) created_at: DateTime<Utc>,
}

impl Installation {
    pub(crate) fn covers(&self, repository: &Repository) -> bool {
        self.account.eq_ignore_ascii_case(&repository.owner)
    }
}

impl State {
    /// The App, as objects made by it carry it.
    pub(crate) fn app_json(&self) -> Value {
        let app = &self.app;
        json!({
            "id": app.id, "client_id": app.client_id, "slug": app.slug,
            "node_id": node_id("A", app.id), "owner": self.user_json(&app.owner),
            "name": app.name, "description": "", "external_url": format!("{}/", self.base),
            "html_url": format!("{}/apps/{}", self.base, encode(&app.slug)),
            "created_at": iso(app.created_at), "updated_at": iso(app.created_at),
            "permissions": app.permissions, "events": self.hooks.events,
        })
    }

    /// The App that runs CI, to which check runs set by tests belong.
    pub(crate) fn ci_app_json(&self) -> Value {
        let mut value = self.app_json();
        merge(
            &mut value,
            json!({
                "id": 15368, "client_id": "Iv1.05c79e9ad1f6bdfa", "slug": "github-actions",
                "node_id": node_id("A", 15368), "name": "GitHub Actions",
                "html_url": format!("{}/apps/github-actions", self.base),
                "permissions": { "checks": "write", "metadata": "read" },
                "events": ["check_run", "push"],
            }),
        );
        value
    }

    fn installation_json(&self, installation: &Installation) -> Value {
        let base = &self.base;
        let id = installation.id;
        let account = self.user_json(&installation.account);
        json!({
            "id": id, "client_id": self.app.client_id, "account": account,
            "repository_selection": "all",
            "access_tokens_url": format!("{base}/app/installations/{id}/access_tokens"),
            "repositories_url": format!("{base}/installation/repositories"),
            "html_url": format!("{base}/settings/installations/{id}"),
            "app_id": self.app.id, "app_slug": self.app.slug,
            "target_id": account["id"], "target_type": account["type"],
            "permissions": self.app.permissions, "events": self.hooks.events,
            "created_at": iso(installation.created_at), "updated_at": iso(installation.created_at),
            "single_file_name": null, "has_multiple_single_files": false,
            "single_file_paths": [], "suspended_by": null, "suspended_at": null,
        })
    }

    /// Installs the App on an account that owns repositories.
    pub(crate) fn ensure_installation(&mut self, account: &str) {
        let known = self.installations.values().any(|installation| installation.account.eq_ignore_ascii_case(account));
        if known {
            return;
        }
        let installation =
            Installation { id: self.next_id(), account: account.to_owned(), created_at: self.clock.now() };
        let bot = format!("{}[bot]", self.app.slug);
        self.account(&bot, AccountKind::Bot);
        self.installations.insert(installation.id, installation);
    }

    pub(crate) fn installation_of(&self, repository: &Repository) -> Option<&Installation> {
        self.installations.values().find(|installation| installation.covers(repository))
    }
}

/// Endpoints of the App itself want its JSON web token.
pub(crate) fn only_the_app(call: &Call) -> Result<(), Refusal> {
    match call.caller {
        Caller::App => Ok(()),
        _ => Err(Refusal::new(401, "A JSON web token could not be decoded")),
    }
}

/// `GET /app`
pub(crate) fn get(state: &State, call: &Call) -> Answer {
    only_the_app(call)?;
    let mut value = state.app_json();
    value["installations_count"] = state.installations.len().into();
    Ok(Reply::ok(value))
}

/// `GET /app/installations`
pub(crate) fn installations(state: &State, call: &Call) -> Answer {
    only_the_app(call)?;
    let list = state.installations.values().map(|installation| state.installation_json(installation)).collect();
    Ok(call.page(&state.base, list))
}

/// `GET /app/installations/{id}`
pub(crate) fn installation(state: &State, call: &Call, id: u64) -> Answer {
    only_the_app(call)?;
    let found = state.installations.get(&id);
    let found = found.ok_or_else(Refusal::not_found)?;
    Ok(Reply::ok(state.installation_json(found)))
}

/// `GET /repos/{owner}/{repo}/installation`
pub(crate) fn of_repository(state: &State, call: &Call, id: u64) -> Answer {
    only_the_app(call)?;
    let found = state.installation_of(state.repository(id)?);
    let found = found.ok_or_else(Refusal::not_found)?;
    Ok(Reply::ok(state.installation_json(found)))
}

/// `GET /orgs/{account}/installation` and `GET /users/{account}/installation`
pub(crate) fn of_account(state: &State, call: &Call, account: &str) -> Answer {
    only_the_app(call)?;
    let found = state
        .installations
        .values()
        .find(|installation| installation.account.eq_ignore_ascii_case(account))
        .ok_or_else(Refusal::not_found)?;
    Ok(Reply::ok(state.installation_json(found)))
}

/// A token can have less than the installation, never more.
fn narrowed(state: &State, body: &Map<String, Value>) -> Result<BTreeMap<String, String>, Refusal> {
    let Some(Value::Object(asked)) = body.get("permissions") else {
        return Ok(state.app.permissions.clone());
    };
    let rank = |level: &str| match level {
        "read" => 1,
        "write" => 2,
        "admin" => 3,
        _ => 9,
    };
    let mut granted = BTreeMap::from([("metadata".to_owned(), "read".to_owned())]);
    for (name, level) in asked {
        let level = level.as_str().unwrap_or_default();
        let has = state.app.permissions.get(name).map_or(0, |level| rank(level));
        if rank(level) > has {
            return Err(Refusal::unprocessable("The permissions requested are not granted to this installation."));
        }
        granted.insert(name.clone(), level.to_owned());
    }
    Ok(granted)
}

fn chosen(state: &State, body: &Map<String, Value>, installation: &Installation) -> Result<Option<Vec<u64>>, Refusal> {
    let refuse = || {
        Refusal::unprocessable(
            "There is at least one repository that does not exist or is not accessible to the \
             parent installation.",
        )
    };
    let mut ids = Vec::new();
    for name in call::strings(body, "repositories")?.unwrap_or_default() {
        let found = state.find(&installation.account, &name);
        ids.push(found.ok_or_else(refuse)?.id);
    }
    if let Some(Value::Array(list)) = body.get("repository_ids") {
        for id in list {
            let found = id.as_u64().and_then(|id| state.repositories.get(&id));
            let found = found.filter(|repository| installation.covers(repository));
            ids.push(found.ok_or_else(refuse)?.id);
        }
    }
    Ok((!ids.is_empty()).then_some(ids))
}

/// `POST /app/installations/{id}/access_tokens`: good for an hour.
pub(crate) fn access_token(state: &mut State, call: &Call, id: u64) -> Answer {
    only_the_app(call)?;
    let installation = state.installations.get(&id).cloned();
    let installation = installation.ok_or_else(Refusal::not_found)?;
    let body = call.object()?;
    let permissions = narrowed(state, &body)?;
    let repositories = chosen(state, &body, &installation)?;
    let expires_at = state.clock.now() + Duration::hours(1);
    let token = format!("ghs_{}", uuid::Uuid::new_v4().simple());
    let mut value = json!({
        "token": token, "expires_at": iso(expires_at), "permissions": permissions,
        "repository_selection": if repositories.is_some() { "selected" } else { "all" },
    });
    if let Some(ids) = &repositories {
        value["repositories"] = ids
            .iter()
            .filter_map(|id| state.repositories.get(id))
            .map(|repository| state.repository_json(repository))
            .collect();
    }
    state.tokens.insert(token, Token::Installation { id, permissions, repositories, expires_at });
    Ok(Reply::json(201, value))
}

/// `GET /installation/repositories`
pub(crate) fn repositories(state: &State, call: &Call) -> Answer {
    let Caller::Installation { id, repositories, .. } = &call.caller else {
        return Err(match call.caller {
            Caller::Anonymous => Refusal::new(401, "Requires authentication"),
            _ => Refusal::new(
                403,
                "You must authenticate with an installation access token in order to list \
                 repositories for an installation.",
            ),
        });
    };
    let installation = state.installations.get(id);
    let installation = installation.ok_or_else(Refusal::not_found)?;
    let list = state
        .repositories
        .values()
        .filter(|repository| installation.covers(repository))
        .filter(|repository| repositories.as_ref().is_none_or(|ids| ids.contains(&repository.id)))
        .map(|repository| state.repository_json(repository))
        .collect();
    let mut reply = call.page_in(&state.base, "repositories", list);
    if let crate::reply::Content::Json(value) = &mut reply.content {
        value["repository_selection"] = match repositories {
            Some(_) => "selected".into(),
            None => "all".into(),
        };
    }
    Ok(reply)
}
