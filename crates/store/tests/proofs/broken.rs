//! Journals that break a promise on purpose: each proof must find its own.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use seatrial_engine::{
    Bell, Claim, ClaimRequest, Entry, Epoch, Fork, Held, Incarnations, Journal, JournalError, NewRun, NewSignal,
    Renewal, Retention, RunDetail, RunId, RunState, Started, StepKey, Tick, WorkflowVersions,
};
use seatrial_store::Store;
use seatrial_store::views::{PageRequest, RunFilter};

use crate::crash;
use crate::place::On;
use crate::simulation;
use crate::stories::Story;
use crate::zombies;
use seatrial_preview::access::Visible;

/// The promise that a journal breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Writes an entry whatever its epoch is.
    IgnoresEpochs,
    /// Does not keep an attempt that has ended.
    ForgetsAttempts,
    /// Says that an entry is written and does not write it.
    ForgetsEntries,
    /// Gives out queued runs although another run of their key has begun.
    IgnoresKeys,
    /// Says that a signal is kept and does not keep it.
    LosesSignals,
}

pub struct Broken {
    fault: Fault,
    store: Store,
    journal: Arc<dyn Journal>,
}

impl Broken {
    /// The store's own journal when nothing is to be broken.
    pub fn of(fault: Fault, store: &Store) -> Arc<dyn Journal> {
        match fault {
            Fault::None => store.journal(),
            fault => Arc::new(Self { fault, store: store.clone(), journal: store.journal() }),
        }
    }

    /// A claim of a queued run that nobody may have yet. Nothing of it is in the database.
    async fn forbidden(&self, request: &ClaimRequest) -> Option<Claim> {
        let filter = RunFilter { state: Some(RunState::Queued), ..RunFilter::default() };
        let queued = self.store.list_runs(&Visible::All, &filter, &PageRequest::default()).await.unwrap();
        let taken = queued.items.into_iter().find(|run| run.key.is_some())?;
        let run = self.journal.find_run(taken.id).await.unwrap()?;
        Some(Claim {
            id: taken.id,
            row: -1,
            epoch: Epoch(taken.epoch + 1),
            workflow: taken.workflow,
            version: taken.version,
            input: run.input,
            key: taken.key,
            parent: taken.parent,
            trace: None,
            started_at: taken.created_at,
            claimed_at: request.now,
            lease_until: request.lease_until,
            cancel: None,
            history: Vec::new(),
            waits: Vec::new(),
            signals: Vec::new(),
        })
    }
}

#[async_trait]
impl Journal for Broken {
    async fn start(&self, run: NewRun) -> Result<Started, JournalError> {
        self.journal.start(run).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, JournalError> {
        let mut claims = self.journal.claim(request).await?;
        if self.fault == Fault::IgnoresKeys && claims.len() < request.limit {
            claims.extend(self.forbidden(request).await);
        }
        Ok(claims)
    }

    async fn next_due(
        &self,
        workflows: &[WorkflowVersions],
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, JournalError> {
        self.journal.next_due(workflows, now).await
    }

    async fn record(&self, mut entry: Entry) -> Result<(), JournalError> {
        match self.fault {
            Fault::IgnoresEpochs => {
                if let Some(run) = self.journal.find_run(entry.run).await? {
                    entry.epoch = Epoch(run.summary.epoch);
                }
            }
            Fault::ForgetsAttempts => entry.finished.clear(),
            Fault::ForgetsEntries if entry.transition.is_none() => return Ok(()),
            _ => {}
        }
        self.journal.record(entry).await
    }

    async fn renew(&self, held: &[Held], until: DateTime<Utc>) -> Result<Vec<Renewal>, JournalError> {
        self.journal.renew(held, until).await
    }

    async fn end_leases(&self, worker: &str, of: Incarnations, now: DateTime<Utc>) -> Result<u64, JournalError> {
        self.journal.end_leases(worker, of, now).await
    }

    async fn cancel(&self, run: RunId, reason: &str, now: DateTime<Utc>) -> Result<(), JournalError> {
        self.journal.cancel(run, reason, now).await
    }

    async fn force_stop(&self, run: RunId, reason: &str, now: DateTime<Utc>) -> Result<(), JournalError> {
        self.journal.force_stop(run, reason, now).await
    }

    async fn retry(&self, run: RunId, from: Option<&StepKey>) -> Result<(), JournalError> {
        self.journal.retry(run, from).await
    }

    async fn fork(&self, run: RunId, fork: Fork) -> Result<Started, JournalError> {
        self.journal.fork(run, fork).await
    }

    async fn signal(&self, run: RunId, signal: NewSignal, now: DateTime<Utc>) -> Result<(), JournalError> {
        match self.fault {
            Fault::LosesSignals => Ok(()),
            _ => self.journal.signal(run, signal, now).await,
        }
    }

    async fn tick(&self, schedule: &Tick, now: DateTime<Utc>) -> Result<DateTime<Utc>, JournalError> {
        self.journal.tick(schedule, now).await
    }

    async fn prune(&self, retention: &Retention, now: DateTime<Utc>, limit: u32) -> Result<u64, JournalError> {
        self.journal.prune(retention, now, limit).await
    }

    async fn position(&self, run: RunId) -> Result<Option<u64>, JournalError> {
        self.journal.position(run).await
    }

    async fn find_run(&self, run: RunId) -> Result<Option<RunDetail>, JournalError> {
        self.journal.find_run(run).await
    }

    fn bell(&self) -> &Bell {
        self.journal.bell()
    }
}

/// What the proof says, which must find the fault.
fn found<T>(proof: Result<T, String>) -> String {
    proof.err().expect("the promise is broken, and the proof has not found it")
}

alone_on_each_store!(
    the_crash_sweep_finds_that_an_attempt_is_forgotten,
    the_crash_sweep_finds_that_an_acknowledged_entry_is_not_written,
    the_crash_sweep_finds_that_a_signal_is_lost,
    the_crash_sweep_finds_that_a_run_begins_before_its_key_is_free,
    the_zombies_find_that_an_old_epoch_is_written,
    the_simulation_finds_each_fault,
);

fn the_crash_sweep_finds_that_an_attempt_is_forgotten(on: On) {
    let found = found(crash::sweep(on, Story::Steps, Fault::ForgetsAttempts));
    assert!(found.contains("was applied 2 times"), "{found}");
}

fn the_crash_sweep_finds_that_an_acknowledged_entry_is_not_written(on: On) {
    let found = found(crash::sweep(on, Story::Steps, Fault::ForgetsEntries));
    assert!(found.contains("was applied 2 times"), "{found}");
}

fn the_crash_sweep_finds_that_a_signal_is_lost(on: On) {
    let found = found(crash::sweep(on, Story::Signalled, Fault::LosesSignals));
    assert!(found.contains("waited in vain"), "{found}");
}

fn the_crash_sweep_finds_that_a_run_begins_before_its_key_is_free(on: On) {
    let found = found(crash::sweep(on, Story::Superseded, Fault::IgnoresKeys));
    assert!(found.contains("new"), "{found}");
}

fn the_zombies_find_that_an_old_epoch_is_written(on: On) {
    let found = found(zombies::sweep(on, Story::Steps, Fault::IgnoresEpochs));
    assert!(found.contains("under a lease that was lost"), "{found}");
}

fn the_simulation_finds_each_fault(on: On) {
    for (fault, operation) in [
        (Fault::IgnoresEpochs, "record: the store answered Ok"),
        (Fault::ForgetsAttempts, "shows"),
        (Fault::ForgetsEntries, "record"),
        (Fault::IgnoresKeys, "claim: the store answered Ok"),
        (Fault::LosesSignals, "the store answered Ok"),
    ] {
        let found = found(simulation::simulate(on, 0..60, fault));
        assert!(found.contains(operation), "{fault:?}: {found}");
    }
}
