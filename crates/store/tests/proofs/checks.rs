//! What must hold when a story has ended, whatever happened in it.

use std::collections::BTreeMap;

use seatrial_engine::{AttemptOutcome, RunDetail, RunState, StepPhase};

use crate::stage::{Actor, Effect, Stage};

/// How a story ended, without times, numbers of attempts and ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub runs: String,
    /// How often each effect was applied.
    pub effects: BTreeMap<String, usize>,
}

impl Picture {
    pub async fn of(stage: &Stage, actor: &Actor) -> Result<Self, String> {
        let runs = actor.runs().await;
        for run in &runs {
            no_step_is_recorded_twice(run)?;
        }
        let mut text: Vec<String> = runs.iter().map(describe).collect();
        text.sort();
        let mut text = text.join("\n");
        for run in &runs {
            text = text.replace(&run.summary.id.to_string(), &format!("<{}>", label(run)));
        }
        let mut effects = BTreeMap::new();
        for effect in stage.world.done() {
            *effects.entry(effect.name()).or_default() += 1;
        }
        Ok(Self { runs: text, effects })
    }

    /// The same runs with the same results; each effect as often as in `expected`, once more for
    /// those of `again`, and for those of `perhaps` either.
    pub fn equals(&self, expected: &Self, again: &[String], perhaps: &[String]) -> Result<(), String> {
        let names = self.effects.keys().chain(expected.effects.keys());
        for name in names {
            let expected = expected.effects.get(name).copied().unwrap_or_default();
            let least = expected + usize::from(again.contains(name));
            let most = least.max(expected + usize::from(perhaps.contains(name)));
            let applied = self.effects.get(name).copied().unwrap_or_default();
            if applied < least || applied > most {
                return Err(format!("{name} was applied {applied} times, not {least} to {most} times"));
            }
        }
        if self.runs != expected.runs {
            return Err(format!("the runs ended as\n{}\ninstead of\n{}", self.runs, expected.runs));
        }
        Ok(())
    }
}

fn label(run: &RunDetail) -> String {
    run.input.get("label").unwrap_or(&run.input).as_str().unwrap_or_default().to_owned()
}

fn describe(run: &RunDetail) -> String {
    let RunDetail { summary, output, .. } = run;
    let mut lines = vec![format!(
        "{}: {} {output:?} {:?} {:?}",
        label(run),
        summary.state.as_str(),
        summary.failure.as_ref().map(|failure| &failure.message),
        summary.cancel_reason
    )];
    for step in &run.steps {
        // The step that a cancelled run was in saw it, or was cut off by the crash and not run again.
        let cut_off = summary.state == RunState::Cancelled && step.status != StepPhase::Succeeded;
        let status = if cut_off { "cut off".to_owned() } else { format!("{:?} {:?}", step.status, step.failure) };
        lines.push(format!("  {}: {status} {:?}", step.key(), step.output));
    }
    lines.join("\n")
}

/// Attempts are numbered without a gap; a step has at most one result, and it is its last attempt's.
fn no_step_is_recorded_twice(run: &RunDetail) -> Result<(), String> {
    for step in &run.steps {
        let named = format!("step {} of {}", step.key(), label(run));
        for (number, attempt) in (1..).zip(&step.attempts) {
            if attempt.attempt != number {
                return Err(format!("{named}: attempt {} is number {number}", attempt.attempt));
            }
        }
        let results = step
            .attempts
            .iter()
            .filter(|attempt| matches!(attempt.outcome, Some(AttemptOutcome::Succeeded | AttemptOutcome::Cancelled)))
            .count();
        if results > 1 {
            return Err(format!("{named} has {results} results: {:?}", step.attempts));
        }
        let last = step.attempts.last().and_then(|attempt| attempt.outcome);
        if step.status == StepPhase::Succeeded && last != Some(AttemptOutcome::Succeeded) {
            return Err(format!("{named} succeeded, but its last attempt has {last:?}"));
        }
        if run.summary.state.is_final() && step.attempts.iter().any(|attempt| attempt.outcome.is_none()) {
            return Err(format!("{named} is in progress, but its run has ended"));
        }
    }
    Ok(())
}

/// The effects that were applied, but whose step had not been recorded as succeeded by `actor`.
pub fn unrecorded(done: &[Effect], actor: &Actor) -> Vec<Effect> {
    let written = actor.process.written();
    let is_recorded = |effect: &Effect| {
        written
            .iter()
            .any(|entry| entry.run == effect.run && entry.succeeded.iter().any(|step| step.name == effect.step))
    };
    done.iter().filter(|effect| !is_recorded(effect)).cloned().collect()
}

/// At most one step of a run is in flight: they come one after another in all the stories.
pub fn one_a_run(effects: &[Effect]) -> Result<(), String> {
    for effect in effects {
        if effects.iter().filter(|other| other.run == effect.run).count() > 1 {
            return Err(format!("several steps of a run were applied and not recorded: {effects:?}"));
        }
    }
    Ok(())
}

/// Nothing of the run that supersedes is done before the last of the superseded one.
pub fn nothing_overlaps(done: &[Effect]) -> Result<(), String> {
    let first_new = done.iter().position(|effect| effect.label == "new");
    let last_old = done.iter().rposition(|effect| effect.label == "old");
    match (first_new, last_old) {
        (Some(new), Some(old)) if new < old => {
            Err(format!("the new run began before the old one had stopped: {done:?}"))
        }
        _ => Ok(()),
    }
}
