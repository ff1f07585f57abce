use std::sync::Arc;

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use poem::web::{Data, Path};
use poem::{Response, handler};
use seatrial_operations::OperationError;

use super::layout::{Section, Shell};
use super::timeline::{pretty, timeline};
use super::{badges, format, runs, show};
use crate::config::Api;
use crate::guard::Caller;
use crate::rest::run_id;
use crate::wire::{RunDetail, RunState};

#[handler]
pub(super) async fn page(api: Data<&Arc<Api>>, caller: Data<&Caller>, run: Path<String>) -> Response {
    show(render(&api, &caller, &run).await)
}

async fn render(api: &Api, caller: &Caller, run: &str) -> Result<Shell, OperationError> {
    let detail: RunDetail = api.operations.get_run(&caller.0, run_id(run)?).await?.into();
    let now = api.operations.now();
    let title = runs::title(&detail.run);
    let body = html! {
        div #head data-part="" {
            p.eyebrow { a href="/runs" { "Runs" } " / " span.mono { (detail.run.id) } }
            div.title { h1 { (title) } (badges::run(detail.run.state)) div.spring {} (actions(&detail)) }
            (facts(&detail, now))
        }
        section #journal data-part="" aria-labelledby="journal-title" {
            h2 #journal-title { "Journal" }
            div.card { (timeline(&detail, now, true)) }
        }
        section {
            details #input { summary { "Input" } pre.code { (pretty(&detail.input)) } }
            @if let Some(output) = &detail.output { details #output { summary { "Output" } pre.code { (pretty(output)) } } }
        }
    };
    let shell = Shell::new(&title, Section::Runs, body);
    Ok(if detail.run.state.is_final() { shell } else { shell.live(format!("/api/v1/events?run={}", detail.run.id)) })
}

fn actions(detail: &RunDetail) -> Markup {
    let run = &detail.run;
    html! {
        div.actions {
            @if matches!(run.state, RunState::Failed | RunState::Cancelled) {
                form method="post" action={ "/runs/" (run.id) "/retry" } { button.primary type="submit" { "Retry" } }
            }
            @if !run.state.is_final() {
                form method="post" action={ "/runs/" (run.id) "/cancel" } { button.danger type="submit" { "Cancel" } }
            }
        }
    }
}

fn facts(detail: &RunDetail, now: DateTime<Utc>) -> Markup {
    let run = &detail.run;
    html! {
        dl.facts {
            div { dt { "Workflow" } dd.mono { (run.workflow) } }
            div { dt { "Started" } dd { (format::age(run.created_at, now)) } }
            div { dt { "Took" } dd { (runs::took(run, now)) } }
            div { dt { "Claimed" } dd { (run.claims) @if run.claims == 1 { " time" } @else { " times" } } }
            @if let Some(worker) = &run.worker { div { dt { "Worker" } dd.mono { (worker) } } }
            @if let Some(wake_at) = run.wake_at { div { dt { "Goes on" } dd { (format::date(wake_at)) } } }
        }
        @if let Some(reason) = &run.wait_reason { p.note { "Waits: " (reason) } }
        @if let Some(reason) = &run.cancel_reason { p.note { "Asked to stop: " (reason) } }
        @if let Some(error) = &run.error { p.note.bad { (error) } }
    }
}
