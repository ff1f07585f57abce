//! What is stored of access: teams and people, tokens and sessions, projects and their secrets,
//! who did what, and the answers to writes that may be sent again.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use seatrial_preview::RepositoryName;
use seatrial_preview::access::{
    Account, Member, Person, PersonId, Project, Role, SecretInfo, SecretName, Team, TeamName, Token, TokenId, Visible,
};
use uuid::Uuid;

use crate::error::StoreError;
use crate::views::{AuditEntry, AuditFilter, Page, PageRequest};

/// SHA-256 of something that only its owner has.
pub type Hash = [u8; 32];

/// Teams, and who is in them.
#[async_trait]
pub trait TeamQueries {
    /// `false` when there is one of that name.
    async fn create_team(&self, name: &TeamName) -> Result<bool, StoreError>;

    /// By name.
    async fn list_teams(&self, visible: &Visible, page: &PageRequest) -> Result<Page<Team>, StoreError>;

    async fn find_team(&self, visible: &Visible, name: &TeamName) -> Result<Option<Team>, StoreError>;

    /// Its memberships and tokens go with it. `false`, and nothing is changed, while it owns
    /// projects.
    async fn delete_team(&self, name: &TeamName) -> Result<bool, StoreError>;

    /// By login.
    async fn list_members(&self, team: &TeamName) -> Result<Vec<Member>, StoreError>;

    /// Makes the account a member, or gives it another role. `false` when there is no such team.
    async fn set_member(&self, team: &TeamName, account: &Account, role: Role) -> Result<bool, StoreError>;

    /// By the login last seen. `false` when nobody of that login is a member.
    async fn remove_member(&self, team: &TeamName, login: &str) -> Result<bool, StoreError>;

    /// An account that signs in, or that is made an operator; its login is brought up to date.
    async fn ensure_person(&self, account: &Account, seen: bool) -> Result<Person, StoreError>;

    async fn set_operator(&self, person: PersonId, operator: bool) -> Result<(), StoreError>;

    /// Operators, by login.
    async fn list_operators(&self) -> Result<Vec<Person>, StoreError>;
}

/// Tokens and sessions. Their values are nowhere; only who has one can be found by it.
#[async_trait]
pub trait TokenQueries {
    async fn create_token(&self, token: &Token, hash: &Hash) -> Result<(), StoreError>;

    async fn find_token(&self, hash: &Hash) -> Result<Option<Token>, StoreError>;

    /// The newest first.
    async fn list_tokens(&self, visible: &Visible, page: &PageRequest) -> Result<Page<Token>, StoreError>;

    /// `None` when there is no such token; one that was revoked before stays as it was.
    async fn revoke_token(&self, visible: &Visible, id: TokenId) -> Result<Option<Token>, StoreError>;

    /// It was used just now.
    async fn touch_token(&self, id: TokenId) -> Result<(), StoreError>;

    /// Also forgets sessions that have ended by themselves.
    async fn open_session(&self, hash: &Hash, of: &SessionOwner, until: DateTime<Utc>) -> Result<(), StoreError>;

    /// Whose session it is, unless it has ended.
    async fn find_session(&self, hash: &Hash) -> Result<Option<Session>, StoreError>;

    /// One that has ended is fine.
    async fn end_session(&self, hash: &Hash) -> Result<(), StoreError>;

    /// Whether anybody can administer this: an operator who has signed in, or a valid token of one.
    async fn has_operator(&self) -> Result<bool, StoreError>;

    /// The code of the first start; replaces the one before.
    async fn offer_setup(&self, hash: &Hash, until: DateTime<Utc>) -> Result<(), StoreError>;

    /// Whether the code is the one that was offered last and has not been used.
    async fn is_setup_offered(&self, hash: &Hash) -> Result<bool, StoreError>;

    /// Uses the code up. `false` when it is not the one that was offered, was used or has ended.
    async fn use_setup(&self, hash: &Hash) -> Result<bool, StoreError>;
}

/// What a session rests on; it ends with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionOwner {
    Person(PersonId),
    Token(TokenId),
    /// The bootstrap token with this hash.
    Bootstrap(Hash),
}

/// A session, as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Session {
    Person(Person, Vec<(TeamName, Role)>),
    Token(Token),
    Bootstrap(Hash),
}

/// Projects and their secrets.
#[async_trait]
pub trait ProjectQueries {
    /// `None` when its repository is a project already or its team does not exist.
    async fn create_project(&self, project: &NewProject) -> Result<Option<Project>, StoreError>;

    /// `None` when there is no such project.
    async fn update_project(&self, project: &NewProject) -> Result<Option<Project>, StoreError>;

    async fn find_project(&self, visible: &Visible, repository: &RepositoryName)
    -> Result<Option<Project>, StoreError>;

    /// By repository.
    async fn list_projects(&self, visible: &Visible, page: &PageRequest) -> Result<Page<Project>, StoreError>;

    /// Its secrets go with it; its previews stay, without a team. `false` when there was none.
    async fn delete_project(&self, repository: &RepositoryName) -> Result<bool, StoreError>;

    /// Whether the runs with this concurrency key are to be seen.
    async fn sees_key(&self, visible: &Visible, key: &str) -> Result<bool, StoreError>;

    /// By name.
    async fn list_secrets(&self, repository: &RepositoryName) -> Result<Vec<SecretInfo>, StoreError>;

    /// `false` when there is no such project.
    async fn put_secret(&self, repository: &RepositoryName, secret: &SealedSecret) -> Result<bool, StoreError>;

    /// `false` when there was none.
    async fn delete_secret(&self, repository: &RepositoryName, name: &SecretName) -> Result<bool, StoreError>;

    async fn load_secrets(&self, repository: &RepositoryName) -> Result<Vec<SealedSecret>, StoreError>;

    /// Ids of the keys that secrets are sealed with.
    async fn list_key_ids(&self) -> Result<Vec<String>, StoreError>;

    /// At most 100 secrets that are sealed with another key than this.
    async fn list_sealed_otherwise(&self, key_id: &str) -> Result<Vec<SealedSecret>, StoreError>;

    /// Replaces how a secret is sealed, if nobody has replaced it meanwhile.
    async fn reseal_secret(&self, old: &SealedSecret, new: &SealedSecret) -> Result<(), StoreError>;
}

/// What is set for a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProject {
    pub repository: RepositoryName,
    pub team: TeamName,
    pub max_previews: Option<u32>,
}

/// A secret as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Part of what is authenticated.
    pub id: Uuid,
    pub name: SecretName,
    pub key_id: String,
    pub nonce: Vec<u8>,
    pub ciphertext: Vec<u8>,
    pub updated_by: String,
}

/// Who did what.
#[async_trait]
pub trait AuditQueries {
    async fn write_audit(&self, entry: &AuditEntry) -> Result<(), StoreError>;

    /// The newest first.
    async fn list_audit(
        &self,
        visible: &Visible,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditEntry>, StoreError>;
}

/// Answers to writes that may be sent again.
#[async_trait]
pub trait IdempotencyQueries {
    /// Takes the key for a write with this fingerprint, unless it is taken. Also forgets what is
    /// older than a day.
    async fn begin_write(&self, who: &str, key: &str, fingerprint: &Hash) -> Result<Begun, StoreError>;

    /// Keeps the answer.
    async fn finish_write(&self, who: &str, key: &str, answer: &KeptAnswer) -> Result<(), StoreError>;

    /// The write was not done: the key is free again.
    async fn abandon_write(&self, who: &str, key: &str) -> Result<(), StoreError>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The key is new: do it.
    Fresh,
    /// It is being done, by this program or another.
    AtWork,
    /// The key was used for something else.
    Other,
    Answered(KeptAnswer),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    pub status: u16,
    /// `Location`, if there was one.
    pub location: Option<String>,
    pub content_type: Option<String>,
    pub body: Vec<u8>,
}
