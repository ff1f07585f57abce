//! The one door: who calls, what goes wrong, what every answer carries.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use poem::http::{HeaderName, HeaderValue, StatusCode};
use poem::{Addr, Body, Endpoint, Request, Response};
use sha2::{Digest, Sha256};

use crate::auth;
use crate::call::Call;
use crate::control::routes as control;
use crate::control::types::Action;
use crate::faults;
use crate::oauth;
use crate::pages;
use crate::ratelimit::Quota;
use crate::reply::{Content, Refusal, Reply};
use crate::routes;
use crate::shared::Core;

/// Bodies larger than this are refused; GitHub does about the same.
const LARGEST: usize = 64 * 1024 * 1024;

/// Serves the API, the control API and the pages.
pub(crate) struct Gateway {
    pub(crate) core: Arc<Core>,
}

impl Endpoint for Gateway {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let peer = match &request.remote_addr().0 {
            Addr::SocketAddr(peer) => Some(*peer),
            _ => None,
        };
        let body = request.take_body().into_bytes_limit(LARGEST).await;
        let Ok(body) = body else {
            let refusal = Refusal::new(413, "Payload Too Large");
            return Ok(respond(refusal.into_reply()));
        };
        let mut call = Call::new(request.method().clone(), request.uri(), request.headers().clone(), body);
        let first = call.segments.first().map_or("", String::as_str);
        if first == "_control" {
            return Ok(respond(control::answer(&self.core, &call).await));
        }
        if let Some(reply) = pages::answer(&self.core, &call).await {
            return Ok(respond(reply));
        }
        match self.api(&mut call).await {
            Some(reply) => Ok(respond(reply)),
            None => {
                if let Some(peer) = peer {
                    self.core.connections.cut(peer);
                }
                // Nothing of this gets out.
                Ok(Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).finish())
            }
        }
    }
}

impl Gateway {
    /// The API's answer, or none where the connection is to close without one.
    async fn api(&self, call: &mut Call) -> Option<Reply> {
        let (known, fault, noted) = self.core.change(|state| {
            let known = auth::authenticate(state, call);
            if let Ok(caller) = &known {
                call.caller = caller.clone();
            }
            let fault = state.faults.take(call);
            let noted = state.note(call, fault.as_ref().map(faults::name));
            (known, fault, noted)
        });
        match &fault {
            Some(Action::Delay { ms }) => tokio::time::sleep(Duration::from_millis(*ms)).await,
            Some(Action::DropBefore) => return None,
            _ => {}
        }
        let reply = self.core.change(|state| {
            let now = state.clock.now();
            let web = oauth::concerns(call);
            let free = call.path == "/rate_limit" || call.path.starts_with("/_codeload/");
            let replaced = fault.as_ref().and_then(|fault| faults::reply(fault, now));
            let reply = if let Some(reply) = replaced {
                reply
            } else if web {
                oauth::answer(state, call)
            } else if call.header("user-agent").is_none() {
                no_user_agent()
            } else if let Err(refusal) = known {
                refusal.into_reply()
            } else if !free && !state.limits.charge(&call.caller, now) {
                faults::exhausted(state.limits.look(&call.caller, now).reset)
            } else {
                routes::answer(state, call).unwrap_or_else(Refusal::into_reply)
            };
            let reply = if fault == Some(Action::StaleList) { faults::without_newest(reply) } else { reply };
            let reply = if web { reply } else { versioned(call, reply) };
            if reply.status == 304 {
                state.limits.refund(&call.caller);
            }
            let reply = if web { reply } else { finish(call, reply, state.limits.look(&call.caller, now), now) };
            if fault != Some(Action::DropAnswer) {
                state.note_status(noted, reply.status);
            }
            reply
        });
        (fault != Some(Action::DropAnswer)).then_some(reply)
    }
}

fn no_user_agent() -> Reply {
    let text = "Request forbidden by administrative rules. Please make sure your request has a \
                User-Agent header (https://docs.github.com/en/rest/overview/\
                resources-in-the-rest-api#user-agent-required).\r\n";
    let mut reply = Reply::bytes("text/html; charset=utf-8", text);
    reply.status = 403;
    reply
}

/// Names the version of an answer, and says 304 where the caller has it already.
fn versioned(call: &Call, mut reply: Reply) -> Reply {
    if call.method != "GET" || reply.status != 200 {
        return reply;
    }
    let mut hash = Sha256::new();
    match &reply.content {
        Content::Json(value) => hash.update(value.to_string()),
        Content::Bytes { data, .. } => hash.update(data),
        Content::Empty => {}
    }
    let etag = format!("W/\"{}\"", hex::encode(hash.finalize()));
    let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let known = call.header("if-none-match").is_some_and(|tags| tags.split(',').any(|tag| weak(tag) == weak(&etag)));
    if known {
        reply.status = 304;
        reply.content = Content::Empty;
    }
    reply = reply.header("Cache-Control", "private, max-age=60, s-maxage=60");
    reply.header("ETag", etag).header("Vary", "Accept, Authorization, Accept-Encoding")
}

/// Adds what every answer of the API has.
fn finish(call: &Call, mut reply: Reply, quota: Quota, now: DateTime<Utc>) -> Reply {
    let id = uuid::Uuid::new_v4().simple().to_string().to_uppercase();
    let id = format!("{}:{}:{}:{}:{}", &id[..4], &id[4..10], &id[10..16], &id[16..22], &id[22..30]);
    let fields = [
        // By the clock that the limits and tokens go by.
        ("Date", now.format("%a, %d %b %Y %H:%M:%S GMT").to_string()),
        ("X-GitHub-Request-Id", id),
        ("X-GitHub-Media-Type", media_type(call)),
        ("X-GitHub-Api-Version-Selected", "2022-11-28".to_owned()),
        ("X-RateLimit-Limit", quota.limit.to_string()),
        ("X-RateLimit-Remaining", quota.remaining().to_string()),
        ("X-RateLimit-Used", quota.used.to_string()),
        ("X-RateLimit-Reset", quota.reset.to_string()),
        ("X-RateLimit-Resource", "core".to_owned()),
        ("Server", "github.com (stand-in)".to_owned()),
    ];
    for (name, value) in fields {
        let set = |(known, _): &(String, String)| known.eq_ignore_ascii_case(name);
        if !reply.headers.iter().any(set) {
            reply.headers.push((name.to_owned(), value));
        }
    }
    reply
}

fn media_type(call: &Call) -> String {
    let accept = call.header("accept").unwrap_or_default();
    let kind =
        accept.split(',').find_map(|kind| kind.trim().strip_prefix("application/vnd.github.")).unwrap_or("v3+json");
    let (version, format) = kind.split_once('+').unwrap_or((kind, "json"));
    let format = format.split(';').next().unwrap_or("json");
    if version == "v3" {
        format!("github.v3; format={format}")
    } else {
        format!("github.v3; param={version}; format={format}")
    }
}

fn respond(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::builder().status(status).finish();
    for (name, value) in &reply.headers {
        let parsed = (name.parse::<HeaderName>(), HeaderValue::from_str(value));
        if let (Ok(name), Ok(value)) = parsed {
            response.headers_mut().insert(name, value);
        }
    }
    match reply.content {
        Content::Empty => response,
        Content::Json(value) => {
            response.set_body(Body::from_string(value.to_string()));
            response.set_content_type("application/json; charset=utf-8")
        }
        Content::Bytes { kind, data } => {
            response.set_body(Body::from_bytes(data));
            response.set_content_type(kind)
        }
    }
}
