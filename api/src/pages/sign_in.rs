use std::sync::Arc;

use maud::html;
use poem::http::{HeaderValue, StatusCode, header};
use poem::web::{Data, Form, Query};
use poem::{Request, Response, handler};
use seatrial_operations::Denied;
use serde::Deserialize;

use super::layout::{Section, Shell};
use super::see_other;
use crate::config::Api;
use crate::session;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    next: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    token: String,
    #[serde(default)]
    next: String,
}

#[handler]
pub(super) fn page(wanted: Query<Wanted>) -> Response {
    form(None, local(&wanted.next)).respond(StatusCode::OK)
}

/// A token opens a session; the old one, if there was one, ends.
#[handler]
pub(super) async fn enter(api: Data<&Arc<Api>>, request: &Request, entry: Form<Entry>) -> Response {
    let (access, now) = (api.operations.access(), api.operations.now());
    let next = local(&entry.next);
    match access.authenticate(Some(entry.token.trim())) {
        Ok(principal) => {
            if let Some(old) = session::cookie(&api, request) {
                access.end_session(&old, now);
            }
            let cookie = session::set(&api, request, &access.open_session(&principal, now));
            with_cookie(see_other(next), &cookie)
        }
        Err(denied) => refuse(denied, next),
    }
}

#[handler]
pub(super) async fn leave(api: Data<&Arc<Api>>, request: &Request) -> Response {
    if let Some(cookie) = session::cookie(&api, request) {
        api.operations.access().end_session(&cookie, api.operations.now());
    }
    with_cookie(see_other("/sign-in"), &session::clear(&api, request))
}

pub(super) fn refuse(denied: Denied, next: &str) -> Response {
    form(Some(denied), next).respond(StatusCode::UNAUTHORIZED)
}

fn form(denied: Option<Denied>, next: &str) -> Shell {
    let body = html! {
        section.card.narrow {
            h1 { "Sign in" }
            @if let Some(denied) = denied { p.note.bad role="alert" { (sentence(denied)) } }
            @if denied != Some(Denied::NotConfigured) {
                p.quiet { "Paste the operator's token: the value of " code { "SEATRIAL_BOOTSTRAP_TOKEN" } "." }
                form.stack method="post" action="/sign-in" {
                    input type="hidden" name="next" value=(next);
                    label { "Token" input type="password" name="token" required autofocus autocomplete="current-password"; }
                    button.primary type="submit" { "Sign in" }
                }
            }
        }
    };
    Shell::new("Sign in", Section::None, body)
}

fn sentence(denied: Denied) -> String {
    let text = denied.to_string();
    super::previews::capital(&text) + "."
}

/// Only paths of this site: a sign-in that leads elsewhere is somebody's trap.
fn local(next: &str) -> &str {
    let inside =
        next.starts_with('/') && !next.starts_with("//") && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if inside { next } else { "/" }
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn the_way_back_stays_inside() {
        assert_eq!(local("/runs?state=failed"), "/runs?state=failed");
        for trap in ["", "//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nb", "runs", "/\t/x"] {
            assert_eq!(local(trap), "/", "{trap:?}");
        }
    }
}
