//! Who is given which runs, in what order, and until when.

use chrono::{DateTime, Utc};
use seatrial_engine::{ClaimRequest, FinishedAttempt, Held, Renewal, RunId, RunState};
use uuid::Uuid;

use super::{Model, ModelRun};

impl Model {
    pub fn claim(&mut self, request: &ClaimRequest) -> Vec<RunId> {
        let mut taken: Vec<RunId> = Vec::new();
        for id in self.candidates(request) {
            if taken.len() < request.limit && self.has_room(id, &taken, request) {
                taken.push(id);
            }
        }
        for id in &taken {
            self.find_mut(*id).unwrap().is_taken(request);
        }
        taken
    }

    /// Parked ones whose time has come, running ones whose lease is over, queued ones of whose key
    /// nothing has begun and nothing comes before them.
    fn candidates(&self, request: &ClaimRequest) -> Vec<RunId> {
        let is_asked_for = |run: &&ModelRun| request.workflows.contains(&run.new.workflow);
        let is_past = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at <= request.now);
        let mut due: Vec<_> = self.runs.iter().filter(is_asked_for).collect();
        due.retain(|run| run.state == RunState::Waiting && is_past(run.wake_at));
        due.sort_by_key(|run| run.wake_at);
        let mut expired: Vec<_> = self.runs.iter().filter(is_asked_for).collect();
        expired.retain(|run| run.state == RunState::Running && is_past(run.lease_until));
        let begun = due.into_iter().chain(expired).map(|run| run.new.id);
        let queued = self.queue(|run| request.workflows.contains(&run.new.workflow) && self.key_is_free(run));
        begun.chain(queued).collect()
    }

    /// The queued runs, first the one that comes first.
    pub(super) fn queue(&self, of: impl Fn(&ModelRun) -> bool) -> Vec<RunId> {
        let mut queued: Vec<_> = self.runs.iter().filter(|run| run.state == RunState::Queued && of(run)).collect();
        queued.sort_by_key(|run| (std::cmp::Reverse(run.new.priority), run.fair));
        queued.into_iter().map(|run| run.new.id).collect()
    }

    fn key_is_free(&self, run: &ModelRun) -> bool {
        let Some(key) = &run.new.key else { return true };
        let first = self.runs.iter().find(|other| other.has_key(key) && other.is_open());
        first.is_some_and(|first| first.new.id == run.new.id)
            && !self.runs.iter().any(|other| other.has_key(key) && other.has_begun())
    }

    fn has_room(&self, id: RunId, taken: &[RunId], request: &ClaimRequest) -> bool {
        let new = &self.find(id).unwrap().new;
        let is_executed = |run: &&ModelRun| {
            taken.contains(&run.new.id)
                || (run.state == RunState::Running && run.lease_until.is_some_and(|until| until > request.now))
        };
        let of_workflow = self.runs.iter().filter(is_executed).filter(|run| run.new.workflow == new.workflow).count();
        let of_group = self.runs.iter().filter(is_executed).filter(|run| run.new.group == new.group).count();
        of_workflow < request.limits.workflow(&new.workflow) && of_group < request.limits.group(new.group.as_deref())
    }

    pub fn next_due(&self, workflows: &[String], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let due =
            self.runs.iter().filter(|run| workflows.contains(&run.new.workflow)).filter_map(|run| match run.state {
                RunState::Waiting => run.wake_at,
                RunState::Running => run.lease_until,
                RunState::Queued => Some(now),
                _ => None,
            });
        due.min().map(|at| at.max(now))
    }

    pub fn renew(&mut self, held: &[Held], until: DateTime<Utc>) -> Vec<Renewal> {
        let mut renewals = Vec::new();
        for held in held {
            let run = self.find_mut(held.run).ok();
            match run.filter(|run| run.state == RunState::Running && run.epoch == held.epoch.0) {
                None => renewals.push(Renewal::Lost(*held)),
                Some(run) => {
                    run.lease_until = Some(until);
                    renewals.extend(run.cancel_reason.clone().map(|reason| Renewal::Cancel(held.run, reason)));
                }
            }
        }
        renewals
    }

    pub fn end_leases(&mut self, worker: &str, except: Option<Uuid>, now: DateTime<Utc>) -> u64 {
        let mut ended = 0;
        for run in &mut self.runs {
            let is_held = run.state == RunState::Running && run.lease_until.is_some_and(|until| until > now);
            let is_of = |id: &seatrial_engine::WorkerId| id.name == worker && Some(id.incarnation) != except;
            if is_held && run.worker.as_ref().is_some_and(is_of) {
                run.lease_until = Some(now);
                ended += 1;
            }
        }
        ended
    }
}

impl ModelRun {
    fn is_taken(&mut self, request: &ClaimRequest) {
        self.state = RunState::Running;
        self.epoch += 1;
        self.worker = Some(request.worker.clone());
        self.lease_until = Some(request.lease_until);
        (self.wake_at, self.wait_reason, self.awaits_signal) = (None, None, false);
        self.started_at.get_or_insert(request.now);
        let (waits, cut_off) = std::mem::take(&mut self.open).into_iter().partition(|open| open.wait.is_some());
        self.open = waits;
        let cut_off: Vec<_> = cut_off;
        for open in cut_off {
            self.keep(FinishedAttempt::interrupted(open, request.now));
        }
    }
}
