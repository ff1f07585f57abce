//! Branches, refs and commits, read and written.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::auth::{Need, allow};
use crate::call::Call;
use crate::clock::iso;
use crate::git::{self, Commit, Tree};
use crate::reply::{Answer, Refusal, Reply};
use crate::state::{Repository, State};
use crate::text::{encode, node_id};
use crate::users::AccountKind;

const CONTENTS: Need = Need::read(&["contents"]);

/// The hash git uses for "nothing".
pub(crate) const NOTHING: &str = "0000000000000000000000000000000000000000";

/// A commit to be made.
pub(crate) struct NewCommit<'a> {
    pub(crate) branch: &'a str,
    pub(crate) message: &'a str,
    pub(crate) author: &'a str,
    /// Replace the branch's last commit instead of adding to it.
    pub(crate) force: bool,
}

impl State {
    fn git_user(&self, commit: &Commit) -> Value {
        json!({
            "name": commit.author,
            "email": format!("{}@users.noreply.github.com", commit.author),
            "date": iso(commit.date),
        })
    }

    /// A commit as the API shows it.
    pub(crate) fn commit_json(&self, repository: &Repository, commit: &Commit) -> Value {
        let api = self.repository_url(repository);
        let page = format!("{}/{}", self.base, repository.full_name());
        let url = format!("{api}/commits/{}", commit.sha);
        let parents: Vec<Value> = commit
            .parents
            .iter()
            .map(|sha| {
                json!({
                    "sha": sha, "url": format!("{api}/commits/{sha}"),
                    "html_url": format!("{page}/commit/{sha}"),
                })
            })
            .collect();
        json!({
            "sha": commit.sha,
            "node_id": format!("C_{}", &commit.sha),
            "commit": {
                "author": self.git_user(commit),
                "committer": self.git_user(commit),
                "message": commit.message,
                "tree": { "sha": commit.tree_sha, "url": format!("{api}/git/trees/{}", commit.tree_sha) },
                "url": format!("{api}/git/commits/{}", commit.sha),
                "comment_count": 0,
                "verification": {
                    "verified": false, "reason": "unsigned", "signature": null, "payload": null,
                    "verified_at": null,
                },
            },
            "url": url,
            "html_url": format!("{page}/commit/{}", commit.sha),
            "comments_url": format!("{url}/comments"),
            "author": self.user_json(&commit.author),
            "committer": self.user_json(&commit.author),
            "parents": parents,
        })
    }

    /// A file changed by a commit or pull request.
    pub(crate) fn change_json(&self, repository: &Repository, sha: &str, change: &git::Change) -> Value {
        let page = format!("{}/{}", self.base, repository.full_name());
        let path = encode(&change.path);
        let mut value = json!({
            "sha": change.sha, "filename": change.path, "status": change.status,
            "additions": change.additions, "deletions": change.deletions,
            "changes": change.additions + change.deletions,
            "blob_url": format!("{page}/blob/{sha}/{path}"),
            "raw_url": format!("{page}/raw/{sha}/{path}"),
            "contents_url": format!("{}/contents/{path}?ref={sha}", self.repository_url(repository)),
        });
        if let Some(patch) = &change.patch {
            value["patch"] = patch.as_str().into();
        }
        value
    }

    /// What a commit changed against its first parent.
    pub(crate) fn changes_of(&self, commit: &Commit) -> Vec<git::Change> {
        let empty = Tree::new();
        let before =
            commit.parents.first().and_then(|sha| self.commits.get(sha)).map_or(&empty, |parent| &parent.files);
        git::changes(before, &commit.files)
    }

    /// Stores a commit and makes it readable through the repository.
    pub(crate) fn store(&mut self, id: u64, commit: Arc<Commit>) -> Result<String, Refusal> {
        let sha = commit.sha.clone();
        self.repository_mut(id)?.commits.insert(sha.clone());
        self.commits.insert(sha.clone(), commit);
        Ok(sha)
    }

    /// Commits changed files to a branch, which is made if it is not there; events follow.
    pub(crate) fn commit_to(
        &mut self,
        id: u64,
        new: &NewCommit<'_>,
        edit: impl FnOnce(&mut Tree),
    ) -> Result<String, Refusal> {
        check_branch(new.branch)?;
        let author = self.account(new.author, AccountKind::User).login;
        let repository = self.repository(id)?;
        let tip = repository
            .branches
            .get(new.branch)
            .or_else(|| repository.branches.get(&repository.default_branch))
            .cloned();
        let (mut files, mut parents) = match &tip {
            Some(sha) => (self.commit(sha)?.files.clone(), vec![sha.clone()]),
            None => (Tree::new(), Vec::new()),
        };
        if let (true, Some(sha)) = (new.force, &tip) {
            parents.clone_from(&self.commit(sha)?.parents);
        }
        edit(&mut files);
        let (date, serial) = (self.clock.now(), self.next_id());
        let commit = Commit::new(new.message, &author, date, parents, files, serial);
        let sha = self.store(id, commit)?;
        self.move_branch(id, new.branch, &sha, &author)?;
        Ok(sha)
    }

    /// Points a branch at a commit and tells everybody concerned.
    pub(crate) fn move_branch(&mut self, id: u64, branch: &str, sha: &str, sender: &str) -> Result<(), Refusal> {
        check_branch(branch)?;
        let now = self.clock.now();
        let repository = self.repository_mut(id)?;
        if !repository.commits.contains(sha) {
            return Err(Refusal::unprocessable("Object does not exist"));
        }
        let before =
            repository.branches.insert(branch.to_owned(), sha.to_owned()).unwrap_or_else(|| NOTHING.to_owned());
        repository.pushed_at = now;
        if before == sha {
            return Ok(());
        }
        self.emit_push(id, branch, &before, sha, sender)?;
        self.synchronize(id, branch, &before, sha, sender)
    }

    /// Removes a branch; pull requests from it close.
    pub(crate) fn delete_branch(&mut self, id: u64, branch: &str, sender: &str) -> Result<(), Refusal> {
        let before = self
            .repository_mut(id)?
            .branches
            .remove(branch)
            .ok_or_else(|| Refusal::unprocessable("Reference does not exist"))?;
        self.emit_push(id, branch, &before, NOTHING, sender)?;
        for (base, number) in self.open_pulls_from(id, branch) {
            self.close(base, number, sender)?;
        }
        Ok(())
    }
}

fn check_branch(name: &str) -> Result<(), Refusal> {
    let bad = name.is_empty()
        || name.starts_with(['-', '/'])
        || name.ends_with(['/', '.'])
        || name.ends_with(".lock")
        || name.contains("..")
        || name.contains("//")
        || name.contains("@{")
        || name.chars().any(|c| c.is_control() || " ~^:?*[\\".contains(c));
    if bad {
        return Err(Refusal::unprocessable(format!("refs/heads/{name} is not a valid ref name.")));
    }
    Ok(())
}

/// The commit a request names, or GitHub's refusal.
pub(crate) fn named(repository: &Repository, reference: &str) -> Result<String, Refusal> {
    repository.resolve(reference).ok_or_else(|| Refusal::unprocessable(format!("No commit found for SHA: {reference}")))
}

/// `GET …/commits/{ref}`
pub(crate) fn commit(state: &State, call: &Call, id: u64, reference: &str) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, CONTENTS)?;
    let sha = named(repository, reference)?;
    if call.header("accept").is_some_and(|accept| accept.contains("vnd.github.sha") || accept.contains(".sha")) {
        return Ok(Reply::bytes("application/vnd.github.sha; charset=utf-8", sha));
    }
    let commit = state.commit(&sha)?;
    let changes = state.changes_of(commit);
    let added: usize = changes.iter().map(|change| change.additions).sum();
    let removed: usize = changes.iter().map(|change| change.deletions).sum();
    let mut value = state.commit_json(repository, commit);
    value["stats"] = json!({ "total": added + removed, "additions": added, "deletions": removed });
    value["files"] = changes.iter().map(|change| state.change_json(repository, &sha, change)).collect();
    Ok(Reply::ok(value))
}

/// `GET …/commits`
pub(crate) fn commits(state: &State, call: &Call, id: u64) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, CONTENTS)?;
    let from = call.parameter("sha").unwrap_or("HEAD");
    let sha = repository.resolve(from).ok_or_else(Refusal::not_found)?;
    let list =
        git::ancestors(&state.commits, &sha).iter().map(|commit| state.commit_json(repository, commit)).collect();
    Ok(call.page(&state.base, list))
}

/// `GET …/branches/{branch}`
pub(crate) fn branch(state: &State, call: &Call, id: u64, name: &str) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, CONTENTS)?;
    let sha = repository.branches.get(name).ok_or_else(|| Refusal::new(404, "Branch not found"))?;
    let api = format!("{}/branches/{}", state.repository_url(repository), encode(name));
    let page = format!("{}/{}/tree/{}", state.base, repository.full_name(), encode(name));
    Ok(Reply::ok(json!({
        "name": name,
        "commit": state.commit_json(repository, state.commit(sha)?),
        "_links": { "self": api, "html": page },
        "protected": false,
        "protection": {
            "enabled": false,
            "required_status_checks": { "enforcement_level": "off", "contexts": [], "checks": [] },
        },
        "protection_url": format!("{api}/protection"),
    })))
}

/// `GET …/branches`
pub(crate) fn list(state: &State, call: &Call, id: u64) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, CONTENTS)?;
    let api = state.repository_url(repository);
    let list = repository
        .branches
        .iter()
        .map(|(name, sha)| {
            json!({
                "name": name, "protected": false,
                "commit": { "sha": sha, "url": format!("{api}/commits/{sha}") },
            })
        })
        .collect();
    Ok(call.page(&state.base, list))
}

/// `GET …/git/ref/{ref}`
pub(crate) fn reference(state: &State, call: &Call, id: u64, name: &str) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, CONTENTS)?;
    let known = name.starts_with("heads/") || name.starts_with("pull/");
    let sha = repository.resolve(&format!("refs/{name}")).filter(|_| known).ok_or_else(Refusal::not_found)?;
    let api = state.repository_url(repository);
    let mut value = Map::new();
    value.insert("ref".to_owned(), format!("refs/{name}").into());
    value.insert("node_id".to_owned(), node_id("REF", repository.id).into());
    value.insert("url".to_owned(), format!("{api}/git/refs/{}", encode(name)).into());
    value.insert(
        "object".to_owned(),
        json!({ "sha": sha, "type": "commit", "url": format!("{api}/git/commits/{sha}") }),
    );
    Ok(Reply::ok(Value::Object(value)))
}
