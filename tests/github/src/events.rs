//! Payloads of events, made at the moment they happen.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::branches::NOTHING;
use crate::clock::iso;
use crate::control::types::NewPackage;
use crate::git::{self, Commit};
use crate::reply::Refusal;
use crate::state::{Outgoing, Repository, State};
use crate::statuses::Status;
use crate::text::node_id;
use crate::users::merge;

impl State {
    /// Puts an event in the outbox, with what all events carry.
    pub(crate) fn emit(
        &mut self,
        id: u64,
        event: &'static str,
        action: Option<&str>,
        sender: &str,
        more: Value,
    ) -> Result<(), Refusal> {
        let repository = self.repository(id)?;
        let mut payload = json!({});
        if let Some(action) = action {
            payload["action"] = action.into();
        }
        merge(&mut payload, more);
        payload["repository"] = self.repository_json(repository);
        if self.is_organization(&repository.owner) {
            payload["organization"] = self.organization_json(&repository.owner);
        }
        payload["sender"] = self.user_json(sender);
        if let Some(installation) = self.installation_of(repository) {
            payload["installation"] = json!({
                "id": installation.id, "node_id": node_id("IN", installation.id),
            });
        }
        self.outbox.push(Outgoing { repository: id, event, action: action.map(String::from), payload });
        Ok(())
    }

    fn organization_json(&self, login: &str) -> Value {
        let account = self.user_json(login);
        let api = format!("{}/orgs/{login}", self.base);
        json!({
            "login": account["login"], "id": account["id"], "node_id": account["node_id"],
            "url": api, "repos_url": format!("{api}/repos"), "events_url": format!("{api}/events"),
            "hooks_url": format!("{api}/hooks"), "issues_url": format!("{api}/issues"),
            "members_url": format!("{api}/members{{/member}}"),
            "public_members_url": format!("{api}/public_members{{/member}}"),
            "avatar_url": account["avatar_url"], "description": "",
        })
    }

    pub(crate) fn emit_pull(
        &mut self,
        id: u64,
        number: u64,
        action: &str,
        sender: &str,
        more: Value,
    ) -> Result<(), Refusal> {
        let repository = self.repository(id)?;
        let pull = self.pull_json(repository, self.pull(id, number)?);
        let mut payload = json!({ "number": number, "pull_request": pull });
        merge(&mut payload, more);
        self.emit(id, "pull_request", Some(action), sender, payload)
    }

    pub(crate) fn emit_comment(
        &mut self,
        id: u64,
        comment: u64,
        action: &str,
        sender: &str,
        more: Value,
    ) -> Result<(), Refusal> {
        let repository = self.repository(id)?;
        let comment = self.comment(id, comment)?;
        let mut payload = json!({
            "issue": self.issue_json(repository, self.pull(id, comment.number)?),
            "comment": self.comment_json(repository, comment),
        });
        merge(&mut payload, more);
        self.emit(id, "issue_comment", Some(action), sender, payload)
    }

    fn pushed_json(&self, repository: &Repository, commit: &Commit) -> Value {
        let changes = self.changes_of(commit);
        let of = |status: &str| -> Vec<&str> {
            changes.iter().filter(|change| change.status == status).map(|change| change.path.as_str()).collect()
        };
        let who = json!({
            "name": commit.author, "username": commit.author,
            "email": format!("{}@users.noreply.github.com", commit.author),
        });
        json!({
            "id": commit.sha, "tree_id": commit.tree_sha, "distinct": true,
            "message": commit.message, "timestamp": iso(commit.date),
            "url": format!("{}/{}/commit/{}", self.base, repository.full_name(), commit.sha),
            "author": who, "committer": who,
            "added": of("added"), "removed": of("removed"), "modified": of("modified"),
        })
    }

    pub(crate) fn emit_push(
        &mut self,
        id: u64,
        branch: &str,
        before: &str,
        after: &str,
        sender: &str,
    ) -> Result<(), Refusal> {
        let repository = self.repository(id)?;
        let (created, deleted) = (before == NOTHING, after == NOTHING);
        let known = git::ancestors(&self.commits, before);
        let reached = git::ancestors(&self.commits, after);
        let forced = !created && !deleted && !reached.iter().any(|commit| commit.sha == before);
        let mut commits: Vec<Value> = reached
            .iter()
            .filter(|commit| !known.iter().any(|other| other.sha == commit.sha))
            .take(20)
            .map(|commit| self.pushed_json(repository, commit))
            .collect();
        commits.reverse();
        let head = reached.first().map(|commit| self.pushed_json(repository, commit));
        let page = format!("{}/{}", self.base, repository.full_name());
        let payload = json!({
            "ref": format!("refs/heads/{branch}"), "before": before, "after": after,
            "created": created, "deleted": deleted, "forced": forced, "base_ref": null,
            "compare": format!("{page}/compare/{before}...{after}"),
            "commits": commits, "head_commit": head,
            "pusher": { "name": sender, "email": format!("{sender}@users.noreply.github.com") },
        });
        // A push carries its repository in a form of its own.
        let (created_at, pushed_at) = (repository.created_at, repository.pushed_at);
        let (owner, default) = (repository.owner.clone(), repository.default_branch.clone());
        self.emit(id, "push", None, sender, payload)?;
        if let Some(Outgoing { payload, .. }) = self.outbox.last_mut() {
            let repository = &mut payload["repository"];
            repository["created_at"] = created_at.timestamp().into();
            repository["pushed_at"] = pushed_at.timestamp().into();
            repository["owner"]["name"] = owner.into();
            repository["owner"]["email"] = Value::Null;
            repository["stargazers"] = 0.into();
            repository["master_branch"] = default.into();
        }
        Ok(())
    }

    pub(crate) fn emit_status(&mut self, id: u64, status: &Status, sender: &str) -> Result<(), Refusal> {
        let repository = self.repository(id)?;
        let api = self.repository_url(repository);
        let branches: Vec<Value> = repository
            .branches
            .iter()
            .filter(|(_, sha)| **sha == status.sha)
            .map(|(name, sha)| {
                json!({
                    "name": name, "protected": false,
                    "commit": { "sha": sha, "url": format!("{api}/commits/{sha}") },
                })
            })
            .collect();
        let payload = json!({
            "id": status.id, "sha": status.sha, "name": repository.full_name(),
            "target_url": status.target_url, "avatar_url": null, "context": status.context,
            "description": status.description, "state": status.state,
            "commit": self.commit_json(repository, self.commit(&status.sha)?),
            "branches": branches,
            "created_at": iso(status.created_at), "updated_at": iso(status.created_at),
        });
        self.emit(id, "status", None, sender, payload)
    }

    pub(crate) fn emit_check(&mut self, id: u64, check: &Value, action: &str, sender: &str) -> Result<(), Refusal> {
        let mut check = check.clone();
        let api = self.repository_url(self.repository(id)?);
        let suite = check["check_suite"]["id"].clone();
        let sha = check["head_sha"].clone();
        check["check_suite"] = json!({
            "id": suite, "node_id": node_id("CS", suite.as_u64().unwrap_or_default()),
            "head_branch": check["pull_requests"][0]["head"]["ref"], "head_sha": sha,
            "status": check["status"], "conclusion": check["conclusion"],
            "url": format!("{api}/check-suites/{suite}"), "before": null, "after": sha,
            "pull_requests": check["pull_requests"], "app": check["app"],
            "created_at": check["started_at"], "updated_at": check["started_at"],
        });
        let payload = json!({ "check_run": check });
        self.emit(id, "check_run", Some(action), sender, payload)
    }

    /// A container image that came into GitHub's own registry. Nothing of it is kept.
    pub(crate) fn emit_package(&mut self, id: u64, new: &NewPackage, sender: &str) -> Result<(), Refusal> {
        let repository = self.repository(id)?;
        let owner = repository.owner.clone();
        let branch = repository.default_branch.clone();
        let page = format!("{}/{owner}/packages/{}", self.base, new.name);
        let now = iso(self.clock.now());
        let (package, version) = (self.next_id(), self.next_id());
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(format!("{}:{}", new.name, new.tag))));
        let (owner, author) = (self.user_json(&owner), self.user_json(sender));
        let payload = json!({ "registry_package": {
            "id": package, "name": new.name, "namespace": owner["login"], "description": "",
            "ecosystem": "CONTAINER", "package_type": "CONTAINER", "html_url": page,
            "created_at": now, "updated_at": now, "owner": owner,
            "package_version": {
                "id": version, "version": digest, "name": digest, "description": "", "summary": "",
                "target_commitish": branch, "target_oid": "", "installation_command": "",
                "package_url": format!("ghcr.io/{}/{}:{}", new.name, new.name, new.tag),
                "html_url": format!("{page}/{version}"), "created_at": now, "updated_at": now,
                "author": author, "metadata": [], "docker_metadata": [], "package_files": [],
                "container_metadata": {
                    "tag": { "name": new.tag, "digest": digest },
                    "labels": {}, "manifest": {},
                },
            },
            "registry": {
                "about_url": "https://docs.github.com/packages", "name": "GitHub CONTAINER registry",
                "type": "CONTAINER", "url": page, "vendor": "GitHub Inc",
            },
        } });
        self.emit(id, "registry_package", Some("published"), sender, payload)
    }

    /// The event that only says the hook is there.
    pub(crate) fn emit_ping(&mut self, id: u64, sender: &str) -> Result<(), Refusal> {
        let hook = self.hook_json(id);
        let payload = json!({
            "zen": "Approachable is better than simple.",
            "hook_id": hook["id"], "hook": hook,
        });
        self.emit(id, "ping", None, sender, payload)
    }
}
