//! What the journal keeps of a run's steps: attempts that have ended, one row each, and the
//! steps in progress. What a step's state is follows from them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;
use crate::ids::RunId;
use crate::run::{AttemptView, StepPhase, StepView};
use crate::step::StepKey;

/// A step in progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenStep {
    #[serde(flatten)]
    pub key: StepKey,
    /// Orders the run's steps as they first began.
    pub position: u32,
    pub attempt: u32,
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub started_at: DateTime<Utc>,
    /// Set when it waits and does nothing: it is not interrupted by a crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
}

/// What a step in progress waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    #[serde(default, with = "chrono::serde::ts_milliseconds_option", skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    Succeeded,
    Failed,
    Cancelled,
    /// Its worker stopped in the middle of it.
    Interrupted,
}

impl AttemptOutcome {
    pub const ALL: [Self; 4] = [Self::Succeeded, Self::Failed, Self::Cancelled, Self::Interrupted];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// An attempt that has ended; never changed once it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedAttempt {
    pub key: StepKey,
    pub position: u32,
    pub attempt: u32,
    pub started_at: DateTime<Utc>,
    pub finished_at: DateTime<Utc>,
    pub outcome: AttemptOutcome,
    pub output: Option<Value>,
    pub failure: Option<Failure>,
    /// Set when a failure is to be retried.
    pub retry_at: Option<DateTime<Utc>>,
}

impl FinishedAttempt {
    /// An attempt that a crash, a takeover or a hand-back cut off.
    pub fn interrupted(open: OpenStep, at: DateTime<Utc>) -> Self {
        Self {
            key: open.key,
            position: open.position,
            attempt: open.attempt,
            started_at: open.started_at,
            finished_at: at,
            outcome: AttemptOutcome::Interrupted,
            output: None,
            failure: None,
            retry_at: None,
        }
    }
}

/// What the journal knows of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    pub key: StepKey,
    pub status: StepStatus,
    /// Attempts begun so far.
    pub attempts: u32,
    /// Attempts that failed since the step was last reset; interrupted ones do not count.
    pub failures: u32,
    /// A retry has set all of it aside.
    pub is_discarded: bool,
    /// When it first began.
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum StepStatus {
    /// Known, but to be run (again): interrupted, or reset by a retry.
    Pending,
    Retrying {
        retry_at: DateTime<Utc>,
    },
    Succeeded(Value),
    Failed(Failure),
}

/// An attempt as the journal returns it.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptAttempt {
    pub attempt: FinishedAttempt,
    /// A retry has set it aside: shown, but not used.
    pub discarded: bool,
}

/// The steps' records, from all attempts in any order.
pub fn records(mut attempts: Vec<KeptAttempt>) -> Vec<StepRecord> {
    attempts.sort_by_key(|kept| kept.attempt.attempt);
    let mut order = Vec::new();
    let mut steps: HashMap<StepKey, StepRecord> = HashMap::new();
    for KeptAttempt { attempt, discarded } in attempts {
        let record = steps.entry(attempt.key.clone()).or_insert_with(|| {
            order.push(attempt.key.clone());
            StepRecord {
                key: attempt.key.clone(),
                status: StepStatus::Pending,
                attempts: 0,
                failures: 0,
                is_discarded: false,
                started_at: attempt.started_at,
                finished_at: None,
            }
        });
        record.attempts = attempt.attempt;
        record.is_discarded = discarded;
        if discarded {
            (record.status, record.failures, record.finished_at) = (StepStatus::Pending, 0, None);
            continue;
        }
        record.failures += u32::from(attempt.outcome == AttemptOutcome::Failed);
        record.status = match (attempt.outcome, attempt.retry_at, attempt.failure) {
            (AttemptOutcome::Succeeded, ..) => StepStatus::Succeeded(attempt.output.unwrap_or_default()),
            (AttemptOutcome::Failed, Some(retry_at), _) => StepStatus::Retrying { retry_at },
            (AttemptOutcome::Failed | AttemptOutcome::Cancelled, None, Some(failure)) => StepStatus::Failed(failure),
            _ => StepStatus::Pending,
        };
        record.finished_at =
            matches!(record.status, StepStatus::Succeeded(_) | StepStatus::Failed(_)).then_some(attempt.finished_at);
    }
    order.into_iter().filter_map(|key| steps.remove(&key)).collect()
}

/// How a child run ended, as its parent is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildEnd {
    Succeeded(Value),
    Failed(Failure),
    Cancelled(String),
}

/// The signal that tells a parent of its child's end.
pub fn child_signal(child: RunId) -> String {
    format!("child/{child}")
}

/// The steps as people look at them, in the order they first began.
pub fn views(attempts: Vec<KeptAttempt>, open: Vec<OpenStep>, run_has_ended: bool) -> Vec<StepView> {
    let mut positions: HashMap<StepKey, u32> = HashMap::new();
    let mut shown: HashMap<StepKey, Vec<AttemptView>> = HashMap::new();
    let mut set_aside: HashMap<StepKey, (u32, bool)> = HashMap::new();
    for kept in &attempts {
        let attempt = &kept.attempt;
        let newest = set_aside.entry(attempt.key.clone()).or_default();
        *newest = (*newest).max((attempt.attempt, kept.discarded));
        positions.insert(attempt.key.clone(), attempt.position);
        shown.entry(attempt.key.clone()).or_default().push(AttemptView {
            attempt: attempt.attempt,
            started_at: attempt.started_at,
            finished_at: Some(attempt.finished_at),
            outcome: Some(attempt.outcome),
            failure: attempt.failure.clone(),
        });
    }
    let mut views: Vec<StepView> = records(attempts).into_iter().map(step_view).collect();
    for open in open {
        let status = if open.wait.is_some() { StepPhase::Waiting } else { StepPhase::Running };
        let retry_at = open.wait.as_ref().and_then(|wait| wait.until);
        positions.insert(open.key.clone(), open.position);
        shown.entry(open.key.clone()).or_default().push(AttemptView {
            attempt: open.attempt,
            started_at: open.started_at,
            finished_at: None,
            outcome: None,
            failure: None,
        });
        match views.iter_mut().find(|view| view.is(&open.key)) {
            Some(view) => {
                (view.status, view.retry_at, view.finished_at, view.output, view.failure) =
                    (status, retry_at, None, None, None);
            }
            None => views.push(StepView {
                scope: open.key.scope,
                name: open.key.name,
                occurrence: open.key.occurrence,
                status,
                started_at: open.started_at,
                finished_at: None,
                retry_at,
                output: None,
                failure: None,
                attempts: Vec::new(),
            }),
        }
    }
    // Set aside by a retry and not reached again: they are not part of how the run ended.
    views.retain(|view| !(run_has_ended && set_aside.get(&view.key()).is_some_and(|(_, discarded)| *discarded)));
    for view in &mut views {
        view.attempts = shown.remove(&view.key()).unwrap_or_default();
        view.attempts.sort_by_key(|attempt| attempt.attempt);
        if view.status == StepPhase::Retrying {
            view.failure = view.attempts.last().and_then(|attempt| attempt.failure.clone());
        }
    }
    views.sort_by_key(|view| positions.get(&view.key()).copied());
    views
}

fn step_view(record: StepRecord) -> StepView {
    let (status, retry_at, output, failure) = match record.status {
        StepStatus::Pending => (StepPhase::Pending, None, None, None),
        StepStatus::Retrying { retry_at } => (StepPhase::Retrying, Some(retry_at), None, None),
        StepStatus::Succeeded(output) => (StepPhase::Succeeded, None, Some(output), None),
        StepStatus::Failed(failure) => (StepPhase::Failed, None, None, Some(failure)),
    };
    StepView {
        scope: record.key.scope,
        name: record.key.name,
        occurrence: record.key.occurrence,
        status,
        started_at: record.started_at,
        finished_at: record.finished_at,
        retry_at,
        output,
        failure,
        attempts: Vec::new(),
    }
}

impl StepView {
    pub fn key(&self) -> StepKey {
        StepKey { scope: self.scope.clone(), name: self.name.clone(), occurrence: self.occurrence }
    }

    fn is(&self, key: &StepKey) -> bool {
        self.scope == key.scope && self.name == key.name && self.occurrence == key.occurrence
    }
}
