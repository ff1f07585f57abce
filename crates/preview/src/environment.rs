//! An environment: the preview of one pull request, and its state as derived from its runs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::comment::CommentState;
use crate::failure::Diagnosis;
use crate::ids::{CommentId, DeploymentId, EnvironmentId, HeadSha, Namespace, PullRequestRef};
use crate::life::{Approval, Life};
use crate::ports::Owner;

/// What Seatrial remembers of a preview. Its state is not among it: see [`EnvironmentState`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    pub id: EnvironmentId,
    pub at: PullRequestRef,
    pub namespace: Namespace,
    /// The one URL people open.
    pub url: String,
    /// Host of [`Environment::url`], without the port; unique.
    pub host: String,
    pub title: String,
    pub author: String,
    pub branch: String,
    pub html_url: String,
    /// The newest commit that was asked for.
    pub head_sha: HeadSha,
    /// The commit that answers at the URL, once one does.
    pub live_sha: Option<HeadSha>,
    /// Where the gateway and the health check find the application, once it is known.
    pub target: Option<ServiceTarget>,
    pub comment: Option<CommentId>,
    pub deployment: Option<DeploymentId>,
    /// Why it was not deployed, when admission refused it.
    pub refusal: Option<String>,
    pub failure: Option<Diagnosis>,
    pub receipt: Option<Receipt>,
    #[serde(default)]
    pub life: Life,
    #[serde(default)]
    pub approval: Option<Approval>,
    /// It is in the queue for a place.
    #[serde(default)]
    pub waits_for_place: bool,
    /// It has a place: there may be something of it in the cluster.
    #[serde(default)]
    pub has_place: bool,
    /// What the comment says.
    #[serde(default)]
    pub said: Option<Said>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Environment {
    pub fn owner(&self) -> Owner {
        Owner { at: self.at.clone(), environment: self.id }
    }
}

/// The comment's state, and the commit it is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    pub sha: HeadSha,
    pub state: CommentState,
    /// Whether it also warns that the preview will be deleted.
    #[serde(default)]
    pub warns: bool,
}

/// A service and the port of it that speaks HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceTarget {
    pub service: String,
    pub port: u16,
}

/// What was removed, and the proof that it is gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    pub namespace: Namespace,
    /// `closed`, `manual: …`, `expired`: what asked for the teardown.
    #[serde(default)]
    pub trigger: String,
    /// `Deployment/shop`, `Service/shop`: what existed in the namespace before the teardown.
    pub removed: Vec<String>,
    pub release_uninstalled: bool,
    /// When the API server answered that the namespace does not exist.
    pub verified_gone_at: DateTime<Utc>,
    /// Milliseconds from the start of the teardown until then.
    pub took_ms: u64,
}

/// `queued → deploying → running`, or `failed`; `sleeping`; `deleting → deleted`; `refused` when
/// admission said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvironmentState {
    Queued,
    Deploying,
    Running,
    Sleeping,
    Failed,
    Refused,
    Deleting,
    Deleted,
}

impl EnvironmentState {
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Deploying,
        Self::Running,
        Self::Sleeping,
        Self::Failed,
        Self::Refused,
        Self::Deleting,
        Self::Deleted,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Deploying => "deploying",
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
        }
    }
}

/// Which way a run takes the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Up,
    Sleep,
    Wake,
    Down,
}

impl Direction {
    pub const ALL: [Self; 4] = [Self::Up, Self::Sleep, Self::Wake, Self::Down];

    /// The name of the workflow that takes it there.
    pub const fn workflow(self) -> &'static str {
        match self {
            Self::Up => "preview_up",
            Self::Sleep => "preview_sleep",
            Self::Wake => "preview_wake",
            Self::Down => "preview_down",
        }
    }

    pub fn of_workflow(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|direction| direction.workflow() == name)
    }
}

/// How far the newest run of the environment's key has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunPhase {
    /// Not begun.
    Queued,
    /// Begun and not ended: running, or waiting for a retry.
    Active,
    Succeeded,
    Failed,
    Cancelled,
}

/// The state of an environment, from the newest of its runs and what is remembered of it.
pub fn derive_state(newest: Option<(Direction, RunPhase)>, environment: &Environment) -> EnvironmentState {
    use EnvironmentState as S;
    let live = environment.live_sha.is_some();
    let standing = if environment.life.asleep_since.is_some() { S::Sleeping } else { S::Running };
    match newest {
        Some((Direction::Up, RunPhase::Queued)) => S::Queued,
        Some((Direction::Up, RunPhase::Active)) if environment.waits_for_place => S::Queued,
        Some((Direction::Up | Direction::Wake, RunPhase::Active)) => S::Deploying,
        Some((Direction::Up, RunPhase::Succeeded)) if environment.receipt.is_some() => S::Deleted,
        Some((Direction::Up, RunPhase::Succeeded)) if environment.refusal.is_some() => S::Refused,
        Some((Direction::Up, RunPhase::Succeeded)) => standing,
        Some((Direction::Up, RunPhase::Failed)) => S::Failed,
        // Cancelled by a person, with nothing newer: what was live before still is.
        Some((Direction::Up, RunPhase::Cancelled)) if live => standing,
        Some((Direction::Up, RunPhase::Cancelled)) => S::Failed,
        // The receipt says it, not the run: a teardown may find that it has come too late.
        Some((Direction::Sleep | Direction::Wake, RunPhase::Succeeded)) if environment.receipt.is_some() => S::Deleted,
        Some((Direction::Down, RunPhase::Succeeded)) if environment.receipt.is_none() && live => standing,
        Some((Direction::Wake, RunPhase::Failed)) => S::Failed,
        Some((Direction::Sleep | Direction::Wake, _)) if live => standing,
        Some((Direction::Sleep | Direction::Wake, _)) => S::Failed,
        Some((Direction::Down, RunPhase::Queued | RunPhase::Active)) => S::Deleting,
        Some((Direction::Down, RunPhase::Succeeded)) => S::Deleted,
        Some((Direction::Down, RunPhase::Failed | RunPhase::Cancelled)) => S::Failed,
        // Runs are pruned after their retention; what is live stays so.
        None if live => standing,
        None => S::Deleted,
    }
}

/// An environment that is not deleted, as the sweep and the reconciliation see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    pub environment: Environment,
    pub state: EnvironmentState,
    /// A run of it has not ended.
    pub busy: bool,
}
