use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;
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
    /// Parked in the store: a long backoff, or handed back by a worker that is stopping.
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
    /// The same id returns the run it started before.
    pub deduplication: Option<String>,
    /// Higher goes first.
    pub priority: i32,
}

impl NewRun {
    /// # Errors
    /// When the input does not serialise to JSON.
    pub fn of<W: Workflow>(input: &W::Input) -> Result<Self, Failure> {
        let input = serde_json::to_value(input)
            .map_err(|e| Failure::permanent(format!("the input of workflow {} is not JSON: {e}", W::NAME)))?;
        Ok(Self {
            id: RunId::new(),
            workflow: W::NAME.to_owned(),
            version: W::VERSION,
            input,
            key: None,
            on_conflict: OnConflict::Queue,
            deduplication: None,
            priority: 0,
        })
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
}

/// The answer to a start.
#[derive(Debug, Clone, PartialEq)]
pub struct Started {
    pub id: RunId,
    /// False when the deduplication id had started this run before.
    pub fresh: bool,
}
