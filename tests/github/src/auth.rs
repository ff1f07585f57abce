//! Who calls, and what they may do.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::reply::Refusal;
use crate::state::{Repository, State};
use crate::tokens;

/// What someone may do in a repository, weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// Not even see a private repository.
    #[default]
    None,
    /// See and comment.
    Read,
    /// Manage issues and pull requests.
    Triage,
    /// Push.
    Write,
    /// Manage the repository, without the dangerous parts.
    Maintain,
    /// Everything.
    Admin,
}

impl Permission {
    /// The word for the role.
    pub fn role(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Triage => "triage",
            Self::Write => "write",
            Self::Maintain => "maintain",
            Self::Admin => "admin",
        }
    }

    /// The older, coarser word that `permission` still carries.
    pub(crate) fn legacy(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read | Self::Triage => "read",
            Self::Write | Self::Maintain => "write",
            Self::Admin => "admin",
        }
    }
}

/// The party behind a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Anonymous,
    User { login: String },
    App,
    Installation { id: u64, permissions: BTreeMap<String, String>, repositories: Option<Vec<u64>> },
}

/// What a token stands for.
#[derive(Clone, Debug)]
pub(crate) enum Token {
    Personal {
        login: String,
    },
    Installation {
        id: u64,
        permissions: BTreeMap<String, String>,
        repositories: Option<Vec<u64>>,
        expires_at: DateTime<Utc>,
    },
}

/// What an endpoint asks of its caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    /// An App needs one of these permissions.
    kinds: &'static [&'static str],
    level: Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Read,
    /// Signed in and able to see it: enough for people to comment; an App needs `write`.
    Join,
    Write,
    Admin,
}

impl Need {
    pub(crate) const fn read(kinds: &'static [&'static str]) -> Self {
        Self { kinds, level: Level::Read }
    }

    pub(crate) const fn join(kinds: &'static [&'static str]) -> Self {
        Self { kinds, level: Level::Join }
    }

    pub(crate) const fn write(kinds: &'static [&'static str]) -> Self {
        Self { kinds, level: Level::Write }
    }

    pub(crate) const fn admin(kinds: &'static [&'static str]) -> Self {
        Self { kinds, level: Level::Admin }
    }
}

/// Finds out who calls; a wrong token is refused even where none was needed.
pub(crate) fn authenticate(state: &State, call: &Call) -> Result<Caller, Refusal> {
    let Some(header) = call.header("authorization") else {
        return Ok(Caller::Anonymous);
    };
    let bad = || Refusal::new(401, "Bad credentials");
    let (scheme, credentials) = header.split_once(' ').ok_or_else(bad)?;
    let token = match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "token" => credentials.trim().to_owned(),
        "basic" => {
            let decoded = STANDARD.decode(credentials.trim()).map_err(|_| bad())?;
            let pair = String::from_utf8(decoded).map_err(|_| bad())?;
            let (_, password) = pair.split_once(':').ok_or_else(bad)?;
            password.to_owned()
        }
        _ => return Err(bad()),
    };
    match state.tokens.get(&token) {
        Some(Token::Personal { login }) => Ok(Caller::User { login: login.clone() }),
        Some(Token::Installation { id, permissions, repositories, expires_at }) if *expires_at > state.clock.now() => {
            Ok(Caller::Installation { id: *id, permissions: permissions.clone(), repositories: repositories.clone() })
        }
        Some(Token::Installation { .. }) => Err(bad()),
        None if token.split('.').count() == 3 => tokens::verify(state, &token).map(|()| Caller::App),
        None => Err(bad()),
    }
}

/// What a person may do in a repository.
pub(crate) fn permission_of(state: &State, repository: &Repository, login: &str) -> Permission {
    if repository.owner.eq_ignore_ascii_case(login) {
        return Permission::Admin;
    }
    let login = login.to_ascii_lowercase();
    let seen = if repository.private { Permission::None } else { Permission::Read };
    let given = repository.collaborators.get(&login).or_else(|| state.grants.get(&login));
    given.copied().unwrap_or(seen).max(seen)
}

/// Refuses what the caller may not do; what it may not even see is not there.
pub(crate) fn allow(state: &State, call: &Call, repository: &Repository, need: Need) -> Result<(), Refusal> {
    match &call.caller {
        Caller::Anonymous if repository.private => Err(Refusal::not_found()),
        Caller::Anonymous if need.level == Level::Read => Ok(()),
        Caller::Anonymous => Err(Refusal::new(401, "Requires authentication")),
        Caller::User { login } => {
            let has = permission_of(state, repository, login);
            let wants = match need.level {
                Level::Read | Level::Join => Permission::Read,
                Level::Write => Permission::Write,
                Level::Admin => Permission::Admin,
            };
            if has < Permission::Read {
                Err(Refusal::not_found())
            } else if has < wants && need.level == Level::Admin {
                // What only administrators may touch, others do not see.
                Err(Refusal::not_found())
            } else if has < wants {
                Err(Refusal::new(403, "Resource not accessible by personal access token"))
            } else {
                Ok(())
            }
        }
        Caller::App => Err(Refusal::new(403, "Resource not accessible by integration")),
        Caller::Installation { id, permissions, repositories } => {
            let inside = state.installations.get(id).is_some_and(|installation| installation.covers(repository))
                && repositories.as_ref().is_none_or(|chosen| chosen.contains(&repository.id));
            if !inside && repository.private {
                return Err(Refusal::not_found());
            }
            let granted = |kind: &&str| {
                permissions
                    .get(*kind)
                    .is_some_and(|level| need.level == Level::Read || level == "write" || level == "admin")
            };
            let public_read = need.level == Level::Read && !repository.private;
            if (inside && need.kinds.iter().any(granted)) || (!inside && public_read) || need.kinds == ["metadata"] {
                Ok(())
            } else {
                Err(Refusal::new(403, "Resource not accessible by integration"))
            }
        }
    }
}
