//! Executes one claimed run: from its claim to its end, its parking, or the loss of its lease.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

use crate::active::{Active, Lease};
use crate::clock::Clock;
use crate::context::Context;
use crate::execution::{Execution, Exit, Loan, Write};
use crate::failure::Failure;
use crate::journal::{Claim, Journal, Transition};
use crate::registry::Registry;

/// What is new of a run is written with the next step's start; if none follows soon, by itself.
const FLUSH_AFTER: Duration = Duration::from_millis(20);
/// How long a run whose version this program cannot continue is left alone.
const WRONG_VERSION_WAIT: Duration = Duration::from_secs(300);
/// A run whose lease is not renewed is left this part of the lease before its end: what it has in
/// progress takes a moment to stop, and the clocks of machines differ.
const LEASE_MARGIN: u32 = 10;

const LEASE_LOST: &str = "the lease was lost to another worker; the run is left to it";
const LEASE_NOT_RENEWED: &str = "the lease could not be renewed; the run is left to whoever claims it next";

pub(crate) struct Executor {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) registry: Registry,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lease: Duration,
    pub(crate) active: Arc<Active>,
    /// No new steps; runs are handed back at the step boundary.
    pub(crate) drain: CancellationToken,
    /// The grace time is over; runs are handed back where they are.
    pub(crate) stop: CancellationToken,
}

impl Executor {
    pub(crate) async fn execute(&self, claim: Claim) {
        let span = info_span!(
            "run",
            run = %claim.id,
            workflow = claim.workflow,
            key = claim.key,
            epoch = claim.epoch.0,
            traceparent = claim.trace,
        );
        self.execute_claim(claim).instrument(span).await;
    }

    async fn execute_claim(&self, mut claim: Claim) {
        let in_flight = self.active.board(&claim);
        let flight = &in_flight.flight;
        let execution = Execution::new(
            &claim,
            Loan {
                journal: self.journal.clone(),
                clock: self.clock.clone(),
                lease: self.lease,
                lease_held: flight.lease.clone(),
                cancellation: flight.cancellation.clone(),
                drain: self.drain.clone(),
            },
        );
        let input = std::mem::take(&mut claim.input);
        let transition = tokio::select! {
            biased;
            () = flight.lost.cancelled() => return warn!(LEASE_LOST),
            exit = execution.exited() => return match exit {
                Exit::Parked => info!("run is parked"),
                Exit::Fenced => warn!(LEASE_LOST),
            },
            () = self.lease_nearly_over(&flight.lease) => return warn!(LEASE_NOT_RENEWED),
            () = self.stop.cancelled() => return self.hand_back(&execution).await,
            transition = self.play(&execution, &claim, input) => transition,
            () = flush(&execution) => return,
        };
        // From here on a lost lease is the commit's to find: a renewal that finds the run ended by
        // this very commit says the same.
        tokio::select! {
            biased;
            () = self.conclude(&execution, &claim, transition) => {}
            () = self.lease_nearly_over(&flight.lease) => warn!(LEASE_NOT_RENEWED),
        }
    }

    /// Returns when the lease is about to end without having been renewed. Others may take the run
    /// then, and what is newer of its key may begin: by that time nothing of it may be in progress
    /// here, whether the journal can be asked or not.
    async fn lease_nearly_over(&self, lease: &Lease) {
        loop {
            let leave_at = lease.ends_at() - self.lease / LEASE_MARGIN;
            if leave_at <= self.clock.now() {
                return;
            }
            self.clock.sleep_until(leave_at).await;
        }
    }

    /// Runs the workflow's function to its end.
    async fn play(&self, execution: &Arc<Execution>, claim: &Claim, input: Value) -> Transition {
        let Some(workflow) = self.registry.find(&claim.workflow) else {
            return self
                .leave_to_another_program(execution, format!("this program has no workflow {}", claim.workflow));
        };
        let versions = workflow.versions();
        if !versions.contains(&claim.version) {
            let reason = format!(
                "begun by version {} of workflow {}, this program continues versions {} to {}: run a program that has that version until it has ended, or cancel it",
                claim.version,
                claim.workflow,
                versions.start(),
                versions.end()
            );
            return self.leave_to_another_program(execution, reason);
        }
        let outcome = AssertUnwindSafe(workflow.run(Context::new(execution.clone()), input)).catch_unwind().await;
        match outcome {
            Ok(Ok(output)) => Transition::Succeeded(output),
            Ok(Err(failure)) if failure.is_cancelled() => Transition::Cancelled(failure.message),
            Ok(Err(failure)) => Transition::Failed(failure),
            Err(panic) => Transition::Failed(Failure::permanent(format!(
                "workflow {} panicked: {}; this is a mistake in the program",
                claim.workflow,
                panic_message(&panic)
            ))),
        }
    }

    /// Parks a run that this program cannot continue. One that is to stop ends instead: it would
    /// hold its key until a program comes that may never come.
    fn leave_to_another_program(&self, execution: &Execution, reason: String) -> Transition {
        if execution.cancellation.is_requested() {
            warn!(reason, "run is cancelled, and nothing of it can be cleaned up by this program");
            return Transition::Cancelled(execution.cancellation.reason());
        }
        warn!(reason, "run is parked");
        let wake_at = Some(self.clock.now() + WRONG_VERSION_WAIT);
        Transition::Park { wake_at, signals_seen: None, cancel_seen: false, reason }
    }

    /// Writes how the execution ended.
    async fn conclude(&self, execution: &Execution, claim: &Claim, transition: Transition) {
        let outcome = match &transition {
            Transition::Succeeded(_) => "succeeded",
            Transition::Failed(_) => "failed",
            Transition::Cancelled(_) => "cancelled",
            Transition::Park { .. } => "parked",
        };
        let is_parked = matches!(transition, Transition::Park { .. });
        let is_written = execution.commit(Write::of(transition)).await.is_ok();
        if is_parked {
            return;
        }
        if !is_written && !self.has_ended(claim).await {
            return warn!(LEASE_LOST);
        }
        let took = (self.clock.now() - claim.started_at).to_std().unwrap_or_default();
        info!(outcome, took_ms = took.as_millis() as u64, "run has ended");
        let workflow = claim.workflow.clone();
        metrics::counter!("workflow_runs_total", "workflow" => workflow.clone(), "outcome" => outcome).increment(1);
        metrics::histogram!("workflow_run_duration_seconds", "workflow" => workflow, "outcome" => outcome)
            .record(took.as_secs_f64());
    }

    /// Whether the refused end is in the journal all the same: it was written, its answer was lost,
    /// and asked for again it came too late. Force raises the epoch, so it was not that.
    async fn has_ended(&self, claim: &Claim) -> bool {
        let found = self.journal.find_run(claim.id).await;
        found.is_ok_and(|run| run.is_some_and(|run| run.summary.epoch == claim.epoch.0 && run.summary.state.is_final()))
    }

    async fn hand_back(&self, execution: &Execution) {
        let parked = Transition::Park {
            wake_at: Some(self.clock.now()),
            signals_seen: None,
            cancel_seen: true,
            reason: "handed back by a worker that stopped in the middle of a step".to_owned(),
        };
        // Not waited for longer than the lease: after that anybody may take the run anyhow.
        let commit = execution.commit(Write::of(parked));
        tokio::select! {
            _ = commit => {}
            () = self.clock.sleep(self.lease) => warn!("the run could not be handed back; its lease will expire"),
        }
    }
}

/// Writes what no other write takes along. Never returns.
async fn flush(execution: &Execution) {
    loop {
        execution.is_dirty().await;
        execution.clock.sleep(FLUSH_AFTER).await;
        execution.commit_or_exit().await;
    }
}

fn panic_message(panic: &Box<dyn Any + Send>) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
