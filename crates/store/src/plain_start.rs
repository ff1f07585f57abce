//! The start of a run that concerns no other: without key, deduplication id, group and parent.
//! Many of them are one statement, and a worker of this process may execute it at once.

use chrono::{DateTime, Utc};
use seatrial_engine::{Claim, EagerSlot, Epoch, NewRun, RunEvent, RunState, WorkerId};

use crate::effects::Effects;

pub(crate) struct PlainStart {
    pub(crate) run: NewRun,
    pub(crate) at: DateTime<Utc>,
    slot: Option<EagerSlot>,
}

impl PlainStart {
    pub(crate) fn new(run: NewRun, at: DateTime<Utc>, slot: Option<EagerSlot>) -> Self {
        Self { run, at, slot }
    }

    pub(crate) fn state(&self) -> RunState {
        if self.slot.is_some() { RunState::Running } else { RunState::Queued }
    }

    /// How often it has been claimed.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(i64::from(self.slot.is_some()))
    }

    /// Who holds its lease, and until when.
    pub(crate) fn lease(&self) -> Option<(&WorkerId, DateTime<Utc>)> {
        self.slot.as_ref().map(|slot| (&slot.worker, self.at + slot.lease))
    }

    /// It is committed as that row. Without one, the run was there already: the same call started
    /// it, and its answer was lost.
    pub(crate) fn committed(self, row: Option<i64>) -> Effects {
        let state = self.state();
        let is_queued = state == RunState::Queued;
        let events = vec![RunEvent::State { run: self.run.id, key: None, state }];
        let Some(row) = row else { return Effects::none() };
        let epoch = self.epoch();
        if let Some(slot) = self.slot {
            let lease_until = self.at + slot.lease;
            slot.execute(Claim {
                id: self.run.id,
                row,
                epoch,
                workflow: self.run.workflow,
                version: self.run.version,
                input: self.run.input,
                key: None,
                parent: None,
                trace: self.run.trace,
                started_at: self.at,
                claimed_at: self.at,
                lease_until,
                cancel: None,
                history: Vec::new(),
                waits: Vec::new(),
                signals: Vec::new(),
            });
        }
        Effects { events, ring: is_queued }
    }
}
