use std::sync::Arc;

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use poem::web::{Data, Query};
use poem::{Response, handler};
use seatrial_operations::OperationError;
use seatrial_operations::views::{self, PageRequest, RunFilter};
use serde::Deserialize;

use super::layout::{Section, Shell};
use super::previews::capital;
use super::{badges, format, show};
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::{Run, RunPage, RunState};

/// The filters, as they are in the URL. Empty fields of the form say nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filters {
    state: String,
    workflow: String,
    text: String,
    after: Option<String>,
}

const WORKFLOWS: [&str; 2] = ["preview_up", "preview_down"];

#[handler]
pub(super) async fn page(api: Data<&Arc<Api>>, caller: Data<&Caller>, filters: Query<Filters>) -> Response {
    show(render(&api, &caller, &filters).await)
}

async fn render(api: &Api, caller: &Caller, filters: &Filters) -> Result<Shell, OperationError> {
    let said = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let filter = RunFilter {
        state: views::RunState::parse(&filters.state),
        workflow: said(&filters.workflow),
        key: None,
        text: said(&filters.text),
        ..RunFilter::default()
    };
    let request = PageRequest { after: filters.after.clone(), ..PageRequest::default() };
    let list: RunPage = api.operations.list_runs(&caller.0, &filter, &request).await?.into();
    let now = api.operations.now();
    let body = html! {
        div.title { h1 { "Runs" } (filter_form(filters)) }
        div #runs data-part="" aria-live="polite" {
            @if list.items.is_empty() { div.card.empty { h2 { "No run fits" } } } @else { (table(&list.items, now)) }
            @if let Some(next) = &list.next { p.more { a.button href=(next_page(filters, next)) { "Older" } } }
        }
    };
    Ok(Shell::new("Runs", Section::Runs, body).live("/api/v1/events"))
}

fn filter_form(filters: &Filters) -> Markup {
    html! {
        form.filters method="get" action="/runs" role="search" {
            label { span.visually-hidden { "State" }
                select name="state" data-submit="" {
                    option value="" { "Every state" }
                    @for state in RunState::ALL {
                        option value=(state.as_str()) selected[state.as_str() == filters.state] { (capital(state.as_str())) }
                    }
                }
            }
            label { span.visually-hidden { "Workflow" }
                select name="workflow" data-submit="" {
                    option value="" { "Every workflow" }
                    @for name in WORKFLOWS { option value=(name) selected[name == filters.workflow] { (badges::workflow(name)) } }
                }
            }
            label { span.visually-hidden { "Search" }
                input type="search" name="text" value=(filters.text) placeholder="Key, workflow or failure";
            }
            button type="submit" { "Filter" }
        }
    }
}

/// Also the list of earlier runs on a preview's page.
pub(super) fn table(runs: &[Run], now: DateTime<Utc>) -> Markup {
    html! {
        div.card.scroll {
            table {
                thead { tr {
                    th scope="col" { "Run" }
                    th scope="col" { "State" }
                    th scope="col" { "At" }
                    th.right scope="col" { "Took" }
                    th.right scope="col" { "Started" }
                } }
                tbody { @for run in runs { (row(run, now)) } }
            }
        }
    }
}

/// `Deploy acme/shop#7`. What concerns no pull request has its own name for a key.
pub(super) fn title(run: &Run) -> String {
    let workflow = badges::workflow(&run.workflow);
    match run.key.as_deref() {
        Some(key) if key != run.workflow => format!("{workflow} {key}"),
        _ => workflow.to_owned(),
    }
}

fn row(run: &Run, now: DateTime<Utc>) -> Markup {
    html! {
        tr {
            td.wide {
                a.strong href={ "/runs/" (run.id) } { (title(run)) }
                @if let Some(error) = &run.error { div.sub.clip { (error) } }
                @else if let Some(reason) = &run.cancel_reason { div.sub.clip { (reason) } }
            }
            td { (badges::run(run.state)) }
            td { (run.step.as_deref().unwrap_or("–")) @if run.claims > 1 { div.sub { "claimed " (run.claims) " times" } } }
            td.right.nowrap { (took(run, now)) }
            td.right.nowrap { (format::age(run.created_at, now)) }
        }
    }
}

pub(super) fn took(run: &Run, now: DateTime<Utc>) -> Markup {
    html! {
        @match (run.started_at, run.finished_at) {
            (Some(started), Some(finished)) => (format::duration(format::between(started, finished))),
            (Some(started), None) => (format::running(started, now)),
            _ => "–",
        }
    }
}

fn next_page(filters: &Filters, next: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("state", &filters.state).append_pair("workflow", &filters.workflow);
    query.append_pair("text", &filters.text).append_pair("after", next);
    format!("/runs?{}", query.finish())
}
