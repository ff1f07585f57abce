//! Durable workflows: a plain `async fn` whose effects are named, persisted steps.
//!
//! ```ignore
//! async fn run(&self, cx: Context, input: Order) -> Result<Receipt, Failure> {
//!     let charge = cx.step("charge", || self.bank.charge(&input)).retry(Backoff::transient(3)).await?;
//!     cx.step("ship", || self.warehouse.ship(&charge)).await
//! }
//! ```
//!
//! A step that has finished is never run again: after a crash the function starts from the top
//! and its finished steps return what they returned before. A step that was running when the
//! process died is run again, so a step's effect must be repeatable (ensure, apply, set).
//!
//! - [`Workflow`] is what one writes; [`Context`] is what its function is given.
//! - [`Journal`] is where runs live; a [`Worker`] claims them by lease and executes them through
//!   apalis. Every write carries the lease's epoch, so a worker that lost its lease records
//!   nothing.
//! - Nothing here knows SQL, Kubernetes, GitHub or HTTP.

mod active;
mod backend;
mod bell;
mod clock;
mod context;
mod execution;
mod executor;
mod failure;
pub mod history;
mod ids;
mod journal;
mod registry;
mod run;
mod schedule;
mod step;
mod wait;
mod worker;

pub use bell::{Bell, RunEvent};
pub use clock::{Clock, ManualClock, SystemClock};
pub use context::{Context, StepTime};
pub use failure::{Failure, FailureKind, superseded_by};
pub use history::{AttemptOutcome, FinishedAttempt, OpenStep, StepRecord, StepStatus, Wait};
pub use ids::{Epoch, RunId, WorkerId};
pub use journal::{
    Claim, ClaimRequest, Entry, Fork, Held, Journal, JournalError, Limits, NewSignal, Renewal, Retention, Signal, Tick,
    Transition,
};
pub use registry::{Registry, Workflow};
pub use run::{AttemptView, NewRun, OnConflict, RunDetail, RunState, RunSummary, Started, StepPhase, StepView};
pub use schedule::{Cron, Missed, Schedule};
pub use step::{Backoff, Step, StepKey};
pub use worker::{Worker, WorkerConfig};
