use std::sync::Arc;

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use poem::web::{Data, Path, Query};
use poem::{Request, Response, handler};
use seatrial_operations::views::{EnvironmentState, PageRequest, RunFilter};
use seatrial_operations::{EnvironmentName, OperationError};

use super::layout::{Section, Shell};
use super::logs::{self, Choice};
use super::timeline::timeline;
use super::{badges, failure, format, pods, runs, show};
use crate::config::Api;
use crate::guard::Caller;
use crate::rest::run_id;
use crate::wire::{FailureSnapshot, Preview, PreviewState, Run, RunDetail, RunPage, TeardownReceipt, WhyNotReady};

/// The script asks for a page again with this header; it keeps the log that it shows.
const LIVE: &str = "x-seatrial-live";

#[handler]
pub(super) async fn page(
    api: Data<&Arc<Api>>,
    caller: Data<&Caller>,
    request: &Request,
    preview: Path<String>,
    choice: Query<Choice>,
) -> Response {
    let again = request.headers().contains_key(LIVE);
    show(render(&api, &caller, &preview, &choice, again).await)
}

async fn render(
    api: &Api,
    caller: &Caller,
    preview: &str,
    choice: &Choice,
    again: bool,
) -> Result<Shell, OperationError> {
    let name: EnvironmentName = preview.parse()?;
    let operations = &api.operations;
    let why: WhyNotReady = operations.why_not_ready(&caller.0, &name).await?.into();
    let key = format!("{}#{}", why.preview.repository, why.preview.number);
    let run: Option<RunDetail> = match &why.preview.run {
        Some(run) => Some(operations.get_run(&caller.0, run_id(&run.id)?).await?.into()),
        None => None,
    };
    let filter = RunFilter { key: Some(key.clone()), ..RunFilter::default() };
    let earlier: RunPage =
        operations.list_runs(&caller.0, &filter, &PageRequest { after: None, limit: 20 }).await?.into();
    let snapshot: Option<FailureSnapshot> = match why.preview.state {
        PreviewState::Failed => match operations.get_failure(&caller.0, &name).await {
            Err(OperationError::NotFound { .. }) => None,
            found => Some(found?.into()),
        },
        _ => None,
    };
    let log = if again {
        html! {}
    } else {
        logs::section(api, caller, &why, choice).await
    };
    let body = body(&why, run.as_ref(), &earlier.items, snapshot.as_ref(), &log, operations.now());
    let events: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
    Ok(Shell::new(&why.preview.title, Section::Previews, body).live(format!("/api/v1/events?key={events}")))
}

fn body(
    why: &WhyNotReady,
    run: Option<&RunDetail>,
    runs: &[Run],
    snapshot: Option<&FailureSnapshot>,
    log: &Markup,
    now: DateTime<Utc>,
) -> Markup {
    let preview = &why.preview;
    html! {
        div #head data-part="" { (head(preview, now)) (answer(why, now)) }
        section #failure data-part="" { @if let Some(diagnosis) = &why.diagnosis { (failure::diagnosis(diagnosis)) } }
        section #timeline data-part="" aria-labelledby="timeline-title" {
            @if let Some(run) = run {
                div.title {
                    h2 #timeline-title { (badges::workflow(&run.run.workflow)) }
                    (badges::run(run.run.state))
                    span.quiet { (runs::took(&run.run, now)) }
                    div.spring {}
                    a.quiet href={ "/runs/" (run.run.id) } { "Journal" }
                }
                div.card { (timeline(run, now, false)) }
            }
        }
        section #receipt data-part="" { @if let Some(receipt) = &preview.receipt { (teardown(receipt)) } }
        section #pods data-part="" { (pods::section(why)) }
        (log)
        section #snapshot data-part="" { @if let Some(snapshot) = snapshot { (failure::snapshot(snapshot)) } }
        section #earlier data-part="" aria-labelledby="earlier-title" {
            @if runs.len() > 1 { h2 #earlier-title { "Earlier runs" } (runs::table(&runs[1..], now)) }
        }
    }
}

fn head(preview: &Preview, now: DateTime<Utc>) -> Markup {
    html! {
        p.eyebrow { a href="/" { "Previews" } " / " span.mono { (preview.namespace) } }
        div.title { h1 { (preview.title) } (badges::preview(preview.state)) div.spring {} (actions(preview)) }
        dl.facts {
            div { dt { "Pull request" } dd { a href=(format::web(&preview.pull_request_url)) rel="noreferrer" { (preview.repository) "#" (preview.number) } } }
            div { dt { "Author" } dd { (preview.author) } }
            div { dt { "Branch" } dd.mono { (preview.branch) } }
            div { dt { "Commit" } dd.mono { (format::short(&preview.head_sha)) } }
            @if let Some(live) = preview.live_sha.as_ref().filter(|live| **live != preview.head_sha) {
                div { dt { "Live now" } dd.mono { (format::short(live)) } }
            }
            div { dt { "Preview" } dd { a href=(format::web(&preview.url)) rel="noreferrer" { (format::without_scheme(&preview.url)) } } }
            @if preview.pinned {
                div { dt { "Kept" } dd { "Pinned" } }
            } @else if let Some(expires_at) = preview.expires_at.filter(|_| preview.live_sha.is_some()) {
                div { dt { "Kept until" } dd { (format::date(expires_at)) } }
            }
            div { dt { "Updated" } dd { (format::age(preview.updated_at, now)) } }
        }
    }
}

/// The answer to the question people come with.
fn answer(why: &WhyNotReady, now: DateTime<Utc>) -> Markup {
    if why.ready || why.diagnosis.is_some() {
        return html! {};
    }
    html! {
        div.note.info role="status" {
            p { (why.summary) }
            @if why.attempts > 1 || why.next_attempt_at.is_some() {
                p.quiet {
                    "Attempt " (why.attempts)
                    @if let Some(since) = why.since { ", since " (format::age(since, now)) }
                    @if let Some(next) = why.next_attempt_at { "; the next at " (format::moment(next)) " UTC" }
                }
            }
            p.quiet { (why.advice) }
        }
    }
}

fn actions(preview: &Preview) -> Markup {
    let state: EnvironmentState = preview.state.into();
    let act = |verb: &str| format!("/previews/{}/{verb}", preview.id);
    html! {
        div.actions {
            @if state == EnvironmentState::Running {
                a.button.primary href=(format::web(&preview.url)) rel="noreferrer" { "Open" }
            }
            @if state == EnvironmentState::Sleeping {
                form method="post" action=(act("wake")) { button.primary type="submit" { "Wake" } }
            }
            @if state == EnvironmentState::Running {
                form method="post" action=(act("sleep")) { button type="submit" { "Sleep" } }
            }
            @if preview.pinned {
                form method="post" action=(act("unpin")) { button type="submit" { "Unpin" } }
            } @else if preview.live_sha.is_some() {
                form method="post" action=(act("pin")) { button type="submit" { "Pin" } }
            }
            @if state == EnvironmentState::Failed {
                form method="post" action=(act("retry")) { button.primary type="submit" { "Retry" } }
            }
            @if state != EnvironmentState::Deleting {
                form method="post" action=(act("deploy")) { button type="submit" { "Deploy" } }
            }
            @if !matches!(state, EnvironmentState::Deleting | EnvironmentState::Deleted) {
                details.menu #delete {
                    summary.button.danger { "Delete" }
                    form.card method="post" action=(act("delete")) {
                        p { "Uninstall the release and delete the namespace with all that is in it?" }
                        button.danger type="submit" { "Delete this preview" }
                    }
                }
            }
        }
    }
}

fn teardown(receipt: &TeardownReceipt) -> Markup {
    html! {
        h2 { "Receipt" }
        div.card.pad {
            p {
                @if receipt.release_uninstalled { "The release was uninstalled, and the" } @else { "The" }
                " namespace is gone: verified at " (format::stamp(receipt.verified_gone_at))
                ", " (format::duration(receipt.took_ms)) " after the teardown began."
            }
            @if !receipt.removed.is_empty() {
                details #removed {
                    summary { (receipt.removed.len()) " objects were removed" }
                    ul.columns { @for name in &receipt.removed { li.mono { (name) } } }
                }
            }
        }
    }
}
