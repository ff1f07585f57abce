//! Eager start: a run that is started in the process whose worker has a slot free is written as
//! claimed, and executed as soon as that is committed. It saves the claim, a write of its own.
//!
//! Only while the worker has found nothing to claim, so that no new run overtakes one that waits,
//! and only for runs that nothing but a slot holds back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::backend::Assignment;
use crate::ids::WorkerId;
use crate::journal::{Claim, WorkflowVersions};

/// The slots that the workers of this process offer.
#[derive(Default)]
pub struct EagerStarts(Mutex<Vec<Offer>>);

pub(crate) struct Offer {
    pub(crate) worker: WorkerId,
    pub(crate) lease: Duration,
    /// Those that have no limit.
    pub(crate) workflows: Arc<Vec<WorkflowVersions>>,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) assignments: mpsc::UnboundedSender<Assignment>,
}

impl EagerStarts {
    /// A slot for a run of that workflow, without key and group, that is about to be started.
    pub fn slot_for(&self, workflow: &str, version: u32) -> Option<EagerSlot> {
        self.offers().iter().find_map(|offer| {
            let offered = offer.workflows.iter().any(|offered| offered.continues(workflow, version));
            let slot = offered.then(|| offer.slots.clone().try_acquire_owned().ok()).flatten()?;
            Some(EagerSlot {
                worker: offer.worker.clone(),
                lease: offer.lease,
                slot,
                assignments: offer.assignments.clone(),
            })
        })
    }

    /// Stands until what this returns is dropped.
    pub(crate) fn offer(&self, offer: Offer) -> Offering<'_> {
        let worker = offer.worker.clone();
        self.offers().push(offer);
        Offering { starts: self, worker }
    }

    /// Something is queued: the workers look at that first, and offer what is left then.
    pub(crate) fn withdraw(&self) {
        self.offers().clear();
    }

    fn offers(&self) -> MutexGuard<'_, Vec<Offer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Offering<'a> {
    starts: &'a EagerStarts,
    worker: WorkerId,
}

impl Drop for Offering<'_> {
    fn drop(&mut self) {
        self.starts.offers().retain(|offer| offer.worker != self.worker);
    }
}

/// A slot that is kept for a run while its start is written; free again when this is dropped.
pub struct EagerSlot {
    /// Who holds the run's lease from its start on, and for how long.
    pub worker: WorkerId,
    pub lease: Duration,
    slot: OwnedSemaphorePermit,
    assignments: mpsc::UnboundedSender<Assignment>,
}

impl EagerSlot {
    /// The start is committed. A worker that has closed meanwhile ends its leases when all its
    /// slots are back, this one among them.
    pub fn execute(self, claim: Claim) {
        let _ = self.assignments.send(Assignment { claim, slot: self.slot });
    }
}
