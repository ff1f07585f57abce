use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, broadcast};

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
    work: Notify,
    ends: Notify,
    eager: EagerStarts,
    events: broadcast::Sender<RunEvent>,
    progress: Mutex<HashMap<RunId, String>>,
}

impl Default for Bell {
    fn default() -> Self {
        Self {
            work: Notify::new(),
            ends: Notify::new(),
            eager: EagerStarts::default(),
            events: broadcast::Sender::new(4096),
            progress: Mutex::default(),
        }
    }
}

impl Bell {
    /// A run may be ready to be claimed.
    pub fn ring(&self) {
        self.work.notify_one();
    }

    /// Waits for [`Bell::ring`]; one that came before the call counts.
    pub async fn rung(&self) {
        self.work.notified().await;
    }

    /// Waits until a run has ended or was parked: there may be room under a limit.
    pub(crate) async fn room(&self) {
        self.ends.notified().await;
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
            self.ends.notify_one();
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
