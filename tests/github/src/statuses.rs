//! Commit statuses, one by one and combined.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::auth::{Need, allow};
use crate::branches::named;
use crate::call::{self, Call};
use crate::clock::iso;
use crate::reply::{Answer, Refusal, Reply};
use crate::state::{Repository, State};
use crate::text::node_id;
use crate::users::{AccountKind, merge};

const READ: Need = Need::read(&["statuses"]);

/// A status set on a commit; later ones of the same context replace it.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) id: u64,
    pub(crate) sha: String,
    pub(crate) state: String,
    pub(crate) context: String,
    pub(crate) description: Option<String>,
    pub(crate) target_url: Option<String>,
    pub(crate) creator: String,
    pub(crate) created_at: DateTime<Utc>,
}

/// What a status is to say.
pub(crate) struct NewStatus<'a> {
    pub(crate) state: &'a str,
    pub(crate) context: &'a str,
    pub(crate) description: Option<&'a str>,
    pub(crate) target_url: Option<&'a str>,
}

impl State {
    fn status_json(&self, repository: &Repository, status: &Status) -> Value {
        let creator = self.user_json(&status.creator);
        json!({
            "url": format!("{}/statuses/{}", self.repository_url(repository), status.sha),
            "avatar_url": creator["avatar_url"], "id": status.id,
            "node_id": node_id("SC", status.id), "state": status.state,
            "description": status.description, "target_url": status.target_url,
            "context": status.context, "created_at": iso(status.created_at),
            "updated_at": iso(status.created_at), "creator": creator,
        })
    }

    /// Sets a status on a commit that exists.
    pub(crate) fn set_status(
        &mut self,
        id: u64,
        sha: &str,
        new: &NewStatus<'_>,
        creator: &str,
    ) -> Result<Status, Refusal> {
        check(new)?;
        let creator = self.account(creator, AccountKind::User).login;
        let repository = self.repository(id)?;
        if sha.len() != 40 || !repository.commits.contains(sha) {
            return Err(Refusal::unprocessable(format!("No commit found for SHA: {sha}")));
        }
        let of_context =
            repository.statuses.iter().filter(|status| status.sha == sha && status.context == new.context).count();
        if of_context >= 1000 {
            return Err(Refusal::field("Status", "base", "custom").with(json!({
                "message": "This SHA and context has reached the maximum number of statuses.",
            })));
        }
        let status = Status {
            id: self.next_id(),
            sha: sha.to_owned(),
            state: new.state.to_owned(),
            context: new.context.to_owned(),
            description: new.description.map(String::from),
            target_url: new.target_url.map(String::from),
            creator: creator.clone(),
            created_at: self.clock.now(),
        };
        self.repository_mut(id)?.statuses.push(status.clone());
        self.emit_status(id, &status, &creator)?;
        Ok(status)
    }

    /// The last status of each context of a commit.
    pub(crate) fn latest<'a>(&self, repository: &'a Repository, sha: &str) -> Vec<&'a Status> {
        let mut latest: Vec<&Status> = Vec::new();
        for status in repository.statuses.iter().filter(|known| known.sha == sha) {
            match latest.iter_mut().find(|known| known.context.eq_ignore_ascii_case(&status.context)) {
                Some(known) => *known = status,
                None => latest.push(status),
            }
        }
        latest
    }
}

fn check(new: &NewStatus<'_>) -> Result<(), Refusal> {
    if !["error", "failure", "pending", "success"].contains(&new.state) {
        return Err(Refusal::custom("Status", "state", "state is not included in the list"));
    }
    let long = |text: &str, most: usize| text.chars().count() > most;
    if new.description.is_some_and(|text| long(text, 140)) {
        return Err(Refusal::custom("Status", "description", "description is too long (maximum is 140 characters)"));
    }
    if long(new.context, 255) {
        return Err(Refusal::custom("Status", "context", "context is too long (maximum is 255 characters)"));
    }
    let web = |url: &str| url.starts_with("http://") || url.starts_with("https://");
    if new.target_url.is_some_and(|url| !url.is_empty() && !web(url)) {
        return Err(Refusal::custom("Status", "target_url", "target_url must use http(s) scheme"));
    }
    Ok(())
}

/// `POST …/statuses/{sha}`
pub(crate) fn create(state: &mut State, call: &Call, id: u64, sha: &str) -> Answer {
    allow(state, call, state.repository(id)?, Need::write(&["statuses"]))?;
    let body = call.object()?;
    let wanted = call::string(&body, "state")?.ok_or_else(|| Refusal::field("Status", "state", "missing_field"))?;
    let (description, target_url, context) =
        (call::string(&body, "description")?, call::string(&body, "target_url")?, call::string(&body, "context")?);
    let new = NewStatus {
        state: &wanted,
        context: context.as_deref().unwrap_or("default"),
        description: description.as_deref(),
        target_url: target_url.as_deref(),
    };
    let creator = state.login_of(&call.caller);
    let status = state.set_status(id, sha, &new, &creator)?;
    Ok(Reply::created(state.status_json(state.repository(id)?, &status)))
}

/// `GET …/commits/{ref}/statuses`
pub(crate) fn list(state: &State, call: &Call, id: u64, reference: &str) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, READ)?;
    let sha = named(repository, reference)?;
    let list = repository
        .statuses
        .iter()
        .rev()
        .filter(|status| status.sha == sha)
        .map(|status| state.status_json(repository, status))
        .collect();
    Ok(call.page(&state.base, list))
}

/// `GET …/commits/{ref}/status`
pub(crate) fn combined(state: &State, call: &Call, id: u64, reference: &str) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, READ)?;
    let sha = named(repository, reference)?;
    let latest = state.latest(repository, &sha);
    let any = |wanted: &[&str]| latest.iter().any(|status| wanted.contains(&status.state.as_str()));
    let overall = if any(&["failure", "error"]) {
        "failure"
    } else if latest.is_empty() || any(&["pending"]) {
        "pending"
    } else {
        "success"
    };
    let list = latest.iter().map(|status| state.status_json(repository, status)).collect();
    let mut reply = call.page_in(&state.base, "statuses", list);
    let api = state.repository_url(repository);
    if let crate::reply::Content::Json(value) = &mut reply.content {
        merge(
            value,
            json!({
                "state": overall, "sha": sha,
                "repository": state.repository_json(repository),
                "commit_url": format!("{api}/commits/{sha}"),
                "url": format!("{api}/commits/{sha}/status"),
            }),
        );
    }
    Ok(reply)
}
