//! People, bots and organisations.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::call::Call;
use crate::clock::iso;
use crate::reply::{Answer, Refusal, Reply};
use crate::state::State;
use crate::text::{encode, node_id};

/// What kind of account someone has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountKind {
    /// A person.
    #[default]
    User,
    /// An App's own account.
    Bot,
    /// A group that owns repositories.
    Organization,
}

/// An account.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: u64,
    pub(crate) login: String,
    pub(crate) kind: AccountKind,
    pub(crate) created_at: DateTime<Utc>,
}

impl State {
    /// The account with this login, made when it is first heard of.
    pub(crate) fn account(&mut self, login: &str, kind: AccountKind) -> User {
        let key = login.to_ascii_lowercase();
        if let Some(user) = self.users.get(&key) {
            return user.clone();
        }
        let user = User { id: self.next_id(), login: login.to_owned(), kind, created_at: self.clock.now() };
        self.users.insert(key, user.clone());
        user
    }

    /// The short form of an account that other objects carry.
    pub(crate) fn user_json(&self, login: &str) -> Value {
        let known = self.users.get(&login.to_ascii_lowercase());
        let (id, login, kind) = match known {
            Some(user) => (user.id, user.login.as_str(), user.kind),
            None => (10137, "ghost", AccountKind::User),
        };
        let base = &self.base;
        let name = encode(login);
        let (prefix, word) = match kind {
            AccountKind::User => ("U", "User"),
            AccountKind::Bot => ("BOT", "Bot"),
            AccountKind::Organization => ("O", "Organization"),
        };
        let page = match login.strip_suffix("[bot]") {
            Some(app) => format!("{base}/apps/{}", encode(app)),
            None => format!("{base}/{name}"),
        };
        let api = format!("{base}/users/{name}");
        json!({
            "login": login,
            "id": id,
            "node_id": node_id(prefix, id),
            "avatar_url": format!("{base}/_avatars/{name}.svg"),
            "gravatar_id": "",
            "url": api,
            "html_url": page,
            "followers_url": format!("{api}/followers"),
            "following_url": format!("{api}/following{{/other_user}}"),
            "gists_url": format!("{api}/gists{{/gist_id}}"),
            "starred_url": format!("{api}/starred{{/owner}}{{/repo}}"),
            "subscriptions_url": format!("{api}/subscriptions"),
            "organizations_url": format!("{api}/orgs"),
            "repos_url": format!("{api}/repos"),
            "events_url": format!("{api}/events{{/privacy}}"),
            "received_events_url": format!("{api}/received_events"),
            "type": word,
            "user_view_type": "public",
            "site_admin": false,
        })
    }

    /// The login behind a request, as it appears on what the request makes.
    pub(crate) fn login_of(&self, caller: &Caller) -> String {
        match caller {
            Caller::Anonymous => "ghost".to_owned(),
            Caller::User { login } => login.clone(),
            Caller::App | Caller::Installation { .. } => format!("{}[bot]", self.app.slug),
        }
    }

    fn profile(&self, login: &str) -> Result<Value, Refusal> {
        let user = self.users.get(&login.to_ascii_lowercase()).ok_or_else(Refusal::not_found)?;
        let owned = self.repositories.values().filter(|repository| repository.owner.eq_ignore_ascii_case(login));
        let mut profile = self.user_json(login);
        let more = json!({
            "name": user.login, "company": null, "blog": "", "location": null, "email": null,
            "hireable": null, "bio": null, "twitter_username": null,
            "public_repos": owned.filter(|repository| !repository.private).count(),
            "public_gists": 0, "followers": 0, "following": 0,
            "created_at": iso(user.created_at), "updated_at": iso(user.created_at),
        });
        merge(&mut profile, more);
        Ok(profile)
    }
}

/// Adds an object's fields to another.
pub(crate) fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

/// `GET /user`
pub(crate) fn current(state: &State, call: &Call) -> Answer {
    match &call.caller {
        Caller::Anonymous => Err(Refusal::new(401, "Requires authentication")),
        Caller::User { login } => {
            let mut profile = state.profile(login)?;
            let private = json!({
                "user_view_type": "private",
                "private_gists": 0, "total_private_repos": 0, "owned_private_repos": 0,
                "disk_usage": 0, "collaborators": 0, "two_factor_authentication": true,
            });
            merge(&mut profile, private);
            Ok(Reply::ok(profile))
        }
        _ => Err(Refusal::new(403, "Resource not accessible by integration")),
    }
}

/// `GET /users/{login}`
pub(crate) fn get(state: &State, login: &str) -> Answer {
    state.profile(login).map(Reply::ok)
}
