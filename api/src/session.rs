//! The browser's session cookie.

use poem::Request;
use poem::http::header;
use seatrial_operations::SESSION_LIFETIME;

use crate::config::Api;

/// Long enough to sign in at GitHub first.
const ERRAND_SECONDS: i64 = 600;

/// The host and port the request is for.
pub(crate) fn authority(request: &Request) -> Option<String> {
    let header = request.header(header::HOST).map(str::to_owned);
    header.or_else(|| request.uri().authority().map(|authority| authority.to_string()))
}

/// The value of the session's cookie, if the browser sent one.
pub(crate) fn cookie(api: &Api, request: &Request) -> Option<String> {
    find(request, name(api, request))
}

/// The header that starts a session.
pub(crate) fn set(api: &Api, request: &Request, value: &str) -> String {
    attributes(api, request, name(api, request), value, SESSION_LIFETIME.num_seconds())
}

/// The header that ends it.
pub(crate) fn clear(api: &Api, request: &Request) -> String {
    attributes(api, request, name(api, request), "", 0)
}

/// What this browser keeps while it is at GitHub to sign in.
pub(crate) fn errand(api: &Api, request: &Request) -> Option<String> {
    find(request, errand_name(api, request))
}

pub(crate) fn set_errand(api: &Api, request: &Request, value: &str) -> String {
    attributes(api, request, errand_name(api, request), value, ERRAND_SECONDS)
}

pub(crate) fn clear_errand(api: &Api, request: &Request) -> String {
    attributes(api, request, errand_name(api, request), "", 0)
}

fn find(request: &Request, name: &str) -> Option<String> {
    let pairs = request.headers().get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = pairs.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

fn attributes(api: &Api, request: &Request, name: &str, value: &str, max_age: i64) -> String {
    let secure = if is_secure(api, request) { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}")
}

/// `__Host-` cookies belong to this host alone and cannot be set from elsewhere; browsers take
/// them over TLS only.
fn name(api: &Api, request: &Request) -> &'static str {
    if is_secure(api, request) { "__Host-seatrial" } else { "seatrial" }
}

fn errand_name(api: &Api, request: &Request) -> &'static str {
    if is_secure(api, request) { "__Host-seatrial-sign-in" } else { "seatrial-sign-in" }
}

fn is_secure(api: &Api, request: &Request) -> bool {
    let authority = authority(request).unwrap_or_default();
    let loopback = ["localhost", "127.0.0.1", "[::1]"];
    let on_loopback = loopback
        .iter()
        .any(|host| authority.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')));
    api.config.is_https() || !on_loopback
}
