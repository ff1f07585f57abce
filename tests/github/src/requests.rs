//! The record of requests, for tests and for people.

use std::collections::BTreeMap;

use crate::auth::Caller;
use crate::call::Call;
use crate::control::types::RequestView;
use crate::state::State;

/// Requests to the API in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pub(crate) list: Vec<RequestView>,
    last: u64,
}

impl Requests {
    /// How many there were of each method and path.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for request in &self.list {
            let path = request.path.split('?').next().unwrap_or_default();
            *counts.entry(format!("{} {path}", request.method)).or_default() += 1;
        }
        counts
    }
}

impl State {
    /// Writes a request down; its status comes later, if ever.
    pub(crate) fn note(&mut self, call: &Call, fault: Option<&str>) -> u64 {
        self.requests.last += 1;
        let id = self.requests.last;
        let path =
            if call.raw_query.is_empty() { call.path.clone() } else { format!("{}?{}", call.path, call.raw_query) };
        let caller = match call.caller {
            Caller::Anonymous => "anonymous".to_owned(),
            _ => self.login_of(&call.caller),
        };
        self.requests.list.push(RequestView {
            id,
            at: self.clock.now(),
            method: call.method.to_string(),
            path,
            status: None,
            caller,
            fault: fault.map(String::from),
            body: serde_json::from_slice(&call.body).ok(),
        });
        id
    }

    pub(crate) fn note_status(&mut self, id: u64, status: u16) {
        // Answers come soon after their requests: look from the end.
        let mut latest = self.requests.list.iter_mut().rev();
        if let Some(request) = latest.find(|request| request.id == id) {
            request.status = Some(status);
        }
    }
}
