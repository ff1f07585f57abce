//! What the product reads: rows as people and programs look at them.

use chrono::{DateTime, Utc};
pub use seatrial_engine::{AttemptOutcome, AttemptView, RunDetail, RunSummary, StepPhase, StepView};
use seatrial_engine::{RunId, RunState};
use seatrial_preview::access::TeamName;
use seatrial_preview::environment::{Environment, EnvironmentState};
use seatrial_preview::{DeliveryId, PullRequestRef, RepositoryName};

/// An environment with the newest of its runs and the state derived from both.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentView {
    pub environment: Environment,
    pub state: EnvironmentState,
    pub newest_run: Option<RunSummary>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryView {
    pub id: DeliveryId,
    pub event: String,
    pub action: Option<String>,
    pub at: Option<PullRequestRef>,
    pub run: Option<RunId>,
    pub ignored: Option<String>,
    /// The delivery that somebody had repeated.
    pub repeats: Option<DeliveryId>,
    pub received_at: DateTime<Utc>,
}

/// Which deliveries are asked for; all conditions hold together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeliveryFilter {
    /// GitHub's name of the event: `pull_request`.
    pub event: Option<String>,
    /// `owner/name`.
    pub repository: Option<String>,
    /// Those that started a run, or those that did not.
    pub started: Option<bool>,
}

/// Something that was done, or tried.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Counts up; 0 before it is written.
    pub seq: i64,
    pub at: DateTime<Utc>,
    /// Who, in words: `ada`, `token ci of team payments`.
    pub who: String,
    /// The way in: `rest`, `mcp`, `page`, `cli`, `comment`.
    pub via: String,
    /// From where, where that is known.
    pub address: Option<String>,
    /// `preview.deploy`.
    pub action: String,
    /// To what: `acme/shop#7`, a run's id, a team.
    pub target: String,
    pub repository: Option<RepositoryName>,
    pub team: Option<TeamName>,
    /// `done`, or the error's code.
    pub outcome: String,
    /// What was asked, as JSON without secrets.
    pub detail: Option<String>,
}

/// Which entries are asked for; all conditions hold together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuditFilter {
    pub who: Option<String>,
    pub action: Option<String>,
    pub target: Option<String>,
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
}

/// Which environments are asked for; all conditions hold together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EnvironmentFilter {
    pub state: Option<EnvironmentState>,
    /// `owner/name`.
    pub repository: Option<String>,
    /// The pull request's.
    pub number: Option<u64>,
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
    /// Started at or after.
    pub since: Option<DateTime<Utc>>,
    /// Started before.
    pub until: Option<DateTime<Utc>>,
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
