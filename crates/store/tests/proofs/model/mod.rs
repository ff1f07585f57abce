//! The journal's rules, as plainly as they can be written: a list of runs in the order they were
//! started, and functions that look at all of them. The simulation compares the stores to it.

mod claim;
mod control;
mod record;

use chrono::{DateTime, Utc};
use seatrial_engine::history::{ChildEnd, KeptAttempt, child_signal};
use seatrial_engine::{
    Failure, JournalError, NewRun, NewSignal, OnConflict, OpenStep, RunId, RunState, WorkerId, superseded_by,
};
use serde_json::Value;

/// Why the journal does not do what it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Fenced,
    NotFound,
    Illegal,
    KeyTaken,
    /// Never the model's.
    Unavailable,
}

impl From<JournalError> for Refusal {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Fenced { .. } => Self::Fenced,
            JournalError::NotFound(_) => Self::NotFound,
            JournalError::Illegal(_) => Self::Illegal,
            JournalError::KeyTaken { .. } => Self::KeyTaken,
            JournalError::Unavailable(_) => Self::Unavailable,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct ModelRun {
    pub new: NewRun,
    pub forked_from: Option<RunId>,
    pub fair: i64,
    pub state: RunState,
    pub epoch: i64,
    pub worker: Option<WorkerId>,
    pub lease_until: Option<DateTime<Utc>>,
    pub wake_at: Option<DateTime<Utc>>,
    pub wait_reason: Option<String>,
    pub awaits_signal: bool,
    pub cancel_reason: Option<String>,
    pub signals: Vec<NewSignal>,
    pub open: Vec<OpenStep>,
    pub attempts: Vec<KeptAttempt>,
    pub output: Option<Value>,
    pub failure: Option<Failure>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl ModelRun {
    fn new(new: NewRun, forked_from: Option<RunId>, fair: i64, now: DateTime<Utc>) -> Self {
        Self {
            new,
            forked_from,
            fair,
            state: RunState::Queued,
            epoch: 0,
            worker: None,
            lease_until: None,
            wake_at: None,
            wait_reason: None,
            awaits_signal: false,
            cancel_reason: None,
            signals: Vec::new(),
            open: Vec::new(),
            attempts: Vec::new(),
            output: None,
            failure: None,
            created_at: now,
            started_at: None,
            finished_at: None,
        }
    }

    pub fn is_open(&self) -> bool {
        !self.state.is_final()
    }

    pub fn has_begun(&self) -> bool {
        matches!(self.state, RunState::Running | RunState::Waiting)
    }

    fn has_key(&self, key: &str) -> bool {
        self.new.key.as_deref() == Some(key)
    }
}

#[derive(Debug, Clone, Default)]
pub struct Model {
    /// In the order they were started.
    pub runs: Vec<ModelRun>,
}

impl Model {
    /// All of it, or nothing.
    fn at_once<T>(&mut self, change: impl FnOnce(&mut Self) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let before = self.runs.clone();
        let answer = change(self);
        if answer.is_err() {
            self.runs = before;
        }
        answer
    }

    pub fn find(&self, id: RunId) -> Option<&ModelRun> {
        self.runs.iter().find(|run| run.new.id == id)
    }

    fn find_mut(&mut self, id: RunId) -> Result<&mut ModelRun, Refusal> {
        self.runs.iter_mut().find(|run| run.new.id == id).ok_or(Refusal::NotFound)
    }

    fn ids(&self, of: impl Fn(&ModelRun) -> bool) -> Vec<RunId> {
        self.runs.iter().filter(|run| of(run)).map(|run| run.new.id).collect()
    }

    /// The run's id, and whether it was started by this.
    pub fn start(&mut self, run: &NewRun, now: DateTime<Utc>) -> Result<(RunId, bool), Refusal> {
        self.at_once(|model| model.start_one(run, now))
    }

    fn start_one(&mut self, run: &NewRun, now: DateTime<Utc>) -> Result<(RunId, bool), Refusal> {
        if run.parent == Some(run.id) {
            return Err(Refusal::Illegal);
        }
        let known = self.runs.iter().find(|known| match &run.deduplication {
            Some(id) => known.new.workflow == run.workflow && known.new.deduplication.as_ref() == Some(id),
            None => known.new.id == run.id,
        });
        if let Some(known) = known {
            return Ok((known.new.id, false));
        }
        self.make_room(run.key.as_deref(), run.on_conflict, run.id, now)?;
        self.insert(run.clone(), None, now);
        Ok((run.id, true))
    }

    fn make_room(
        &mut self,
        key: Option<&str>,
        on_conflict: OnConflict,
        by: RunId,
        now: DateTime<Utc>,
    ) -> Result<(), Refusal> {
        let Some(key) = key else { return Ok(()) };
        match on_conflict {
            OnConflict::Queue => {}
            OnConflict::Reject => {
                if self.runs.iter().any(|run| run.has_key(key) && run.is_open()) {
                    return Err(Refusal::KeyTaken);
                }
            }
            OnConflict::Supersede => {
                let reason = superseded_by(by);
                for id in self.ids(|run| run.has_key(key) && run.is_open()) {
                    self.request_stop(id, &reason, now)?;
                }
            }
        }
        Ok(())
    }

    fn insert(&mut self, run: NewRun, forked_from: Option<RunId>, now: DateTime<Utc>) {
        let queued =
            || self.runs.iter().filter(|queued| queued.state == RunState::Queued && queued.new.group.is_some());
        let fair = match &run.group {
            None => 0,
            Some(group) => {
                let last = queued().filter(|queued| queued.new.group.as_ref() == Some(group)).map(|run| run.fair).max();
                last.map(|fair| fair + 1).or(queued().map(|run| run.fair).min()).unwrap_or_default()
            }
        };
        self.runs.push(ModelRun::new(run, forked_from, fair, now));
    }

    pub fn signal(&mut self, id: RunId, signal: &NewSignal, now: DateTime<Utc>) -> Result<(), Refusal> {
        let run = self.find_mut(id)?;
        if !run.is_open() {
            return Err(Refusal::Illegal);
        }
        run.hears(signal, now);
        Ok(())
    }

    /// A parent is told how its child has ended, also when it has ended itself.
    fn tell_parent(&mut self, child: RunId, end: &ChildEnd, now: DateTime<Utc>) -> Result<(), Refusal> {
        let parent = self.find_mut(child)?.new.parent;
        if let Some(parent) = parent.and_then(|parent| self.find_mut(parent).ok()) {
            let name = child_signal(child);
            let payload = serde_json::to_value(end).unwrap();
            parent.hears(&NewSignal { deduplication: Some(name.clone()), name, payload }, now);
        }
        Ok(())
    }
}

impl ModelRun {
    fn hears(&mut self, signal: &NewSignal, now: DateTime<Utc>) {
        let is_known = |known: &NewSignal| known.deduplication.is_some() && known.deduplication == signal.deduplication;
        if self.signals.iter().any(is_known) {
            return;
        }
        self.signals.push(signal.clone());
        if self.state == RunState::Waiting && self.awaits_signal {
            self.wake_at = Some(now);
        }
    }
}
