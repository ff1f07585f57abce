//! Check runs, which only Apps make.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::auth::{Caller, Need, allow};
use crate::branches::named;
use crate::call::{self, Call};
use crate::clock::iso;
use crate::reply::{Answer, Refusal, Reply};
use crate::state::{Repository, State};
use crate::text::node_id;

const READ: Need = Need::read(&["checks"]);
const STATUSES: &[&str] = &["queued", "in_progress", "completed", "waiting", "requested", "pending"];
const CONCLUSIONS: &[&str] = &["success", "failure", "neutral", "cancelled", "skipped", "timed_out", "action_required"];

/// A check run.
#[derive(Debug, Clone)]
pub(crate) struct CheckRun {
    pub(crate) id: u64,
    pub(crate) suite: u64,
    pub(crate) sha: String,
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) conclusion: Option<String>,
    pub(crate) external_id: Option<String>,
    pub(crate) details_url: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) summary: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) completed_at: Option<DateTime<Utc>>,
    /// By the App under test, or by the one that runs CI.
    pub(crate) own: bool,
}

impl State {
    pub(crate) fn check_json(&self, repository: &Repository, run: &CheckRun) -> Value {
        let api = self.repository_url(repository);
        let page = format!("{}/{}/runs/{}", self.base, repository.full_name(), run.id);
        let url = format!("{api}/check-runs/{}", run.id);
        let pulls: Vec<Value> = repository
            .pulls
            .values()
            .filter(|pull| pull.is_open() && pull.head.sha == run.sha)
            .map(|pull| self.pull_minimal_json(repository, pull))
            .collect();
        let app = if run.own { self.app_json() } else { self.ci_app_json() };
        json!({
            "id": run.id, "node_id": node_id("CR", run.id), "head_sha": run.sha,
            "external_id": run.external_id.as_deref().unwrap_or_default(),
            "url": url, "html_url": page,
            "details_url": run.details_url.as_deref().unwrap_or(&page),
            "status": run.status, "conclusion": run.conclusion,
            "started_at": iso(run.started_at), "completed_at": run.completed_at.map(iso),
            "output": {
                "title": run.title, "summary": run.summary, "text": run.text,
                "annotations_count": 0, "annotations_url": format!("{url}/annotations"),
            },
            "name": run.name, "check_suite": { "id": run.suite },
            "app": app, "pull_requests": pulls,
        })
    }

    /// A new check run on a commit that exists.
    pub(crate) fn create_check(&mut self, id: u64, sha: &str, name: &str, own: bool) -> Result<CheckRun, Refusal> {
        if name.is_empty() {
            return Err(Refusal::field("CheckRun", "name", "missing_field"));
        }
        if sha.len() != 40 || !self.repository(id)?.commits.contains(sha) {
            return Err(Refusal::unprocessable(format!("No commit found for SHA: {sha}")));
        }
        Ok(CheckRun {
            id: self.next_id(),
            suite: self.next_id(),
            sha: sha.to_owned(),
            name: name.to_owned(),
            status: "queued".to_owned(),
            conclusion: None,
            external_id: None,
            details_url: None,
            title: None,
            summary: None,
            text: None,
            started_at: self.clock.now(),
            completed_at: None,
            own,
        })
    }

    /// Stores a check run as it is now and tells the hook.
    pub(crate) fn put_check(&mut self, id: u64, run: CheckRun, sender: &str) -> Result<Value, Refusal> {
        let action = if run.status == "completed" { "completed" } else { "created" };
        let repository = self.repository_mut(id)?;
        let known = repository.check_runs.insert(run.id, run.clone());
        let value = self.check_json(self.repository(id)?, &run);
        // GitHub says "created" and "completed", and nothing in between.
        if known.is_none() || action == "completed" {
            self.emit_check(id, &value, action, sender)?;
        }
        Ok(value)
    }

    /// What the body of a request changes.
    pub(crate) fn apply_check(&self, run: &mut CheckRun, body: &Map<String, Value>) -> Result<(), Refusal> {
        if let Some(name) = call::string(body, "name")? {
            run.name = name;
        }
        if let Some(status) = call::string(body, "status")? {
            if !STATUSES.contains(&status.as_str()) {
                return Err(Refusal::field("CheckRun", "status", "invalid"));
            }
            run.status = status;
        }
        if let Some(conclusion) = call::string(body, "conclusion")? {
            if !CONCLUSIONS.contains(&conclusion.as_str()) {
                return Err(Refusal::field("CheckRun", "conclusion", "invalid"));
            }
            "completed".clone_into(&mut run.status);
            run.conclusion = Some(conclusion);
        }
        if run.status == "completed" {
            if run.conclusion.is_none() {
                return Err(Refusal::field("CheckRun", "conclusion", "missing_field"));
            }
            run.completed_at.get_or_insert(self.clock.now());
        }
        if let Some(url) = call::string(body, "details_url")? {
            run.details_url = Some(url);
        }
        if let Some(external) = call::string(body, "external_id")? {
            run.external_id = Some(external);
        }
        if let Some(Value::Object(output)) = body.get("output") {
            for (name, target) in [("title", &mut run.title), ("summary", &mut run.summary), ("text", &mut run.text)] {
                if let Some(text) = call::string(output, name)? {
                    if text.chars().count() > 65_535 {
                        return Err(Refusal::custom("CheckRun", name, "is too long (maximum is 65535 characters)"));
                    }
                    *target = Some(text);
                }
            }
        }
        Ok(())
    }
}

fn only_apps(call: &Call) -> Result<(), Refusal> {
    match call.caller {
        Caller::User { .. } => Err(Refusal::new(403, "You must authenticate via a GitHub App.")),
        _ => Ok(()),
    }
}

/// `POST …/check-runs`
pub(crate) fn create(state: &mut State, call: &Call, id: u64) -> Answer {
    allow(state, call, state.repository(id)?, Need::write(&["checks"]))?;
    only_apps(call)?;
    let body = call.object()?;
    let need = |name: &str| call::string(&body, name)?.ok_or_else(|| Refusal::field("CheckRun", name, "missing_field"));
    let (name, sha) = (need("name")?, need("head_sha")?);
    let mut run = state.create_check(id, &sha, &name, true)?;
    state.apply_check(&mut run, &body)?;
    let sender = state.login_of(&call.caller);
    state.put_check(id, run, &sender).map(Reply::created)
}

/// `PATCH …/check-runs/{id}`
pub(crate) fn update(state: &mut State, call: &Call, id: u64, run: u64) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, Need::write(&["checks"]))?;
    only_apps(call)?;
    let known = repository.check_runs.get(&run);
    let mut run = known.cloned().ok_or_else(Refusal::not_found)?;
    if !run.own {
        return Err(Refusal::new(
            403,
            "Invalid app_id `15368` - check run can only be modified by the GitHub App that created it.",
        ));
    }
    state.apply_check(&mut run, &call.object()?)?;
    let sender = state.login_of(&call.caller);
    state.put_check(id, run, &sender).map(Reply::ok)
}

/// `GET …/check-runs/{id}`
pub(crate) fn get(state: &State, call: &Call, id: u64, run: u64) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, READ)?;
    let run = repository.check_runs.get(&run);
    let run = run.ok_or_else(Refusal::not_found)?;
    Ok(Reply::ok(state.check_json(repository, run)))
}

/// `GET …/commits/{ref}/check-runs`
pub(crate) fn list(state: &State, call: &Call, id: u64, reference: &str) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, READ)?;
    let sha = named(repository, reference)?;
    let all = call.parameter("filter") == Some("all");
    let runs = repository.check_runs.values().filter(|run| run.sha == sha);
    let is_latest = |run: &CheckRun| {
        !repository.check_runs.values().any(|other| other.sha == sha && other.name == run.name && other.id > run.id)
    };
    let list = runs
        .filter(|run| all || is_latest(run))
        .filter(|run| call.parameter("check_name").is_none_or(|name| name == run.name))
        .filter(|run| call.parameter("status").is_none_or(|status| status == run.status))
        .map(|run| state.check_json(repository, run))
        .collect();
    Ok(call.page_in(&state.base, "check_runs", list))
}
