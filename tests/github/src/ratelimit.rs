//! The hourly limit of requests for each caller.

use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::call::Call;
use crate::reply::{Answer, Reply};
use crate::state::State;

/// How many requests callers may make in an hour, and have made.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) limit: u64,
    used: HashMap<String, Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    used: u64,
    reset: DateTime<Utc>,
}

/// What the headers say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    pub(crate) limit: u64,
    pub(crate) used: u64,
    pub(crate) reset: i64,
}

impl Quota {
    pub(crate) fn remaining(self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { limit: 5000, used: HashMap::new() }
    }
}

impl Limits {
    fn key(caller: &Caller) -> String {
        match caller {
            Caller::Anonymous => "anonymous".to_owned(),
            Caller::App => "app".to_owned(),
            Caller::User { login } => format!("user {login}"),
            Caller::Installation { id, .. } => format!("installation {id}"),
        }
    }

    fn limit_of(&self, caller: &Caller) -> u64 {
        match caller {
            Caller::Anonymous => self.limit.min(60),
            _ => self.limit,
        }
    }

    /// The caller's quota as it is.
    pub(crate) fn look(&self, caller: &Caller, now: DateTime<Utc>) -> Quota {
        let window = self.used.get(&Self::key(caller)).filter(|window| window.reset > now);
        Quota {
            limit: self.limit_of(caller),
            used: window.map_or(0, |window| window.used),
            reset: window.map_or(now + Duration::hours(1), |window| window.reset).timestamp(),
        }
    }

    /// Counts one request; false when there is none left to count.
    pub(crate) fn charge(&mut self, caller: &Caller, now: DateTime<Utc>) -> bool {
        let limit = self.limit_of(caller);
        let fresh = Window { used: 0, reset: now + Duration::hours(1) };
        let window = self.used.entry(Self::key(caller)).or_insert(fresh);
        if window.reset <= now {
            *window = fresh;
        }
        if window.used >= limit {
            return false;
        }
        window.used += 1;
        true
    }

    /// Takes one count back: what was not modified costs nothing.
    pub(crate) fn refund(&mut self, caller: &Caller) {
        if let Some(window) = self.used.get_mut(&Self::key(caller)) {
            window.used = window.used.saturating_sub(1);
        }
    }

    /// Gives everybody a new limit and a fresh start.
    pub(crate) fn set(&mut self, limit: u64) {
        self.limit = limit;
        self.used.clear();
    }
}

fn shown(quota: Quota) -> Value {
    json!({
        "limit": quota.limit, "used": quota.used, "remaining": quota.remaining(),
        "reset": quota.reset,
    })
}

/// `GET /rate_limit`
pub(crate) fn get(state: &State, call: &Call) -> Answer {
    let core = shown(state.limits.look(&call.caller, state.clock.now()));
    Ok(Reply::ok(json!({
        "resources": { "core": core, "search": core, "graphql": core },
        "rate": core,
    })))
}
