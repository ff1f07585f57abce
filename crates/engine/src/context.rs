use std::collections::HashMap;
use std::future::{Future, pending};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info, info_span, warn};

use crate::active::Cancellation;
use crate::bell::RunEvent;
use crate::clock::Clock;
use crate::failure::{Failure, FailureKind};
use crate::ids::{Epoch, RunId};
use crate::journal::{Entry, Journal, JournalError, StepChange, StepRecord, StepStatus, Transition};
use crate::step::{Backoff, Step, StepKey};

/// A wait up to this long is waited out in place; a longer one parks the run.
const SHORT_WAIT: Duration = Duration::from_secs(5);

/// What a workflow's function is given: its steps, and what it may know of its run.
#[derive(Clone)]
pub struct Context {
    shared: Arc<Shared>,
    scope: Arc<str>,
    shielded: bool,
}

/// When a step of the run began and ended; see [`Context::timeline`].
#[derive(Debug, Clone, PartialEq)]
pub struct StepTime {
    pub key: StepKey,
    pub started_at: DateTime<Utc>,
    /// `None` while it runs or waits for a retry.
    pub finished_at: Option<DateTime<Utc>>,
    pub failed: bool,
}

/// How the function's execution ended before the function did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The run went back to the journal.
    Parked,
    /// The lease was lost.
    Fenced,
}

pub(crate) struct Shared {
    pub(crate) run: RunId,
    pub(crate) epoch: Epoch,
    pub(crate) key: Option<String>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lease: Duration,
    pub(crate) cancellation: Arc<Cancellation>,
    pub(crate) drain: CancellationToken,
    history: Mutex<HashMap<StepKey, StepRecord>>,
    occurrences: Mutex<HashMap<(Arc<str>, String), u32>>,
    position: AtomicU32,
    /// Finished steps not yet written: they share the commit of the next step's start. A crash
    /// in between runs such a step again, as it would one moment earlier.
    finished: Mutex<Vec<StepChange>>,
    pub(crate) has_finished: Notify,
    /// One write of a run at a time, so that none overtakes the run's end.
    writing: tokio::sync::Mutex<()>,
    timeline: Mutex<Vec<StepTime>>,
    changes: watch::Sender<Option<String>>,
    exit: Mutex<Option<Exit>>,
    exited: Notify,
}

pub(crate) struct Seed {
    pub(crate) run: RunId,
    pub(crate) epoch: Epoch,
    pub(crate) key: Option<String>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) history: Vec<StepRecord>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lease: Duration,
    pub(crate) cancellation: Arc<Cancellation>,
    pub(crate) drain: CancellationToken,
}

impl Context {
    pub(crate) fn new(seed: Seed) -> (Self, Arc<Shared>) {
        let shared = Arc::new(Shared {
            run: seed.run,
            epoch: seed.epoch,
            key: seed.key,
            started_at: seed.started_at,
            journal: seed.journal,
            clock: seed.clock,
            lease: seed.lease,
            cancellation: seed.cancellation,
            drain: seed.drain,
            history: Mutex::new(seed.history.into_iter().map(|step| (step.key.clone(), step)).collect()),
            occurrences: Mutex::default(),
            position: AtomicU32::new(0),
            finished: Mutex::default(),
            has_finished: Notify::new(),
            writing: tokio::sync::Mutex::default(),
            timeline: Mutex::default(),
            changes: watch::Sender::new(None),
            exit: Mutex::default(),
            exited: Notify::new(),
        });
        (Self { shared: shared.clone(), scope: Arc::from(""), shielded: false }, shared)
    }

    pub fn run_id(&self) -> RunId {
        self.shared.run
    }

    /// When the run was started, the same in every execution of it.
    pub fn started_at(&self) -> DateTime<Utc> {
        self.shared.started_at
    }

    /// An effect with a name. Its result is persisted; once it has one, it is never run again.
    pub fn step<'a, F>(&'a self, name: &'a str, effect: F) -> Step<'a, F> {
        Step { context: self, name, effect, backoff: Backoff::NONE, timeout: None }
    }

    /// A context whose steps run although the run is cancelled: for clean-up. The scope keeps
    /// their names apart from the others'.
    #[must_use]
    pub fn shielded(&self, scope: &str) -> Self {
        Self { shared: self.shared.clone(), scope: self.sub_scope(scope), shielded: true }
    }

    /// A context whose steps have names of their own: for the branches of a parallel part.
    #[must_use]
    pub fn scope(&self, scope: &str) -> Self {
        Self { shared: self.shared.clone(), scope: self.sub_scope(scope), shielded: self.shielded }
    }

    /// The engine's time. Only for use inside a step: outside, it would differ from one execution
    /// of the run to the next.
    pub fn now(&self) -> DateTime<Utc> {
        self.shared.clock.now()
    }

    /// Says how the present step is getting on. Shown, not persisted.
    pub fn progress(&self, text: impl Into<String>) {
        let (shared, text) = (&self.shared, text.into());
        shared.publish(|run, key| RunEvent::Progress { run, key, text: text.clone() });
        shared.changes.send_replace(Some(text));
    }

    /// The steps so far, in the order they first began; also those of earlier executions.
    pub fn timeline(&self) -> Vec<StepTime> {
        lock(&self.shared.timeline).clone()
    }

    /// Changes whenever a step begins, ends or reports progress; holds the present step's last
    /// progress.
    pub fn changes(&self) -> watch::Receiver<Option<String>> {
        self.shared.changes.subscribe()
    }

    fn sub_scope(&self, scope: &str) -> Arc<str> {
        if self.scope.is_empty() { Arc::from(scope) } else { Arc::from(format!("{}/{scope}", self.scope)) }
    }

    pub(crate) async fn run_step<F, Fut, T, E>(
        &self,
        name: &str,
        mut effect: F,
        backoff: Backoff,
        timeout: Option<Duration>,
    ) -> Result<T, Failure>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        T: Serialize + DeserializeOwned,
        E: Into<Failure>,
    {
        let shared = &self.shared;
        let key = shared.next_key(&self.scope, name);
        let position = shared.position.fetch_add(1, Ordering::Relaxed);
        let (mut attempts, mut failures) = (0, 0);
        if let Some(known) = shared.known(&key) {
            (attempts, failures) = (known.attempts, known.failures);
            shared.note_known(&known);
            match known.status {
                StepStatus::Succeeded(output) => return recorded(&key, output),
                StepStatus::Failed(failure) => return Err(failure),
                StepStatus::Retrying { retry_at } => self.wait_for_retry(retry_at, Vec::new()).await?,
                StepStatus::Pending => {}
            }
        }
        loop {
            if self.cancelled() {
                return Err(Failure::cancelled(shared.cancellation.reason()));
            }
            if shared.drain.is_cancelled() {
                return shared.park(Vec::new(), shared.clock.now(), "handed back by a worker that is stopping").await;
            }
            attempts += 1;
            let at = shared.clock.now();
            let began = StepChange::Began { key: key.clone(), position, attempt: attempts, at };
            shared.commit_or_exit(vec![began], None).await;
            shared.note_began(&key, at);
            shared.publish(|run, run_key| RunEvent::Step { run, key: run_key, step: key.to_string() });

            let span = info_span!("step", step = %key, attempt = attempts);
            info!(parent: &span, "step begins");
            let outcome = self.attempt(&mut effect, timeout, &key).instrument(span).await;
            let at = shared.clock.now();
            let failure = match outcome {
                Ok(value) => {
                    let output = serde_json::to_value(&value)
                        .map_err(|e| Failure::permanent(format!("the result of step {key} is not JSON: {e}")))?;
                    shared.finish(StepChange::Succeeded { key, attempt: attempts, at, output });
                    return Ok(value);
                }
                Err(failure) => failure,
            };
            let wait = match failure.kind {
                FailureKind::Transient { retry_after } if failures < backoff.retries => {
                    failures += 1;
                    backoff.wait(failures).max(retry_after.unwrap_or_default())
                }
                _ => {
                    let failed = failure.clone();
                    shared.finish(StepChange::Failed { key, attempt: attempts, at, failure: failed, retry_at: None });
                    return Err(failure);
                }
            };
            let retry_at = at + wait;
            warn!(step = %key, attempt = attempts, wait_ms = wait.as_millis() as u64, %failure, "step is retried");
            metrics::counter!("workflow_step_retries_total", "step" => key.name.clone()).increment(1);
            let failed =
                StepChange::Failed { key: key.clone(), attempt: attempts, at, failure, retry_at: Some(retry_at) };
            if let Err(cancelled) = self.wait_for_retry(retry_at, vec![failed]).await {
                let (at, failure) = (shared.clock.now(), cancelled.clone());
                shared.finish(StepChange::Failed { key, attempt: attempts, at, failure, retry_at: None });
                return Err(cancelled);
            }
        }
    }

    async fn attempt<F, Fut, T, E>(
        &self,
        effect: &mut F,
        timeout: Option<Duration>,
        key: &StepKey,
    ) -> Result<T, Failure>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Into<Failure>,
    {
        let shared = &self.shared;
        let expired = async {
            match timeout {
                Some(timeout) => shared.clock.sleep(timeout).await,
                None => pending().await,
            }
        };
        let cancelled = async {
            if self.shielded {
                pending::<()>().await;
            }
            shared.cancellation.requested().await;
        };
        tokio::select! {
            biased;
            () = cancelled => Err(Failure::cancelled(shared.cancellation.reason())),
            outcome = effect() => outcome.map_err(Into::into),
            () = expired => Err(Failure::transient(format!(
                "step {key} did not finish within {:?}",
                timeout.unwrap_or_default()
            ))),
        }
    }

    /// Writes `changes` and waits until `retry_at`: in place when that is soon, else parked.
    async fn wait_for_retry(&self, retry_at: DateTime<Utc>, changes: Vec<StepChange>) -> Result<(), Failure> {
        let shared = &self.shared;
        let wait = (retry_at - shared.clock.now()).to_std().unwrap_or_default();
        if wait > SHORT_WAIT && !self.cancelled() {
            return shared.park(changes, retry_at, "waits to retry a step").await;
        }
        shared.commit_or_exit(changes, None).await;
        let cancelled = async {
            if self.shielded {
                pending::<()>().await;
            }
            shared.cancellation.requested().await;
        };
        tokio::select! {
            () = shared.clock.sleep_until(retry_at) => Ok(()),
            () = cancelled => Err(Failure::cancelled(shared.cancellation.reason())),
            () = shared.drain.cancelled() => {
                shared.park(Vec::new(), retry_at, "handed back by a worker that is stopping").await
            }
        }
    }

    fn cancelled(&self) -> bool {
        !self.shielded && self.shared.cancellation.is_requested()
    }
}

fn recorded<T: DeserializeOwned>(key: &StepKey, output: serde_json::Value) -> Result<T, Failure> {
    serde_json::from_value(output).map_err(|e| {
        Failure::permanent(format!("what step {key} recorded cannot be read by this version of the program: {e}"))
    })
}

impl Shared {
    fn next_key(&self, scope: &Arc<str>, name: &str) -> StepKey {
        let mut occurrences = lock(&self.occurrences);
        let next = occurrences.entry((scope.clone(), name.to_owned())).or_default();
        let key = StepKey { scope: scope.to_string(), name: name.to_owned(), occurrence: *next };
        *next += 1;
        key
    }

    fn known(&self, key: &StepKey) -> Option<StepRecord> {
        lock(&self.history).get(key).cloned()
    }

    fn note_known(&self, step: &StepRecord) {
        let failed = matches!(step.status, StepStatus::Failed(_));
        let finished_at = step.finished_at.filter(|_| failed || matches!(step.status, StepStatus::Succeeded(_)));
        lock(&self.timeline).push(StepTime { key: step.key.clone(), started_at: step.started_at, finished_at, failed });
    }

    fn note_began(&self, key: &StepKey, at: DateTime<Utc>) {
        let mut timeline = lock(&self.timeline);
        if !timeline.iter().any(|step| step.key == *key) {
            timeline.push(StepTime { key: key.clone(), started_at: at, finished_at: None, failed: false });
        }
        drop(timeline);
        self.changes.send_replace(None);
    }

    fn note_finished(&self, change: &StepChange) {
        let (at, failed) = match change {
            StepChange::Succeeded { at, .. } => (*at, false),
            StepChange::Failed { at, .. } => (*at, true),
            StepChange::Began { .. } => return,
        };
        if let Some(step) = lock(&self.timeline).iter_mut().find(|step| step.key == *change.key()) {
            (step.finished_at, step.failed) = (Some(at), failed);
        }
        self.changes.send_replace(None);
    }

    fn finish(&self, change: StepChange) {
        self.note_finished(&change);
        lock(&self.finished).push(change);
        self.has_finished.notify_one();
    }

    pub(crate) fn publish(&self, event: impl FnOnce(RunId, Option<String>) -> RunEvent) {
        self.journal.bell().publish(event(self.run, self.key.clone()));
    }

    /// Writes what is due, or ends this execution: the caller's future is not polled again.
    async fn commit_or_exit(&self, changes: Vec<StepChange>, transition: Option<Transition>) {
        if let Err(exit) = self.commit(changes, transition).await {
            self.leave(exit).await
        }
    }

    async fn park<T>(&self, changes: Vec<StepChange>, wake_at: DateTime<Utc>, reason: &str) -> Result<T, Failure> {
        let parked = Transition::Park { wake_at, reason: reason.to_owned() };
        self.commit_or_exit(changes, Some(parked)).await;
        self.leave(Exit::Parked).await
    }

    /// Writes finished steps, `changes` and `transition` in one commit. Tries until the journal
    /// can be used again; the lease decides whether the write still counts then.
    pub(crate) async fn commit(&self, changes: Vec<StepChange>, transition: Option<Transition>) -> Result<(), Exit> {
        let _one_at_a_time = self.writing.lock().await;
        // Taken out only once they are written: this future may be dropped while it waits.
        let mut steps = lock(&self.finished).clone();
        let finished = steps.len();
        steps.extend(changes);
        if steps.is_empty() && transition.is_none() {
            return Ok(());
        }
        let mut wait = Duration::from_millis(50);
        loop {
            let at = self.clock.now();
            let entry = Entry {
                run: self.run,
                epoch: self.epoch,
                at,
                lease_until: at + self.lease,
                steps: steps.clone(),
                transition: transition.clone(),
            };
            match self.journal.record(entry).await {
                Ok(()) => {
                    lock(&self.finished).drain(..finished);
                    return Ok(());
                }
                Err(JournalError::Fenced { .. }) => {
                    debug!(run = %self.run, "the lease is lost; nothing more is recorded");
                    return Err(Exit::Fenced);
                }
                Err(JournalError::Unavailable(reason)) => {
                    warn!(run = %self.run, %reason, "the journal cannot be written; trying again");
                    self.clock.sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(2));
                }
                Err(e @ (JournalError::NotFound(_) | JournalError::Illegal(_))) => {
                    error!(run = %self.run, error = %e, "the journal refused a write; the run is left");
                    return Err(Exit::Fenced);
                }
            }
        }
    }

    async fn leave<T>(&self, exit: Exit) -> T {
        *lock(&self.exit) = Some(exit);
        self.exited.notify_one();
        // The executor drops this future now.
        pending().await
    }

    pub(crate) async fn exited(&self) -> Exit {
        loop {
            if let Some(exit) = *lock(&self.exit) {
                return exit;
            }
            self.exited.notified().await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
