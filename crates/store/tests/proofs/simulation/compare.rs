//! Runs and claims as the store and the model show them.

use std::collections::BTreeMap;

use seatrial_engine::history::{records, views};
use seatrial_engine::{Claim, RunId, RunSummary, StepRecord};
use seatrial_store::views::{PageRequest, RunFilter};

use super::Simulation;
use crate::model::{Model, ModelRun};
use seatrial_preview::access::Visible;

/// All of a claim that does not say where it is kept.
pub(super) fn given(claim: &Claim) -> String {
    let mut signals: Vec<_> = claim.signals.iter().map(|signal| (&signal.name, signal.payload.to_string())).collect();
    signals.sort();
    let numbers: Vec<_> = claim.signals.iter().map(|signal| signal.number).collect();
    format!(
        "{} {} {}v{} {} key {:?} parent {:?} from {} cancel {:?}\n{:?}\n{:?}\n{signals:?} {numbers:?}",
        claim.id,
        claim.epoch.0,
        claim.workflow,
        claim.version,
        claim.input,
        claim.key,
        claim.parent,
        claim.started_at,
        claim.cancel,
        sorted(claim.history.clone()),
        claim.waits,
    )
}

pub(super) fn given_by_model(run: &ModelRun) -> String {
    let mut signals: Vec<_> = run.signals.iter().map(|signal| (&signal.name, signal.payload.to_string())).collect();
    signals.sort();
    let numbers: Vec<_> = (1..).take(signals.len()).collect::<Vec<u64>>();
    format!(
        "{} {} {}v{} {} key {:?} parent {:?} from {} cancel {:?}\n{:?}\n{:?}\n{signals:?} {numbers:?}",
        run.new.id,
        run.epoch,
        run.new.workflow,
        run.new.version,
        run.new.input,
        run.new.key,
        run.new.parent,
        run.created_at,
        run.cancel_reason,
        sorted(records(run.attempts.clone())),
        run.open,
    )
}

fn sorted(mut history: Vec<StepRecord>) -> Vec<StepRecord> {
    history.sort_by(|a, b| a.key.cmp(&b.key));
    history
}

/// A run without its steps; which of them is the present one is for pages to say.
fn summary_of(run: &ModelRun) -> RunSummary {
    RunSummary {
        id: run.new.id,
        workflow: run.new.workflow.clone(),
        version: run.new.version,
        state: run.state,
        key: run.new.key.clone(),
        group: run.new.group.clone(),
        parent: run.new.parent,
        forked_from: run.forked_from,
        created_at: run.created_at,
        started_at: run.started_at,
        finished_at: run.finished_at,
        worker: run.worker.as_ref().map(|worker| worker.name.clone()),
        epoch: run.epoch,
        lease_until: run.lease_until,
        wake_at: run.wake_at,
        wait_reason: run.wait_reason.clone(),
        cancel_reason: run.cancel_reason.clone(),
        failure: run.failure.clone(),
        current_step: None,
    }
}

impl Simulation {
    /// Every run stands as the model says; those that have changed, with all their steps.
    pub(super) async fn runs_are_the_same(&self, before: &Model) -> Result<(), String> {
        let page = PageRequest { limit: 200, ..PageRequest::default() };
        let listed =
            self.store.list_runs(&Visible::All, &RunFilter::default(), &page).await.map_err(|e| e.to_string())?;
        let listed: BTreeMap<RunId, RunSummary> = listed.items.into_iter().map(|run| (run.id, run)).collect();
        if listed.len() != self.model.runs.len() {
            return Err(format!("there are {} runs instead of {}", listed.len(), self.model.runs.len()));
        }
        for run in &self.model.runs {
            let Some(listed) = listed.get(&run.new.id) else { return Err(format!("run {} is gone", run.new.id)) };
            let (shown, expected) = (RunSummary { current_step: None, ..listed.clone() }, summary_of(run));
            if shown != expected {
                return Err(format!("a run is\n{shown:?}\ninstead of\n{expected:?}"));
            }
            if before.find(run.new.id) != Some(run) {
                self.is_the_same(run).await?;
            }
        }
        self.no_key_is_held_twice(listed.values())
    }

    async fn is_the_same(&self, run: &ModelRun) -> Result<(), String> {
        let found = self.store.find_run(run.new.id).await.map_err(|e| e.to_string())?;
        let Some(found) = found else { return Err(format!("run {} is not found", run.new.id)) };
        let shown = (found.input, found.output, found.steps);
        let steps = views(run.attempts.clone(), run.open.clone(), run.state.is_final());
        let mut expected = (run.new.input.clone(), run.output.clone(), steps);
        // Steps of one position come in any order.
        let mut shown = shown;
        for steps in [&mut shown.2, &mut expected.2] {
            steps.sort_by_key(|step| step.key());
        }
        if shown == expected {
            Ok(())
        } else {
            Err(format!("run {} shows\n{shown:?}\ninstead of\n{expected:?}", run.new.id))
        }
    }

    /// Whatever the model says.
    fn no_key_is_held_twice<'a>(&self, runs: impl Iterator<Item = &'a RunSummary>) -> Result<(), String> {
        let mut held: BTreeMap<&str, RunId> = BTreeMap::new();
        for run in runs.filter(|run| !run.state.is_final() && run.state != seatrial_engine::RunState::Queued) {
            if let Some(key) = &run.key
                && let Some(other) = held.insert(key, run.id)
            {
                return Err(format!("runs {other} and {} have both begun under the key {key}", run.id));
            }
        }
        Ok(())
    }
}
