//! Executes one claimed run: from its claim to its end, its parking, or the loss of its lease.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use crate::active::{Active, Cancellation, Flight, Lease};
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

    async fn execute_claim(&self, claim: Claim) {
        let cancellation = Arc::new(Cancellation::default());
        if let Some(reason) = &claim.cancel {
            cancellation.request(reason);
        }
        let lost = CancellationToken::new();
        let (run, epoch) = (claim.id, claim.epoch);
        let lease_held = Arc::new(Lease::until(claim.lease_until));
        let flight =
            Flight { epoch, cancellation: cancellation.clone(), lease: lease_held.clone(), lost: lost.clone() };
        self.active.insert(run, flight, claim.claimed_at);
        let execution = Execution::new(
            &claim,
            Loan {
                journal: self.journal.clone(),
                clock: self.clock.clone(),
                lease: self.lease,
                lease_held,
                cancellation,
                drain: self.drain.clone(),
            },
        );
        tokio::select! {
            biased;
            () = lost.cancelled() => warn!("the lease was lost to another worker; the run is left to it"),
            exit = execution.exited() => match exit {
                Exit::Parked => info!("run is parked"),
                Exit::Fenced => warn!("the lease was lost to another worker; the run is left to it"),
            },
            () = self.stop.cancelled() => self.hand_back(&execution).await,
            () = self.run_to_its_end(&execution, claim) => {}
            () = flush(&execution) => {}
        }
        self.active.remove(run, epoch);
    }

    async fn run_to_its_end(&self, execution: &Arc<Execution>, claim: Claim) {
        let Some(workflow) = self.registry.find(&claim.workflow) else {
            // The claim asks for known workflows only, so this is a mistake in the journal.
            error!("this program does not know the workflow");
            return;
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
            warn!(reason, "run is parked");
            let wake_at = Some(self.clock.now() + WRONG_VERSION_WAIT);
            // An error only says that the lease is gone, and then there is nothing to park.
            let parked = Transition::Park { wake_at, signals_seen: None, cancel_seen: true, reason };
            let _ = execution.commit(Write::of(parked)).await;
            return;
        }
        let outcome = AssertUnwindSafe(workflow.run(Context::new(execution.clone()), claim.input)).catch_unwind().await;
        let transition = match outcome {
            Ok(Ok(output)) => Transition::Succeeded(output),
            Ok(Err(failure)) if failure.is_cancelled() => Transition::Cancelled(failure.message),
            Ok(Err(failure)) => Transition::Failed(failure),
            Err(panic) => Transition::Failed(Failure::permanent(format!(
                "workflow {} panicked: {}; this is a mistake in the program",
                claim.workflow,
                panic_message(&panic)
            ))),
        };
        let outcome = match &transition {
            Transition::Succeeded(_) => "succeeded",
            Transition::Cancelled(_) => "cancelled",
            Transition::Failed(_) | Transition::Park { .. } => "failed",
        };
        if execution.commit(Write::of(transition)).await.is_ok() {
            let took = (self.clock.now() - claim.started_at).to_std().unwrap_or_default();
            info!(outcome, took_ms = took.as_millis() as u64, "run has ended");
            let workflow = claim.workflow;
            metrics::counter!("workflow_runs_total", "workflow" => workflow.clone(), "outcome" => outcome).increment(1);
            metrics::histogram!("workflow_run_duration_seconds", "workflow" => workflow, "outcome" => outcome)
                .record(took.as_secs_f64());
        }
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
        if execution.commit(Write::default()).await.is_err() {
            // The run's own next write finds out as well, and ends the execution.
            std::future::pending::<()>().await;
        }
    }
}

fn panic_message(panic: &Box<dyn Any + Send>) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
