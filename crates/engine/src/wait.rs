//! What a run can wait for: time, signals, and the runs it started.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::context::{Context, outcome_of};
use crate::execution::{CommitError, Write};
use crate::failure::Failure;
use crate::history::{AttemptOutcome, ChildEnd, FinishedAttempt, StepStatus, Wait, child_signal};
use crate::ids::RunId;
use crate::registry::Workflow;
use crate::run::NewRun;
use crate::step::StepKey;

/// What a wait for a signal has recorded.
#[derive(Serialize, Deserialize)]
struct Taken {
    /// `None` when the deadline came first.
    signal: Option<u64>,
    payload: Value,
}

/// A wait that has been entered and is to be ended.
struct Entered {
    key: StepKey,
    position: u32,
    attempt: u32,
    started_at: DateTime<Utc>,
}

impl Context {
    /// Sleeps, durably: the time is kept in the journal, to the millisecond, and goes on while no
    /// program runs.
    ///
    /// # Errors
    /// When the run is cancelled.
    pub async fn sleep(&self, name: &str, duration: Duration) -> Result<(), Failure> {
        self.sleep_until(name, self.now() + duration).await
    }

    /// As [`Context::sleep`], until a time. The time counts that was given first: a later
    /// execution of the run keeps it.
    ///
    /// # Errors
    /// When the run is cancelled.
    pub async fn sleep_until(&self, name: &str, until: DateTime<Utc>) -> Result<(), Failure> {
        let (key, position) = self.execution.next_key(&self.scope, name);
        let attempt = match self.execution.known(&key) {
            None => 1,
            Some(known) => match known.status {
                StepStatus::Succeeded(_) => return Ok(()),
                StepStatus::Failed(failure) => return Err(failure),
                StepStatus::Pending | StepStatus::Retrying { .. } => known.attempts + 1,
            },
        };
        let wait = Wait { until: Some(until), signal: None };
        let (entered, wait) = self.enter_wait(key, position, attempt, wait).await?;
        let outcome = self.pause(wait.until, false, &format!("sleeps in {}", entered.key)).await;
        self.leave_wait(entered, outcome.map(|()| Value::Null)).map(|_| ())
    }

    /// Waits for a signal of that name; `None` when `timeout` is over first. A signal that was
    /// sent before the wait is taken at once, the oldest first; each is taken once.
    ///
    /// ```ignore
    /// match cx.wait_for::<Approval>("approved", Duration::from_secs(86_400)).await? {
    ///     Some(approval) => cx.step("publish", || publish(&approval)).await?,
    ///     None => cx.step("give-up", give_up).await?,
    /// }
    /// ```
    ///
    /// # Errors
    /// When the run is cancelled, or the signal's payload is not a `T`.
    pub async fn wait_for<T: DeserializeOwned>(
        &self,
        signal: &str,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Option<T>, Failure> {
        let payload = self.signal(signal, timeout.into()).await?;
        payload
            .map(|payload| {
                serde_json::from_value(payload).map_err(|e| {
                    Failure::permanent(format!(
                        "the payload of signal {signal} cannot be read: {e}; send it again as the workflow expects it"
                    ))
                })
            })
            .transpose()
    }

    async fn signal(&self, signal: &str, timeout: Option<Duration>) -> Result<Option<Value>, Failure> {
        let execution = &self.execution;
        let (key, position) = execution.next_key(&self.scope, signal);
        let attempt = match execution.known(&key) {
            None => 1,
            Some(known) => match known.status {
                StepStatus::Succeeded(output) => {
                    let taken: Taken = self.recorded(&key, output).await?;
                    if let Some(number) = taken.signal {
                        execution.note_taken(number);
                    }
                    return Ok(taken.signal.map(|_| taken.payload));
                }
                StepStatus::Failed(failure) => return Err(failure),
                StepStatus::Pending | StepStatus::Retrying { .. } => known.attempts + 1,
            },
        };
        let wait = Wait { until: timeout.map(|timeout| self.now() + timeout), signal: Some(signal.to_owned()) };
        let (entered, wait) = self.enter_wait(key, position, attempt, wait).await?;
        let taken = loop {
            if let Some(signal) = execution.take_signal(signal) {
                break Ok(Taken { signal: Some(signal.number), payload: signal.payload });
            }
            if wait.until.is_some_and(|until| until <= self.now()) {
                break Ok(Taken { signal: None, payload: Value::Null });
            }
            // Returns only when the time is over, or with the cancellation.
            if let Err(cancelled) = self.pause(wait.until, true, &format!("waits for {signal}")).await {
                break Err(cancelled);
            }
        };
        let output = match taken {
            Ok(taken) => serde_json::to_value(&taken)
                .map_err(|e| Failure::permanent(format!("signal {signal} cannot be kept: {e}"))),
            Err(cancelled) => Err(cancelled),
        };
        let mut output = self.leave_wait(entered, output)?;
        Ok(output.get("signal").is_some_and(Value::is_u64).then(|| output["payload"].take()))
    }

    /// Starts a child run, in the same commit that records it. Cancelling this run cancels it.
    ///
    /// # Errors
    /// When the child's concurrency key is taken and it was to be rejected then, when another run
    /// was started with its deduplication id, or this run is cancelled.
    pub async fn start_child<W: Workflow>(&self, name: &str, run: NewRun) -> Result<RunId, Failure> {
        let execution = &self.execution;
        let (key, position) = execution.next_key(&self.scope, name);
        let attempt = match execution.known(&key) {
            None => 1,
            Some(known) => match known.status {
                StepStatus::Succeeded(output) => return self.recorded(&key, output).await,
                StepStatus::Failed(failure) => return Err(failure),
                StepStatus::Pending | StepStatus::Retrying { .. } => known.attempts + 1,
            },
        };
        let started_at = self.enter_step(&key, position, attempt, None).await?;
        let child = NewRun { workflow: W::NAME.to_owned(), parent: Some(execution.run), ..run };
        let id = child.id;
        let ended = |outcome, output, failure| FinishedAttempt {
            key: key.clone(),
            position,
            attempt,
            started_at,
            finished_at: self.now(),
            outcome,
            output,
            failure,
            retry_at: None,
        };
        let output = serde_json::to_value(id)
            .map_err(|e| Failure::permanent(format!("the id of child {id} is not JSON: {e}")))?;
        let start = ended(AttemptOutcome::Succeeded, Some(output), None);
        let write = Write { children: vec![child], child_start: Some(start), transition: None };
        match execution.commit(write).await {
            Ok(()) => Ok(id),
            Err(CommitError::Exit(exit)) => execution.leave(exit).await,
            Err(CommitError::Refused(reason)) => {
                let failure = Failure::permanent(reason);
                execution.finish(ended(AttemptOutcome::Failed, None, Some(failure.clone())));
                Err(failure)
            }
        }
    }

    /// Waits for a child's end and returns what it returned.
    ///
    /// # Errors
    /// With the child's failure; when this run is cancelled.
    pub async fn await_child<W>(&self, name: &str, child: RunId) -> Result<W::Output, Failure>
    where
        W: Workflow,
        W::Output: DeserializeOwned,
    {
        let end = self.scope(name).signal(&child_signal(child), None).await?.unwrap_or_default();
        let end: ChildEnd = serde_json::from_value(end)
            .map_err(|e| Failure::permanent(format!("how child {child} ended cannot be read: {e}")))?;
        match end {
            ChildEnd::Succeeded(output) => serde_json::from_value(output)
                .map_err(|e| Failure::permanent(format!("the result of child {child} cannot be read: {e}"))),
            ChildEnd::Failed(failure) => Err(failure),
            ChildEnd::Cancelled(reason) => Err(Failure::permanent(format!("child {child} was cancelled: {reason}"))),
        }
    }

    /// Starts a child run and waits for its end.
    ///
    /// # Errors
    /// As [`Context::start_child`] and [`Context::await_child`].
    pub async fn child<W>(&self, name: &str, input: &W::Input) -> Result<W::Output, Failure>
    where
        W: Workflow,
        W::Output: DeserializeOwned,
    {
        let child = self.start_child::<W>(name, NewRun::of::<W>(input)?).await?;
        self.await_child::<W>(name, child).await
    }

    /// The wait is in progress: a new one, or the one an earlier execution was in.
    async fn enter_wait(
        &self,
        key: StepKey,
        position: u32,
        attempt: u32,
        wait: Wait,
    ) -> Result<(Entered, Wait), Failure> {
        if let Some(open) = self.execution.known_wait(&key) {
            let entered = Entered { key, position, attempt: open.attempt, started_at: open.started_at };
            return Ok((entered, open.wait.unwrap_or(wait)));
        }
        let started_at = self.enter_step(&key, position, attempt, Some(wait.clone())).await?;
        Ok((Entered { key, position, attempt, started_at }, wait))
    }

    fn leave_wait(&self, entered: Entered, outcome: Result<Value, Failure>) -> Result<Value, Failure> {
        let failure = outcome.as_ref().err().cloned();
        self.execution.finish(FinishedAttempt {
            key: entered.key,
            position: entered.position,
            attempt: entered.attempt,
            started_at: entered.started_at,
            finished_at: self.now(),
            outcome: failure.as_ref().map_or(AttemptOutcome::Succeeded, outcome_of),
            output: outcome.as_ref().ok().cloned(),
            failure,
            retry_at: None,
        });
        outcome
    }
}
