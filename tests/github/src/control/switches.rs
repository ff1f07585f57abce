//! Webhook, deliveries, requests, faults, clock and tokens.

use std::collections::BTreeMap;

use chrono::Duration;
use serde::Deserialize;
use serde_json::json;

use crate::call::Call;
use crate::control::routes::{input, list, output};
use crate::control::types::{Fault, HookChange, HookMode, TokenSpec};
use crate::control::views;
use crate::reply::{Answer, Refusal};
use crate::state::State;
use crate::tokens;
use crate::users::AccountKind;

fn number(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| Refusal::not_found())
}

/// `GET` below `/_control`, outside repositories.
pub(crate) fn look(state: &State, call: &Call, segments: &[&str]) -> Answer {
    match segments {
        ["repositories"] => list(state.repositories.values().map(views::repository)),
        ["deliveries"] => {
            let event = call.parameter("event");
            let all = state.hooks.deliveries.iter();
            list(all.filter(|delivery| event.is_none_or(|event| event == delivery.event)).map(views::delivery))
        }
        ["deliveries", id] => output(views::delivery(state.delivery(number(id)?)?)),
        ["requests"] => list(state.requests.list.iter()),
        ["requests", "counts"] => output(state.requests.counts()),
        ["faults"] => list(state.faults.queue.iter()),
        ["clock"] => output(json!({ "now": state.clock.now() })),
        _ => Err(Refusal::not_found()),
    }
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Release {
    /// In this order; all that are held, in theirs, where none are named.
    ids: Vec<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ping {
    repository: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    limit: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Fault),
    Many(Vec<Fault>),
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct AppChange {
    permissions: Option<BTreeMap<String, String>>,
    public_key: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    callback_urls: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct NewUser {
    #[serde(rename = "type")]
    kind: AccountKind,
}

/// Everything else below `/_control`, outside repositories.
pub(crate) fn alter(state: &mut State, call: &Call, segments: &[&str]) -> Answer {
    match (call.method.as_str(), segments) {
        ("PUT", ["webhook"]) => {
            set_hook(state, input(call)?);
            output(json!({}))
        }
        ("POST", ["webhook", "ping"]) => {
            let ping: Ping = input(call)?;
            let id = state.by_full_name(&ping.repository)?;
            state.account("octocat", AccountKind::User);
            state.emit_ping(id, "octocat")?;
            output(json!({}))
        }
        ("POST", ["webhook", "release"]) => {
            let released = release(state, &input::<Release>(call)?.ids)?;
            output(json!({ "released": released }))
        }
        ("POST", ["deliveries", id, "redeliver"]) => {
            let again = state.repeat(number(id)?)?;
            output(views::delivery(state.delivery(again)?))
        }
        ("DELETE", ["requests"]) => {
            state.requests.list.clear();
            output(json!({}))
        }
        ("POST", ["faults"]) => {
            match input(call)? {
                OneOrMany::One(fault) => state.faults.queue.push(fault),
                OneOrMany::Many(faults) => state.faults.queue.extend(faults),
            }
            output(json!({ "waiting": state.faults.queue.len() }))
        }
        ("DELETE", ["faults"]) => {
            state.faults.queue.clear();
            output(json!({}))
        }
        ("POST", ["clock"]) => {
            let by: Advance = input(call)?;
            state.clock.advance(Duration::seconds(by.advance_seconds));
            output(json!({ "now": state.clock.now() }))
        }
        ("PUT", ["limits"]) => {
            state.limits.set(input::<Limit>(call)?.limit);
            output(json!({}))
        }
        ("PUT", ["tokens"]) => {
            state.give_token(&input::<TokenSpec>(call)?);
            output(json!({}))
        }
        ("DELETE", ["tokens", token]) => {
            state.tokens.remove(*token);
            output(json!({}))
        }
        ("PUT", ["users", login]) => {
            let user = state.account(login, input::<NewUser>(call)?.kind);
            output(views::user(&user))
        }
        ("PUT", ["app"]) => {
            change_app(state, input(call)?)?;
            output(json!({}))
        }
        ("POST", ["seed"]) => {
            state.sow(&input(call)?)?;
            output(json!({}))
        }
        _ => Err(Refusal::not_found()),
    }
}

fn change_app(state: &mut State, change: AppChange) -> Result<(), Refusal> {
    let app = &mut state.app;
    if let Some(permissions) = change.permissions {
        app.permissions = permissions;
    }
    if let Some(pem) = change.public_key {
        let key = tokens::parse_public_key(&pem);
        let key = key.ok_or_else(|| Refusal::unprocessable("That is not a public key"))?;
        app.public_key = Some(key);
    }
    if let Some(id) = change.client_id {
        app.client_id = id;
    }
    if let Some(secret) = change.client_secret {
        app.client_secret = secret;
    }
    if let Some(urls) = change.callback_urls {
        app.callback_urls = urls;
    }
    Ok(())
}

fn set_hook(state: &mut State, change: HookChange) {
    let hooks = &mut state.hooks;
    if let Some(url) = change.url {
        hooks.url = (!url.is_empty()).then_some(url);
    }
    if let Some(secret) = change.secret {
        hooks.secret = secret;
    }
    if let Some(events) = change.events {
        hooks.events = events;
    }
    if let Some(mode) = change.mode {
        hooks.mode = mode;
    }
}

/// Sends what was held; held events are those that are neither sent nor queued.
fn release(state: &mut State, ids: &[u64]) -> Result<usize, Refusal> {
    let held: Vec<(u64, u64)> = if ids.is_empty() {
        let deliveries = state.hooks.deliveries.iter_mut();
        deliveries
            .filter_map(|delivery| std::mem::take(&mut delivery.held).then_some((delivery.repository, delivery.id)))
            .collect()
    } else {
        let mut named = Vec::new();
        for id in ids {
            let deliveries = &mut state.hooks.deliveries;
            let found = deliveries.iter_mut().find(|delivery| delivery.id == *id);
            let found = found.ok_or_else(Refusal::not_found)?;
            if std::mem::take(&mut found.held) {
                named.push((found.repository, found.id));
            }
        }
        named
    };
    if ids.is_empty() && state.hooks.mode == HookMode::Hold {
        state.hooks.mode = HookMode::Deliver;
    }
    let count = held.len();
    state.hooks.due.extend(held);
    Ok(count)
}
