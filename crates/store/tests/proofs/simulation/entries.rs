//! What a worker records of a run: drawn from how the run stands.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::Rng as _;
use seatrial_engine::{
    AttemptOutcome, Claim, Entry, Failure, FinishedAttempt, OpenStep, RunId, RunState, StepKey, Transition, Wait,
};
use serde_json::json;

use super::{Simulation, same};

impl Simulation {
    pub(super) async fn records(&mut self) -> Result<(), String> {
        let Some(claim) = self.any_claim() else { return Ok(()) };
        let entry = self.entry(&claim);
        let answer = self.journal.record(entry.clone()).await.map_err(Into::into);
        self.note(format!("record {entry:?}"), &answer);
        same("record", answer, self.model.record(&entry))
    }

    /// Mostly one that holds; the others are of workers that have not noticed yet.
    fn any_claim(&mut self) -> Option<Claim> {
        let holds = |claim: &&Claim| {
            let run = self.model.find(claim.id);
            run.is_some_and(|run| run.epoch == claim.epoch.0 && run.state == RunState::Running)
        };
        let holding: Vec<_> = self.claims.iter().filter(holds).cloned().collect();
        let from = if self.rng.random_bool(0.85) && !holding.is_empty() { holding } else { self.claims.clone() };
        (!from.is_empty()).then(|| from[self.rng.random_range(0..from.len())].clone())
    }

    fn entry(&mut self, claim: &Claim) -> Entry {
        let at = self.now();
        let mut entry = Entry {
            run: claim.id,
            row: claim.row,
            key: claim.key.clone(),
            epoch: claim.epoch,
            parent: claim.parent,
            at,
            lease_until: at + Duration::from_secs(self.rng.random_range(3..15)),
            open: self.model.find(claim.id).map(|run| run.open.clone()).unwrap_or_default(),
            finished: Vec::new(),
            children: Vec::new(),
            transition: None,
        };
        for open in std::mem::take(&mut entry.open) {
            if self.rng.random_bool(0.6) {
                entry.finished.push(self.finished(open, at));
            } else {
                entry.open.push(open);
            }
        }
        if self.rng.random_bool(0.6) {
            self.new_step(&mut entry, at);
        }
        if self.rng.random_bool(0.1) {
            let child = seatrial_engine::NewRun { parent: Some(claim.id), ..self.new_run() };
            if self.rng.random_bool(0.7) {
                entry.finished.push(self.starts_child(&child, at));
            }
            entry.children.push(child);
        }
        entry.transition = self.transition(claim.id, at);
        if !matches!(entry.transition, None | Some(Transition::Park { .. })) {
            entry.finished.extend(entry.open.drain(..).map(|open| FinishedAttempt::interrupted(open, at)));
        }
        if let Some(known) = self.model.find(claim.id).and_then(|run| run.attempts.first())
            && self.rng.random_bool(0.05)
        {
            // Written before, and the answer was lost.
            entry.finished.push(known.attempt.clone());
        }
        entry
    }

    fn new_step(&mut self, entry: &mut Entry, at: DateTime<Utc>) {
        let position = self.rng.random_range(0..5);
        let key = StepKey { scope: String::new(), name: format!("s{position}"), occurrence: 0 };
        if entry.open.iter().any(|open| open.key == key) {
            return;
        }
        let recorded = self.model.find(entry.run).into_iter().flat_map(|run| &run.attempts).map(|kept| &kept.attempt);
        let attempts = recorded.chain(&entry.finished).filter(|attempt| attempt.key == key);
        let attempt = attempts.map(|attempt| attempt.attempt).max().unwrap_or_default() + 1;
        let wait = self.rng.random_bool(0.25).then(|| Wait {
            until: self.rng.random_bool(0.6).then(|| at + Duration::from_secs(5)),
            signal: self.rng.random_bool(0.5).then(|| "n0".to_owned()),
        });
        let open = OpenStep { key, position, attempt, started_at: at, wait };
        if self.rng.random_bool(0.2) {
            entry.finished.push(self.finished(open, at));
        } else {
            entry.open.push(open);
        }
    }

    /// The step that starts a child: its result is the child's id.
    fn starts_child(&mut self, child: &seatrial_engine::NewRun, at: DateTime<Utc>) -> FinishedAttempt {
        let key = StepKey { scope: String::new(), name: format!("c{}", self.done.len()), occurrence: 0 };
        let position = self.rng.random_range(0..5);
        let open = OpenStep { key, position, attempt: 1, started_at: at, wait: None };
        let start = FinishedAttempt::interrupted(open, at);
        FinishedAttempt { outcome: AttemptOutcome::Succeeded, output: Some(json!(child.id)), ..start }
    }

    fn finished(&mut self, open: OpenStep, at: DateTime<Utc>) -> FinishedAttempt {
        let mut attempt = FinishedAttempt::interrupted(open, at);
        match self.rng.random_range(0..10) {
            0..6 => {
                attempt.outcome = AttemptOutcome::Succeeded;
                attempt.output = Some(json!({ "n": self.done.len() }));
            }
            6..9 => {
                attempt.outcome = AttemptOutcome::Failed;
                attempt.failure = Some(Failure::transient("it broke"));
                attempt.retry_at = self.rng.random_bool(0.4).then(|| at + Duration::from_secs(2));
            }
            _ => {
                attempt.outcome = AttemptOutcome::Cancelled;
                attempt.failure = Some(Failure::permanent("it stopped"));
            }
        }
        attempt
    }

    fn transition(&mut self, run: RunId, at: DateTime<Utc>) -> Option<Transition> {
        let signals = self.model.find(run).map_or(0, |run| run.signals.len() as u64);
        match self.rng.random_range(0..20) {
            0..10 => None,
            10..15 => Some(Transition::Park {
                wake_at: self
                    .rng
                    .random_bool(0.7)
                    .then(|| at + Duration::from_millis(self.rng.random_range(0..20_000))),
                signals_seen: self
                    .rng
                    .random_bool(0.5)
                    .then(|| signals.saturating_sub(u64::from(self.rng.random_bool(0.2)))),
                cancel_seen: self.rng.random_bool(0.5),
                reason: "it waits".to_owned(),
            }),
            15..17 => Some(Transition::Succeeded(json!([self.done.len()]))),
            17..19 => Some(Transition::Failed(Failure::permanent("it failed"))),
            _ => Some(Transition::Cancelled("it was asked to".to_owned())),
        }
    }
}
