//! What a run can wait for: time, signals, and the runs it started.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::warn;

use crate::clock::later;
use crate::context::{Attempt, Context};
use crate::execution::{CommitError, Write};
use crate::failure::Failure;
use crate::history::{ChildEnd, StepStatus, Wait, child_signal};
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

/// What earlier executions have recorded of a step that is not retried.
enum Known {
    Ended(Result<Value, Failure>),
    /// It goes on, or begins, as this attempt.
    Attempt(u32),
}

impl Context {
    /// Sleeps, durably: the time is kept in the journal, to the millisecond, and goes on while no
    /// program runs.
    ///
    /// # Errors
    /// When the run is cancelled.
    pub async fn sleep(&self, name: &str, duration: Duration) -> Result<(), Failure> {
        self.sleep_until(name, later(self.now(), duration)).await
    }

    /// As [`Context::sleep`], until a time. The time counts that was given first: a later
    /// execution of the run keeps it.
    ///
    /// # Errors
    /// When the run is cancelled.
    pub async fn sleep_until(&self, name: &str, until: DateTime<Utc>) -> Result<(), Failure> {
        let (key, position) = self.execution.next_key(&self.scope, name);
        let attempt = match self.known(&key) {
            Known::Ended(result) => return result.map(drop),
            Known::Attempt(attempt) => attempt,
        };
        let reason = format!("sleeps in {key}");
        let wait = Wait { until: Some(until), signal: None };
        let (attempt, wait) = self.enter_wait(&key, position, attempt, wait).await?;
        let slept = self.pause(wait.until, false, &reason).await;
        attempt.end(slept.clone().map(|()| Value::Null));
        slept
    }

    /// Waits for a signal of that name; `None` when `timeout` is over first, whether a program ran
    /// then or not: a signal that was sent later is left to the next wait of its name. A signal that
    /// was sent before the wait is taken at once, the oldest first; each is taken once.
    ///
    /// A signal whose payload is not a `T` is passed over: the run goes on waiting, and says why in the
    /// reason of its wait. Send it again as the workflow expects it, under another deduplication id.
    ///
    /// ```ignore
    /// match cx.wait_for::<Approval>("approved", Duration::from_secs(86_400)).await? {
    ///     Some(approval) => cx.step("publish", || publish(&approval)).await?,
    ///     None => cx.step("give-up", give_up).await?,
    /// }
    /// ```
    ///
    /// # Errors
    /// When the run is cancelled.
    pub async fn wait_for<T: DeserializeOwned>(
        &self,
        signal: &str,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Option<T>, Failure> {
        self.signal(signal, timeout.into()).await
    }

    async fn signal<T: DeserializeOwned>(&self, signal: &str, timeout: Option<Duration>) -> Result<Option<T>, Failure> {
        let execution = &self.execution;
        let (key, position) = execution.next_key(&self.scope, signal);
        let attempt = match self.known(&key) {
            Known::Ended(output) => {
                let taken: Taken = self.recorded(&key, output?).await?;
                let Some(number) = taken.signal else { return Ok(None) };
                execution.note_taken(number);
                return self.recorded(&key, taken.payload).await.map(Some);
            }
            Known::Attempt(attempt) => attempt,
        };
        let until = timeout.map(|timeout| later(self.now(), timeout));
        let wait = Wait { until, signal: Some(signal.to_owned()) };
        let (attempt, wait) = self.enter_wait(&key, position, attempt, wait).await?;
        let taken = loop {
            let unreadable = match execution.take_signal(signal, wait.until) {
                Ok((taken, value)) => {
                    break Ok((Taken { signal: Some(taken.number), payload: taken.payload }, Some(value)));
                }
                Err(unreadable) => unreadable,
            };
            if wait.until.is_some_and(|until| until <= self.now()) {
                break Ok((Taken { signal: None, payload: Value::Null }, None));
            }
            // Returns only when the time is over, or with the cancellation.
            if let Err(cancelled) = self.pause(wait.until, true, &reason_to_wait(signal, unreadable)).await {
                break Err(cancelled);
            }
        };
        let output = taken.as_ref().map_err(Clone::clone).and_then(|(taken, _)| {
            serde_json::to_value(taken).map_err(|e| Failure::permanent(format!("signal {signal} cannot be kept: {e}")))
        });
        attempt.end(output.clone());
        output.and(taken).map(|(_, value)| value)
    }

    /// Starts a child run, in the same commit that records it. Cancelling this run cancels it.
    ///
    /// # Errors
    /// When `run` is of another workflow, when the child's concurrency key is taken and it was to be
    /// rejected then, when another run was started with its deduplication id, or this run is
    /// cancelled.
    pub async fn start_child<W: Workflow>(&self, name: &str, run: NewRun) -> Result<RunId, Failure> {
        if run.workflow != W::NAME {
            return Err(Failure::permanent(format!(
                "{name} was to start a run of {}, and was given one of {}: make it with NewRun::of of the same workflow",
                W::NAME,
                run.workflow
            )));
        }
        let execution = &self.execution;
        let (key, position) = execution.next_key(&self.scope, name);
        let attempt = match self.known(&key) {
            Known::Ended(output) => return self.recorded(&key, output?).await,
            Known::Attempt(attempt) => attempt,
        };
        let attempt = self.enter_step(&key, position, attempt, None).await?;
        let child = NewRun { parent: Some(execution.run), ..run };
        let id = child.id;
        let start = attempt.would_end(Ok(Value::String(id.to_string())));
        let write = Write { children: vec![child], child_start: Some(start), transition: None };
        match execution.commit(write).await {
            Ok(()) => {
                attempt.end_written();
                Ok(id)
            }
            Err(CommitError::Exit(exit)) => execution.leave(exit).await,
            Err(CommitError::Refused(reason)) => {
                let failure = Failure::permanent(reason);
                attempt.end(Err(failure.clone()));
                Err(failure)
            }
        }
    }

    /// Waits for a child's end and returns what it returned.
    ///
    /// # Errors
    /// With the child's failure, a permanent one when somebody cancelled the child alone; when this
    /// run is cancelled.
    pub async fn await_child<W>(&self, name: &str, child: RunId) -> Result<W::Output, Failure>
    where
        W: Workflow,
        W::Output: DeserializeOwned,
    {
        let end = self.scope(name).signal::<ChildEnd>(&child_signal(child), None).await?;
        // Without a deadline only a signal ends the wait.
        let end = end.ok_or_else(|| Failure::permanent(format!("how child {child} ended is not known")))?;
        match end {
            ChildEnd::Succeeded(output) => serde_json::from_value(output)
                .map_err(|e| Failure::permanent(format!("the result of child {child} cannot be read: {e}"))),
            ChildEnd::Failed(failure) => Err(failure),
            // It was cancelled with its parent, and has ended first.
            ChildEnd::Cancelled(_) if self.cancelled() => Err(Failure::cancelled(self.execution.cancellation.reason())),
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

    fn known(&self, key: &StepKey) -> Known {
        match self.execution.known(key).map(|known| (known.status, known.attempts)) {
            None => Known::Attempt(1),
            Some((StepStatus::Succeeded(output), _)) => Known::Ended(Ok(output)),
            Some((StepStatus::Failed(failure), _)) => Known::Ended(Err(failure)),
            Some((StepStatus::Pending | StepStatus::Retrying { .. }, attempts)) => Known::Attempt(attempts + 1),
        }
    }

    /// The wait is in progress: a new one, or the one an earlier execution was in.
    async fn enter_wait(
        &self,
        key: &StepKey,
        position: u32,
        attempt: u32,
        wait: Wait,
    ) -> Result<(Attempt, Wait), Failure> {
        if let Some(mut open) = self.execution.known_wait(key) {
            open.position = position;
            let wait = open.wait.clone().unwrap_or(wait);
            return Ok((Attempt::of(self.execution.clone(), open), wait));
        }
        Ok((self.enter_step(key, position, attempt, Some(wait.clone())).await?, wait))
    }
}

/// Longer than this nobody reads what is wrong with a payload.
const LONGEST_REASON: usize = 200;

fn reason_to_wait(signal: &str, unreadable: Option<String>) -> String {
    let Some(why) = unreadable else { return format!("waits for {signal}") };
    warn!(signal, why, "a signal's payload cannot be read; the run goes on waiting");
    let why: String = why.chars().take(LONGEST_REASON).collect();
    format!("waits for {signal}; one that came cannot be read ({why}): send it again as the workflow expects it")
}
