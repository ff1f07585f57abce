//! Previews for those only who are signed in to Seatrial.
//!
//! A preview's host never sees Seatrial's own cookie. Who comes without a pass is sent to
//! Seatrial's pages; there, signed in and allowed to see this preview, they get a code for this one
//! host, which is good for a minute and once. The gateway changes it into a cookie of this host
//! alone. Neither the code nor the cookie ever reaches the application, and it can set no cookie of
//! that name.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, Mac};
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::web::{Data, Query};
use poem::{Request, Response, handler};
use seatrial_operations::{EnvironmentName, SESSION_LIFETIME};
use serde::Deserialize;
use sha2::Sha256;
use url::Url;
use uuid::Uuid;

use super::headers::wants_websocket;
use super::page;
use crate::config::Api;
use crate::guard::Caller;

/// From Seatrial's pages to the preview's host takes a browser a moment.
const CODE_LIFETIME: TimeDelta = TimeDelta::seconds(60);
/// Where codes are brought. The application has no such path.
const ENTRANCE: &str = "/.seatrial/enter";
const COOKIES: [&str; 2] = ["__Host-seatrial-preview", "seatrial-preview"];

/// Makes and reads codes and passes. Cheap to clone.
#[derive(Clone)]
pub struct SignIn(Arc<Inner>);

struct Inner {
    key: [u8; 32],
    pages: Url,
    /// Codes that were used, and when they end by themselves.
    used: Mutex<HashMap<Uuid, DateTime<Utc>>>,
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn").field("pages", &self.0.pages.as_str()).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Code = 1,
    Pass = 2,
}

impl SignIn {
    /// `secret` is Seatrial's: the same for its pages and its gateways, and whoever changes it ends
    /// all passes. `pages` is where people open Seatrial's pages.
    pub fn new(secret: &[u8], pages: Url) -> Self {
        let mut mac = mac(secret);
        mac.update(b"seatrial gateway sign-in, version 1");
        Self(Arc::new(Inner { key: mac.finalize().into_bytes().into(), pages, used: Mutex::default() }))
    }

    fn seal(&self, kind: Kind, host: &str, until: DateTime<Utc>) -> String {
        let mut content = vec![kind as u8];
        content.extend_from_slice(&until.timestamp_millis().to_be_bytes());
        content.extend_from_slice(Uuid::now_v7().as_bytes());
        content.extend_from_slice(host.as_bytes());
        let mut mac = mac(&self.0.key);
        mac.update(&content);
        content.extend_from_slice(&mac.finalize().into_bytes());
        URL_SAFE_NO_PAD.encode(content)
    }

    /// The id of what was sealed for this host and is still good, and when it ends.
    fn open(&self, kind: Kind, sealed: &str, host: &str, now: DateTime<Utc>) -> Option<(Uuid, DateTime<Utc>)> {
        const HEAD: usize = 1 + 8 + 16;
        const SIGNATURE: usize = 32;
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok().filter(|bytes| bytes.len() > HEAD + SIGNATURE)?;
        let (content, signature) = bytes.split_at(bytes.len() - SIGNATURE);
        let mut mac = mac(&self.0.key);
        mac.update(content);
        mac.verify_slice(signature).ok()?;
        let until = DateTime::from_timestamp_millis(i64::from_be_bytes(content[1..9].try_into().ok()?))?;
        let good = content[0] == kind as u8 && &content[HEAD..] == host.as_bytes() && until > now;
        good.then_some((Uuid::from_slice(&content[9..HEAD]).ok()?, until))
    }

    fn code(&self, host: &str, now: DateTime<Utc>) -> String {
        self.seal(Kind::Code, host, now + CODE_LIFETIME)
    }

    /// A pass for a code, which is used up by it.
    fn exchange(&self, code: &str, host: &str, now: DateTime<Utc>) -> Option<String> {
        let (id, until) = self.open(Kind::Code, code, host, now)?;
        let mut used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, until| *until > now);
        let fresh = used.insert(id, until).is_none();
        fresh.then(|| self.seal(Kind::Pass, host, now + SESSION_LIFETIME))
    }

    /// `None` when the request may go on to the preview.
    pub(super) fn admit(&self, request: &Request, host: &str, url: &str, now: DateTime<Utc>) -> Option<Response> {
        let cookie = cookie_of(url);
        if request.uri().path() == ENTRANCE {
            return Some(self.enter(request, host, cookie, now));
        }
        let mut passes = cookies(request.headers()).filter(|(name, _)| *name == cookie);
        if passes.any(|(_, pass)| self.open(Kind::Pass, pass, host, now).is_some()) {
            return None;
        }
        // Only what a person opens is led away; a script or a WebSocket would not know what to do.
        let opens = matches!(*request.method(), Method::GET | Method::HEAD)
            && !wants_websocket(request.headers())
            && request.header("sec-fetch-mode").is_none_or(|mode| mode == "navigate");
        if !opens {
            return Some(page::sign_in());
        }
        let next = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let mut pages = self.0.pages.clone();
        pages.set_path("/gateway-sign-in");
        pages.set_query(None);
        pages.query_pairs_mut().append_pair("host", host).append_pair("next", next);
        Some(see_other(pages.as_str()))
    }

    fn enter(&self, request: &Request, host: &str, cookie: &str, now: DateTime<Utc>) -> Response {
        let query = request.uri().query().unwrap_or_default();
        let of =
            |name: &str| url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, v)| v);
        let pass = of("code").filter(|_| request.method() == Method::GET);
        let Some(pass) = pass.and_then(|code| self.exchange(&code, host, now)) else { return page::used_up() };
        let next = of("next").unwrap_or_default();
        let mut response = see_other(local(&next));
        let secure = if cookie.starts_with("__Host-") { "; Secure" } else { "" };
        let lifetime = SESSION_LIFETIME.num_seconds();
        let set = format!("{cookie}={pass}; Path=/; Max-Age={lifetime}; HttpOnly; SameSite=Lax{secure}");
        if let Ok(set) = HeaderValue::from_str(&set) {
            response.headers_mut().insert(header::SET_COOKIE, set);
        }
        response
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    host: String,
    #[serde(default)]
    next: String,
}

/// Seatrial's side, for somebody who is signed in: a code for the preview, if they may see it.
#[handler]
pub(crate) async fn hand_over(api: Data<&Arc<Api>>, caller: Data<&Caller>, wanted: Query<Wanted>) -> Response {
    let host = wanted.host.to_ascii_lowercase();
    let Some(sign_in) = &api.config.gateway_sign_in else { return page::unknown(&host) };
    let Ok(Some(route)) = api.operations.find_route(&host).await else { return page::unknown(&host) };
    let environment = &route.environment.environment;
    let visible = api.operations.get_preview(&caller.0.0, &EnvironmentName::Id(environment.id)).await;
    let (Ok(_), Ok(mut to)) = (visible, Url::parse(&environment.url)) else { return page::unknown(&host) };
    // To where this preview is, whatever the request said.
    to.set_path(ENTRANCE);
    to.set_fragment(None);
    to.set_query(None);
    let code = sign_in.code(&environment.host, api.operations.now());
    to.query_pairs_mut().append_pair("code", &code).append_pair("next", local(&wanted.next));
    page::on_to(to.as_str())
}

/// The pass does not leave the gateway.
pub(super) fn cut_pass(headers: &mut HeaderMap) {
    let kept: Vec<String> = cookies(headers)
        .filter(|(name, _)| !COOKIES.contains(name))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if cookies(headers).count() == kept.len() {
        return;
    }
    headers.remove(header::COOKIE);
    if let Some(kept) = Some(kept.join("; ")).filter(|kept| !kept.is_empty())
        && let Ok(kept) = HeaderValue::from_str(&kept)
    {
        headers.insert(header::COOKIE, kept);
    }
}

/// Nor does an application set one.
pub(super) fn cut_set_pass(headers: &mut HeaderMap) {
    let is_pass = |value: &HeaderValue| {
        let name = value.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
        COOKIES.iter().any(|cookie| name.trim_ascii() == cookie.as_bytes())
    };
    let all: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    if all.iter().any(is_pass) {
        headers.remove(header::SET_COOKIE);
        for value in all.into_iter().filter(|value| !is_pass(value)) {
            headers.append(header::SET_COOKIE, value);
        }
    }
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

/// `__Host-` cookies belong to one host alone and cannot be set from elsewhere; browsers take them
/// over TLS only.
fn cookie_of(url: &str) -> &'static str {
    if url.starts_with("https://") { COOKIES[0] } else { COOKIES[1] }
}

/// Only paths of this host.
fn local(next: &str) -> &str {
    let inside =
        next.starts_with('/') && !next.starts_with("//") && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if inside { next } else { "/" }
}

fn see_other(location: &str) -> Response {
    Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header(header::LOCATION, location)
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::REFERRER_POLICY, "no-referrer")
        .finish()
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign_in(secret: &str) -> SignIn {
        SignIn::new(secret.as_bytes(), "https://seatrial.example".parse().unwrap())
    }

    fn noon() -> DateTime<Utc> {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_code_is_good_once_for_a_minute_and_one_host() {
        let sign_in = sign_in("a");
        let code = sign_in.code("a.example", noon());
        assert!(sign_in.exchange(&code, "b.example", noon()).is_none());
        assert!(sign_in.exchange(&code, "a.example", noon() + CODE_LIFETIME).is_none());
        let pass = sign_in.exchange(&code, "a.example", noon()).unwrap();
        assert!(sign_in.exchange(&code, "a.example", noon()).is_none(), "it was used");

        let opens = |pass: &str, host, now| sign_in.open(Kind::Pass, pass, host, now).is_some();
        assert!(opens(&pass, "a.example", noon()));
        assert!(!opens(&pass, "b.example", noon()));
        assert!(!opens(&pass, "a.example", noon() + SESSION_LIFETIME));
        assert!(!opens(&sign_in.code("a.example", noon()), "a.example", noon()), "a code is no pass");
        assert!(sign_in.exchange(&pass, "a.example", noon()).is_none(), "a pass is no code");
    }

    #[test]
    fn what_was_not_sealed_here_is_refused() {
        let good = sign_in("a").code("a.example", noon());
        let mut bytes = URL_SAFE_NO_PAD.decode(&good).unwrap();
        bytes[5] ^= 1;
        let forged = URL_SAFE_NO_PAD.encode(bytes);
        let other = sign_in("b").code("a.example", noon());
        for code in ["", "x", &forged, &other, &good[4..], &"A".repeat(5_000)] {
            assert!(sign_in("a").exchange(code, "a.example", noon()).is_none(), "{code}");
        }
    }

    #[test]
    fn the_pass_does_not_reach_the_application_and_does_not_come_from_it() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("a=1; seatrial-preview=x"));
        headers.append("cookie", HeaderValue::from_static("__Host-seatrial-preview=y; b=2"));
        cut_pass(&mut headers);
        assert_eq!(headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
        headers.insert("cookie", HeaderValue::from_static("seatrial-preview=x"));
        cut_pass(&mut headers);
        assert!(headers.is_empty());

        for set in ["a=1; Path=/", "__Host-seatrial-preview=z; Secure", " seatrial-preview =z", "b=seatrial-preview"] {
            headers.append("set-cookie", HeaderValue::from_static(set));
        }
        cut_set_pass(&mut headers);
        let left: Vec<_> = headers.get_all("set-cookie").iter().collect();
        assert_eq!(left, ["a=1; Path=/", "b=seatrial-preview"]);
    }

    #[test]
    fn the_way_on_stays_on_the_host() {
        assert_eq!(local("/cart?item=1"), "/cart?item=1");
        for trap in ["", "//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nb"] {
            assert_eq!(local(trap), "/", "{trap:?}");
        }
    }
}
