//! The port to where runs live. One implementation promises what is written here and proves it
//! by the conformance tests in `store`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::bell::Bell;
use crate::failure::Failure;
use crate::ids::{Epoch, RunId, WorkerId};
use crate::run::{NewRun, Started};
use crate::step::StepKey;

/// Runs and their steps, power-safe: what a method has returned survives pulling the plug.
///
/// Every write of a run carries the epoch of its lease and is refused with
/// [`JournalError::Fenced`] when the run has been claimed anew or has ended.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Starts a run, or returns the one the same deduplication id started.
    async fn start(&self, run: NewRun) -> Result<Started, JournalError>;

    /// Takes at most `limit` runs that may go on now: queued ones whose key is free, parked ones
    /// whose time has come, running ones whose lease has expired. Raises each one's epoch, marks
    /// attempts that were cut off as interrupted, and returns them with their history.
    async fn claim(&self, request: &ClaimRequest) -> Result<Claims, JournalError>;

    /// Writes steps and at most one transition, all or nothing, and renews the lease.
    async fn record(&self, entry: Entry) -> Result<(), JournalError>;

    /// Renews the leases held; says which are lost and which are asked to stop.
    async fn renew(&self, held: &[Held], until: DateTime<Utc>) -> Result<Vec<Renewal>, JournalError>;

    /// Ends the leases held under a worker's name, except those of one incarnation; the runs can
    /// be claimed at once. Returns how many there were.
    async fn end_leases(&self, worker: &str, except: Option<Uuid>, now: DateTime<Utc>) -> Result<u64, JournalError>;

    /// Asks a run to stop: one that has not begun ends at once, others see it in their step.
    async fn cancel(&self, run: RunId, reason: &str, now: DateTime<Utc>) -> Result<(), JournalError>;

    /// Lets a failed or cancelled run go on from its first failed step.
    async fn retry(&self, run: RunId) -> Result<(), JournalError>;

    /// Rung after every commit that may let a run go on.
    fn bell(&self) -> &Bell;
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JournalError {
    /// The lease is lost: somebody else has the run, or it has ended. Record nothing, stop.
    #[error("run {run} is no longer held at epoch {}", epoch.0)]
    Fenced { run: RunId, epoch: Epoch },
    #[error("run {0} does not exist")]
    NotFound(RunId),
    /// The run's state forbids it; the sentence says why.
    #[error("{0}")]
    Illegal(String),
    /// The database cannot be used right now.
    #[error("the journal cannot be used: {0}")]
    Unavailable(String),
}

#[derive(Debug, Clone)]
pub struct ClaimRequest {
    pub worker: WorkerId,
    pub workflows: Vec<String>,
    pub limit: usize,
    pub now: DateTime<Utc>,
    pub lease_until: DateTime<Utc>,
}

#[derive(Debug, Clone, Default)]
pub struct Claims {
    pub runs: Vec<Claim>,
    /// When the next parked run or expiring lease is due, if nothing was claimed.
    pub next_at: Option<DateTime<Utc>>,
}

/// A run in a worker's hands.
#[derive(Debug, Clone)]
pub struct Claim {
    pub id: RunId,
    pub epoch: Epoch,
    pub workflow: String,
    pub version: u32,
    pub input: Value,
    pub key: Option<String>,
    /// When the run was started.
    pub started_at: DateTime<Utc>,
    /// When this claim was asked for.
    pub claimed_at: DateTime<Utc>,
    /// Set when the run was asked to stop.
    pub cancel: Option<String>,
    pub history: Vec<StepRecord>,
}

/// What the journal knows of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    pub key: StepKey,
    pub status: StepStatus,
    /// Attempts begun so far.
    pub attempts: u32,
    /// Attempts that failed; interrupted ones do not count.
    pub failures: u32,
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

/// One write to a run.
#[derive(Debug, Clone)]
pub struct Entry {
    pub run: RunId,
    pub epoch: Epoch,
    pub at: DateTime<Utc>,
    pub lease_until: DateTime<Utc>,
    pub steps: Vec<StepChange>,
    pub transition: Option<Transition>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum StepChange {
    /// `position` orders the run's steps as they first began.
    Began {
        key: StepKey,
        position: u32,
        attempt: u32,
        at: DateTime<Utc>,
    },
    Succeeded {
        key: StepKey,
        attempt: u32,
        at: DateTime<Utc>,
        output: Value,
    },
    /// `retry_at` is `None` when the failure is final.
    Failed {
        key: StepKey,
        attempt: u32,
        at: DateTime<Utc>,
        failure: Failure,
        retry_at: Option<DateTime<Utc>>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Transition {
    /// Give the lease back; go on at `wake_at`.
    Park {
        wake_at: DateTime<Utc>,
        reason: String,
    },
    Succeeded(Value),
    Failed(Failure),
    Cancelled(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub run: RunId,
    pub epoch: Epoch,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    Lost(Held),
    Cancel(RunId, String),
}

impl StepChange {
    pub fn key(&self) -> &StepKey {
        match self {
            Self::Began { key, .. } | Self::Succeeded { key, .. } | Self::Failed { key, .. } => key,
        }
    }
}
