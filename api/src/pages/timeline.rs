//! The steps of a run: when each ran, how long it took, how often it was tried.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::{badges, format};
use crate::wire::{Attempt, AttemptOutcome, RunDetail, Step, StepState};

/// A row for each step, its bar in proportion to the whole run.
pub(super) fn timeline(detail: &RunDetail, now: DateTime<Utc>, outputs: bool) -> Markup {
    let scale = Scale::of(detail, now);
    html! {
        ol.timeline {
            @for step in &detail.steps { (row(step, detail, &scale, now, outputs)) }
        }
        @if detail.steps.is_empty() { p.quiet { "No step has begun." } }
    }
}

fn row(step: &Step, detail: &RunDetail, scale: &Scale, now: DateTime<Utc>, outputs: bool) -> Markup {
    let (tone, sign, word) = badges::step(step.state);
    let failed_attempts = step.attempts.iter().filter(|a| a.outcome != Some(AttemptOutcome::Succeeded)).count();
    let telling = step.error.is_some()
        || step.attempts.len() > 1
        || failed_attempts > 0 && step.state != StepState::Running
        || outputs && step.output.is_some();
    let open = matches!(step.state, StepState::Failed | StepState::Retrying);
    let progress = detail.progress.as_ref().filter(|_| step.state == StepState::Running);
    let id = format!("step-{}-{}-{}", step.scope.as_deref().unwrap_or_default(), step.name, step.occurrence);
    html! {
        li class={ "step " (tone) @if step.scope.is_some() { " nested" } } {
            div.row {
                span.sign aria-hidden="true" { (sign) }
                span.name {
                    (step.name)
                    @if step.occurrence > 0 { span.quiet { " #" (step.occurrence + 1) } }
                    span.visually-hidden { ", " (word) }
                    @if let Some(progress) = progress { span.progress { (progress) } }
                }
                span.bar { (scale.bar(step, now)) }
                span.tries { @if step.attempts.len() > 1 { (step.attempts.len()) " attempts" } }
                span.took { (took(step, now)) }
            }
            @if telling {
                details #(id) open[open] {
                    summary { "Attempts" @if outputs && step.output.is_some() { " and output" } }
                    ol.attempts { @for attempt in &step.attempts { (attempt_row(attempt, now)) } }
                    @if let Some(retry_at) = step.retry_at { p.quiet { "Next attempt at " (format::moment(retry_at)) " UTC." } }
                    @if let Some(output) = step.output.as_ref().filter(|_| outputs) {
                        pre.code { (pretty(output)) }
                    }
                }
            }
        }
    }
}

fn attempt_row(attempt: &Attempt, now: DateTime<Utc>) -> Markup {
    let (tone, word) = match attempt.outcome {
        None => ("info", "running"),
        Some(AttemptOutcome::Succeeded) => ("good", "succeeded"),
        Some(AttemptOutcome::Failed) => ("bad", "failed"),
        Some(AttemptOutcome::Cancelled) => ("neutral", "cancelled"),
        Some(AttemptOutcome::Interrupted) => ("warn", "interrupted: its worker stopped"),
    };
    html! {
        li {
            span class={ "word " (tone) } { "Attempt " (attempt.attempt) ": " (word) }
            span.quiet {
                " at " (format::moment(attempt.started_at)) " UTC, "
                @match attempt.finished_at {
                    Some(finished) => (format::duration(format::between(attempt.started_at, finished))),
                    None => (format::running(attempt.started_at, now)),
                }
            }
            @if let Some(error) = &attempt.error { p.error { (error) } }
        }
    }
}

fn took(step: &Step, now: DateTime<Utc>) -> Markup {
    html! {
        @match (step.took_ms, step.started_at) {
            (Some(ms), _) => (format::duration(ms)),
            (None, Some(since)) if step.state != StepState::Pending => (format::running(since, now)),
            _ => "",
        }
    }
}

pub(super) fn pretty(value: &serde_json::Value) -> String {
    const SHOWN: usize = 20_000;
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    if text.len() > SHOWN {
        let cut = (0..=SHOWN).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
        text.push_str("\n… the API has the rest");
    }
    text
}

/// From the run's first step to its last, or to now.
struct Scale {
    start: DateTime<Utc>,
    whole_ms: f64,
}

impl Scale {
    fn of(detail: &RunDetail, now: DateTime<Utc>) -> Self {
        let start = detail.steps.iter().filter_map(|step| step.started_at).min().unwrap_or(detail.run.created_at);
        let end = detail.run.finished_at.unwrap_or(now);
        // A run that has just begun would fill its bar at once.
        let whole = format::between(start, end).max(if detail.run.finished_at.is_some() { 1 } else { 5_000 });
        Self { start, whole_ms: whole as f64 }
    }

    /// In SVG, because the pages' policy forbids styles in attributes.
    fn bar(&self, step: &Step, now: DateTime<Utc>) -> Markup {
        let Some(started) = step.started_at else { return html! {} };
        let percent = |ms: u64| (ms as f64 / self.whole_ms * 100.0).clamp(0.0, 100.0);
        let from = percent(format::between(self.start, started));
        let until = percent(format::between(self.start, step.finished_at.unwrap_or(now)));
        // A step of no time is still to be seen.
        let width = (until - from).max(0.6);
        let from = from.min(100.0 - width);
        html! {
            svg width="100%" height="10" aria-hidden="true" focusable="false" {
                rect.track x="0" y="4" width="100%" height="2" rx="1" {}
                rect.fill x=(format!("{from:.2}%")) y="1" width=(format!("{width:.2}%")) height="8" rx="3" {}
            }
        }
    }
}
