use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;
use crate::history::AttemptOutcome;
use crate::ids::RunId;
use crate::registry::Workflow;

/// Where a run stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Not begun; waits for a worker, or for the run before it under its concurrency key.
    #[default]
    Queued,
    /// A worker holds it by a lease.
    Running,
    /// Parked in the store: a timer, a signal, a child, a long backoff, or handed back by a worker
    /// that is stopping.
    Waiting,
    Succeeded,
    Failed,
    Cancelled,
}

impl RunState {
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Waiting, Self::Succeeded, Self::Failed, Self::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// What a new run does when its concurrency key is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// Wait for the runs before it.
    Queue,
    /// Cancel the one that has begun, drop those that have not; begin once the old one has
    /// provably stopped.
    Supersede,
    /// Refuse to start.
    Reject,
}

/// A run to be started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewRun {
    pub id: RunId,
    pub workflow: String,
    pub version: u32,
    pub input: Value,
    /// Runs of one key never overlap.
    pub key: Option<String>,
    pub on_conflict: OnConflict,
    /// The same id returns the run it started before, as long as that is kept.
    pub deduplication: Option<String>,
    /// Higher goes first.
    pub priority: i32,
    /// Shares workers fairly with the other groups, and has a limit of its own.
    pub group: Option<String>,
    /// The run that started it: cancelling that one cancels this one.
    pub parent: Option<RunId>,
    /// The caller's W3C trace context, kept for the run's spans.
    pub trace: Option<String>,
}

impl NewRun {
    /// # Errors
    /// When the input does not serialise to JSON.
    pub fn of<W: Workflow>(input: &W::Input) -> Result<Self, Failure> {
        let input = serde_json::to_value(input)
            .map_err(|e| Failure::permanent(format!("the input of workflow {} is not JSON: {e}", W::NAME)))?;
        Ok(Self::named(W::NAME, W::VERSION, input))
    }

    /// A run of a workflow that is known by its name alone.
    pub fn named(workflow: impl Into<String>, version: u32, input: Value) -> Self {
        Self {
            id: RunId::new(),
            workflow: workflow.into(),
            version,
            input,
            key: None,
            on_conflict: OnConflict::Queue,
            deduplication: None,
            priority: 0,
            group: None,
            parent: None,
            trace: None,
        }
    }

    #[must_use]
    pub fn key(mut self, key: impl Into<String>, on_conflict: OnConflict) -> Self {
        self.key = Some(key.into());
        self.on_conflict = on_conflict;
        self
    }

    #[must_use]
    pub fn deduplication(mut self, id: impl Into<String>) -> Self {
        self.deduplication = Some(id.into());
        self
    }

    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    #[must_use]
    pub fn trace(mut self, traceparent: impl Into<String>) -> Self {
        self.trace = Some(traceparent.into());
        self
    }
}

/// The answer to a start.
#[derive(Debug, Clone, PartialEq)]
pub struct Started {
    pub id: RunId,
    /// False when the deduplication id had started this run before.
    pub fresh: bool,
}

/// A run without its journal.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    pub id: RunId,
    pub workflow: String,
    pub version: u32,
    pub state: RunState,
    pub key: Option<String>,
    pub group: Option<String>,
    pub parent: Option<RunId>,
    /// The run it was forked from.
    pub forked_from: Option<RunId>,
    pub created_at: DateTime<Utc>,
    /// When a worker first took it.
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// The worker that holds it, or held it last.
    pub worker: Option<String>,
    /// How often it was claimed.
    pub epoch: i64,
    pub lease_until: Option<DateTime<Utc>>,
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

/// A step as people look at it.
#[derive(Debug, Clone, PartialEq)]
pub struct StepView {
    pub scope: String,
    pub name: String,
    pub occurrence: u32,
    pub status: StepPhase,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    /// When it is retried, or what it waits for ends.
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
    /// A timer, a signal or a child is waited for.
    Waiting,
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
