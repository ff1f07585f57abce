//! What people ask of a run.

use chrono::{DateTime, Utc};
use seatrial_engine::history::{ChildEnd, KeptAttempt};
use seatrial_engine::{AttemptOutcome, FinishedAttempt, Fork, NewRun, Retention, RunId, RunState, StepKey};

use serde_json::Value;

use super::{Model, ModelRun, Refusal};

impl Model {
    pub fn cancel(&mut self, id: RunId, reason: &str, now: DateTime<Utc>) -> Result<(), Refusal> {
        if !self.find_mut(id)?.is_open() {
            return Err(Refusal::Illegal);
        }
        self.request_stop(id, reason, now)
    }

    /// One that has not begun ends; the others are asked, and woken to hear it; their children too.
    pub(super) fn request_stop(&mut self, id: RunId, reason: &str, now: DateTime<Utc>) -> Result<(), Refusal> {
        let run = self.find_mut(id)?;
        match run.state {
            RunState::Queued => {
                run.state = RunState::Cancelled;
                (run.cancel_reason, run.finished_at) = (Some(reason.to_owned()), Some(now));
                self.tell_parent(id, &ChildEnd::Cancelled(reason.to_owned()), now)?;
            }
            RunState::Running | RunState::Waiting => {
                run.cancel_reason.get_or_insert_with(|| reason.to_owned());
                if run.state == RunState::Waiting {
                    run.wake_at = Some(now);
                }
            }
            RunState::Succeeded | RunState::Failed | RunState::Cancelled => {}
        }
        for child in self.ids(|run| run.new.parent == Some(id) && run.is_open()) {
            self.request_stop(child, reason, now)?;
        }
        Ok(())
    }

    pub fn force_stop(&mut self, id: RunId, reason: &str, now: DateTime<Utc>) -> Result<(), Refusal> {
        self.at_once(|model| {
            let run = model.find_mut(id)?;
            if !run.is_open() {
                return Err(Refusal::Illegal);
            }
            run.state = RunState::Cancelled;
            run.epoch += 1;
            run.cancel_reason = Some(reason.to_owned());
            run.finished_at = Some(now);
            (run.wake_at, run.lease_until, run.wait_reason) = (None, None, None);
            for open in std::mem::take(&mut run.open) {
                run.keep(FinishedAttempt::interrupted(open, now));
            }
            model.tell_parent(id, &ChildEnd::Cancelled(reason.to_owned()), now)?;
            model.request_stop(id, reason, now)
        })
    }

    pub fn retry(&mut self, id: RunId, from: Option<&StepKey>) -> Result<(), Refusal> {
        let at = self.runs.iter().position(|run| run.new.id == id).ok_or(Refusal::NotFound)?;
        let key = self.runs[at].new.key.clone();
        if key.is_some_and(|key| self.runs[at + 1..].iter().any(|newer| newer.has_key(&key))) {
            return Err(Refusal::Illegal);
        }
        let lost = self.lost_children(id);
        let run = &mut self.runs[at];
        let position = match from {
            Some(step) => Some(run.position_of(step)?),
            None => {
                let failed =
                    run.attempts.iter().filter(|kept| ended_badly(kept)).map(|kept| kept.attempt.position).min();
                failed.or_else(|| run.starts_of(&lost).iter().map(|at| run.attempts[*at].attempt.position).max())
            }
        };
        if run.is_open() || (run.state == RunState::Succeeded && from.is_none()) {
            return Err(Refusal::Illegal);
        }
        for kept in &mut run.attempts {
            kept.discarded |= position.is_some_and(|position| kept.attempt.position >= position);
        }
        run.discard_starts(&lost);
        run.state = RunState::Queued;
        (run.output, run.failure, run.cancel_reason, run.finished_at) = (None, None, None, None);
        Ok(())
    }

    pub fn fork(&mut self, id: RunId, fork: &Fork, now: DateTime<Utc>) -> Result<(RunId, bool), Refusal> {
        self.at_once(|model| {
            let old = model.find_mut(id)?.clone();
            if model.find(fork.id).is_some() {
                return Ok((fork.id, false));
            }
            let position = old.position_of(&fork.from)?;
            model.make_room(old.new.key.as_deref(), fork.on_conflict, fork.id, now)?;
            let new = NewRun {
                id: fork.id,
                on_conflict: fork.on_conflict,
                deduplication: None,
                parent: None,
                ..old.new.clone()
            };
            model.insert(new, Some(id), now);
            let is_before = |kept: &&KeptAttempt| kept.attempt.position < position && !kept.discarded;
            let lost = model.lost_children(id);
            let waited_for = model.ids(|child| child.new.parent == Some(id) && child.is_open());
            let new = model.find_mut(fork.id)?;
            new.attempts = old.attempts.iter().filter(is_before).cloned().collect();
            new.signals = old.signals;
            new.discard_starts(&lost);
            if !new.starts_of(&waited_for).is_empty() {
                return Err(Refusal::Illegal);
            }
            Ok((fork.id, true))
        })
    }

    /// The children that did not succeed, or will not.
    fn lost_children(&self, id: RunId) -> Vec<RunId> {
        self.ids(|child| {
            let is_stopping = child.is_open() && child.cancel_reason.is_some();
            let has_failed = matches!(child.state, RunState::Failed | RunState::Cancelled);
            child.new.parent == Some(id) && (has_failed || is_stopping)
        })
    }

    /// Deletes what has ended beyond the retention, the oldest first; never the newest of a key.
    pub fn prune(&mut self, retention: &Retention, now: DateTime<Utc>, limit: usize) -> u64 {
        let ended = self.ids(|run| !run.is_open());
        let too_many = ended.len().saturating_sub(retention.runs as usize);
        let too_old = now - retention.age;
        let goes = |id: &RunId| {
            let run = self.find(*id).unwrap();
            let is_beyond = ended[..too_many].contains(id) || run.finished_at.is_some_and(|at| at < too_old);
            let parent_is_open = run.new.parent.and_then(|parent| self.find(parent)).is_some_and(ModelRun::is_open);
            let child_is_open = self.runs.iter().any(|child| child.new.parent == Some(*id) && child.is_open());
            let newest = run.new.key.as_deref().and_then(|key| self.runs.iter().rfind(|other| other.has_key(key)));
            let is_newest = newest.is_some_and(|newest| newest.new.id == *id);
            is_beyond && !parent_is_open && !child_is_open && !is_newest
        };
        let gone: Vec<_> = ended.iter().copied().filter(goes).take(limit).collect();
        self.runs.retain(|run| !gone.contains(&run.new.id));
        gone.len() as u64
    }

    /// How many queued runs come before it.
    pub fn place_in_queue(&self, id: RunId) -> Option<u64> {
        let at = self.queue(|_| true).into_iter().position(|queued| queued == id)?;
        Some(at as u64)
    }
}

fn ended_badly(kept: &KeptAttempt) -> bool {
    let outcome = kept.attempt.outcome;
    let is_bad = matches!(outcome, AttemptOutcome::Failed | AttemptOutcome::Cancelled);
    is_bad && kept.attempt.retry_at.is_none() && !kept.discarded
}

impl ModelRun {
    fn position_of(&self, step: &StepKey) -> Result<u32, Refusal> {
        let of_step = self.attempts.iter().filter(|kept| kept.attempt.key == *step);
        of_step.map(|kept| kept.attempt.position).max().ok_or(Refusal::Illegal)
    }

    /// The attempts that started these children and count.
    fn starts_of(&self, children: &[RunId]) -> Vec<usize> {
        let started = |kept: &KeptAttempt| {
            let output = kept.attempt.output.as_ref().and_then(Value::as_str);
            !kept.discarded && children.iter().any(|child| output == Some(child.to_string().as_str()))
        };
        self.attempts.iter().enumerate().filter(|(_, kept)| started(kept)).map(|(at, _)| at).collect()
    }

    /// Who still has to wait for one of these children starts another instead. No run of the
    /// simulation has recorded such a wait.
    fn discard_starts(&mut self, children: &[RunId]) {
        for at in self.starts_of(children) {
            self.attempts[at].discarded = true;
        }
    }

    /// One that is there already is not written again.
    pub(super) fn keep(&mut self, attempt: FinishedAttempt) {
        let is_same = |kept: &KeptAttempt| kept.attempt.key == attempt.key && kept.attempt.attempt == attempt.attempt;
        if !self.attempts.iter().any(is_same) {
            self.attempts.push(KeptAttempt { attempt, discarded: false });
        }
    }
}
