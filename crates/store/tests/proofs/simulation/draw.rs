//! The operations, each drawn at random and done to both.

use std::time::Duration;

use rand::Rng as _;
use seatrial_engine::{
    ClaimRequest, Clock as _, Fork, Held, Incarnations, Limits, NewRun, NewSignal, OnConflict, Retention, RunId,
    StepKey, WorkflowVersions,
};
use serde_json::json;

use super::compare::{given, given_by_model};
use super::{Simulation, same, worker};

const WORKFLOWS: [&str; 2] = ["w1", "w2"];

impl Simulation {
    pub(super) async fn starts(&mut self) -> Result<(), String> {
        let run = match self.model.runs.last() {
            // An answer was lost, and the start is asked for again.
            Some(last) if last.forked_from.is_none() && self.rng.random_bool(0.05) => last.new.clone(),
            _ => self.new_run(),
        };
        let started =
            self.journal.start(run.clone()).await.map(|started| (started.id, started.fresh)).map_err(Into::into);
        self.note(format!("start {run:?}"), &started);
        let model = self.model.start(&run, self.clock.now());
        same("start", started, model)
    }

    pub(super) fn new_run(&mut self) -> NewRun {
        let workflow = WORKFLOWS[self.rng.random_range(0..2)];
        let mut run = NewRun {
            id: self.new_id(),
            ..NewRun::named(workflow, self.rng.random_range(1..3), json!(self.rng.random_range(0..100)))
        };
        if self.rng.random_bool(0.5) {
            let on_conflict = match self.rng.random_range(0..5) {
                0..2 => OnConflict::Queue,
                2..4 => OnConflict::Supersede,
                _ => OnConflict::Reject,
            };
            run = run.key(format!("k{}", self.rng.random_range(0..3)), on_conflict);
        }
        if self.rng.random_bool(0.2) {
            run = run.deduplication(format!("d{}", self.rng.random_range(0..8)));
        }
        if self.rng.random_bool(0.3) {
            run = run.group(format!("g{}", self.rng.random_range(0..2)));
        }
        if self.rng.random_bool(0.3) {
            run = run.priority(self.rng.random_range(-1..3));
        }
        if self.rng.random_bool(0.15) && !self.model.runs.is_empty() {
            run.parent = Some(self.any_run());
        }
        run
    }

    pub(super) async fn claims(&mut self) -> Result<(), String> {
        let now = self.now();
        let mut limits = Limits::default();
        if self.rng.random_bool(0.25) {
            limits.of_workflow.insert(WORKFLOWS[0].to_owned(), self.rng.random_range(0..3));
        }
        if self.rng.random_bool(0.25) {
            limits.of_each_group = Some(self.rng.random_range(1..3));
        }
        if self.rng.random_bool(0.15) {
            limits.of_group.insert("g0".to_owned(), self.rng.random_range(0..3));
        }
        let known = if self.rng.random_bool(0.8) { &WORKFLOWS[..] } else { &WORKFLOWS[1..] };
        let workflows = self.continues(known);
        let request = ClaimRequest {
            worker: self.workers[self.rng.random_range(0..3)].clone(),
            workflows,
            limit: self.rng.random_range(1..4),
            limits,
            now,
            lease_until: now + Duration::from_secs(self.rng.random_range(3..15)),
        };
        let claims = self.journal.claim(&request).await.map_err(|e| format!("claim: {e}"))?;
        let taken: Vec<_> = claims.iter().map(|claim| (claim.id, claim.epoch.0)).collect();
        self.note(format!("claim {request:?}"), &taken);
        let by_model: Vec<_> = self.model.claim(&request).into_iter().filter_map(|id| self.model.find(id)).collect();
        let expected: Vec<_> = by_model.into_iter().map(given_by_model).collect();
        same("claim", Ok(claims.iter().map(given).collect()), Ok(expected))?;
        for claim in &claims {
            if (claim.claimed_at, claim.lease_until) != (now, request.lease_until) {
                return Err(format!("{claim:?} is not of this request"));
            }
        }
        self.claims.extend(claims);
        Ok(())
    }

    /// What a program continues: both versions, or one of them.
    fn continues(&mut self, workflows: &[&str]) -> Vec<WorkflowVersions> {
        let versions = [1..=2, 1..=2, 1..=1, 2..=2];
        let draw = |name: &&str| WorkflowVersions {
            name: (*name).to_owned(),
            versions: versions[self.rng.random_range(0..versions.len())].clone(),
        };
        workflows.iter().map(draw).collect()
    }

    pub(super) async fn cancels(&mut self) -> Result<(), String> {
        let (run, now) = (self.any_run(), self.now());
        let reason = format!("cancelled at {}", self.done.len());
        let answer = self.journal.cancel(run, &reason, now).await.map_err(Into::into);
        self.note(format!("cancel {run}"), &answer);
        same("cancel", answer, self.model.cancel(run, &reason, now))
    }

    pub(super) async fn stops_by_force(&mut self) -> Result<(), String> {
        let (run, now) = (self.any_run(), self.now());
        let answer = self.journal.force_stop(run, "by force", now).await.map_err(Into::into);
        self.note(format!("force_stop {run}"), &answer);
        same("force_stop", answer, self.model.force_stop(run, "by force", now))
    }

    pub(super) async fn retries(&mut self) -> Result<(), String> {
        let run = self.ended_run();
        let from = self.rng.random_bool(0.4).then(|| self.any_step(run));
        let answer = self.journal.retry(run, from.as_ref()).await.map_err(Into::into);
        self.note(format!("retry {run} from {from:?}"), &answer);
        same("retry", answer, self.model.retry(run, from.as_ref()))
    }

    pub(super) async fn forks(&mut self) -> Result<(), String> {
        let run = self.ended_run();
        let on_conflict = [OnConflict::Queue, OnConflict::Supersede, OnConflict::Reject][self.rng.random_range(0..3)];
        let id = match self.model.runs.iter().rfind(|known| known.forked_from == Some(run)) {
            // An answer was lost, and the fork is asked for again.
            Some(forked) if self.rng.random_bool(0.5) => forked.new.id,
            _ => self.new_id(),
        };
        let fork = Fork { id, from: self.any_step(run), on_conflict };
        let answer = self.journal.fork(run, fork.clone()).await.map(|new| (new.id, new.fresh)).map_err(Into::into);
        self.note(format!("fork {run} {fork:?}"), &answer);
        let now = self.clock.now();
        same("fork", answer, self.model.fork(run, &fork, now))
    }

    /// Mostly one that has ended.
    fn ended_run(&mut self) -> RunId {
        let ended: Vec<_> = self.model.runs.iter().filter(|run| !run.is_open()).map(|run| run.new.id).collect();
        if ended.is_empty() || self.rng.random_bool(0.2) {
            return self.any_run();
        }
        ended[self.rng.random_range(0..ended.len())]
    }

    /// Mostly one of the run's.
    fn any_step(&mut self, run: RunId) -> StepKey {
        let recorded = self.model.find(run).map(|run| run.attempts.as_slice()).unwrap_or_default();
        if !recorded.is_empty() && self.rng.random_bool(0.9) {
            return recorded[self.rng.random_range(0..recorded.len())].attempt.key.clone();
        }
        StepKey { scope: String::new(), name: format!("s{}", self.rng.random_range(0..5)), occurrence: 0 }
    }

    pub(super) async fn signals(&mut self) -> Result<(), String> {
        let (run, now) = (self.any_run(), self.now());
        let signal = NewSignal {
            name: format!("n{}", self.rng.random_range(0..2)),
            payload: json!(self.done.len()),
            deduplication: self.rng.random_bool(0.4).then(|| format!("once {}", self.rng.random_range(0..3))),
        };
        let answer = self.journal.signal(run, signal.clone(), now).await.map_err(Into::into);
        self.note(format!("signal {run} {signal:?}"), &answer);
        same("signal", answer, self.model.signal(run, &signal, now))
    }

    pub(super) async fn renews(&mut self) -> Result<(), String> {
        let mut held: Vec<Held> = Vec::new();
        for claim in self.claims.iter().rev().take(6) {
            let is_known = held.iter().any(|known| known.run == claim.id);
            if !is_known && self.rng.random_bool(0.6) {
                held.push(Held { run: claim.id, epoch: claim.epoch });
            }
        }
        let until = self.now() + Duration::from_secs(10);
        let answer = self.journal.renew(&held, until).await.map_err(Into::into);
        self.note(format!("renew {held:?}"), &answer);
        same("renew", answer, Ok(self.model.renew(&held, until)))
    }

    /// A worker's process ends and another of its name begins, or it drains.
    pub(super) async fn restarts(&mut self) -> Result<(), String> {
        let (which, now) = (self.rng.random_range(0..3), self.now());
        let name = self.workers[which].name.clone();
        let new = worker(&name, &mut self.rng);
        let left = std::mem::replace(&mut self.workers[which], new);
        let of = if self.rng.random_bool(0.7) {
            Incarnations::AllBut(self.workers[which].incarnation)
        } else {
            Incarnations::Only(left.incarnation)
        };
        let answer = self.journal.end_leases(&name, of, now).await.map_err(Into::into);
        self.note(format!("end_leases {name} {of:?}"), &answer);
        same("end_leases", answer, Ok(self.model.end_leases(&name, of, now)))
    }

    pub(super) async fn prunes(&mut self) -> Result<(), String> {
        let age = Duration::from_secs(self.rng.random_range(1..120));
        let retention = Retention { age, runs: self.rng.random_range(0..8) };
        let (now, limit) = (self.now(), self.rng.random_range(1..6));
        let answer = self.journal.prune(&retention, now, limit).await.map_err(Into::into);
        self.note(format!("prune {retention:?} {limit}"), &answer);
        same("prune", answer, Ok(self.model.prune(&retention, now, limit as usize)))
    }

    /// What only asks.
    pub(super) async fn asks(&mut self) -> Result<(), String> {
        let (run, now) = (self.any_run(), self.now());
        let known = self.rng.random_range(0..2);
        let workflows = self.continues(&WORKFLOWS[known..]);
        let due = self.journal.next_due(&workflows, now).await.map_err(Into::into);
        same("next_due", due, Ok(self.model.next_due(&workflows, now)))?;
        let position = self.journal.position(run).await.map_err(Into::into);
        same("position", position, Ok(self.model.place_in_queue(run)))
    }
}
