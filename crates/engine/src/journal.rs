//! The port to where runs live. One implementation promises what is written here and proves it
//! by the conformance tests in `store`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::bell::Bell;
use crate::failure::Failure;
use crate::history::{FinishedAttempt, OpenStep, StepRecord};
use crate::ids::{Epoch, RunId, WorkerId};
use crate::run::{NewRun, OnConflict, RunDetail, Started};
use crate::schedule::Missed;
use crate::step::StepKey;

/// Runs and their steps, power-safe: what a method has returned survives pulling the plug.
///
/// Every write of a run carries the epoch of its lease and is refused with
/// [`JournalError::Fenced`] when the run has been claimed anew or has ended.
///
/// A method that answers [`JournalError::Unavailable`] may have been carried out all the same:
/// asking again is safe, for [`Journal::signal`] only with a deduplication id.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Starts a run, or returns the one the same deduplication id (or the same run id) started.
    async fn start(&self, run: NewRun) -> Result<Started, JournalError>;

    /// Takes at most `limit` runs that may go on now: parked ones whose time has come, running
    /// ones whose lease has expired, queued ones whose key is free. Raises each one's epoch, keeps
    /// attempts that were cut off as interrupted, and returns them with their history.
    ///
    /// A run of a version that the asker does not continue is left to others, unless it could have
    /// been taken for [`ORPHANED_AFTER`] and nobody has: then it is given to who will park it with
    /// the reason. A run that cannot be read at all is parked by the journal itself, or ends when it
    /// was asked to stop; the others are returned.
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, JournalError>;

    /// When there is something to claim next: now, at the end of a wait or of a lease, or never
    /// unless somebody rings.
    async fn next_due(
        &self,
        workflows: &[WorkflowVersions],
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, JournalError>;

    /// Writes attempts and at most one transition, all or nothing, and renews the lease.
    async fn record(&self, entry: Entry) -> Result<(), JournalError>;

    /// Renews the leases held; says which are not renewed, which are lost and which are asked to
    /// stop.
    async fn renew(&self, held: &[Held], until: DateTime<Utc>) -> Result<Vec<Renewal>, JournalError>;

    /// Ends leases held under a worker's name; the runs can be claimed at once. Returns how many
    /// there were.
    async fn end_leases(&self, worker: &str, of: Incarnations, now: DateTime<Utc>) -> Result<u64, JournalError>;

    /// Asks a run and its children to stop: one that has not begun ends at once, others see it in
    /// their step.
    async fn cancel(&self, run: RunId, reason: &str, now: DateTime<Utc>) -> Result<(), JournalError>;

    /// Ends a run here and now, whatever its worker does: that one can record nothing any more.
    /// No clean-up runs. For a run that does not stop when it is asked to.
    async fn force_stop(&self, run: RunId, reason: &str, now: DateTime<Utc>) -> Result<(), JournalError>;

    /// Lets an ended run go on from `from`, or from its first failed step, whether the workflow had
    /// handled that failure or not; without a failed step, from the start of its last child that did
    /// not succeed. What it had recorded from there on is kept for people to see and not used any
    /// more, and a child that did not succeed and is still to be waited for is started anew. A run
    /// that failed otherwise (by its own error, by a panic) keeps all it has recorded.
    async fn retry(&self, run: RunId, from: Option<&StepKey>) -> Result<(), JournalError>;

    /// A new run with the same input, which has already done what the old one did before `from`.
    /// Signals sent to the old one count as sent to it.
    ///
    /// # Errors
    /// Also when a child that was started before `from` is still to be waited for and has not ended.
    async fn fork(&self, run: RunId, fork: Fork) -> Result<Started, JournalError>;

    /// Sends a signal to a run that has not ended. It is kept until the run waits for it.
    async fn signal(&self, run: RunId, signal: NewSignal, now: DateTime<Utc>) -> Result<(), JournalError>;

    /// Starts the runs of the schedule's ticks up to `now`, each exactly once however many
    /// processes ask. Returns when it ticks next.
    async fn tick(&self, schedule: &Tick, now: DateTime<Utc>) -> Result<DateTime<Utc>, JournalError>;

    /// Deletes finished runs beyond the retention, at most `limit`; never the newest of a key, nor a
    /// parent or child of one that has not ended. Returns how many.
    async fn prune(&self, retention: &Retention, now: DateTime<Utc>, limit: u32) -> Result<u64, JournalError>;

    /// How many queued runs are claimed before this one; `None` when it is not queued.
    async fn position(&self, run: RunId) -> Result<Option<u64>, JournalError>;

    /// A run as it stands, with its steps and their attempts.
    async fn find_run(&self, run: RunId) -> Result<Option<RunDetail>, JournalError>;

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
    /// [`OnConflict::Reject`](crate::OnConflict::Reject): another run that has not ended has the key.
    #[error("run {by} holds the key {key}: wait until it has ended, or cancel it")]
    KeyTaken { key: String, by: RunId },
    /// The database cannot be used right now.
    #[error("the journal cannot be used: {0}")]
    Unavailable(String),
}

/// A workflow, and the versions of it whose runs a program continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowVersions {
    pub name: String,
    pub versions: RangeInclusive<u32>,
}

impl WorkflowVersions {
    pub fn continues(&self, workflow: &str, version: u32) -> bool {
        self.name == workflow && self.versions.contains(&version)
    }
}

/// A run that could have been taken for this long, and was not, is believed to have no worker that
/// continues its version.
pub const ORPHANED_AFTER: Duration = Duration::from_secs(30);

/// Who asks for runs, and for which.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    pub worker: WorkerId,
    pub workflows: Vec<WorkflowVersions>,
    /// At most so many.
    pub limit: usize,
    pub limits: Limits,
    pub now: DateTime<Utc>,
    pub lease_until: DateTime<Utc>,
}

/// How many runs may be executed at once, over all workers of the journal. Parked runs do not
/// count. Without a limit, only the workers' slots bound it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    pub of_workflow: BTreeMap<String, usize>,
    /// For groups that are not named in `of_group`.
    pub of_each_group: Option<usize>,
    pub of_group: BTreeMap<String, usize>,
}

impl Limits {
    pub fn is_empty(&self) -> bool {
        self.of_workflow.is_empty() && self.of_each_group.is_none() && self.of_group.is_empty()
    }

    /// How many runs of a workflow; `usize::MAX` when there is no limit.
    pub fn workflow(&self, name: &str) -> usize {
        self.of_workflow.get(name).copied().unwrap_or(usize::MAX)
    }

    /// How many runs of a group; `usize::MAX` without a limit or a group.
    pub fn group(&self, name: Option<&str>) -> usize {
        let Some(name) = name else { return usize::MAX };
        self.of_group.get(name).copied().or(self.of_each_group).unwrap_or(usize::MAX)
    }
}

/// A run in a worker's hands.
#[derive(Debug, Clone)]
pub struct Claim {
    pub id: RunId,
    /// Where the journal keeps the run; its entries say it again.
    pub row: i64,
    pub epoch: Epoch,
    pub workflow: String,
    pub version: u32,
    pub input: Value,
    pub key: Option<String>,
    /// The run that started it.
    pub parent: Option<RunId>,
    /// The trace context it was started with.
    pub trace: Option<String>,
    /// When the run was started.
    pub started_at: DateTime<Utc>,
    /// When this claim was asked for.
    pub claimed_at: DateTime<Utc>,
    pub lease_until: DateTime<Utc>,
    /// Set when the run was asked to stop.
    pub cancel: Option<String>,
    pub history: Vec<StepRecord>,
    /// Waits that were open when it was parked or cut off.
    pub waits: Vec<OpenStep>,
    /// All signals sent so far, oldest first.
    pub signals: Vec<Signal>,
}

/// One write to a run.
#[derive(Debug, Clone)]
pub struct Entry {
    pub run: RunId,
    /// As the claim said.
    pub row: i64,
    pub key: Option<String>,
    pub epoch: Epoch,
    /// Told when the run ends.
    pub parent: Option<RunId>,
    pub at: DateTime<Utc>,
    pub lease_until: DateTime<Utc>,
    /// All steps in progress, not only those that are new.
    pub open: Vec<OpenStep>,
    pub finished: Vec<FinishedAttempt>,
    /// Runs to start together with this write.
    pub children: Vec<NewRun>,
    pub transition: Option<Transition>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Transition {
    /// Give the lease back; go on at `wake_at`, or at once when a signal has come that is not
    /// among the first `signals_seen`, or a request to stop that the run does not know of.
    Park {
        wake_at: Option<DateTime<Utc>>,
        /// `None` when no signal is waited for.
        signals_seen: Option<u64>,
        /// Whether it knows that it is to stop, if it is: clean-up may wait.
        cancel_seen: bool,
        reason: String,
    },
    Succeeded(Value),
    Failed(Failure),
    Cancelled(String),
}

/// A message to a run.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSignal {
    pub name: String,
    pub payload: Value,
    /// The same id is delivered once; without one, a signal that is sent again comes again.
    pub deduplication: Option<String>,
}

/// A signal as the run sees it; numbered from 1 in the order they were sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    pub number: u64,
    pub name: String,
    pub payload: Value,
    /// By the clock of whoever sent it.
    pub sent_at: DateTime<Utc>,
}

/// See [`Journal::fork`].
#[derive(Debug, Clone, PartialEq)]
pub struct Fork {
    pub id: RunId,
    /// The first step that is run again.
    pub from: StepKey,
    pub on_conflict: OnConflict,
}

/// See [`Journal::tick`]: a schedule with the times it ticks at.
#[derive(Debug, Clone)]
pub struct Tick {
    pub name: String,
    pub run: NewRun,
    pub missed: Missed,
    pub cron: crate::schedule::Cron,
}

/// How long finished runs are kept. What is beyond either bound is deleted when a worker starts and
/// once a minute, in batches; but never the newest run of a key, nor the parent or a child of a run
/// that has not ended. A deleted run's deduplication id starts a new run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Since the run's end.
    pub age: Duration,
    /// The newest so many finished runs are kept, if they are not too old.
    pub runs: u32,
}

/// Whose leases are meant, of all processes that have had a worker's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incarnations {
    Only(Uuid),
    AllBut(Uuid),
}

/// A lease that its holder believes to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub run: RunId,
    pub epoch: Epoch,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// Somebody is writing the run at this moment: its lease is as it was.
    Busy(Held),
    /// Somebody else has the run, or it has ended.
    Lost(Held),
    /// The run is asked to stop, for this reason.
    Cancel(RunId, String),
}
