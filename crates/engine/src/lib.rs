//! Durable workflows: a plain `async fn` whose effects are named, persisted steps.
//!
//! # Writing a workflow
//!
//! ```
//! use std::time::Duration;
//! use seatrial_engine::{Backoff, Context, Failure, Workflow};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order { item: String, cents: u64 }
//! # #[derive(Clone)] struct Bank; #[derive(Clone)] struct Warehouse;
//! # impl Bank {
//! #     async fn charge(&self, _: u64) -> Result<String, Failure> { Ok("c-1".into()) }
//! #     async fn refund(&self, _: &str) -> Result<(), Failure> { Ok(()) }
//! # }
//! # impl Warehouse { async fn ship(&self, _: &str) -> Result<String, Failure> { Ok("s-1".into()) } }
//!
//! struct Purchase { bank: Bank, warehouse: Warehouse }
//!
//! impl Workflow for Purchase {
//!     const NAME: &'static str = "purchase";
//!     const VERSION: u32 = 1;
//!     const STEPS: &'static [&'static str] = &["charge", "approved", "ship"];
//!     type Input = Order;
//!     type Output = Option<String>;
//!
//!     async fn run(&self, cx: Context, order: Order) -> Result<Option<String>, Failure> {
//!         let charge = cx
//!             .step("charge", || self.bank.charge(order.cents))
//!             .retry(Backoff::transient(3))
//!             .timeout(Duration::from_secs(30))
//!             .await?;
//!         // Parked in the journal, however long it takes; the worker is free meanwhile.
//!         match cx.wait_for::<String>("approved", Duration::from_secs(86_400)).await {
//!             Ok(Some(_)) => {}
//!             Ok(None) => {
//!                 cx.step("refund", || self.bank.refund(&charge)).await?;
//!                 return Ok(None);
//!             }
//!             Err(cancelled) => {
//!                 // Somebody cancelled the run: from here on it is not stopped again.
//!                 let undo = cx.shielded("undo");
//!                 undo.step("refund", || self.bank.refund(&charge)).await?;
//!                 return Err(cancelled);
//!             }
//!         }
//!         Ok(Some(cx.step("ship", || self.warehouse.ship(&order.item)).await?))
//!     }
//! }
//! ```
//!
//! It is started with [`NewRun::of`] through a [`Journal`], and executed by a [`Worker`] that has
//! it in its [`Registry`]. `cargo run -p seatrial-store --example approval` runs one that waits
//! for a person, on SQLite or PostgreSQL.
//!
//! # What holds
//!
//! - **A step that has finished is never run again.** After a crash the function starts from the
//!   top and its finished steps return what they returned before. A step that was in progress when
//!   the process died is run again, so an effect must be repeatable (ensure, apply, set). The code
//!   between steps must be deterministic: time, ids and everything from outside come from steps.
//! - **A step is named** by its scope, its name and how often the name came before
//!   ([`StepKey`]): loops repeat a name safely, and a step put between others shifts none.
//! - **Failures** are transient (retried as the step's [`Backoff`] says, durably) or permanent.
//! - **Waits** ([`Context::sleep`], [`Context::wait_for`], [`Context::child`]) of more than a few
//!   seconds park the run in the journal. A signal sent before the wait is not lost.
//! - **Runs of one concurrency key never overlap**; [`OnConflict`] says what a new one does. With
//!   `Supersede` the old run has provably stopped before the new one begins.
//! - **Cancellation** drops the step in progress at once, at whichever `.await` it is, and every
//!   step after it fails as cancelled. Clean-up runs in [`Context::shielded`]. A run that was asked
//!   to stop and returns `Ok` all the same has succeeded. [`Journal::force_stop`] is for runs that do not stop.
//! - **Leases**: a worker renews the leases of its runs; a dead worker's runs are taken over when
//!   theirs have expired, by a restarted process of the same name at once. Every write carries the
//!   lease's epoch, so a worker that lost its lease records nothing.
//! - **Limits and groups**: [`Limits`] bound what is executed at once over all workers; groups
//!   take turns. Runs without a group are not held back for the sake of fairness.
//! - **Versions**: a run keeps the version it began with. [`Workflow::CONTINUES_FROM`] says which
//!   older runs the code can continue, [`Context::patched`] is for changes in flight; runs that
//!   nobody could continue for 30 s are parked with the reason.
//! - **Schedules** ([`Schedule`]): one run a tick, however many workers there are.
//! - **Retention** ([`Retention`]): every run is kept unless a worker is told how long.
//!
//! Nothing here knows SQL, Kubernetes, GitHub or HTTP.

mod active;
mod backend;
mod bell;
mod clock;
mod context;
mod eager;
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
pub use eager::{EagerSlot, EagerStarts};
pub use failure::{Failure, FailureKind, superseded_by};
pub use history::{AttemptOutcome, FinishedAttempt, OpenStep, StepRecord, StepStatus, Wait};
pub use ids::{Epoch, RunId, WorkerId};
pub use journal::{
    Claim, ClaimRequest, Entry, Fork, Held, Incarnations, Journal, JournalError, Limits, NewSignal, ORPHANED_AFTER,
    Renewal, Retention, Signal, Tick, Transition, WorkflowVersions,
};
pub use registry::{Registry, Workflow};
pub use run::{AttemptView, NewRun, OnConflict, RunDetail, RunState, RunSummary, Started, StepPhase, StepView};
pub use schedule::{Cron, Missed, Schedule};
pub use step::{Backoff, Step, StepKey};
pub use worker::{Worker, WorkerConfig};
