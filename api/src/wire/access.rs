use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use schemars::JsonSchema;
use seatrial_operations::{Principal, views};
use serde::Serialize;

/// What somebody may do with a team's projects; each role may all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, JsonSchema)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks: previews, runs, logs, deliveries.
    Viewer,
    /// Deploys, retries, cancels, deletes; approves a fork's commit.
    Developer,
    /// Changes the project, its secrets, its team's members and tokens.
    Maintainer,
}

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, JsonSchema)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// As a viewer.
    Read,
    /// As a developer.
    Deploy,
    /// As a maintainer; without a team, as an operator.
    Admin,
}

/// People and tokens that see and change the same projects.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct Team {
    pub name: String,
    /// How many repositories it owns.
    pub projects: u32,
    pub members: u32,
    pub created_at: DateTime<Utc>,
}

/// A page of teams, by name.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct TeamPage {
    pub items: Vec<Team>,
    /// Give it as `after` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Somebody in a team.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
pub struct Member {
    /// On GitHub, as last seen.
    pub login: String,
    /// GitHub's number of the account; it stays when the login changes.
    pub github_id: u64,
    pub role: Role,
}

/// A team's members, by login.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
pub struct MemberList {
    pub items: Vec<Member>,
}

/// Somebody who sees and does everything.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct Operator {
    /// On GitHub, as last seen.
    pub login: String,
    pub github_id: u64,
    /// When they last signed in; absent before the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<DateTime<Utc>>,
}

/// Operators, by login.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
pub struct OperatorList {
    pub items: Vec<Operator>,
}

/// A repository that a team owns.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct Project {
    /// `owner/name`.
    pub repository: String,
    pub team: String,
    /// How many of its previews may be up at once; absent when only the settings limit it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_previews: Option<u32>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A page of projects, by repository.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct ProjectPage {
    pub items: Vec<Project>,
    /// Give it as `after` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A secret of a project; its value is never given back.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
pub struct Secret {
    /// Its key in the Secret `project-secrets` of each preview's namespace.
    pub name: String,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
}

/// A project's secrets, by name.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
pub struct SecretList {
    pub items: Vec<Secret>,
}

/// A token, without its value.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct Token {
    pub id: String,
    /// What it is for.
    pub name: String,
    pub scope: Scope,
    /// Absent for an operator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    /// Absent when it does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// To the minute; absent before its first use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A page of tokens, the newest first.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct TokenPage {
    pub items: Vec<Token>,
    /// Give it as `after` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A new token.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
pub struct NewToken {
    /// The value, for `Authorization: Bearer`. Shown now and never again.
    pub value: String,
    pub token: Token,
}

/// Who asks.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
pub struct Me {
    pub name: String,
    /// Sees every team's.
    pub operator: bool,
    /// What may be done as an operator, or, in each of the teams.
    pub teams: Vec<Membership>,
}

/// A team that one is in.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
pub struct Membership {
    pub team: String,
    pub role: Role,
}

impl From<views::Role> for Role {
    fn from(role: views::Role) -> Self {
        match role {
            views::Role::Viewer => Self::Viewer,
            views::Role::Developer => Self::Developer,
            views::Role::Maintainer => Self::Maintainer,
        }
    }
}

impl From<Role> for views::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Developer => Self::Developer,
            Role::Maintainer => Self::Maintainer,
        }
    }
}

impl From<views::Scope> for Scope {
    fn from(scope: views::Scope) -> Self {
        match scope {
            views::Scope::Read => Self::Read,
            views::Scope::Deploy => Self::Deploy,
            views::Scope::Admin => Self::Admin,
        }
    }
}

impl From<Scope> for views::Scope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Read => Self::Read,
            Scope::Deploy => Self::Deploy,
            Scope::Admin => Self::Admin,
        }
    }
}

impl From<views::Team> for Team {
    fn from(team: views::Team) -> Self {
        Self {
            name: team.name.to_string(),
            projects: team.projects,
            members: team.members,
            created_at: team.created_at,
        }
    }
}

impl From<views::Page<views::Team>> for TeamPage {
    fn from(page: views::Page<views::Team>) -> Self {
        Self { items: page.items.into_iter().map(Team::from).collect(), next: page.next }
    }
}

impl From<views::Member> for Member {
    fn from(member: views::Member) -> Self {
        Self { login: member.account.login, github_id: member.account.id.0, role: member.role.into() }
    }
}

impl From<views::Person> for Operator {
    fn from(person: views::Person) -> Self {
        Self { login: person.account.login, github_id: person.account.id.0, seen_at: person.seen_at }
    }
}

impl From<views::Project> for Project {
    fn from(project: views::Project) -> Self {
        Self {
            repository: project.repository.to_string(),
            team: project.team.to_string(),
            max_previews: project.max_previews,
            created_at: project.created_at,
            updated_at: project.updated_at,
        }
    }
}

impl From<views::Page<views::Project>> for ProjectPage {
    fn from(page: views::Page<views::Project>) -> Self {
        Self { items: page.items.into_iter().map(Project::from).collect(), next: page.next }
    }
}

impl From<views::SecretInfo> for Secret {
    fn from(secret: views::SecretInfo) -> Self {
        Self { name: secret.name.to_string(), updated_at: secret.updated_at, updated_by: secret.updated_by }
    }
}

impl From<views::Token> for Token {
    fn from(token: views::Token) -> Self {
        Self {
            id: token.id.to_string(),
            name: token.name,
            scope: token.scope.into(),
            team: token.team.map(String::from),
            created_by: token.created_by,
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
            revoked_at: token.revoked_at,
        }
    }
}

impl From<views::Page<views::Token>> for TokenPage {
    fn from(page: views::Page<views::Token>) -> Self {
        Self { items: page.items.into_iter().map(Token::from).collect(), next: page.next }
    }
}

impl From<&Principal> for Me {
    fn from(principal: &Principal) -> Self {
        let teams = principal.teams().iter();
        Self {
            name: principal.name().to_owned(),
            operator: principal.operator_role().is_some(),
            teams: teams.map(|(team, role)| Membership { team: team.to_string(), role: (*role).into() }).collect(),
        }
    }
}
