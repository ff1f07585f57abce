use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;
use tracing::{Instrument, info, info_span, warn};

use crate::clock::later;
use crate::execution::{Execution, Waiting};
use crate::failure::{Failure, FailureKind};
use crate::history::{AttemptOutcome, FinishedAttempt, OpenStep, StepStatus, Wait};
use crate::ids::RunId;
use crate::step::{Backoff, Step, StepKey};

/// A wait up to this long is waited out in place; a longer one parks the run.
const SHORT_WAIT: Duration = Duration::from_secs(5);
/// How long a run that this program cannot read is left alone.
const UNREADABLE_WAIT: Duration = Duration::from_secs(300);
/// Where [`Context::patched`] keeps its marks.
const PATCHES: &str = "patch";

/// What a workflow's function is given: its steps, and what it may know of its run.
#[derive(Clone)]
pub struct Context {
    pub(crate) execution: Arc<Execution>,
    pub(crate) scope: Arc<str>,
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

impl Context {
    pub(crate) fn new(execution: Arc<Execution>) -> Self {
        Self { execution, scope: Arc::from(""), shielded: false }
    }

    pub fn run_id(&self) -> RunId {
        self.execution.run
    }

    /// When the run was started, the same in every execution of it.
    pub fn started_at(&self) -> DateTime<Utc> {
        self.execution.started_at
    }

    /// The version of the workflow the run began with.
    pub fn version(&self) -> u32 {
        self.execution.version
    }

    /// An effect with a name. Its result is persisted; once it has one, it is never run again.
    pub fn step<'a, F>(&'a self, name: &'a str, effect: F) -> Step<'a, F> {
        Step { context: self, name, effect, backoff: Backoff::NONE, timeout: None }
    }

    /// A context whose steps run although the run is cancelled: for clean-up. The scope keeps
    /// their names apart from the others'.
    #[must_use]
    pub fn shielded(&self, scope: &str) -> Self {
        Self { execution: self.execution.clone(), scope: self.sub_scope(scope), shielded: true }
    }

    /// A context whose steps have names of their own: for the branches of a parallel part.
    ///
    /// Branches are joined inside the workflow's function (`tokio::join!`, `try_join!`), not
    /// spawned: a run is parked when all of its branches wait.
    #[must_use]
    pub fn scope(&self, scope: &str) -> Self {
        Self { execution: self.execution.clone(), scope: self.sub_scope(scope), shielded: self.shielded }
    }

    /// True in runs that come here for the first time with this code, false in runs that an older
    /// code has already taken further in this scope: for a change in the middle of a workflow
    /// whose runs are in flight. The answer stays the same for a run.
    ///
    /// ```
    /// # use seatrial_engine::{Context, Failure};
    /// # async fn pay(cx: &Context) -> Result<(), Failure> {
    /// // This step was put in later; runs that were already past it go on without.
    /// if cx.patched("check-the-limit") {
    ///     cx.step("limit", || async { Ok::<_, Failure>(()) }).await?;
    /// }
    /// cx.step("pay", || async { Ok::<_, Failure>(()) }).await
    /// # }
    /// ```
    ///
    /// The question can go, and its branch stay, when no run is left that began before it was asked.
    pub fn patched(&self, id: &str) -> bool {
        let execution = &self.execution;
        let was_replaying = execution.is_replaying(&self.scope);
        let scope: Arc<str> =
            if self.scope.is_empty() { Arc::from(PATCHES) } else { Arc::from(format!("{}/{PATCHES}", self.scope)) };
        let (key, position) = execution.next_key(&scope, id);
        if execution.known(&key).is_some() {
            return true;
        }
        if was_replaying {
            return false;
        }
        let at = execution.clock.now();
        // Written together with the next step: what depends on the answer cannot be there without.
        execution.finish(FinishedAttempt {
            key,
            position,
            attempt: 1,
            started_at: at,
            finished_at: at,
            outcome: AttemptOutcome::Succeeded,
            output: None,
            failure: None,
            retry_at: None,
        });
        true
    }

    /// The engine's time. Only for use inside a step: outside, it would differ from one execution
    /// of the run to the next.
    pub fn now(&self) -> DateTime<Utc> {
        self.execution.clock.now()
    }

    /// Says how the present step is getting on. Shown, not persisted.
    pub fn progress(&self, text: impl Into<String>) {
        self.execution.progress(text.into());
    }

    /// The steps so far, in the order they first began; also those of earlier executions.
    pub fn timeline(&self) -> Vec<StepTime> {
        self.execution.timeline()
    }

    /// Changes whenever a step begins, ends or reports progress; holds the present step's last
    /// progress.
    pub fn changes(&self) -> watch::Receiver<Option<String>> {
        self.execution.changes()
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
        let execution = &self.execution;
        let (key, position) = execution.next_key(&self.scope, name);
        let (mut attempts, mut failures) = (0, 0);
        if let Some(known) = execution.known(&key) {
            (attempts, failures) = (known.attempts, known.failures);
            match known.status {
                StepStatus::Succeeded(output) => return self.recorded(&key, output).await,
                StepStatus::Failed(failure) => return Err(failure),
                StepStatus::Retrying { retry_at } => {
                    self.await_retry(&key, position, attempts, retry_at).await?;
                }
                StepStatus::Pending => {}
            }
        }
        loop {
            attempts += 1;
            let attempt = self.enter_step(&key, position, attempts, None).await?;
            let span = info_span!("step", step = %key, attempt = attempts);
            info!(parent: &span, "step begins");
            let outcome = self.attempt(&mut effect, timeout, &key).instrument(span).await;
            let result = outcome.and_then(|value| match serde_json::to_value(&value) {
                Ok(output) => Ok((value, output)),
                Err(e) => Err(Failure::permanent(format!("the result of step {key} is not JSON: {e}"))),
            });
            let failure = match result {
                Ok((value, output)) => {
                    attempt.end(Ok(output));
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
                    attempt.end(Err(failure.clone()));
                    return Err(failure);
                }
            };
            warn!(step = %key, attempt = attempts, wait_ms = wait.as_millis() as u64, %failure, "step is retried");
            metrics::counter!("workflow_step_retries_total", "step" => key.name.clone()).increment(1);
            let retry_at = attempt.end_for_now(failure, wait);
            self.await_retry(&key, position, attempts, retry_at).await?;
        }
    }

    /// Waits until a step may be tried again. A cancellation in the meantime is recorded as the
    /// step's end: an attempt that did no more than to see it.
    async fn await_retry(
        &self,
        key: &StepKey,
        position: u32,
        attempts: u32,
        retry_at: DateTime<Utc>,
    ) -> Result<(), Failure> {
        let waited = self.pause(Some(retry_at), false, "waits to retry a step").await;
        if let Err(cancelled) = &waited {
            let started_at = self.execution.clock.now();
            let open = OpenStep { key: key.clone(), position, attempt: attempts + 1, started_at, wait: None };
            Attempt::of(self.execution.clone(), open).end(Err(cancelled.clone()));
        }
        waited
    }

    /// Everything that must hold before an effect may happen or a wait may begin.
    pub(crate) async fn enter_step(
        &self,
        key: &StepKey,
        position: u32,
        attempt: u32,
        wait: Option<Wait>,
    ) -> Result<Attempt, Failure> {
        let execution = &self.execution;
        if self.cancelled() {
            return Err(Failure::cancelled(execution.cancellation.reason()));
        }
        if execution.drain.is_cancelled() {
            // Its siblings may still be in the middle of a step: handed back after them.
            self.pause(None, false, HANDED_BACK).await?;
        }
        let started_at = execution.clock.now();
        let open = OpenStep { key: key.clone(), position, attempt, started_at, wait };
        let attempt = Attempt::of(execution.clone(), open.clone());
        // With the lease expired as far as this process knows, only the journal can say whether
        // the run is still its own; and an answer that came after the lease does not say it.
        let mut ask = execution.begin(open) || execution.lease_held.has_expired(started_at);
        while ask {
            execution.commit_or_exit().await;
            ask = execution.lease_held.has_expired(execution.clock.now());
            if ask {
                execution.write_anew();
            }
        }
        Ok(attempt)
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
        let execution = &self.execution;
        let expired = async {
            match timeout {
                Some(timeout) => execution.clock.sleep(timeout).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.cancellation() => Err(Failure::cancelled(execution.cancellation.reason())),
            outcome = effect() => outcome.map_err(Into::into),
            () = expired => Err(Failure::transient(format!(
                "step {key} did not finish within {:?}",
                timeout.unwrap_or_default()
            ))),
        }
    }

    /// Waits until `until`, or for ever when it is `None`: in place when that is soon or another
    /// branch of the run is busy, else parked. A wait for a signal ends by parking: the next
    /// execution is given the signal.
    pub(crate) async fn pause(
        &self,
        until: Option<DateTime<Utc>>,
        for_signal: bool,
        reason: &str,
    ) -> Result<(), Failure> {
        let waiting = Waiting { until, for_signal };
        let execution = &self.execution;
        let mut activity = execution.activity();
        let _ticket = execution.enter_wait(waiting);
        loop {
            activity.mark_unchanged();
            // The other branches come first: what they are about to do is not cut off by parking.
            tokio::task::yield_now().await;
            let now = execution.clock.now();
            let draining = execution.drain.is_cancelled();
            if waiting.until.is_some_and(|until| until <= now) && !draining {
                return Ok(());
            }
            if self.cancelled() {
                return Err(Failure::cancelled(execution.cancellation.reason()));
            }
            if let Some(pause) = execution.pause() {
                if draining {
                    return execution.park(Some(now), pause.for_signal, HANDED_BACK).await;
                }
                // A branch whose wait is over is about to go on.
                let is_over = pause.wake_at.is_some_and(|at| at <= now);
                let is_soon = pause.wake_at.is_some_and(|at| at <= now + SHORT_WAIT);
                if !is_over && (!is_soon || pause.for_signal) {
                    return execution.park(pause.wake_at, pause.for_signal, reason).await;
                }
            }
            let due = async {
                match waiting.until {
                    Some(until) => execution.clock.sleep_until(until).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = due, if !draining => {}
                () = self.cancellation() => {}
                () = execution.drain.cancelled(), if !draining => {}
                _ = activity.changed() => {}
            }
        }
    }

    async fn cancellation(&self) {
        if self.shielded {
            pending::<()>().await;
        }
        self.execution.cancellation.requested().await;
    }

    pub(crate) fn cancelled(&self) -> bool {
        !self.shielded && self.execution.cancellation.is_requested()
    }

    /// What a step has recorded. A value that this program cannot read parks the run: a program
    /// that can read it may come. A run that is to stop does not wait for that.
    pub(crate) async fn recorded<T: DeserializeOwned>(&self, key: &StepKey, output: Value) -> Result<T, Failure> {
        match serde_json::from_value(output) {
            Ok(value) => Ok(value),
            Err(e) if self.execution.cancellation.is_requested() => {
                warn!(step = %key, error = %e, "what a step of a cancelled run recorded cannot be read");
                Err(Failure::cancelled(self.execution.cancellation.reason()))
            }
            Err(e) => {
                let reason = format!(
                    "what step {key} recorded cannot be read by this version of the program: {e}; run the version that wrote it, or cancel the run"
                );
                warn!(reason, "run is parked");
                let wake_at = self.execution.clock.now() + UNREADABLE_WAIT;
                self.execution.park(Some(wake_at), false, &reason).await
            }
        }
    }
}

/// An attempt in progress, or a wait.
pub(crate) struct Attempt {
    execution: Arc<Execution>,
    open: OpenStep,
    has_ended: bool,
}

impl Attempt {
    pub(crate) fn of(execution: Arc<Execution>, open: OpenStep) -> Self {
        Self { execution, open, has_ended: false }
    }

    /// With the step's result, for good.
    pub(crate) fn end(mut self, result: Result<Value, Failure>) {
        self.has_ended = true;
        self.execution.finish(self.would_end(result));
    }

    /// Another write has taken its end along.
    pub(crate) fn end_written(mut self) {
        self.has_ended = true;
    }

    pub(crate) fn would_end(&self, result: Result<Value, Failure>) -> FinishedAttempt {
        let mut ended = FinishedAttempt::interrupted(self.open.clone(), self.execution.clock.now());
        match result {
            Ok(output) => (ended.outcome, ended.output) = (AttemptOutcome::Succeeded, Some(output)),
            Err(failure) => {
                let is_cancelled = failure.is_cancelled();
                ended.outcome = if is_cancelled { AttemptOutcome::Cancelled } else { AttemptOutcome::Failed };
                ended.failure = Some(failure);
            }
        }
        ended
    }

    /// To be retried after `wait`; says when.
    fn end_for_now(mut self, failure: Failure, wait: Duration) -> DateTime<Utc> {
        self.has_ended = true;
        let ended = self.would_end(Err(failure));
        let retry_at = later(ended.finished_at, wait);
        self.execution.finish(FinishedAttempt { retry_at: Some(retry_at), ..ended });
        retry_at
    }
}

/// A branch may be dropped in the middle of a step, by `try_join!` or `select!`. Left in progress,
/// the step would keep the run from parking for the rest of its execution. A wait stays: whoever
/// comes by it again goes on waiting for the time that was set first.
impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.has_ended && self.open.wait.is_none() {
            let cut_off = FinishedAttempt::interrupted(self.open.clone(), self.execution.clock.now());
            self.execution.finish(cut_off);
        }
    }
}

const HANDED_BACK: &str = "handed back by a worker that is stopping";
