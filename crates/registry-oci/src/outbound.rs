//! HTTP to hosts that strangers may have named: guarded, bounded in time and size.

use std::error::Error as _;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode};
use seatrial_preview::{Error, Result};
use url::Url;

use crate::address::is_public;
use crate::reach::{self, Reach, Role, Way};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MOST_REDIRECTS: usize = 5;
/// When a server that is asked too often does not say how long to wait.
const PAUSE: Duration = Duration::from_secs(60);
/// A server may not keep anybody waiting for longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// What an answer may amount to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub bytes: usize,
    pub time: Duration,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub body: Bytes,
}

/// The client. Asks without credentials of its own, cookies and proxies.
pub struct Outbound {
    reach: Reach,
    public: Client,
    anywhere: Client,
}

/// What to ask, of whom.
#[derive(Clone)]
pub(crate) struct Question<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a Url,
    pub(crate) role: Role,
    pub(crate) accept: &'static str,
    /// Sent to the URL's own origin only.
    pub(crate) token: Option<&'a str>,
    pub(crate) limits: Limits,
}

impl Outbound {
    /// # Errors
    /// When there is no TLS provider.
    pub fn new(reach: Reach) -> Result<Self> {
        let client = |guarded: bool| {
            let mut builder = Client::builder()
                .user_agent(concat!("seatrial/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                // Every hop is admitted anew.
                .redirect(reqwest::redirect::Policy::none())
                // A proxy resolves names itself, past the guard.
                .no_proxy();
            if guarded {
                builder = builder.dns_resolver(Arc::new(Guard));
            }
            builder
                .build()
                .map_err(|error| Error::invalid(format!("the client for registries cannot be made: {}", cause(&error))))
        };
        Ok(Self { public: client(true)?, anywhere: client(false)?, reach })
    }

    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Gets what is behind the URL, redirects followed; the status may be any.
    ///
    /// # Errors
    /// `Forbidden` when the host may not be asked, `Transient` when it cannot be reached, `Invalid`
    /// when the answer is larger than allowed.
    pub async fn get(&self, url: &Url, role: Role, limits: Limits) -> Result<Answer> {
        self.ask(Question { method: Method::GET, url, role, accept: "*/*", token: None, limits }).await
    }

    pub(crate) async fn ask(&self, question: Question<'_>) -> Result<Answer> {
        let time = question.limits.time;
        let host = reach::shown(question.url);
        tokio::time::timeout(time, self.follow(question))
            .await
            .unwrap_or_else(|_| Err(Error::transient(format!("{host} did not answer within {} s", time.as_secs()))))
    }

    async fn follow(&self, question: Question<'_>) -> Result<Answer> {
        let (mut url, mut role) = (question.url.clone(), question.role);
        for _ in 0..=MOST_REDIRECTS {
            let client = match self.reach.admit(&url, role)? {
                Way::Public => &self.public,
                Way::Anywhere => &self.anywhere,
            };
            let mut request = client.request(question.method.clone(), url.clone()).header(ACCEPT, question.accept);
            if let Some(token) = question.token.filter(|_| url.origin() == question.url.origin()) {
                let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                    .map_err(|_| Error::invalid(format!("the token of {} is not a token", reach::shown(&url))))?;
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
            let response = request.send().await.map_err(|error| unreachable(&error, &url))?;
            let next = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
            let Some(next) = next.and_then(|next| next.to_str().ok()) else {
                return read(response, &url, question.limits.bytes).await;
            };
            let host = reach::shown(&url);
            url = url.join(next).map_err(|_| Error::invalid(format!("{host} redirects to what is not an address")))?;
            role = Role::Sent;
        }
        let host = reach::shown(question.url);
        Err(Error::invalid(format!("{host} redirects more than {MOST_REDIRECTS} times")))
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("reach", &self.reach).finish_non_exhaustive()
    }
}

impl Answer {
    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }

    pub fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// The error behind an answer that is no success: what passes by itself, and what does not.
    /// `host` and `what` are for the sentence: `ghcr.io`, `the tags of acme/shop`.
    pub fn error(&self, host: &str, what: &str) -> Error {
        let status = self.status;
        if status == StatusCode::TOO_MANY_REQUESTS {
            let error = Error::transient(format!("{host} is asked too often, and did not give {what}"));
            return error.retry_after(self.retry_after().unwrap_or(PAUSE));
        }
        if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            let error = Error::transient(format!("{host} has trouble of its own ({status}), and did not give {what}"));
            return match self.retry_after() {
                Some(wait) => error.retry_after(wait),
                None => error,
            };
        }
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::forbidden(format!(
                "{host} does not let Seatrial read {what}: that is private, or does not exist yet. Seatrial asks without credentials, so make it public"
            )),
            StatusCode::NOT_FOUND => Error::not_found(format!("{host} does not have {what}")),
            _ => Error::invalid(format!("{host} answered with {status}, and did not give {what}")),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let wait = match text.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => {
                let at = chrono::DateTime::parse_from_rfc2822(text).ok()?;
                (at.to_utc() - chrono::Utc::now()).to_std().unwrap_or_default()
            }
        };
        Some(wait.min(LONGEST_PAUSE))
    }
}

async fn read(mut response: reqwest::Response, url: &Url, limit: usize) -> Result<Answer> {
    let too_large = || {
        Error::invalid(format!(
            "what {} sends is larger than {} KiB, which is the limit",
            reach::shown(url),
            limit / 1024
        ))
    };
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(|error| unreachable(&error, url))? {
        if body.len() + piece.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer { status, headers, body: body.freeze() })
}

fn unreachable(error: &reqwest::Error, url: &Url) -> Error {
    let host = reach::shown(url);
    let mut source = error.source();
    while let Some(inner) = source {
        if inner.is::<OnlyPrivate>() {
            return reach::private(&host);
        }
        source = inner.source();
    }
    Error::transient(format!("{host} cannot be reached: {}", cause(error)))
}

/// The innermost reason, which says more than "error sending request".
fn cause(error: &reqwest::Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(inner) = reason.source() {
        reason = inner;
    }
    reason.to_string()
}

/// Resolves names, and forgets the addresses that are not public. What is connected to is what was
/// looked at: a name that changes in between gains nothing.
struct Guard;

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> = found.iter().copied().filter(|address| is_public(address.ip())).collect();
            if public.is_empty() && !found.is_empty() {
                return Err(Box::new(OnlyPrivate) as Box<dyn std::error::Error + Send + Sync>);
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[derive(Debug)]
struct OnlyPrivate;

impl fmt::Display for OnlyPrivate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("all its addresses are private")
    }
}

impl std::error::Error for OnlyPrivate {}
