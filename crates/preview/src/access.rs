//! Who may see and do what: teams own projects, people and tokens have roles in teams.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Error;
use crate::ids::RepositoryName;

/// The name of a team: `payments`. Part of paths and of what people type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TeamName(String);

impl TeamName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TeamName {
    type Err = Error;

    /// Accepts 1 to 40 of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit.
    fn from_str(text: &str) -> Result<Self, Error> {
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let valid = (1..=40).contains(&text.len())
            && text.bytes().all(|b| alphanumeric(b) || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid(format!(
                "{text:?} is not a team's name: write 1 to 40 of a-z, 0-9 and '-', with '-' only in between"
            )))
        }
    }
}

impl TryFrom<String> for TeamName {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<TeamName> for String {
    fn from(name: TeamName) -> Self {
        name.0
    }
}

impl fmt::Display for TeamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What somebody may do with a team's projects; each role may all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks: previews, runs, logs, deliveries.
    Viewer,
    /// Deploys, retries, cancels, deletes, puts to sleep; approves a fork's commit.
    Developer,
    /// Changes the project, its secrets, its team's members and tokens.
    Maintainer,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Developer, Self::Maintainer];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Maintainer => "maintainer",
        }
    }
}

impl FromStr for Role {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            Error::invalid(format!("{text:?} is not a role: it is one of viewer, developer and maintainer"))
        })
    }
}

/// What a token may be used for, whoever made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Read,
    Deploy,
    Admin,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Read, Self::Deploy, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Deploy => "deploy",
            Self::Admin => "admin",
        }
    }

    /// The most that can be done with it.
    pub fn role(self) -> Role {
        match self {
            Self::Read => Role::Viewer,
            Self::Deploy => Role::Developer,
            Self::Admin => Role::Maintainer,
        }
    }
}

impl FromStr for Scope {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| Error::invalid(format!("{text:?} is not a scope: it is one of read, deploy and admin")))
    }
}

/// Whose rows somebody sees. Goes into the queries; what is not visible does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visible {
    /// Everything, also what belongs to no team.
    All,
    /// What belongs to these teams.
    Teams(Vec<TeamName>),
    /// One repository's, whether it belongs to a team or not.
    Repository(RepositoryName),
}

/// GitHub's number of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PersonId(pub u64);

/// Somebody on GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub id: PersonId,
    /// As GitHub spells it now.
    pub login: String,
}

/// Somebody who signed in, or was made a member of a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub account: Account,
    /// Sees and does everything.
    pub operator: bool,
    pub created_at: DateTime<Utc>,
    /// When they last signed in.
    pub seen_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    pub name: TeamName,
    pub projects: u32,
    pub members: u32,
    pub created_at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub account: Account,
    pub role: Role,
}

/// A repository that a team owns, and what is set for it besides its `.seatrial.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    pub repository: RepositoryName,
    pub team: TeamName,
    /// How many of its previews may be up at once; without it, as many as the program's settings
    /// allow each repository.
    pub max_previews: Option<u32>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(pub Uuid);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A token, without its value: that was shown once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: TokenId,
    pub name: String,
    pub scope: Scope,
    /// Without a team it is an operator's.
    pub team: Option<TeamName>,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    /// Kept to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

impl Token {
    pub fn is_valid(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|until| now < until)
    }
}

/// A secret of a project, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretInfo {
    pub name: SecretName,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
}

/// The name of a secret; a key of a Kubernetes Secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretName(String);

impl SecretName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretName {
    type Err = Error;

    /// Accepts 1 to 100 of letters, digits, `-`, `_` and `.`, not `.` or `..` and not beginning with `..`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let valid = (1..=100).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
            && text != "."
            && !text.starts_with("..");
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid(format!(
                "{text:?} is not a secret's name: write 1 to 100 letters, digits, '-', '_' and '.', as in DATABASE_URL"
            )))
        }
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_teams_are_checked() {
        for good in ["a", "payments", "team-7", &"x".repeat(40)] {
            assert_eq!(good.parse::<TeamName>().unwrap().as_str(), good);
        }
        for bad in ["", "Payments", "a b", "-a", "a-", "a/b", "ü", "a%", &"x".repeat(41)] {
            assert!(bad.parse::<TeamName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_secrets_are_keys_of_a_kubernetes_secret() {
        for good in ["DATABASE_URL", "tls.crt", ".npmrc", "a"] {
            assert_eq!(good.parse::<SecretName>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "..x", "a b", "a/b", "a=b", &"x".repeat(101)] {
            assert!(bad.parse::<SecretName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn roles_and_scopes_are_read_as_they_are_written() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse::<Role>().unwrap(), role);
        }
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse::<Scope>().unwrap(), scope);
        }
        assert!("owner".parse::<Role>().is_err() && "write".parse::<Scope>().is_err());
        assert!(Role::Viewer < Role::Developer && Role::Developer < Role::Maintainer);
    }
}
