//! Writing a run's attempts and transitions under its lease.

use seatrial_engine::history::ChildEnd;
use seatrial_engine::{Entry, JournalError, RunEvent, RunState, Transition};

use super::db::Connection;
use super::rows::{millis, to_json};
use super::{batch, signals, start};
use crate::effects::Effects;
use crate::error::StoreError;

/// Whether an entry is one of many that a single statement can write: it concerns no other run.
pub(super) fn is_plain(entry: &Entry) -> bool {
    entry.children.is_empty() && (entry.parent.is_none() || !has_ended(entry))
}

fn has_ended(entry: &Entry) -> bool {
    !matches!(entry.transition, None | Some(Transition::Park { .. }))
}

/// One entry, with what it means for its children and its parent.
pub(super) async fn record(connection: &mut Connection, entry: &Entry) -> Result<((), Effects), StoreError> {
    let mut effects = Effects::none();
    for child in &entry.children {
        let (started, told) = start::start(connection, child, entry.at).await?;
        if started.id != child.id {
            // The parent would record, and wait for, a run that there is not.
            return Err(JournalError::Illegal(format!(
                "a child of run {} cannot be started: run {} was started with its deduplication id; give it one of its own",
                entry.run, started.id
            ))
            .into());
        }
        effects = effects.and(told);
    }
    if !batch::write_entries(connection, &[entry]).await?.contains(&entry.row) {
        return Err(JournalError::Fenced { run: entry.run, epoch: entry.epoch }.into());
    }
    effects = effects.and(effects_of(entry));
    let end = match &entry.transition {
        None | Some(Transition::Park { .. }) => None,
        Some(Transition::Succeeded(output)) => Some(ChildEnd::Succeeded(output.clone())),
        Some(Transition::Failed(failure)) => Some(ChildEnd::Failed(failure.clone())),
        Some(Transition::Cancelled(reason)) => Some(ChildEnd::Cancelled(reason.clone())),
    };
    if let Some((parent, end)) = entry.parent.zip(end) {
        effects = effects.and(signals::tell_parent(connection, parent, entry.run, &end, entry.at).await?);
    }
    Ok(((), effects))
}

/// What a written entry says to the process.
pub(super) fn effects_of(entry: &Entry) -> Effects {
    let key = entry.key.clone();
    match &entry.transition {
        Some(transition) => {
            let state = state_after(transition);
            // The next run of the key may begin; a run that was parked may go on.
            let ring = key.is_some() || state == RunState::Waiting;
            Effects { events: vec![RunEvent::State { run: entry.run, key, state }], ring }
        }
        None => {
            // The step that people look at now: one in progress, else the last that has ended.
            let present = entry.open.iter().rfind(|open| open.wait.is_none()).or(entry.open.last());
            let step = match entry.finished.last() {
                Some(last) => Some(present.filter(|open| open.wait.is_none()).map_or(&last.key, |open| &open.key)),
                None => present.map(|open| &open.key),
            };
            let event = step.map(|step| RunEvent::Step { run: entry.run, key, step: step.to_string() });
            Effects { events: event.into_iter().collect(), ring: false }
        }
    }
}

fn state_after(transition: &Transition) -> RunState {
    match transition {
        Transition::Park { .. } => RunState::Waiting,
        Transition::Succeeded(_) => RunState::Succeeded,
        Transition::Failed(_) => RunState::Failed,
        Transition::Cancelled(_) => RunState::Cancelled,
    }
}

/// An entry as the columns of its run.
pub(super) struct Columns {
    pub(super) state: &'static str,
    pub(super) lease_until: Option<i64>,
    pub(super) open: String,
    pub(super) wake_at: Option<i64>,
    /// Set when the run waits for a signal: how many it has seen.
    pub(super) signals_seen: Option<i64>,
    /// Set when the run parks without knowing whether it is to stop.
    pub(super) heeds_cancel: bool,
    pub(super) wait_reason: Option<String>,
    pub(super) output: Option<String>,
    pub(super) failure: Option<String>,
    pub(super) cancel_reason: Option<String>,
    pub(super) finished_at: Option<i64>,
    pub(super) at: i64,
}

impl Columns {
    pub(super) fn of(entry: &Entry) -> Result<Self, StoreError> {
        let at = millis(entry.at);
        let mut columns = Self {
            state: entry.transition.as_ref().map_or(RunState::Running, state_after).as_str(),
            lease_until: None,
            open: if entry.open.is_empty() { "[]".to_owned() } else { to_json(&entry.open)? },
            wake_at: None,
            signals_seen: None,
            heeds_cancel: false,
            wait_reason: None,
            output: None,
            failure: None,
            cancel_reason: None,
            finished_at: has_ended(entry).then_some(at),
            at,
        };
        match &entry.transition {
            None => columns.lease_until = Some(millis(entry.lease_until)),
            Some(Transition::Park { wake_at, signals_seen, cancel_seen, reason }) => {
                columns.wake_at = wake_at.map(millis);
                columns.signals_seen = signals_seen.map(|seen| i64::try_from(seen).unwrap_or(i64::MAX));
                columns.heeds_cancel = !cancel_seen;
                columns.wait_reason = Some(reason.clone());
            }
            Some(Transition::Succeeded(output)) => columns.output = Some(to_json(output)?),
            Some(Transition::Failed(failure)) => columns.failure = Some(to_json(failure)?),
            Some(Transition::Cancelled(reason)) => columns.cancel_reason = Some(reason.clone()),
        }
        Ok(columns)
    }
}
