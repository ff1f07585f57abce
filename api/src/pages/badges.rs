use maud::{Markup, html};

use crate::wire::{PreviewState, RunState, StepState};

/// How a state looks; the word is always there, so colour alone says nothing.
fn badge(tone: &str, moving: bool, word: &str) -> Markup {
    html! { span class={ "badge " (tone) } { span.dot.moving[moving] aria-hidden="true" {} (word) } }
}

pub(super) fn preview(state: PreviewState) -> Markup {
    let (tone, word) = match state {
        PreviewState::Queued => ("neutral", "Queued"),
        PreviewState::Deploying => ("info", "Deploying"),
        PreviewState::Running => ("good", "Running"),
        PreviewState::Sleeping => ("neutral", "Asleep"),
        PreviewState::Failed => ("bad", "Failed"),
        PreviewState::Refused => ("warn", "Refused"),
        PreviewState::Deleting => ("info", "Deleting"),
        PreviewState::Deleted => ("neutral", "Deleted"),
    };
    badge(tone, state.is_moving(), word)
}

pub(super) fn run(state: RunState) -> Markup {
    let (tone, word) = match state {
        RunState::Queued => ("neutral", "Queued"),
        RunState::Running => ("info", "Running"),
        RunState::Waiting => ("warn", "Waiting"),
        RunState::Succeeded => ("good", "Succeeded"),
        RunState::Failed => ("bad", "Failed"),
        RunState::Cancelled => ("neutral", "Cancelled"),
    };
    badge(tone, matches!(state, RunState::Queued | RunState::Running | RunState::Waiting), word)
}

/// The tone of a step, the sign before its name, and its state in a word.
pub(super) fn step(state: StepState) -> (&'static str, &'static str, &'static str) {
    match state {
        StepState::Planned => ("planned", "○", "still to come"),
        StepState::Pending => ("planned", "○", "to be run again"),
        StepState::Running => ("info", "◐", "running"),
        StepState::Retrying => ("warn", "↻", "waits for its next attempt"),
        StepState::Waiting => ("warn", "◷", "waits"),
        StepState::Succeeded => ("good", "✓", "succeeded"),
        StepState::Failed => ("bad", "✕", "failed"),
    }
}

/// `preview_up` as people say it.
pub(super) fn workflow(name: &str) -> &str {
    match name {
        "preview_up" => "Deploy",
        "preview_down" => "Remove",
        "preview_sleep" => "Sleep",
        "preview_wake" => "Wake",
        "reconcile" => "Reconcile",
        "sweep" => "Sweep",
        "command" => "Command",
        other => other,
    }
}
