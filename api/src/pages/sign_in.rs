use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use maud::html;
use poem::http::{HeaderValue, StatusCode, header};
use poem::web::{Data, Form, Query};
use poem::{Request, Response, handler};
use seatrial_operations::{Denied, Invitation, OperationError, Principal};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::layout::{Section, Shell};
use super::see_other;
use crate::config::Api;
use crate::{address, session};

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
pub(super) fn page(api: Data<&Arc<Api>>, wanted: Query<Wanted>) -> Response {
    form(&api, None, local(&wanted.next)).respond(StatusCode::OK)
}

/// A token opens a session; the old one, if there was one, ends.
#[handler]
pub(super) async fn enter(api: Data<&Arc<Api>>, request: &Request, entry: Form<Entry>) -> Response {
    if let Err(too_many) = api.limits.try_from(address::client(request, &api.config.trusted_proxies)) {
        return super::error(&too_many.into());
    }
    let next = local(&entry.next);
    match api.operations.access().authenticate(Some(&entry.token)).await {
        Ok(principal) => welcome(&api, request, &principal, next).await,
        Err(denied) => refuse(&api, &denied, next),
    }
}

#[handler]
pub(super) async fn leave(api: Data<&Arc<Api>>, request: &Request) -> Response {
    if let Some(cookie) = session::cookie(&api, request)
        && let Err(denied) = api.operations.access().end_session(&cookie).await
    {
        return super::error(&OperationError::from(denied).into());
    }
    with_cookie(see_other("/sign-in"), &session::clear(&api, request))
}

/// Sends the browser to GitHub.
#[handler]
pub(super) fn to_github(api: Data<&Arc<Api>>, request: &Request, wanted: Query<Wanted>) -> Response {
    let invited = callback(&api).and_then(|redirect| api.operations.access().invite(&redirect));
    match invited {
        Ok(Invitation { url, secret }) => {
            let next = URL_SAFE_NO_PAD.encode(local(&wanted.next));
            let cookie = session::set_errand(&api, request, &format!("{}.{next}", secret.expose_secret()));
            with_cookie(see_other(url.as_str()), &cookie)
        }
        Err(failure) => super::error(&failure.into()),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Returned {
    code: String,
    state: String,
    error: String,
}

/// Where GitHub sends the browser back to.
#[handler]
pub(super) async fn from_github(api: Data<&Arc<Api>>, request: &Request, returned: Query<Returned>) -> Response {
    let errand = session::errand(&api, request).unwrap_or_default();
    let (secret, next) = errand.split_once('.').unwrap_or_default();
    let next = URL_SAFE_NO_PAD.decode(next).ok().and_then(|next| String::from_utf8(next).ok()).unwrap_or_default();
    if let Err(too_many) = api.limits.try_from(address::client(request, &api.config.trusted_proxies)) {
        return super::error(&too_many.into());
    }
    let response = if returned.error.is_empty() {
        let access = api.operations.access();
        let secret = SecretString::from(secret.to_owned());
        let welcomed = match callback(&api) {
            Ok(redirect) => access.welcome(&secret, &returned.state, &returned.code, &redirect).await,
            Err(failure) => Err(failure),
        };
        match welcomed {
            Ok(principal) => welcome(&api, request, &principal, local(&next)).await,
            Err(failure) => super::error(&failure.into()),
        }
    } else {
        // Somebody who changed their mind is asked again.
        see_other("/sign-in")
    };
    // What was kept for this errand is used up, however it went.
    with_cookie(response, &session::clear_errand(&api, request))
}

fn callback(api: &Api) -> Result<Url, OperationError> {
    let at = api.config.public_url.as_ref().and_then(|url| url.join("/sign-in/github/callback").ok());
    at.ok_or_else(|| OperationError::Conflict {
        code: "public_url_not_set",
        sentence: "GitHub has to send people back here: set SEATRIAL_PUBLIC_URL".to_owned(),
    })
}

/// A session for somebody who has just shown who they are; the browser's old one ends.
async fn welcome(api: &Api, request: &Request, principal: &Principal, next: &str) -> Response {
    let access = api.operations.access();
    let opened = async {
        if let Some(old) = session::cookie(api, request) {
            access.end_session(&old).await?;
        }
        access.open_session(principal).await
    };
    match opened.await {
        Ok(cookie) => with_cookie(see_other(next), &session::set(api, request, cookie.expose_secret())),
        Err(denied) => super::error(&OperationError::from(denied).into()),
    }
}

pub(super) fn refuse(api: &Api, denied: &Denied, next: &str) -> Response {
    form(api, Some(denied), next).respond(StatusCode::UNAUTHORIZED)
}

fn form(api: &Api, denied: Option<&Denied>, next: &str) -> Shell {
    let github = api.operations.access().has_github() && api.config.public_url.is_some();
    let way_back: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
    let body = html! {
        section.card.narrow {
            h1 { "Sign in" }
            @if let Some(denied) = denied { p.note.bad role="alert" { (sentence(denied)) } }
            @if denied != Some(&Denied::NotConfigured) {
                @if github {
                    p { a.button.primary href={ "/sign-in/github?next=" (way_back) } { "Sign in with GitHub" } }
                    p.quiet { "Or paste a token." }
                } @else {
                    p.quiet { "Paste a token: one that somebody made for you, or the value of " code { "SEATRIAL_BOOTSTRAP_TOKEN" } "." }
                }
                form.stack method="post" action="/sign-in" {
                    input type="hidden" name="next" value=(next);
                    label { "Token" input type="password" name="token" required autofocus[!github] autocomplete="current-password"; }
                    button.primary[!github] type="submit" { "Sign in" }
                }
            }
        }
    };
    Shell::new("Sign in", Section::None, body)
}

fn sentence(denied: &Denied) -> String {
    let text = denied.to_string();
    super::previews::capital(&text) + "."
}

/// Only paths of this site: a sign-in that leads elsewhere is somebody's trap.
fn local(next: &str) -> &str {
    let inside =
        next.starts_with('/') && !next.starts_with("//") && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if inside { next } else { "/" }
}

pub(super) fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
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
