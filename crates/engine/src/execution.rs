//! One execution of a run: what its contexts share, and the one place that writes its journal.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::active::{Cancellation, Lease};
use crate::bell::RunEvent;
use crate::clock::Clock;
use crate::context::StepTime;
use crate::failure::Failure;
use crate::history::{AttemptOutcome, FinishedAttempt, OpenStep, StepRecord, StepStatus};
use crate::ids::{Epoch, RunId};
use crate::journal::{Claim, Entry, Journal, JournalError, Signal, Transition};
use crate::run::NewRun;
use crate::step::StepKey;

/// How the function's execution ended before the function did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The run went back to the journal.
    Parked,
    /// The lease was lost.
    Fenced,
    /// The run has failed: the journal cannot keep what it wrote.
    Refused,
}

/// Why a write did not happen.
pub(crate) enum CommitError {
    Exit(Exit),
    /// A child run was refused; nothing was written.
    Refused(String),
}

pub(crate) struct Execution {
    pub(crate) run: RunId,
    pub(crate) epoch: Epoch,
    pub(crate) version: u32,
    row: i64,
    parent: Option<RunId>,
    pub(crate) key: Option<String>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lease: Duration,
    pub(crate) lease_held: Arc<Lease>,
    pub(crate) cancellation: Arc<Cancellation>,
    pub(crate) drain: CancellationToken,
    state: Mutex<State>,
    /// Something is to be written that no write has taken along yet.
    dirty: Notify,
    /// One write of a run at a time, so that none overtakes the run's end.
    writing: tokio::sync::Mutex<()>,
    /// Counts what may let a waiting branch go on or park.
    activity: watch::Sender<u64>,
    changes: watch::Sender<Option<String>>,
    exit: watch::Sender<Option<Exit>>,
}

/// What a claim brings, and what the worker lends to its execution.
pub(crate) struct Loan {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lease: Duration,
    pub(crate) lease_held: Arc<Lease>,
    pub(crate) cancellation: Arc<Cancellation>,
    pub(crate) drain: CancellationToken,
}

#[derive(Default)]
struct State {
    history: HashMap<StepKey, StepRecord>,
    /// Steps and waits of earlier executions that this one has not come by yet.
    unvisited: HashSet<StepKey>,
    /// Waits of earlier executions.
    waits: HashMap<StepKey, OpenStep>,
    signals: Vec<Signal>,
    taken: BTreeSet<u64>,
    occurrences: HashMap<(Arc<str>, String), u32>,
    position: u32,
    open: Vec<OpenStep>,
    /// Attempts not yet written: they share the commit of the next step's start. A crash in
    /// between runs such a step again, as it would one moment earlier.
    finished: Vec<FinishedAttempt>,
    /// Raised by every change of `open` or `finished`; the journal has those up to `written`.
    revision: u64,
    written: u64,
    /// The run is about to go back to the journal: what begins now does not happen unless that fails.
    is_parking: bool,
    /// The branches that wait: until when, and whether for a signal.
    waiting: HashMap<u64, Waiting>,
    next_ticket: u64,
    timeline: Vec<StepTime>,
}

impl State {
    fn end_step(&mut self, attempt: &FinishedAttempt) {
        let ended = attempt.retry_at.is_none();
        if ended && let Some(time) = self.timeline.iter_mut().find(|time| time.key == attempt.key) {
            time.finished_at = Some(attempt.finished_at);
            time.failed = attempt.outcome != AttemptOutcome::Succeeded;
        }
        self.open.retain(|open| open.key != attempt.key);
    }
}

/// What one commit writes besides the steps that are new.
#[derive(Default)]
pub(crate) struct Write {
    pub(crate) children: Vec<NewRun>,
    /// The step that starts the children: written with them, or neither is.
    pub(crate) child_start: Option<FinishedAttempt>,
    pub(crate) transition: Option<Transition>,
}

impl Write {
    pub(crate) fn of(transition: Transition) -> Self {
        Self { transition: Some(transition), ..Self::default() }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) until: Option<DateTime<Utc>>,
    pub(crate) for_signal: bool,
}

/// What a run that would park now would wait for.
pub(crate) struct Pause {
    pub(crate) wake_at: Option<DateTime<Utc>>,
    pub(crate) for_signal: bool,
}

impl Execution {
    pub(crate) fn new(claim: &Claim, loan: Loan) -> Arc<Self> {
        let mut state = State::default();
        for step in &claim.history {
            if !step.is_discarded {
                state.unvisited.insert(step.key.clone());
            }
            state.history.insert(step.key.clone(), step.clone());
        }
        state.unvisited.extend(claim.waits.iter().map(|open| open.key.clone()));
        state.waits = claim.waits.iter().map(|open| (open.key.clone(), open.clone())).collect();
        state.open.clone_from(&claim.waits);
        state.signals.clone_from(&claim.signals);
        Arc::new(Self {
            run: claim.id,
            epoch: claim.epoch,
            version: claim.version,
            row: claim.row,
            parent: claim.parent,
            key: claim.key.clone(),
            started_at: claim.started_at,
            journal: loan.journal,
            clock: loan.clock,
            lease: loan.lease,
            lease_held: loan.lease_held,
            cancellation: loan.cancellation,
            drain: loan.drain,
            state: Mutex::new(state),
            dirty: Notify::new(),
            writing: tokio::sync::Mutex::default(),
            activity: watch::Sender::new(0),
            changes: watch::Sender::new(None),
            exit: watch::Sender::new(None),
        })
    }

    /// Names the next step of that name, and says where it comes among all.
    pub(crate) fn next_key(&self, scope: &Arc<str>, name: &str) -> (StepKey, u32) {
        let mut state = self.state();
        let next = state.occurrences.entry((scope.clone(), name.to_owned())).or_default();
        let key = StepKey { scope: scope.to_string(), name: name.to_owned(), occurrence: *next };
        *next += 1;
        let position = state.position;
        state.position += 1;
        state.unvisited.remove(&key);
        (key, position)
    }

    /// What earlier executions have recorded of the step.
    pub(crate) fn known(&self, key: &StepKey) -> Option<StepRecord> {
        let mut state = self.state();
        let step = state.history.remove(key)?;
        let failed = matches!(step.status, StepStatus::Failed(_));
        let finished_at = step.finished_at.filter(|_| failed || matches!(step.status, StepStatus::Succeeded(_)));
        state.timeline.push(StepTime { key: key.clone(), started_at: step.started_at, finished_at, failed });
        Some(step)
    }

    /// Whether earlier executions went further than this one is now, in that scope.
    pub(crate) fn is_replaying(&self, scope: &str) -> bool {
        self.state().unvisited.iter().any(|key| key.scope == scope)
    }

    /// A wait that was open when the run was last parked or cut off.
    pub(crate) fn known_wait(&self, key: &StepKey) -> Option<OpenStep> {
        self.state().waits.remove(key)
    }

    /// The step is in progress. True when what came before it must be written first.
    pub(crate) fn begin(&self, step: OpenStep) -> bool {
        let mut state = self.state();
        if !state.timeline.iter().any(|time| time.key == step.key) {
            state.timeline.push(StepTime {
                key: step.key.clone(),
                started_at: step.started_at,
                finished_at: None,
                failed: false,
            });
        }
        self.publish(|run, key| RunEvent::Step { run, key, step: step.key.to_string() });
        state.open.retain(|open| open.key != step.key);
        state.open.push(step);
        state.revision += 1;
        let must_write = state.is_parking || !state.finished.is_empty();
        drop(state);
        self.journal.bell().forget_progress(self.run);
        self.changes.send_replace(None);
        if !must_write {
            self.dirty.notify_one();
        }
        must_write
    }

    /// The next commit writes, although nothing is new: it asks whether the lease still holds.
    pub(crate) fn write_anew(&self) {
        self.state().revision += 1;
    }

    /// The step's attempt has ended.
    pub(crate) fn finish(&self, attempt: FinishedAttempt) {
        let mut state = self.state();
        state.end_step(&attempt);
        state.finished.push(attempt);
        state.revision += 1;
        drop(state);
        self.journal.bell().forget_progress(self.run);
        self.changes.send_replace(None);
        self.dirty.notify_one();
        self.stir();
    }

    /// The oldest signal of that name that no wait has taken yet, that was sent in time, and that can
    /// be read; or why the newest of those that came cannot be.
    pub(crate) fn take_signal<T: DeserializeOwned>(
        &self,
        name: &str,
        until: Option<DateTime<Utc>>,
    ) -> Result<(Signal, T), Option<String>> {
        let mut state = self.state();
        let is_in_time = |signal: &Signal| until.is_none_or(|until| signal.sent_at <= until);
        let mut unreadable = None;
        for signal in &state.signals {
            if signal.name != name || !is_in_time(signal) || state.taken.contains(&signal.number) {
                continue;
            }
            match T::deserialize(&signal.payload) {
                Ok(value) => {
                    let signal = signal.clone();
                    state.taken.insert(signal.number);
                    return Ok((signal, value));
                }
                Err(e) => unreadable = Some(e.to_string()),
            }
        }
        Err(unreadable)
    }

    /// An earlier execution has recorded that it took this signal.
    pub(crate) fn note_taken(&self, number: u64) {
        self.state().taken.insert(number);
    }

    pub(crate) fn signals_seen(&self) -> u64 {
        self.state().signals.last().map_or(0, |signal| signal.number)
    }

    pub(crate) fn enter_wait(self: &Arc<Self>, waiting: Waiting) -> WaitTicket {
        let mut state = self.state();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.insert(ticket, waiting);
        drop(state);
        self.stir();
        WaitTicket { execution: self.clone(), ticket }
    }

    /// What the run would wait for, if nothing of it is being done.
    pub(crate) fn pause(&self) -> Option<Pause> {
        let state = self.state();
        if state.open.iter().any(|open| open.wait.is_none()) {
            return None;
        }
        Some(Pause {
            wake_at: state.waiting.values().filter_map(|waiting| waiting.until).min(),
            for_signal: state.waiting.values().any(|waiting| waiting.for_signal),
        })
    }

    pub(crate) fn activity(&self) -> watch::Receiver<u64> {
        self.activity.subscribe()
    }

    fn stir(&self) {
        self.activity.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(crate) fn timeline(&self) -> Vec<StepTime> {
        self.state().timeline.clone()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<Option<String>> {
        self.changes.subscribe()
    }

    pub(crate) fn progress(&self, text: String) {
        self.publish(|run, key| RunEvent::Progress { run, key, text: text.clone() });
        self.changes.send_replace(Some(text));
    }

    fn publish(&self, event: impl FnOnce(RunId, Option<String>) -> RunEvent) {
        self.journal.bell().publish(event(self.run, self.key.clone()));
    }

    /// Waits for something that no write has taken along.
    pub(crate) async fn is_dirty(&self) {
        self.dirty.notified().await;
    }

    /// Writes, or lets the execution end.
    pub(crate) async fn commit_or_exit(&self) {
        match self.commit(Write::default()).await {
            Ok(()) => {}
            Err(CommitError::Exit(exit)) => self.leave(exit).await,
            // Without children there is nothing to refuse.
            Err(CommitError::Refused(_)) => self.leave(Exit::Fenced).await,
        }
    }

    /// Gives the run back to the journal. Does not return: the executor ends this execution.
    pub(crate) async fn park<T>(&self, wake_at: Option<DateTime<Utc>>, for_signal: bool, reason: &str) -> T {
        self.state().is_parking = true;
        let signals_seen = for_signal.then(|| self.signals_seen());
        let cancel_seen = self.cancellation.is_requested();
        let parked = Transition::Park { wake_at, signals_seen, cancel_seen, reason: reason.to_owned() };
        let exit = match self.commit(Write::of(parked)).await {
            Ok(()) => Exit::Parked,
            Err(CommitError::Exit(exit)) => exit,
            Err(CommitError::Refused(_)) => Exit::Fenced,
        };
        self.leave(exit).await
    }

    /// Writes what is new in one commit. Tries until the journal can be used again; the lease
    /// decides whether the write still counts then.
    pub(crate) async fn commit(&self, write: Write) -> Result<(), CommitError> {
        let Write { children, child_start, mut transition } = write;
        let mut is_refused = false;
        let _one_at_a_time = self.writing.lock().await;
        // Taken out only once they are written: this future may be dropped while it waits.
        let (mut open, mut finished, revision, written) = {
            let state = self.state();
            (state.open.clone(), state.finished.clone(), state.revision, state.written)
        };
        if revision == written && children.is_empty() && transition.is_none() {
            return Ok(());
        }
        let taken = finished.len();
        if let Some(start) = &child_start {
            open.retain(|open| open.key != start.key);
            finished.push(start.clone());
        }
        if matches!(transition, Some(Transition::Succeeded(_) | Transition::Failed(_) | Transition::Cancelled(_))) {
            // A branch that was dropped leaves its step behind.
            let now = self.clock.now();
            finished.extend(open.drain(..).map(|open| FinishedAttempt::interrupted(open, now)));
        }
        let mut wait = Duration::from_millis(50);
        loop {
            let at = self.clock.now();
            let lease_until = at + self.lease;
            let entry = Entry {
                run: self.run,
                row: self.row,
                key: self.key.clone(),
                epoch: self.epoch,
                parent: self.parent,
                at,
                lease_until,
                open: open.clone(),
                finished: finished.clone(),
                children: children.clone(),
                transition: transition.clone(),
            };
            match self.journal.record(entry).await {
                Ok(()) => {
                    let mut state = self.state();
                    state.finished.drain(..taken);
                    state.written = revision;
                    if let Some(start) = child_start {
                        state.end_step(&start);
                    }
                    self.lease_held.extend(lease_until);
                    drop(state);
                    return if is_refused { Err(CommitError::Exit(Exit::Refused)) } else { Ok(()) };
                }
                Err(JournalError::Fenced { .. }) => {
                    debug!(run = %self.run, "the lease is lost; nothing more is recorded");
                    return Err(CommitError::Exit(Exit::Fenced));
                }
                Err(JournalError::Unavailable(reason)) => {
                    warn!(run = %self.run, %reason, "the journal cannot be written; trying again");
                    self.clock.sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(2));
                }
                Err(e @ (JournalError::Illegal(_) | JournalError::KeyTaken { .. })) if !children.is_empty() => {
                    return Err(CommitError::Refused(e.to_string()));
                }
                Err(JournalError::Illegal(reason)) if !is_refused => {
                    // Claimed again, it would come to the same write, again and again.
                    error!(run = %self.run, reason, "the journal refuses a write; the run fails");
                    is_refused = true;
                    (open, finished) = (Vec::new(), Vec::new());
                    let reason = format!("the journal cannot keep what the run has done: {reason}");
                    transition = Some(Transition::Failed(Failure::permanent(reason)));
                }
                Err(e @ (JournalError::NotFound(_) | JournalError::Illegal(_) | JournalError::KeyTaken { .. })) => {
                    error!(run = %self.run, error = %e, "the journal refuses a write; the run is left");
                    return Err(CommitError::Exit(Exit::Fenced));
                }
            }
        }
    }

    pub(crate) async fn leave<T>(&self, exit: Exit) -> T {
        self.exit.send_replace(Some(exit));
        // The executor drops this future now.
        pending().await
    }

    pub(crate) async fn exited(&self) -> Exit {
        let mut exit = self.exit.subscribe();
        // The sender lives in self, so this cannot end by a closed channel.
        let exit = exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit);
        exit.unwrap_or(Exit::Fenced)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A branch of the run waits as long as this lives.
pub(crate) struct WaitTicket {
    execution: Arc<Execution>,
    ticket: u64,
}

impl Drop for WaitTicket {
    fn drop(&mut self) {
        self.execution.state().waiting.remove(&self.ticket);
    }
}
