//! Writing under a lease.

use seatrial_engine::history::ChildEnd;
use seatrial_engine::{Entry, RunState, Transition};

use super::{Model, Refusal};

impl Model {
    pub fn record(&mut self, entry: &Entry) -> Result<(), Refusal> {
        self.at_once(|model| {
            for child in &entry.children {
                let (started, _) = model.start_one(child, entry.at)?;
                if started != child.id {
                    return Err(Refusal::Illegal);
                }
            }
            let run = model.find_mut(entry.run).map_err(|_| Refusal::Fenced)?;
            if run.state != RunState::Running || run.epoch != entry.epoch.0 {
                return Err(Refusal::Fenced);
            }
            run.open.clone_from(&entry.open);
            for attempt in &entry.finished {
                run.keep(attempt.clone());
            }
            let mut end = None;
            match &entry.transition {
                None => run.lease_until = Some(entry.lease_until),
                Some(Transition::Park { wake_at, signals_seen, cancel_seen, reason }) => {
                    run.state = RunState::Waiting;
                    let signals = run.signals.len() as u64;
                    let is_signalled = signals_seen.is_some_and(|seen| seen < signals);
                    let is_cancelled = run.cancel_reason.is_some() && !cancel_seen;
                    run.wake_at = if is_signalled || is_cancelled { Some(entry.at) } else { *wake_at };
                    run.awaits_signal = signals_seen.is_some();
                    run.wait_reason = Some(reason.clone());
                }
                Some(Transition::Succeeded(output)) => {
                    (run.state, run.output) = (RunState::Succeeded, Some(output.clone()));
                    end = Some(ChildEnd::Succeeded(output.clone()));
                }
                Some(Transition::Failed(failure)) => {
                    (run.state, run.failure) = (RunState::Failed, Some(failure.clone()));
                    end = Some(ChildEnd::Failed(failure.clone()));
                }
                Some(Transition::Cancelled(reason)) => {
                    (run.state, run.cancel_reason) = (RunState::Cancelled, Some(reason.clone()));
                    end = Some(ChildEnd::Cancelled(reason.clone()));
                }
            }
            if entry.transition.is_some() {
                run.lease_until = None;
            }
            if let Some(end) = end {
                run.finished_at = Some(entry.at);
                model.tell_parent(entry.run, &end, entry.at)?;
            }
            Ok(())
        })
    }
}
