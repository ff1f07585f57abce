//! Pull requests, as the API shows them.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::auth::{Need, allow};
use crate::call::{self, Call};
use crate::clock::iso;
use crate::git::{self, Change, Commit};
use crate::reply::{Answer, Refusal, Reply};
use crate::state::{Repository, State};
use crate::text::node_id;
use crate::users::merge;

const READ: Need = Need::read(&["pull_requests"]);

/// A pull request.
#[derive(Debug, Clone)]
pub(crate) struct Pull {
    pub(crate) id: u64,
    pub(crate) number: u64,
    pub(crate) title: String,
    pub(crate) body: Option<String>,
    pub(crate) author: String,
    pub(crate) draft: bool,
    pub(crate) head: Side,
    pub(crate) base: Side,
    pub(crate) labels: Vec<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) closed_at: Option<DateTime<Utc>>,
    pub(crate) merged: Option<Merged>,
}

/// One end of a pull request.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    pub(crate) repository: u64,
    pub(crate) owner: String,
    pub(crate) branch: String,
    pub(crate) sha: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Merged {
    pub(crate) at: DateTime<Utc>,
    pub(crate) by: String,
    pub(crate) sha: String,
}

impl Pull {
    pub(crate) fn is_open(&self) -> bool {
        self.closed_at.is_none()
    }

    pub(crate) fn state(&self) -> &'static str {
        if self.is_open() { "open" } else { "closed" }
    }
}

impl State {
    fn side_json(&self, side: &Side) -> Value {
        let repository = self.repositories.get(&side.repository);
        json!({
            "label": format!("{}:{}", side.owner, side.branch),
            "ref": side.branch,
            "sha": side.sha,
            "user": self.user_json(&side.owner),
            "repo": repository.map(|repository| self.repository_json(repository)),
        })
    }

    /// The form in lists.
    pub(crate) fn pull_simple_json(&self, repository: &Repository, pull: &Pull) -> Value {
        let api = self.repository_url(repository);
        let (url, issue) = (format!("{api}/pulls/{}", pull.number), format!("{api}/issues/{}", pull.number));
        let page = self.pull_page(repository, pull.number);
        let statuses = format!("{api}/statuses/{}", pull.head.sha);
        let merge_sha = match (&pull.merged, pull.is_open()) {
            (Some(merged), _) => Some(merged.sha.clone()),
            (None, true) => Some(pull.head.sha.chars().rev().collect()),
            (None, false) => None,
        };
        json!({
            "url": url, "id": pull.id, "node_id": node_id("PR", pull.id), "html_url": page,
            "diff_url": format!("{page}.diff"), "patch_url": format!("{page}.patch"),
            "issue_url": issue, "number": pull.number, "state": pull.state(), "locked": false,
            "title": pull.title, "user": self.user_json(&pull.author), "body": pull.body,
            "created_at": iso(pull.created_at), "updated_at": iso(pull.updated_at),
            "closed_at": pull.closed_at.map(iso),
            "merged_at": pull.merged.as_ref().map(|merged| iso(merged.at)),
            "merge_commit_sha": merge_sha,
            "assignee": null, "assignees": [], "requested_reviewers": [], "requested_teams": [],
            "labels": self.labels_json(repository, &pull.labels), "milestone": null,
            "draft": pull.draft, "commits_url": format!("{url}/commits"),
            "review_comments_url": format!("{url}/comments"),
            "review_comment_url": format!("{api}/pulls/comments{{/number}}"),
            "comments_url": format!("{issue}/comments"), "statuses_url": statuses,
            "head": self.side_json(&pull.head), "base": self.side_json(&pull.base),
            "_links": {
                "self": { "href": url }, "html": { "href": page }, "issue": { "href": issue },
                "comments": { "href": format!("{issue}/comments") },
                "review_comments": { "href": format!("{url}/comments") },
                "review_comment": { "href": format!("{api}/pulls/comments{{/number}}") },
                "commits": { "href": format!("{url}/commits") },
                "statuses": { "href": statuses },
            },
            "author_association": self.association(repository, &pull.author),
            "auto_merge": null, "active_lock_reason": null,
        })
    }

    /// The whole form, of one pull request and in events.
    pub(crate) fn pull_json(&self, repository: &Repository, pull: &Pull) -> Value {
        let changes = self.pull_changes(pull);
        let comments = repository
            .comments
            .values()
            .filter(|comment| comment.number == pull.number && comment.deleted_at.is_none())
            .count();
        let mut value = self.pull_simple_json(repository, pull);
        merge(
            &mut value,
            json!({
                "merged": pull.merged.is_some(),
                "mergeable": if pull.is_open() { Some(true) } else { None },
                "rebaseable": if pull.is_open() { Some(true) } else { None },
                "mergeable_state": match (pull.is_open(), pull.draft) {
                    (false, _) => "unknown",
                    (true, true) => "draft",
                    (true, false) => "clean",
                },
                "merged_by": pull.merged.as_ref().map(|merged| self.user_json(&merged.by)),
                "comments": comments, "review_comments": 0,
                "maintainer_can_modify": pull.head.repository != pull.base.repository,
                "commits": self.pull_commits(pull).len(),
                "additions": changes.iter().map(|change| change.additions).sum::<usize>(),
                "deletions": changes.iter().map(|change| change.deletions).sum::<usize>(),
                "changed_files": changes.len(),
            }),
        );
        value
    }

    /// The form inside check runs.
    pub(crate) fn pull_minimal_json(&self, repository: &Repository, pull: &Pull) -> Value {
        let side = |side: &Side| {
            let repository = self.repositories.get(&side.repository);
            json!({
                "ref": side.branch, "sha": side.sha,
                "repo": repository.map(|repository| json!({
                    "id": repository.id, "name": repository.name,
                    "url": self.repository_url(repository),
                })),
            })
        };
        json!({
            "id": pull.id, "number": pull.number,
            "url": format!("{}/pulls/{}", self.repository_url(repository), pull.number),
            "head": side(&pull.head), "base": side(&pull.base),
        })
    }

    /// The pull request as an issue, which is what comments belong to.
    pub(crate) fn issue_json(&self, repository: &Repository, pull: &Pull) -> Value {
        let full = self.pull_json(repository, pull);
        let api = self.repository_url(repository);
        let url = format!("{api}/issues/{}", pull.number);
        let mut value = json!({
            "url": url, "repository_url": api,
            "labels_url": format!("{url}/labels{{/name}}"),
            "events_url": format!("{url}/events"), "timeline_url": format!("{url}/timeline"),
            "node_id": node_id("PR", pull.id),
            "closed_by": null, "performed_via_github_app": null, "state_reason": null,
            "reactions": self.reactions_json(&url, &[]),
            "pull_request": {
                "url": full["url"], "html_url": full["html_url"], "diff_url": full["diff_url"],
                "patch_url": full["patch_url"], "merged_at": full["merged_at"],
            },
        });
        for name in [
            "id",
            "number",
            "title",
            "user",
            "labels",
            "state",
            "locked",
            "assignee",
            "assignees",
            "milestone",
            "comments",
            "comments_url",
            "html_url",
            "created_at",
            "updated_at",
            "closed_at",
            "author_association",
            "active_lock_reason",
            "body",
            "draft",
        ] {
            value[name] = full[name].clone();
        }
        value
    }

    /// The address people open.
    pub(crate) fn pull_page(&self, repository: &Repository, number: u64) -> String {
        format!("{}/{}/pull/{number}", self.base, repository.full_name())
    }

    /// How someone stands to the repository.
    pub(crate) fn association(&self, repository: &Repository, login: &str) -> &'static str {
        if repository.owner.eq_ignore_ascii_case(login) {
            "OWNER"
        } else if repository.collaborators.contains_key(&login.to_ascii_lowercase()) {
            if self.is_organization(&repository.owner) { "MEMBER" } else { "COLLABORATOR" }
        } else if repository.pulls.values().any(|pull| pull.merged.is_some() && pull.author.eq_ignore_ascii_case(login))
        {
            "CONTRIBUTOR"
        } else {
            "NONE"
        }
    }

    /// Files the pull request changes since it left its base.
    pub(crate) fn pull_changes(&self, pull: &Pull) -> Vec<Change> {
        let Ok(head) = self.commit(&pull.head.sha) else {
            return Vec::new();
        };
        let base = git::merge_base(&self.commits, &pull.base.sha, &pull.head.sha);
        match base {
            Some(base) => git::changes(&base.files, &head.files),
            None => git::changes(&git::Tree::new(), &head.files),
        }
    }

    /// Commits of the head that the base does not have, oldest first.
    pub(crate) fn pull_commits(&self, pull: &Pull) -> Vec<std::sync::Arc<Commit>> {
        let known: std::collections::HashSet<String> =
            git::ancestors(&self.commits, &pull.base.sha).iter().map(|commit| commit.sha.clone()).collect();
        let mut commits = git::ancestors(&self.commits, &pull.head.sha);
        commits.retain(|commit| !known.contains(&commit.sha));
        commits.reverse();
        commits
    }
}

/// `GET …/pulls`
pub(crate) fn list(state: &State, call: &Call, id: u64) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, READ)?;
    let wanted = call.parameter("state").unwrap_or("open");
    if !["open", "closed", "all"].contains(&wanted) {
        return Err(Refusal::field("PullRequest", "state", "invalid"));
    }
    let matches = |pull: &&Pull| {
        (wanted == "all" || wanted == pull.state())
            && call.parameter("head").is_none_or(|head| head == format!("{}:{}", pull.head.owner, pull.head.branch))
            && call.parameter("base").is_none_or(|base| base == pull.base.branch)
    };
    let mut pulls: Vec<&Pull> = repository.pulls.values().filter(matches).collect();
    let sort = call.parameter("sort").unwrap_or("created");
    if sort == "updated" {
        pulls.sort_by_key(|pull| (pull.updated_at, pull.number));
    }
    // Newest first, unless a sort was asked for together with no direction but its own.
    let direction = call.parameter("direction").unwrap_or(match sort {
        "created" => "desc",
        _ => "asc",
    });
    if direction == "desc" {
        pulls.reverse();
    }
    let list = pulls.into_iter().map(|pull| state.pull_simple_json(repository, pull)).collect();
    Ok(call.page(&state.base, list))
}

/// `GET …/pulls/{n}`
pub(crate) fn get(state: &State, call: &Call, id: u64, number: u64) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, READ)?;
    let pull = state.pull(id, number)?;
    Ok(Reply::ok(state.pull_json(repository, pull)))
}

/// `GET …/issues/{n}`
pub(crate) fn issue(state: &State, call: &Call, id: u64, number: u64) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, Need::read(&["issues", "pull_requests"]))?;
    let pull = state.pull(id, number)?;
    Ok(Reply::ok(state.issue_json(repository, pull)))
}

/// `GET …/pulls/{n}/files`
pub(crate) fn files(state: &State, call: &Call, id: u64, number: u64) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, READ)?;
    let pull = state.pull(id, number)?;
    let list =
        state.pull_changes(pull).iter().map(|change| state.change_json(repository, &pull.head.sha, change)).collect();
    Ok(call.page(&state.base, list))
}

/// `GET …/pulls/{n}/commits`
pub(crate) fn commits(state: &State, call: &Call, id: u64, number: u64) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, READ)?;
    let pull = state.pull(id, number)?;
    let list = state.pull_commits(pull).iter().map(|commit| state.commit_json(repository, commit)).collect();
    Ok(call.page(&state.base, list))
}

/// `PATCH …/pulls/{n}`
pub(crate) fn update(state: &mut State, call: &Call, id: u64, number: u64) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, Need::write(&["pull_requests"]))?;
    state.pull(id, number)?;
    let body = call.object()?;
    let sender = state.login_of(&call.caller);
    let (title, base) = (call::string(&body, "title")?, call::string(&body, "base")?);
    if title.is_some() || base.is_some() {
        state.edit(id, number, title.as_deref(), base.as_deref(), &sender)?;
    }
    match call::string(&body, "state")?.as_deref() {
        Some("closed") => state.close(id, number, &sender)?,
        Some("open") => state.reopen(id, number, &sender)?,
        Some(_) => return Err(Refusal::field("PullRequest", "state", "invalid")),
        None => {}
    }
    let repository = state.repository(id)?;
    Ok(Reply::ok(state.pull_json(repository, state.pull(id, number)?)))
}
