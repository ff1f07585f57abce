//! The small pages of the gateway: what is shown where a preview does not answer itself.

use maud::{DOCTYPE, Markup, html};
use poem::Response;
use poem::http::{HeaderValue, StatusCode, header};
use seatrial_operations::views::{EnvironmentState, EnvironmentView};

/// The only thing these pages load is their own style, which is part of them.
const STYLE: &str = include_str!("page.css");

pub(super) fn unknown(host: &str) -> Response {
    let body = html! {
        h1 { "No preview here" }
        p { "There is no preview at " code { (host) } "." }
        p.quiet { "Previews are removed when their pull request is closed. The comment on the pull request has the current address." }
    };
    page(StatusCode::NOT_FOUND, "No preview here", body, None)
}

pub(super) fn unclear() -> Response {
    let body = html! {
        h1 { "Which preview?" }
        p { "The request does not name exactly one host." }
    };
    page(StatusCode::BAD_REQUEST, "Which preview?", body, None)
}

pub(super) fn no_tunnels() -> Response {
    let body = html! {
        h1 { "No tunnels here" }
        p { "Previews are reached by their own addresses; " code { "CONNECT" } " leads nowhere." }
    };
    page(StatusCode::METHOD_NOT_ALLOWED, "No tunnels here", body, None)
}

pub(super) fn sign_in() -> Response {
    let body = html! {
        h1 { "Sign in first" }
        p { "This preview is for those who are signed in. Open it in a window of its own, then come back." }
    };
    page(StatusCode::UNAUTHORIZED, "Sign in first", body, None)
}

pub(super) fn used_up() -> Response {
    let body = html! {
        h1 { "This link is used up" }
        p { a href="/" { "Open the preview" } }
    };
    page(StatusCode::FORBIDDEN, "This link is used up", body, None)
}

/// Leads on by a page, not by a redirect: browsers hold the redirects that follow a form, such as
/// the sign-in's, to the form's own site.
pub(super) fn on_to(url: &str) -> Response {
    let body = html! {
        h1 class="busy" { "On to the preview" }
        p { a href=(url) { "Go on" } }
    };
    with_head(
        StatusCode::OK,
        "On to the preview",
        body,
        html! { meta http-equiv="refresh" content=(format!("0; url={url}")); },
    )
}

pub(super) fn unavailable() -> Response {
    let body = html! {
        h1 { "One moment" }
        p { "Seatrial cannot look up this preview right now." }
        p.quiet { "This page tries again by itself." }
    };
    page(StatusCode::SERVICE_UNAVAILABLE, "One moment", body, Some(5))
}

pub(super) fn broken() -> Response {
    let body = html! { h1 { "Something went wrong" } p { "Seatrial made a mistake; it is in its log." } };
    page(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong", body, None)
}

pub(super) fn bad_gateway(view: &EnvironmentView, reason: &str) -> Response {
    no_answer(StatusCode::BAD_GATEWAY, view, reason)
}

pub(super) fn late(view: &EnvironmentView, reason: &str) -> Response {
    no_answer(StatusCode::GATEWAY_TIMEOUT, view, reason)
}

fn no_answer(status: StatusCode, view: &EnvironmentView, reason: &str) -> Response {
    let body = html! {
        (about(view))
        h1 { "The application does not answer" }
        p { (reason) "." }
        p.quiet { "It was healthy when it was deployed. Its logs on Seatrial's page of this preview say more. This page tries again by itself." }
    };
    page(status, "The application does not answer", body, Some(10))
}

/// What the preview is doing instead of answering.
pub(super) fn of_state(view: &EnvironmentView) -> Response {
    let environment = &view.environment;
    let commit = environment.head_sha.short();
    let (title, text, refresh) = match view.state {
        EnvironmentState::Deploying | EnvironmentState::Running if is_in_bed(view) => waking(),
        EnvironmentState::Queued => ("Queued", format!("Commit {commit} waits for its turn."), Some(2)),
        EnvironmentState::Deploying | EnvironmentState::Running => {
            let step = view.newest_run.as_ref().and_then(|run| run.current_step.as_deref());
            let step = step.map(|step| format!(" Step: {step}.")).unwrap_or_default();
            ("Deploying", format!("Commit {commit} is being deployed.{step}"), Some(2))
        }
        EnvironmentState::Sleeping => waking(),
        EnvironmentState::Failed => ("The deployment failed", String::new(), Some(15)),
        EnvironmentState::Refused => (
            "No preview",
            environment.refusal.clone().unwrap_or_else(|| "This pull request gets no preview.".to_owned()),
            Some(30),
        ),
        EnvironmentState::Deleting => ("Being removed", "The preview is being removed.".to_owned(), Some(5)),
        EnvironmentState::Deleted => {
            ("Removed", "The preview was removed. Reopen the pull request to get a new one.".to_owned(), None)
        }
    };
    let failure = environment.failure.as_ref().filter(|_| view.state == EnvironmentState::Failed);
    let body = html! {
        (about(view))
        h1 class=[view.state.eq(&EnvironmentState::Deploying).then_some("busy")] { (title) }
        @if !text.is_empty() { p { (text) } }
        @if let Some(failure) = failure {
            p { strong { "Culprit: " } (failure.culprit) }
            p { (failure.summary) }
            @if !failure.advice.is_empty() { p.quiet { (failure.advice) } }
        } @else if view.state == EnvironmentState::Failed {
            p { "The comment on the pull request says why." }
        }
        @if refresh.is_some() { p.quiet { "This page refreshes by itself." } }
    };
    let status = match view.state {
        EnvironmentState::Deleted | EnvironmentState::Refused => StatusCode::NOT_FOUND,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    page(status, title, body, refresh)
}

fn waking() -> (&'static str, String, Option<u64>) {
    ("Waking up", "The preview was asleep. It is being woken.".to_owned(), Some(2))
}

/// It is being put to sleep, or woken.
pub(super) fn is_in_bed(view: &EnvironmentView) -> bool {
    let run = view.newest_run.as_ref().filter(|run| run.finished_at.is_none());
    run.is_some_and(|run| matches!(run.workflow.as_str(), "preview_sleep" | "preview_wake"))
}

fn about(view: &EnvironmentView) -> Markup {
    let environment = &view.environment;
    html! { p.about { (environment.at) " · " (environment.title) } }
}

fn page(status: StatusCode, title: &str, body: Markup, refresh: Option<u64>) -> Response {
    let head = html! { @if let Some(seconds) = refresh { meta http-equiv="refresh" content=(seconds); } };
    let mut response = with_head(status, title, body, head);
    if let Some(seconds) = refresh.filter(|_| status.is_server_error()) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn with_head(status: StatusCode, title: &str, body: Markup, head: Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                (head)
                title { (title) " · Seatrial" }
                style { (maud::PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    };
    Response::builder()
        .status(status)
        .content_type("text/html; charset=utf-8")
        .header(header::CACHE_CONTROL, "no-store")
        .header(
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        )
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::REFERRER_POLICY, "no-referrer")
        .body(page.into_string())
}
