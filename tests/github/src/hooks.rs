//! The webhook, and the record of what was delivered to it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::apps::only_the_app;
use crate::auth::{Need, allow};
use crate::call::Call;
use crate::clock::iso_millis;
use crate::control::types::HookMode;
use crate::reply::{Answer, Refusal, Reply};
use crate::state::State;

/// The one webhook: the App's, and at the same time that of each repository.
pub(crate) const HOOK_ID: u64 = 501;

const HOOKS: Need = Need::admin(&["repository_hooks"]);

/// Where events go, and where they went.
#[derive(Debug)]
pub(crate) struct Hooks {
    pub(crate) url: Option<String>,
    pub(crate) secret: String,
    pub(crate) events: Vec<String>,
    pub(crate) mode: HookMode,
    pub(crate) deliveries: Vec<Delivery>,
    /// Attempts to send once the lock is given back, with their repository.
    pub(crate) due: Vec<(u64, u64)>,
}

impl Default for Hooks {
    fn default() -> Self {
        let events = ["check_run", "issue_comment", "pull_request", "push", "registry_package", "repository", "status"];
        Self {
            url: None,
            secret: String::new(),
            events: events.map(String::from).to_vec(),
            mode: HookMode::Deliver,
            deliveries: Vec::new(),
            due: Vec::new(),
        }
    }
}

/// One attempt to deliver an event. Attempts of the same event share the `guid`.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) id: u64,
    pub(crate) guid: String,
    pub(crate) event: &'static str,
    pub(crate) action: Option<String>,
    pub(crate) repository: u64,
    pub(crate) installation: Option<u64>,
    pub(crate) redelivery: bool,
    /// The exact body, which the signature is for.
    pub(crate) body: Arc<str>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) at: DateTime<Utc>,
    /// Waits to be released.
    pub(crate) held: bool,
    pub(crate) outcome: Option<Outcome>,
}

/// What came of an attempt.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) duration: f64,
    pub(crate) status: String,
    pub(crate) code: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl State {
    pub(crate) fn hook_json(&self, id: u64) -> Value {
        let base = match self.repositories.get(&id) {
            Some(repository) => self.repository_url(repository),
            None => self.base.clone(),
        };
        let url = format!("{base}/hooks/{HOOK_ID}");
        let since = iso_millis(self.app.created_at);
        json!({
            "type": "Repository", "id": HOOK_ID, "name": "web",
            "active": self.hooks.url.is_some(), "events": self.hooks.events,
            "config": {
                "content_type": "json", "insecure_ssl": "0", "secret": "********",
                "url": self.hooks.url.as_deref().unwrap_or("http://localhost/unset"),
            },
            "created_at": since, "updated_at": since, "url": url,
            "test_url": format!("{url}/test"), "ping_url": format!("{url}/pings"),
            "deliveries_url": format!("{url}/deliveries"),
            "last_response": { "code": null, "status": "unused", "message": null },
        })
    }

    pub(crate) fn delivery(&self, id: u64) -> Result<&Delivery, Refusal> {
        let found = self.hooks.deliveries.iter().find(|known| known.id == id);
        found.ok_or_else(Refusal::not_found)
    }

    /// A further attempt for an event already recorded; sent as soon as the lock is free.
    pub(crate) fn repeat(&mut self, id: u64) -> Result<u64, Refusal> {
        let first = self.delivery(id)?.clone();
        let again = Delivery {
            id: self.next_id(),
            redelivery: true,
            at: self.clock.now(),
            held: false,
            outcome: None,
            ..first
        };
        let id = again.id;
        self.hooks.due.push((again.repository, id));
        self.hooks.deliveries.push(again);
        Ok(id)
    }
}

fn pairs(headers: &[(String, String)]) -> Value {
    headers
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn item(delivery: &Delivery, outcome: &Outcome) -> Value {
    json!({
        "id": delivery.id, "guid": delivery.guid, "delivered_at": iso_millis(delivery.at),
        "redelivery": delivery.redelivery, "duration": outcome.duration,
        "status": outcome.status, "status_code": outcome.code, "event": delivery.event,
        "action": delivery.action, "installation_id": delivery.installation,
        "repository_id": delivery.repository, "throttled_at": null,
    })
}

fn listed(state: &State, call: &Call, repository: Option<u64>) -> Answer {
    let size = call.parameter("per_page").and_then(|text| text.parse().ok()).unwrap_or(30_usize).clamp(1, 100);
    let before = match call.parameter("cursor") {
        None => u64::MAX,
        Some(cursor) => cursor
            .strip_prefix("v1_")
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Refusal::new(400, "Invalid cursor"))?,
    };
    let status = call.parameter("status");
    let mut found = state
        .hooks
        .deliveries
        .iter()
        .rev()
        .filter(|delivery| delivery.id < before)
        .filter(|delivery| repository.is_none_or(|id| id == delivery.repository))
        .filter_map(|delivery| Some((delivery, delivery.outcome.as_ref()?)))
        .filter(|(_, outcome)| match status {
            Some("success") => outcome.code < 400,
            Some("failure") => outcome.code >= 400,
            _ => true,
        });
    let page: Vec<_> = found.by_ref().take(size).collect();
    let more = found.next().is_some();
    let list = page.iter().map(|(delivery, outcome)| item(delivery, outcome)).collect();
    let reply = Reply::ok(Value::Array(list));
    Ok(match page.last() {
        Some((last, _)) if more => {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(call.query.iter().filter(|(key, _)| key != "cursor"))
                .append_pair("cursor", &format!("v1_{}", last.id))
                .finish();
            let link = format!("<{}{}?{query}>; rel=\"next\"", state.base, call.path);
            reply.header("Link", link)
        }
        _ => reply,
    })
}

fn shown(state: &State, id: u64, repository: Option<u64>) -> Answer {
    let delivery = state.delivery(id)?;
    let outcome = delivery
        .outcome
        .as_ref()
        .filter(|_| repository.is_none_or(|id| id == delivery.repository))
        .ok_or_else(Refusal::not_found)?;
    let mut value = item(delivery, outcome);
    let payload: Value = serde_json::from_str(&delivery.body).unwrap_or_default();
    value["url"] = state.hooks.url.as_deref().into();
    value["request"] = json!({ "headers": pairs(&delivery.headers), "payload": payload });
    value["response"] = json!({ "headers": pairs(&outcome.headers), "payload": outcome.body });
    Ok(Reply::ok(value))
}

/// `GET /app/hook/deliveries`
pub(crate) fn app_deliveries(state: &State, call: &Call) -> Answer {
    only_the_app(call)?;
    listed(state, call, None)
}

/// `GET /app/hook/deliveries/{id}`
pub(crate) fn app_delivery(state: &State, call: &Call, id: u64) -> Answer {
    only_the_app(call)?;
    shown(state, id, None)
}

/// `POST /app/hook/deliveries/{id}/attempts`
pub(crate) fn app_attempt(state: &mut State, call: &Call, id: u64) -> Answer {
    only_the_app(call)?;
    attempt(state, id)
}

/// `GET /app/hook/config`
pub(crate) fn app_config(state: &State, call: &Call) -> Answer {
    only_the_app(call)?;
    Ok(Reply::ok(state.hook_json(0)["config"].clone()))
}

fn attempt(state: &mut State, id: u64) -> Answer {
    state.repeat(id)?;
    Ok(Reply::json(202, json!({})))
}

/// Where a repository's hook is asked for: `…/hooks/{rest}`
pub(crate) fn of_repository(state: &mut State, call: &Call, id: u64, rest: &[&str]) -> Answer {
    allow(state, call, state.repository(id)?, HOOKS)?;
    let hook = HOOK_ID.to_string();
    let number = |text: &str| text.parse().map_err(|_| Refusal::not_found());
    match (call.method.as_str(), rest) {
        ("GET", []) => Ok(call.page(&state.base, vec![state.hook_json(id)])),
        ("GET", [one]) if *one == hook => Ok(Reply::ok(state.hook_json(id))),
        ("POST", [one, "pings"]) if *one == hook => {
            let sender = state.login_of(&call.caller);
            state.emit_ping(id, &sender)?;
            Ok(Reply::no_content())
        }
        ("GET", [one, "deliveries"]) if *one == hook => listed(state, call, Some(id)),
        ("GET", [one, "deliveries", delivery]) if *one == hook => shown(state, number(delivery)?, Some(id)),
        ("POST", [one, "deliveries", delivery, "attempts"]) if *one == hook => {
            let delivery = number(delivery)?;
            if state.delivery(delivery)?.repository != id {
                return Err(Refusal::not_found());
            }
            attempt(state, delivery)
        }
        _ => Err(Refusal::not_found()),
    }
}
