use std::sync::Arc;

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use poem::web::{Data, Query};
use poem::{Response, handler};
use seatrial_operations::views::{EnvironmentFilter, EnvironmentState, PageRequest};
use seatrial_operations::{OperationError, Principal};
use serde::Deserialize;

use super::layout::{Section, Shell};
use super::{badges, format, show};
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::{Preview, PreviewPage, PreviewState};

/// The filters, as they are in the URL. Empty fields of the form say nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filters {
    state: String,
    text: String,
    after: Option<String>,
}

#[handler]
pub(super) async fn page(api: Data<&Arc<Api>>, caller: Data<&Caller>, filters: Query<Filters>) -> Response {
    show(render(&api, &caller, &filters).await)
}

async fn render(api: &Api, caller: &Caller, filters: &Filters) -> Result<Shell, OperationError> {
    let state = EnvironmentState::ALL.into_iter().find(|state| state.as_str() == filters.state);
    let text = Some(filters.text.trim().to_owned()).filter(|text| !text.is_empty());
    let filter = EnvironmentFilter { state, text, ..EnvironmentFilter::default() };
    let request = PageRequest { after: filters.after.clone(), ..PageRequest::default() };
    let list: PreviewPage = api.operations.list_previews(&caller.0, &filter, &request).await?.into();
    let now = api.operations.now();
    let body = html! {
        div.title { h1 { "Previews" } (filter_form(filters)) }
        div #previews data-part="" aria-live="polite" {
            @if list.items.is_empty() { (nothing(filters, &caller.0)) } @else { (table(&list.items, now)) }
            @if let Some(next) = &list.next { p.more { a.button href=(next_page(filters, next)) { "Older" } } }
        }
    };
    Ok(Shell::new("Previews", Section::Previews, body).live("/api/v1/events"))
}

fn filter_form(filters: &Filters) -> Markup {
    html! {
        form.filters method="get" action="/" role="search" {
            label { span.visually-hidden { "State" }
                select name="state" data-submit="" {
                    option value="" { "Every state" }
                    @for state in PreviewState::ALL {
                        option value=(state.as_str()) selected[state.as_str() == filters.state] { (capital(state.as_str())) }
                    }
                }
            }
            label { span.visually-hidden { "Search" }
                input type="search" name="text" value=(filters.text) placeholder="Title, branch, author, repository";
            }
            button type="submit" { "Filter" }
        }
    }
}

fn table(previews: &[Preview], now: DateTime<Utc>) -> Markup {
    html! {
        div.card.scroll {
            table {
                thead { tr {
                    th scope="col" { "Pull request" }
                    th scope="col" { "State" }
                    th scope="col" { "Commit" }
                    th scope="col" { "Preview" }
                    th.right scope="col" { "Updated" }
                } }
                tbody { @for preview in previews { (row(preview, now)) } }
            }
        }
    }
}

fn row(preview: &Preview, now: DateTime<Utc>) -> Markup {
    let step = preview.step.as_ref().filter(|_| preview.state.is_moving() || preview.state == PreviewState::Failed);
    html! {
        tr {
            td.wide {
                a.strong href={ "/previews/" (preview.id) } { (preview.title) }
                div.sub { (preview.repository) "#" (preview.number) " · " (preview.author) " · " span.mono { (preview.branch) } }
            }
            td {
                (badges::preview(preview.state))
                @if let Some(step) = step { div.sub { (step) } }
            }
            td.mono { (format::short(&preview.head_sha)) }
            td {
                @match preview.state {
                    PreviewState::Running => a href=(format::web(&preview.url)) rel="noreferrer" { (format::without_scheme(&preview.url)) },
                    PreviewState::Failed => span.sub.clip { (preview.failure.as_ref().map_or("", |failure| failure.culprit.as_str())) },
                    PreviewState::Refused => span.sub.clip { (preview.refusal.as_deref().unwrap_or_default()) },
                    _ => span.sub { (format::without_scheme(&preview.url)) },
                }
            }
            td.right.nowrap { (format::age(preview.updated_at, now)) }
        }
    }
}

fn nothing(filters: &Filters, who: &Principal) -> Markup {
    let outside = who.operator_role().is_none() && who.teams().is_empty();
    let filtered = !filters.state.is_empty() || !filters.text.is_empty();
    html! {
        div.card.empty {
            @if filtered {
                h2 { "No preview fits" }
                p { a href="/" { "Show all" } }
            } @else if outside {
                h2 { "You are in no team yet" }
                p.quiet { "You are signed in as " strong { (who.name()) } ". Ask a maintainer of your team, or an operator, to make you a member of it; then its previews appear here." }
            } @else {
                h2 { "No previews yet" }
                p.quiet { "Open a pull request in a repository whose base branch has a " code { ".seatrial.yaml" } ", and its preview appears here." }
            }
        }
    }
}

fn next_page(filters: &Filters, next: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("state", &filters.state).append_pair("text", &filters.text).append_pair("after", next);
    format!("/?{}", query.finish())
}

pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str()).unwrap_or_default()
}
