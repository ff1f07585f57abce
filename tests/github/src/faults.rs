//! Things that go wrong on request.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use crate::call::Call;
use crate::control::types::{Action, Fault};
use crate::reply::{Content, Refusal, Reply};

/// The faults that are still to happen, first come first served.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) queue: Vec<Fault>,
}

impl Faults {
    /// The fault that hits this call, used up by it.
    pub(crate) fn take(&mut self, call: &Call) -> Option<Action> {
        let at = self.queue.iter_mut().position(|fault| {
            if fault.times == 0 || !hits(fault, call) {
                return false;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                return false;
            }
            true
        })?;
        let fault = &mut self.queue[at];
        fault.times -= 1;
        let action = fault.action.clone();
        self.queue.retain(|fault| fault.times > 0);
        Some(action)
    }
}

fn hits(fault: &Fault, call: &Call) -> bool {
    let wanted = &fault.matching;
    let method = wanted.method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case(call.method.as_str()));
    let prefix = wanted.path_prefix.as_ref().is_none_or(|prefix| call.path.starts_with(prefix));
    let part = wanted.path_contains.as_ref().is_none_or(|part| call.path.contains(part));
    method && prefix && part
}

/// The name of a fault, for the record of requests.
pub(crate) fn name(action: &Action) -> &'static str {
    match action {
        Action::Status { .. } => "status",
        Action::Delay { .. } => "delay",
        Action::StaleList => "stale_list",
        Action::DropAnswer => "drop_answer",
        Action::DropBefore => "drop_before",
        Action::RateLimitPrimary { .. } => "rate_limit_primary",
        Action::RateLimitSecondary { .. } => "rate_limit_secondary",
    }
}

/// The answer of a fault that replaces the real one.
pub(crate) fn reply(action: &Action, now: DateTime<Utc>) -> Option<Reply> {
    match action {
        Action::Status { code, body, headers } => {
            let mut reply = match serde_json::from_str(body) {
                Ok(value) => Reply::json(*code, value),
                Err(_) if body.is_empty() => Reply::json(*code, json!({ "message": "The stand-in was told to fail." })),
                Err(_) => {
                    let mut reply = Reply::bytes("text/html; charset=utf-8", body.clone());
                    reply.status = *code;
                    reply
                }
            };
            for (name, value) in headers {
                reply = reply.header(name, value.as_str());
            }
            Some(reply)
        }
        Action::RateLimitPrimary { reset_seconds } => {
            let reset = (now + Duration::seconds(*reset_seconds)).timestamp();
            Some(exhausted(reset))
        }
        Action::RateLimitSecondary { retry_after } => Some(
            Refusal::new(
                403,
                "You have exceeded a secondary rate limit. Please wait a few minutes before you \
                 try again.",
            )
            .into_reply()
            .header("Retry-After", retry_after.to_string()),
        ),
        Action::Delay { .. } | Action::StaleList | Action::DropAnswer | Action::DropBefore => None,
    }
}

/// The answer without the newest of its items, if it is a list of some.
pub(crate) fn without_newest(mut reply: Reply) -> Reply {
    if let Content::Json(Value::Array(items)) = &mut reply.content
        && let Some((newest, _)) = items.iter().enumerate().max_by_key(|(_, item)| item["id"].as_u64())
    {
        items.remove(newest);
    }
    reply
}

/// The answer when the hourly limit is used up.
pub(crate) fn exhausted(reset: i64) -> Reply {
    Refusal::new(403, "API rate limit exceeded for user ID 1.")
        .into_reply()
        .header("X-RateLimit-Remaining", "0")
        .header("X-RateLimit-Reset", reset.to_string())
}
