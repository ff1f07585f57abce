//! Who is given which runs, in what order, and until when.

use chrono::{DateTime, Utc};
use seatrial_engine::{
    ClaimRequest, FinishedAttempt, Held, Incarnations, ORPHANED_AFTER, Renewal, RunId, RunState, WorkerId,
    WorkflowVersions,
};

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
        let is_due = |run: &ModelRun| may_be_taken(run, &request.workflows, request.now);
        let mut due: Vec<_> = self.runs.iter().filter(|run| run.state == RunState::Waiting && is_due(run)).collect();
        due.sort_by_key(|run| run.wake_at);
        let expired = self.runs.iter().filter(|run| run.state == RunState::Running && is_due(run));
        let begun = due.into_iter().chain(expired).map(|run| run.new.id);
        let queued = self.queue(|run| is_due(run) && self.key_is_free(run));
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

    pub fn next_due(&self, workflows: &[WorkflowVersions], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let due = self.runs.iter().filter_map(|run| {
            let since = run.can_be_taken_since().map(|at| if run.state == RunState::Queued { now } else { at })?;
            if is_continued(run, workflows) { Some(since) } else { may_be_taken(run, workflows, now).then_some(now) }
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

    pub fn end_leases(&mut self, worker: &str, of: Incarnations, now: DateTime<Utc>) -> u64 {
        let mut ended = 0;
        for run in &mut self.runs {
            let is_held = run.state == RunState::Running && run.lease_until.is_some_and(|until| until > now);
            let is_meant = |id: &WorkerId| match of {
                Incarnations::Only(incarnation) => id.incarnation == incarnation,
                Incarnations::AllBut(incarnation) => id.incarnation != incarnation,
            };
            if is_held && run.worker.as_ref().is_some_and(|id| id.name == worker && is_meant(id)) {
                run.lease_until = Some(now);
                ended += 1;
            }
        }
        ended
    }
}

fn is_continued(run: &ModelRun, workflows: &[WorkflowVersions]) -> bool {
    workflows.iter().any(|known| known.continues(&run.new.workflow, run.new.version))
}

/// One that the asker does not continue is left to others for a while.
fn may_be_taken(run: &ModelRun, workflows: &[WorkflowVersions], now: DateTime<Utc>) -> bool {
    let is_known = workflows.iter().any(|known| known.name == run.new.workflow);
    let Some(since) = run.can_be_taken_since().filter(|_| is_known) else { return false };
    if is_continued(run, workflows) {
        run.state == RunState::Queued || since <= now
    } else {
        since <= now - ORPHANED_AFTER
    }
}

impl ModelRun {
    fn can_be_taken_since(&self) -> Option<DateTime<Utc>> {
        match self.state {
            RunState::Waiting => self.wake_at,
            RunState::Running => self.lease_until,
            RunState::Queued => Some(self.created_at),
            RunState::Succeeded | RunState::Failed | RunState::Cancelled => None,
        }
    }

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
