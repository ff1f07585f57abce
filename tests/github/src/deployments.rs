//! Deployments and their statuses.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::auth::{Need, allow};
use crate::call::{self, Call};
use crate::clock::iso;
use crate::git;
use crate::reply::{Answer, Refusal, Reply};
use crate::state::{Repository, State};
use crate::text::node_id;
use crate::users::merge;

const READ: Need = Need::read(&["deployments"]);
const WRITE: Need = Need::write(&["deployments"]);
const STATES: &[&str] = &["error", "failure", "inactive", "in_progress", "queued", "pending", "success"];

/// A deployment.
#[derive(Debug, Clone)]
pub(crate) struct Deployment {
    pub(crate) id: u64,
    pub(crate) sha: String,
    pub(crate) reference: String,
    pub(crate) task: String,
    pub(crate) environment: String,
    pub(crate) description: Option<String>,
    pub(crate) payload: Value,
    pub(crate) transient: bool,
    pub(crate) production: bool,
    pub(crate) creator: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) statuses: Vec<DeploymentStatus>,
}

#[derive(Debug, Clone)]
pub(crate) struct DeploymentStatus {
    pub(crate) id: u64,
    pub(crate) state: String,
    pub(crate) description: String,
    pub(crate) environment: String,
    pub(crate) environment_url: String,
    pub(crate) log_url: String,
    pub(crate) creator: String,
    pub(crate) created_at: DateTime<Utc>,
}

impl Deployment {
    /// The state its last status gave it.
    pub(crate) fn state(&self) -> &str {
        self.statuses.last().map_or("pending", |status| status.state.as_str())
    }

    fn is_active(&self) -> bool {
        self.state() == "success"
    }
}

impl State {
    pub(crate) fn deployment_json(&self, repository: &Repository, one: &Deployment) -> Value {
        let api = self.repository_url(repository);
        let url = format!("{api}/deployments/{}", one.id);
        json!({
            "url": url, "id": one.id, "node_id": node_id("DE", one.id), "sha": one.sha,
            "ref": one.reference, "task": one.task, "payload": one.payload,
            "original_environment": one.environment, "environment": one.environment,
            "description": one.description, "creator": self.user_json(&one.creator),
            "created_at": iso(one.created_at), "updated_at": iso(one.updated_at),
            "statuses_url": format!("{url}/statuses"), "repository_url": api,
            "transient_environment": one.transient, "production_environment": one.production,
            "performed_via_github_app": null,
        })
    }

    fn status_of(&self, repository: &Repository, deployment: u64, status: &DeploymentStatus) -> Value {
        let api = self.repository_url(repository);
        let url = format!("{api}/deployments/{deployment}");
        json!({
            "url": format!("{url}/statuses/{}", status.id), "id": status.id,
            "node_id": node_id("DES", status.id), "state": status.state,
            "creator": self.user_json(&status.creator), "description": status.description,
            "environment": status.environment, "target_url": status.log_url,
            "created_at": iso(status.created_at), "updated_at": iso(status.created_at),
            "deployment_url": url, "repository_url": api,
            "environment_url": status.environment_url, "log_url": status.log_url,
            "performed_via_github_app": null,
        })
    }

    fn deployment(&self, id: u64, deployment: u64) -> Result<&Deployment, Refusal> {
        let found = self.repository(id)?.deployments.get(&deployment);
        found.ok_or_else(Refusal::not_found)
    }

    /// Refuses while a required status is not there or not green.
    fn check_contexts(
        &self,
        repository: &Repository,
        sha: &str,
        reference: &str,
        required: Option<Vec<String>>,
    ) -> Result<(), Refusal> {
        let latest = self.latest(repository, sha);
        let required = required.unwrap_or_else(|| latest.iter().map(|status| status.context.clone()).collect());
        let contexts: Vec<Value> = required
            .iter()
            .map(|context| {
                let status = latest.iter().find(|status| status.context == *context);
                let state = status.map_or("missing", |status| status.state.as_str());
                json!({ "context": context, "state": state })
            })
            .collect();
        if contexts.iter().all(|context| context["state"] == "success") {
            return Ok(());
        }
        let message = format!("Conflict: Commit status checks failed for {reference}.");
        Err(Refusal::new(409, message).with(json!({
            "contexts": contexts, "resource": "Deployment", "field": "required_contexts",
            "code": "invalid",
        })))
    }

    /// Merges the default branch into a branch that is behind, as `auto_merge` asks.
    fn auto_merge(&mut self, id: u64, reference: &str, sha: &str, sender: &str) -> Result<Option<String>, Refusal> {
        let repository = self.repository(id)?;
        let default = repository.default_branch.clone();
        let branch = reference.strip_prefix("refs/heads/").unwrap_or(reference);
        let Some(tip) = repository.branches.get(&default).cloned() else {
            return Ok(None);
        };
        if branch == default || !repository.branches.contains_key(branch) {
            return Ok(None);
        }
        let behind = !git::ancestors(&self.commits, sha).iter().any(|commit| commit.sha == tip);
        if !behind {
            return Ok(None);
        }
        let branch = branch.to_owned();
        let message = format!("Merge branch '{default}' into {branch}");
        self.merge_commit(id, &branch, &tip, &message, sender)?;
        Ok(Some(format!("Auto-merged {default} into {branch} on deployment.")))
    }
}

fn long(field: &str, text: Option<&String>, most: usize) -> Result<(), Refusal> {
    if text.is_some_and(|text| text.chars().count() > most) {
        let message = format!("{field} is too long (maximum is {most} characters)");
        return Err(Refusal::custom("Deployment", field, &message));
    }
    Ok(())
}

/// `POST …/deployments`
pub(crate) fn create(state: &mut State, call: &Call, id: u64) -> Answer {
    allow(state, call, state.repository(id)?, WRITE)?;
    let body = call.object()?;
    let reference = call::string(&body, "ref")?
        .filter(|reference| !reference.is_empty())
        .ok_or_else(|| Refusal::field("Deployment", "ref", "missing_field"))?;
    let description = call::string(&body, "description")?;
    long("description", description.as_ref(), 140)?;
    let environment = call::string(&body, "environment")?.unwrap_or_else(|| "production".into());
    long("environment", Some(&environment), 255)?;
    let sha = state
        .repository(id)?
        .resolve(&reference)
        .ok_or_else(|| Refusal::unprocessable(format!("No ref found for: {reference}")))?;
    let creator = state.login_of(&call.caller);
    if call::boolean(&body, "auto_merge")?.unwrap_or(true)
        && let Some(message) = state.auto_merge(id, &reference, &sha, &creator)?
    {
        return Ok(Reply::json(202, json!({ "message": message })));
    }
    let required = call::strings(&body, "required_contexts")?;
    state.check_contexts(state.repository(id)?, &sha, &reference, required)?;
    let now = state.clock.now();
    let deployment = Deployment {
        id: state.next_id(),
        sha,
        reference,
        task: call::string(&body, "task")?.unwrap_or_else(|| "deploy".into()),
        production: call::boolean(&body, "production_environment")?.unwrap_or(environment == "production"),
        environment,
        description,
        payload: body.get("payload").cloned().unwrap_or_else(|| json!({})),
        transient: call::boolean(&body, "transient_environment")?.unwrap_or(false),
        creator: creator.clone(),
        created_at: now,
        updated_at: now,
        statuses: Vec::new(),
    };
    let value = state.deployment_json(state.repository(id)?, &deployment);
    state.repository_mut(id)?.deployments.insert(deployment.id, deployment);
    let more = json!({ "deployment": value });
    state.emit(id, "deployment", Some("created"), &creator, more)?;
    Ok(Reply::created(value))
}

/// `GET …/deployments`
pub(crate) fn list(state: &State, call: &Call, id: u64) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, READ)?;
    let is = |name: &str, value: &str| call.parameter(name).is_none_or(|wanted| wanted == value || wanted == "none");
    let list = repository
        .deployments
        .values()
        .rev()
        .filter(|one| is("sha", &one.sha) && is("ref", &one.reference))
        .filter(|one| is("task", &one.task) && is("environment", &one.environment))
        .map(|one| state.deployment_json(repository, one))
        .collect();
    Ok(call.page(&state.base, list))
}

/// `GET …/deployments/{id}`
pub(crate) fn get(state: &State, call: &Call, id: u64, deployment: u64) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, READ)?;
    let one = state.deployment(id, deployment)?;
    Ok(Reply::ok(state.deployment_json(repository, one)))
}

/// `DELETE …/deployments/{id}`: an active one stays, unless it is the only one there.
pub(crate) fn delete(state: &mut State, call: &Call, id: u64, deployment: u64) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, WRITE)?;
    let one = state.deployment(id, deployment)?;
    let others =
        repository.deployments.values().any(|other| other.id != one.id && other.environment == one.environment);
    if one.is_active() && others {
        return Err(Refusal::unprocessable(
            "We cannot delete an active deployment unless it is the only deployment in a given \
             environment.",
        ));
    }
    state.repository_mut(id)?.deployments.remove(&deployment);
    Ok(Reply::no_content())
}

/// `GET …/deployments/{id}/statuses`
pub(crate) fn statuses(state: &State, call: &Call, id: u64, deployment: u64) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, READ)?;
    let list = state
        .deployment(id, deployment)?
        .statuses
        .iter()
        .rev()
        .map(|status| state.status_of(repository, deployment, status))
        .collect();
    Ok(call.page(&state.base, list))
}

/// `GET …/deployments/{id}/statuses/{id}`
pub(crate) fn status(state: &State, call: &Call, id: u64, deployment: u64, one: u64) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, READ)?;
    let statuses = &state.deployment(id, deployment)?.statuses;
    let found = statuses.iter().find(|status| status.id == one);
    let found = found.ok_or_else(Refusal::not_found)?;
    Ok(Reply::ok(state.status_of(repository, deployment, found)))
}

fn read_status(
    state: &mut State,
    body: &Map<String, Value>,
    environment: &str,
    creator: &str,
) -> Result<DeploymentStatus, Refusal> {
    let field = |name: &str, code: &str| Refusal::field("DeploymentStatus", name, code);
    let wanted = call::string(body, "state")?.ok_or_else(|| field("state", "missing_field"))?;
    if !STATES.contains(&wanted.as_str()) {
        return Err(field("state", "invalid"));
    }
    let description = call::string(body, "description")?.unwrap_or_default();
    long("description", Some(&description), 140)?;
    let log_url = match call::string(body, "log_url")? {
        Some(url) => url,
        None => call::string(body, "target_url")?.unwrap_or_default(),
    };
    let environment_url = call::string(body, "environment_url")?.unwrap_or_default();
    for (name, url) in [("log_url", &log_url), ("environment_url", &environment_url)] {
        if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Refusal::custom("DeploymentStatus", name, &format!("{name} must use http(s) scheme")));
        }
    }
    Ok(DeploymentStatus {
        id: state.next_id(),
        state: wanted,
        description,
        environment: call::string(body, "environment")?.unwrap_or_else(|| environment.to_owned()),
        environment_url,
        log_url,
        creator: creator.to_owned(),
        created_at: state.clock.now(),
    })
}

/// `POST …/deployments/{id}/statuses`
pub(crate) fn create_status(state: &mut State, call: &Call, id: u64, deployment: u64) -> Answer {
    allow(state, call, state.repository(id)?, WRITE)?;
    let environment = state.deployment(id, deployment)?.environment.clone();
    let body = call.object()?;
    let creator = state.login_of(&call.caller);
    let new = read_status(state, &body, &environment, &creator)?;
    let now = new.created_at;
    if new.state == "success" && call::boolean(&body, "auto_inactive")?.unwrap_or(true) {
        deactivate(state, id, deployment, &new)?;
    }
    let repository = state.repository_mut(id)?;
    if let Some(one) = repository.deployments.get_mut(&deployment) {
        one.updated_at = now;
        one.environment.clone_from(&new.environment);
        one.statuses.push(new.clone());
    }
    let repository = state.repository(id)?;
    let value = state.status_of(repository, deployment, &new);
    let one = state.deployment(id, deployment)?;
    let mut more = json!({ "deployment_status": value });
    merge(&mut more, json!({ "deployment": state.deployment_json(repository, one) }));
    state.emit(id, "deployment_status", Some("created"), &creator, more)?;
    Ok(Reply::created(value))
}

/// The earlier deployments of the environment become inactive. As documented, that
/// spares transient and production environments.
fn deactivate(state: &mut State, id: u64, deployment: u64, by: &DeploymentStatus) -> Result<(), Refusal> {
    let earlier: Vec<u64> = state
        .repository(id)?
        .deployments
        .values()
        .filter(|one| one.id < deployment && one.environment == by.environment)
        .filter(|one| !one.transient && !one.production && one.is_active())
        .map(|one| one.id)
        .collect();
    for one in earlier {
        let status = DeploymentStatus {
            id: state.next_id(),
            state: "inactive".to_owned(),
            description: String::new(),
            ..by.clone()
        };
        if let Some(one) = state.repository_mut(id)?.deployments.get_mut(&one) {
            one.updated_at = status.created_at;
            one.statuses.push(status);
        }
    }
    Ok(())
}
