//! What the control API answers. Statuses and check runs are set in the same form.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::users::AccountKind;

/// A repository as the control API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryView {
    /// Stays when the repository is renamed.
    pub id: u64,
    /// The owner's login.
    pub owner: String,
    /// Its name now.
    pub name: String,
    /// Hidden from those without permission.
    pub private: bool,
    /// The branch pull requests go to.
    pub default_branch: String,
    /// Branches with the commit each is at.
    pub branches: BTreeMap<String, String>,
}

/// The answer to everything that makes a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// 40 hexadecimal digits.
    pub sha: String,
}

/// A pull request as the control API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullView {
    /// Its number in the repository.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// `open`, `closed` or `merged`.
    pub state: String,
    /// Not ready for review.
    pub draft: bool,
    /// Who opened it.
    pub author: String,
    /// The branch it comes from.
    pub head_branch: String,
    /// The commit it is at.
    pub head_sha: String,
    /// The branch it goes to.
    pub base_branch: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// The page people open.
    pub html_url: String,
}

/// A comment with its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentView {
    /// Its number.
    pub id: u64,
    /// Who wrote it.
    pub author: String,
    /// What it says now.
    pub body: String,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was deleted, if it was: deleted comments stay in this list.
    pub deleted_at: Option<DateTime<Utc>>,
    /// Every body it has had, oldest first, the present one last.
    pub history: Vec<Edit>,
    /// Reactions, as `login: content`.
    pub reactions: Vec<String>,
}

/// One body a comment has had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// Since when.
    pub at: DateTime<Utc>,
    /// Who wrote it.
    pub by: String,
    /// What it said.
    pub body: String,
}

/// A commit status to be set, or one that was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusView {
    /// The commit; to set one, any ref will do.
    pub sha: String,
    /// `pending`, `success`, `failure` or `error`.
    pub state: String,
    /// What the status is about.
    pub context: String,
    /// A sentence.
    #[serde(default)]
    pub description: Option<String>,
    /// Where it leads.
    #[serde(default)]
    pub target_url: Option<String>,
    /// Who set it.
    #[serde(default)]
    pub creator: String,
}

/// A check run to be set, as CI does it. The same commit and name changes the one there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckView {
    /// The commit; to set one, any ref will do.
    pub sha: String,
    /// Its name.
    pub name: String,
    /// `queued`, `in_progress` or `completed`.
    pub status: String,
    /// `success`, `failure`, … once completed.
    pub conclusion: Option<String>,
}

/// A deployment with the states it went through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentView {
    /// Its number.
    pub id: u64,
    /// The commit deployed.
    pub sha: String,
    /// The ref that was asked for.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Where to.
    pub environment: String,
    /// Its last state; `pending` before the first.
    pub state: String,
    /// The address of the environment, from its last status that has one.
    pub environment_url: Option<String>,
    /// All its states in order.
    pub states: Vec<String>,
    /// What the deployer attached.
    pub payload: Value,
    /// It will go away.
    pub transient: bool,
}

/// An attempt to deliver an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeliveryView {
    /// The attempt's number.
    pub id: u64,
    /// The event's id, the same in every attempt.
    pub guid: String,
    /// `pull_request`, …
    pub event: String,
    /// `opened`, …
    pub action: Option<String>,
    /// The repository's id.
    pub repository: u64,
    /// Not the first attempt.
    pub redelivery: bool,
    /// When the attempt was decided.
    pub at: DateTime<Utc>,
    /// The receiver's status code; 502 where it could not be reached, 504 where it took
    /// too long, none while under way or held.
    pub status_code: Option<u16>,
    /// The payload.
    pub payload: Value,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserView {
    /// Its number, the same everywhere.
    pub id: u64,
    /// Its name.
    pub login: String,
    /// What kind it is.
    #[serde(rename = "type")]
    pub kind: AccountKind,
}

/// A request that was received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestView {
    /// Its place in the order of arrival.
    pub id: u64,
    /// When it arrived.
    pub at: DateTime<Utc>,
    /// `GET`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The status it was answered with; none if it was not answered.
    pub status: Option<u16>,
    /// Who sent it.
    pub caller: String,
    /// The fault that hit it, if one did.
    pub fault: Option<String>,
    /// Its body, if that was JSON.
    pub body: Option<Value>,
}
