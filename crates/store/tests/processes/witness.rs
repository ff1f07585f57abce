//! What processes have done, as lines that each of them appended to one file, and what must hold
//! between that and the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use seatrial_engine::{AttemptOutcome, RunDetail, RunId, RunState};
use serde_json::Value;

use crate::process::{STEPS, result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// A step of the run was carried out, by the process of that number.
    Effect { run: RunId, step: usize, life: u32 },
    /// The store has acknowledged the run's start.
    Started(RunId),
    /// The store has acknowledged the run's end.
    Ended(RunId),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Effect { run, step, life } => write!(f, "effect {run} {step} {life}"),
            Self::Started(run) => write!(f, "started {run}"),
            Self::Ended(run) => write!(f, "ended {run}"),
        }
    }
}

impl FromStr for Line {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let words: Vec<_> = text.split(' ').collect();
        let run = |word: &str| word.parse().map_err(drop);
        match words[..] {
            ["effect", of, step, life] => {
                Ok(Self::Effect { run: run(of)?, step: step.parse().map_err(drop)?, life: life.parse().map_err(drop)? })
            }
            ["started", of] => Ok(Self::Started(run(of)?)),
            ["ended", of] => Ok(Self::Ended(run(of)?)),
            _ => Err(()),
        }
    }
}

/// The whole lines so far.
pub fn read(file: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| line.parse().unwrap_or_else(|()| panic!("not a line of a witness: {line:?}"))).collect()
}

/// The steps carried out, of any run, with the life that did it.
pub fn effects(lines: &[Line]) -> impl Iterator<Item = (RunId, usize, u32)> {
    lines.iter().filter_map(|line| match line {
        Line::Effect { run, step, life } => Some((*run, *step, *life)),
        Line::Started(_) | Line::Ended(_) => None,
    })
}

/// How many runs have had that step carried out by that life.
pub fn runs_at(lines: &[Line], step: usize, life: u32) -> usize {
    let there = effects(lines).filter(|(_, done, by)| (*done, *by) == (step, life));
    there.map(|(run, ..)| run).collect::<BTreeSet<_>>().len()
}

/// What the journal holds of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Journaled {
    pub run: RunId,
    pub state: RunState,
    pub claims: i64,
    pub steps: Vec<JournaledStep>,
    pub output: Option<Value>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct JournaledStep {
    pub name: String,
    /// `None` while an attempt runs.
    pub attempts: Vec<Option<AttemptOutcome>>,
    pub output: Option<Value>,
}

impl From<RunDetail> for Journaled {
    fn from(run: RunDetail) -> Self {
        Self {
            run: run.summary.id,
            state: run.summary.state,
            claims: run.summary.epoch,
            steps: run
                .steps
                .into_iter()
                .map(|step| JournaledStep {
                    name: step.name,
                    attempts: step.attempts.into_iter().map(|attempt| attempt.outcome).collect(),
                    output: step.output,
                })
                .collect(),
            output: run.output,
        }
    }
}

/// What holds however the processes fared: every run has succeeded; each of its steps is recorded
/// once, was carried out, and at most once in each claim; what is recorded is what an execution of
/// that step returned, and the run's result is made of it.
pub fn check_ends(lines: &[Line], journal: &[Journaled]) -> Result<(), String> {
    let mut lives: BTreeMap<(RunId, usize), Vec<u32>> = BTreeMap::new();
    for (run, step, life) in effects(lines) {
        lives.entry((run, step)).or_default().push(life);
    }
    for Journaled { run, state, claims, steps, output } in journal {
        if *state != RunState::Succeeded {
            return Err(format!("run {run} is {}", state.as_str()));
        }
        if !steps.iter().map(|step| step.name.as_str()).eq(STEPS) {
            return Err(format!("run {run} has other steps: {steps:?}"));
        }
        for (number, step) in steps.iter().enumerate() {
            let (name, attempts) = (&step.name, &step.attempts);
            let recorded = attempts.iter().filter(|outcome| **outcome == Some(AttemptOutcome::Succeeded)).count();
            let cut_off = attempts.iter().filter(|outcome| **outcome == Some(AttemptOutcome::Interrupted)).count();
            if recorded != 1 || recorded + cut_off != attempts.len() {
                return Err(format!("step {name} of run {run} is not recorded once: {attempts:?}"));
            }
            let Some(done) = lives.get(&(*run, number)) else {
                return Err(format!("step {name} of run {run} was never carried out"));
            };
            if i64::try_from(done.len()).unwrap() > *claims {
                return Err(format!(
                    "step {name} of run {run} was carried out {} times in {claims} claims",
                    done.len()
                ));
            }
            if !done.iter().any(|life| step.output == Some(result(number, *life).into())) {
                return Err(format!("step {name} of run {run} recorded {:?}, but ran in lives {done:?}", step.output));
            }
        }
        let results: Option<Value> = steps.iter().map(|step| step.output.clone()).collect();
        if *output != results {
            return Err(format!("run {run} returned {output:?}, its steps {results:?}"));
        }
    }
    Ok(())
}

/// What holds when one process came after another: a life goes on where the one before it stopped,
/// with the step that one had not recorded; and it had at most `slots` of those. Each step's
/// recorded result is that of its last execution.
pub fn check_order(lines: &[Line], journal: &[Journaled], slots: usize) -> Result<(), String> {
    let mut last: BTreeMap<RunId, (usize, u32)> = BTreeMap::new();
    let mut repeated: BTreeMap<u32, BTreeSet<RunId>> = BTreeMap::new();
    for (run, step, life) in effects(lines) {
        let goes_on = match last.insert(run, (step, life)) {
            None => step == 0,
            Some((before, in_life)) if in_life == life => step == before + 1,
            Some((before, in_life)) if in_life < life && step == before => {
                repeated.entry(in_life).or_default().insert(run)
            }
            Some((before, in_life)) => in_life < life && step == before + 1,
        };
        if !goes_on {
            return Err(format!("run {run}: life {life} carried out step {} out of turn", STEPS[step]));
        }
    }
    if let Some((life, runs)) = repeated.iter().find(|(_, runs)| runs.len() > slots) {
        return Err(format!("life {life} had {} steps in flight when it ended, in {slots} slots", runs.len()));
    }
    let lives: BTreeMap<_, _> = effects(lines).map(|(run, step, life)| ((run, step), life)).collect();
    for Journaled { run, steps, .. } in journal {
        for (number, step) in steps.iter().enumerate() {
            let expected = lives.get(&(*run, number)).map(|life| Value::from(result(number, *life)));
            if step.output != expected {
                return Err(format!("step {} of run {run} recorded {:?}, not {expected:?}", step.name, step.output));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two runs: the first is cut off in its third step, which is carried out again.
    fn honest() -> (Vec<Line>, Vec<Journaled>) {
        let runs = [RunId::new(), RunId::new()];
        let mut lines = Vec::new();
        let mut journal = Vec::new();
        for (number, run) in runs.into_iter().enumerate() {
            let lives = |step: usize| match (number, step) {
                (0, 0 | 1) => vec![1],
                (0, 2) => vec![1, 2],
                _ => vec![2],
            };
            let mut steps = Vec::new();
            for (step, name) in STEPS.iter().enumerate() {
                lines.extend(lives(step).into_iter().map(|life| Line::Effect { run, step, life }));
                let mut attempts = vec![Some(AttemptOutcome::Interrupted); lives(step).len() - 1];
                attempts.push(Some(AttemptOutcome::Succeeded));
                let output = Some(result(step, *lives(step).last().unwrap()).into());
                steps.push(JournaledStep { name: (*name).to_owned(), attempts, output });
            }
            let output = steps.iter().map(|step| step.output.clone()).collect();
            journal.push(Journaled { run, state: RunState::Succeeded, claims: 2, steps, output });
        }
        (lines, journal)
    }

    fn complaint(doctor: impl FnOnce(&mut Vec<Line>, &mut Vec<Journaled>)) -> String {
        let (mut lines, mut journal) = honest();
        doctor(&mut lines, &mut journal);
        check_ends(&lines, &journal).and_then(|()| check_order(&lines, &journal, 1)).unwrap_err()
    }

    #[test]
    fn an_honest_witness_is_believed() {
        let (lines, journal) = honest();
        check_ends(&lines, &journal).unwrap();
        check_order(&lines, &journal, 1).unwrap();
        let read_again: Vec<Line> = lines.iter().map(|line| line.to_string().parse().unwrap()).collect();
        assert_eq!(read_again, lines);
    }

    #[test]
    fn an_effect_too_many_is_found() {
        let again = complaint(|lines, _| lines.insert(2, lines[1]));
        assert!(again.contains("life 1 carried out step two out of turn"), "{again}");
        let after_it_was_recorded = complaint(|lines, _| {
            let Line::Effect { run, .. } = lines[0] else { unreachable!() };
            lines.insert(3, Line::Effect { run, step: 1, life: 2 });
        });
        assert!(after_it_was_recorded.contains("step two out of turn"), "{after_it_was_recorded}");
        let more_than_claims = complaint(|lines, journal| {
            lines.push(lines[0]);
            journal[0].claims = 1;
        });
        assert!(more_than_claims.contains("2 times in 1 claims"), "{more_than_claims}");
        let (lines, journal) = honest();
        let no_slot = check_order(&lines, &journal, 0).unwrap_err();
        assert!(no_slot.contains("1 steps in flight"), "{no_slot}");
    }

    #[test]
    fn a_step_that_is_missing_is_found() {
        let never = complaint(|lines, _| lines.retain(|line| !matches!(line, Line::Effect { step: 3, .. })));
        assert!(never.contains("step four of") && never.contains("never carried out"), "{never}");
        let not_recorded = complaint(|_, journal| drop(journal[1].steps.pop()));
        assert!(not_recorded.contains("other steps"), "{not_recorded}");
        let not_ended = complaint(|_, journal| journal[1].state = RunState::Running);
        assert!(not_ended.contains("is running"), "{not_ended}");
    }

    #[test]
    fn a_step_recorded_twice_or_wrongly_is_found() {
        let twice = complaint(|_, journal| journal[0].steps[2].attempts[0] = Some(AttemptOutcome::Succeeded));
        assert!(twice.contains("not recorded once"), "{twice}");
        let by_another = complaint(|_, journal| journal[0].steps[4].output = Some(result(4, 1).into()));
        assert!(by_another.contains("ran in lives [2]"), "{by_another}");
        let by_the_one_that_died = complaint(|_, journal| {
            journal[0].steps[2].output = Some(result(2, 1).into());
            journal[0].output = journal[0].steps.iter().map(|step| step.output.clone()).collect();
        });
        assert!(by_the_one_that_died.contains("by life 1"), "{by_the_one_that_died}");
        let another_result = complaint(|_, journal| journal[1].output = Some("else".into()));
        assert!(another_result.contains("returned"), "{another_result}");
    }
}
