//! Labels, and those of a pull request.

use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use crate::auth::{Need, allow};
use crate::call::{self, Call};
use crate::reply::{Answer, Refusal, Reply};
use crate::state::{Repository, State};
use crate::text::{encode, node_id};

const NEED: &[&str] = &["issues", "pull_requests"];

/// A label a repository has.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) color: String,
}

impl State {
    /// The label's JSON; labels are made when first used, as the API does.
    pub(crate) fn label_json(&self, repository: &Repository, name: &str) -> Value {
        let label = repository.labels.get(&name.to_lowercase());
        let id = label.map_or(0, |label| label.id);
        let shown = label.map_or(name, |label| label.name.as_str());
        json!({
            "id": id,
            "node_id": node_id("LA", id),
            "url": format!("{}/repos/{}/labels/{}", self.base, repository.full_name(), encode(shown)),
            "name": shown,
            "color": label.map_or("ededed", |label| label.color.as_str()),
            "default": false,
            "description": "",
        })
    }

    pub(crate) fn labels_json(&self, repository: &Repository, names: &[String]) -> Vec<Value> {
        names.iter().map(|name| self.label_json(repository, name)).collect()
    }

    /// Makes the label where the repository does not have it yet; answers its exact name.
    pub(crate) fn ensure_label(&mut self, id: u64, name: &str) -> Result<String, Refusal> {
        if name.trim().is_empty() {
            return Err(Refusal::field("Label", "name", "missing_field"));
        }
        if name.chars().count() > 50 {
            return Err(Refusal::custom("Label", "name", "name is too long (maximum is 50 characters)"));
        }
        let key = name.to_lowercase();
        if let Some(label) = self.repository(id)?.labels.get(&key) {
            return Ok(label.name.clone());
        }
        let label = Label { id: self.next_id(), name: name.to_owned(), color: hex::encode(&Sha1::digest(&key)[..3]) };
        self.repository_mut(id)?.labels.insert(key, label);
        Ok(name.to_owned())
    }

    /// Puts labels on a pull request; each new one is an event.
    pub(crate) fn add_labels(&mut self, id: u64, number: u64, names: &[String], sender: &str) -> Result<(), Refusal> {
        for name in names {
            let name = self.ensure_label(id, name)?;
            let now = self.clock.now();
            let pull = self.pull_mut(id, number)?;
            if pull.labels.contains(&name) {
                continue;
            }
            pull.labels.push(name.clone());
            pull.updated_at = now;
            let label = self.label_json(self.repository(id)?, &name);
            self.emit_pull(id, number, "labeled", sender, json!({ "label": label }))?;
        }
        Ok(())
    }

    /// Takes a label off a pull request.
    pub(crate) fn remove_label(&mut self, id: u64, number: u64, name: &str, sender: &str) -> Result<(), Refusal> {
        let now = self.clock.now();
        let pull = self.pull_mut(id, number)?;
        let at = pull
            .labels
            .iter()
            .position(|label| label.eq_ignore_ascii_case(name))
            .ok_or_else(|| Refusal::new(404, "Label does not exist"))?;
        let name = pull.labels.remove(at);
        pull.updated_at = now;
        let label = self.label_json(self.repository(id)?, &name);
        self.emit_pull(id, number, "unlabeled", sender, json!({ "label": label }))
    }
}

fn listed(state: &State, call: &Call, id: u64, number: u64) -> Answer {
    let repository = state.repository(id)?;
    let pull = state.pull(id, number)?;
    Ok(call.page(&state.base, state.labels_json(repository, &pull.labels)))
}

/// `GET …/issues/{n}/labels`
pub(crate) fn list(state: &State, call: &Call, id: u64, number: u64) -> Answer {
    allow(state, call, state.repository(id)?, Need::read(NEED))?;
    listed(state, call, id, number)
}

/// `POST …/issues/{n}/labels`
pub(crate) fn add(state: &mut State, call: &Call, id: u64, number: u64) -> Answer {
    allow(state, call, state.repository(id)?, Need::write(NEED))?;
    state.pull(id, number)?;
    // The endpoint also takes a bare list.
    let names = match serde_json::from_slice::<Vec<String>>(&call.body) {
        Ok(names) => names,
        Err(_) => call::strings(&call.object()?, "labels")?.unwrap_or_default(),
    };
    let sender = state.login_of(&call.caller);
    state.add_labels(id, number, &names, &sender)?;
    listed(state, call, id, number)
}

/// `DELETE …/issues/{n}/labels/{name}`
pub(crate) fn remove(state: &mut State, call: &Call, id: u64, number: u64, name: &str) -> Answer {
    allow(state, call, state.repository(id)?, Need::write(NEED))?;
    let sender = state.login_of(&call.caller);
    state.remove_label(id, number, name, &sender)?;
    listed(state, call, id, number)
}

/// `DELETE …/issues/{n}/labels`
pub(crate) fn clear(state: &mut State, call: &Call, id: u64, number: u64) -> Answer {
    allow(state, call, state.repository(id)?, Need::write(NEED))?;
    let sender = state.login_of(&call.caller);
    for name in state.pull(id, number)?.labels.clone() {
        state.remove_label(id, number, &name, &sender)?;
    }
    Ok(Reply::no_content())
}
