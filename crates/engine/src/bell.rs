use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use serde::{Deserialize, Serialize};

use crate::eager::EagerStarts;
use crate::ids::RunId;
use crate::run::RunState;

/// What happened to a run; for live pages and for cancellation inside the process. A hint, not
/// a record: who falls behind reads the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RunEvent {
    State {
        run: RunId,
        key: Option<String>,
        state: RunState,
    },
    Step {
        run: RunId,
        key: Option<String>,
        step: String,
    },
    Progress {
        run: RunId,
        key: Option<String>,
        text: String,
    },
    CancelRequested {
        run: RunId,
        reason: String,
    },
    /// Ended by force: whoever executes it lets go.
    Stopped {
        run: RunId,
    },
}

/// Wakes the claimers of this process and tells listeners what happened.
pub struct Bell {
    /// Counts the rings.
    work: watch::Sender<u64>,
    /// Counts the runs that have ended or were parked.
    ends: watch::Sender<u64>,
    eager: EagerStarts,
    events: broadcast::Sender<RunEvent>,
    progress: Mutex<HashMap<RunId, String>>,
}

impl Default for Bell {
    fn default() -> Self {
        Self {
            work: watch::Sender::new(0),
            ends: watch::Sender::new(0),
            eager: EagerStarts::default(),
            events: broadcast::Sender::new(4096),
            progress: Mutex::default(),
        }
    }
}

impl Bell {
    /// A run may be ready to be claimed.
    pub fn ring(&self) {
        self.eager.withdraw();
        self.work.send_modify(|rings| *rings = rings.wrapping_add(1));
    }

    /// One who is woken by each ring from now on.
    pub(crate) fn listener(&self) -> Listener {
        Listener { work: self.work.subscribe(), ends: self.ends.subscribe() }
    }

    /// Where starts in this process find a slot to be executed at once.
    pub fn eager(&self) -> &EagerStarts {
        &self.eager
    }

    pub fn publish(&self, event: RunEvent) {
        match &event {
            RunEvent::Progress { run, text, .. } => {
                self.progress().insert(*run, text.clone());
            }
            RunEvent::State { run, .. } => self.forget_progress(*run),
            // It is published after its commit, when the next step may have reported already.
            RunEvent::Step { .. } | RunEvent::CancelRequested { .. } | RunEvent::Stopped { .. } => {}
        }
        if let RunEvent::State { state, .. } = &event
            && (state.is_final() || *state == RunState::Waiting)
        {
            self.ends.send_modify(|ends| *ends = ends.wrapping_add(1));
        }
        // An error only says that nobody listens.
        let _ = self.events.send(event);
    }

    pub fn subscribe(&self) -> broadcast::Receiver<RunEvent> {
        self.events.subscribe()
    }

    /// What the run's present step last said about itself, in this process.
    pub fn progress_of(&self, run: RunId) -> Option<String> {
        self.progress().get(&run).cloned()
    }

    /// A step's progress is about that step alone: another begins, or it has ended.
    pub(crate) fn forget_progress(&self, run: RunId) {
        self.progress().remove(&run);
    }

    fn progress(&self) -> MutexGuard<'_, HashMap<RunId, String>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Bell::listener`]. Each has its own ear: a ring wakes all of them.
pub(crate) struct Listener {
    work: watch::Receiver<u64>,
    ends: watch::Receiver<u64>,
}

impl Listener {
    /// Waits for [`Bell::ring`]; one since the last call counts. With limits also for the end or the parking of any run: there may be room.
    pub(crate) async fn wakes(&mut self, with_limits: bool) {
        let ends = &mut self.ends;
        let room = async {
            if !with_limits || ends.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = room => {}
            changed = self.work.changed() => if changed.is_err() {
                std::future::pending::<()>().await;
            },
        }
    }

    /// What has been rung for so far is looked at now.
    pub(crate) fn hears(&mut self) {
        self.work.mark_unchanged();
        self.ends.mark_unchanged();
    }
}
