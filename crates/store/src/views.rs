//! What the product reads: rows as people and programs look at them.

use chrono::{DateTime, Utc};
use seatrial_engine::{Failure, RunId, RunState};
use seatrial_preview::environment::{Environment, EnvironmentState};
use seatrial_preview::{DeliveryId, PullRequestRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An environment with the newest of its runs and the state derived from both.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentView {
    pub environment: Environment,
    pub state: EnvironmentState,
    pub newest_run: Option<RunSummary>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    pub id: RunId,
    pub workflow: String,
    pub version: u32,
    pub state: RunState,
    pub key: Option<String>,
    pub created_at: DateTime<Utc>,
    /// When a worker first took it.
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// The worker that holds it, or held it last.
    pub worker: Option<String>,
    /// How often it was claimed.
    pub epoch: i64,
    pub wake_at: Option<DateTime<Utc>>,
    pub wait_reason: Option<String>,
    pub cancel_reason: Option<String>,
    pub failure: Option<Failure>,
    /// The step that runs, waits for its retry, or failed.
    pub current_step: Option<String>,
}

/// A run with its journal.
#[derive(Debug, Clone, PartialEq)]
pub struct RunDetail {
    pub summary: RunSummary,
    pub input: Value,
    pub output: Option<Value>,
    /// In the order they first began.
    pub steps: Vec<StepView>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StepView {
    pub scope: String,
    pub name: String,
    pub occurrence: u32,
    pub status: StepPhase,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub retry_at: Option<DateTime<Utc>>,
    pub output: Option<Value>,
    pub failure: Option<Failure>,
    /// Oldest first.
    pub attempts: Vec<AttemptView>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepPhase {
    /// To be run again: interrupted, or reset by a retry.
    Pending,
    Running,
    Retrying,
    Succeeded,
    Failed,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AttemptView {
    pub attempt: u32,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    /// `None` while it runs.
    pub outcome: Option<AttemptOutcome>,
    pub failure: Option<Failure>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    Succeeded,
    Failed,
    Cancelled,
    /// Its worker stopped in the middle of it.
    Interrupted,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryView {
    pub id: DeliveryId,
    pub event: String,
    pub action: Option<String>,
    pub at: Option<PullRequestRef>,
    pub run: Option<RunId>,
    pub ignored: Option<String>,
    pub received_at: DateTime<Utc>,
}

/// Which environments are asked for; all conditions hold together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EnvironmentFilter {
    pub state: Option<EnvironmentState>,
    /// `owner/name`.
    pub repository: Option<String>,
    /// In the title, branch, author, namespace or repository.
    pub text: Option<String>,
    /// Also those that are deleted, when no state is asked for.
    pub include_deleted: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunFilter {
    pub state: Option<RunState>,
    pub workflow: Option<String>,
    /// The concurrency key: `owner/name#number`.
    pub key: Option<String>,
    /// In the key, the workflow or the failure.
    pub text: Option<String>,
}

/// A page of a list, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// Which page: at most `limit` items (1 to 200) after `after`, the `next` of the page before.
#[derive(Debug, Clone, PartialEq)]
pub struct PageRequest {
    pub after: Option<String>,
    pub limit: u32,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { after: None, limit: 50 }
    }
}

/// How much there is of what.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    pub runs: Vec<(RunState, u64)>,
    pub environments: Vec<(EnvironmentState, u64)>,
}
