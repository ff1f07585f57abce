use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::RunId;

/// Why a step or a run did not succeed. Serialisable, and readable by people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub kind: FailureKind,
    /// A whole sentence: what happened, to what, what to do.
    pub message: String,
    /// What the workflow's own code knows beyond the sentence; the engine does not look inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// May pass by itself. Retried as the step's [`crate::Backoff`] says, not before
    /// `retry_after`.
    Transient { retry_after: Option<Duration> },
    /// Never retried.
    Permanent,
    /// The run was asked to stop. Clean up in [`crate::Context::shielded`] and return it.
    Cancelled,
}

const SUPERSEDED: &str = "superseded by run ";

/// The reason a journal gives to the runs that `newer` supersedes.
pub fn superseded_by(newer: RunId) -> String {
    format!("{SUPERSEDED}{newer}")
}

impl Failure {
    pub fn transient(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Transient { retry_after: None }, message: message.into(), details: None }
    }

    pub fn permanent(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Permanent, message: message.into(), details: None }
    }

    pub(crate) fn cancelled(reason: impl Into<String>) -> Self {
        Self { kind: FailureKind::Cancelled, message: reason.into(), details: None }
    }

    pub fn is_cancelled(&self) -> bool {
        self.kind == FailureKind::Cancelled
    }

    /// True when a newer run of the same concurrency key is why it was cancelled: that one speaks
    /// for the key from now on.
    pub fn is_superseded(&self) -> bool {
        self.is_cancelled() && self.message.starts_with(SUPERSEDED)
    }

    pub fn is_transient(&self) -> bool {
        matches!(self.kind, FailureKind::Transient { .. })
    }
}
