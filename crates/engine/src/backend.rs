//! The journal's claims as a source of tasks for apalis.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::context::WorkerContext;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tower::layer::util::Identity;

use crate::journal::Claim;

/// A claimed run with the slot it takes; the slot is free again when this is dropped.
pub(crate) struct Assignment {
    pub(crate) claim: Claim,
    pub(crate) slot: OwnedSemaphorePermit,
}

/// Hands assignments to an apalis worker as they come. There are never more of them than free
/// slots, so none waits here.
pub(crate) struct Assignments(pub(crate) Arc<Mutex<mpsc::UnboundedReceiver<Assignment>>>);

impl Assignments {
    fn queue(&self) -> MutexGuard<'_, mpsc::UnboundedReceiver<Assignment>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Assignments {
    type Task = Task<Assignment>;
    // An error would end the worker; the claimer deals with the journal's errors itself.
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Task<Assignment>, Infallible>>> {
        self.queue().poll_recv(cx).map(|assignment| {
            assignment.map(|assignment| {
                let id = TaskId::from_string(assignment.claim.id.to_string());
                Ok(TaskBuilder::new(assignment).task_id(id).build())
            })
        })
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        self.queue().close();
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for Assignments {
    type Args = Assignment;
    type Id = String;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
