//! What can happen to a pull request, with the events it causes.

use serde_json::{Map, Value, json};

use crate::git::{self, Commit};
use crate::pulls::{Merged, Pull, Side};
use crate::reply::Refusal;
use crate::state::State;
use crate::users::AccountKind;

/// A pull request to be opened.
pub(crate) struct NewPull<'a> {
    pub(crate) title: &'a str,
    pub(crate) body: Option<&'a str>,
    pub(crate) author: &'a str,
    pub(crate) author_kind: AccountKind,
    pub(crate) head_repository: u64,
    pub(crate) head_branch: &'a str,
    pub(crate) base_branch: &'a str,
    pub(crate) draft: bool,
    pub(crate) labels: &'a [String],
}

impl State {
    /// Opens a pull request; answers its number.
    pub(crate) fn open_pull(&mut self, id: u64, new: &NewPull<'_>) -> Result<u64, Refusal> {
        let author = self.account(new.author, new.author_kind).login;
        if new.title.trim().is_empty() {
            return Err(Refusal::field("PullRequest", "title", "missing_field"));
        }
        let side = |state: &Self, repository: u64, branch: &str, field: &str| {
            let found = state.repository(repository)?;
            let sha =
                found.branches.get(branch).cloned().ok_or_else(|| Refusal::field("PullRequest", field, "invalid"))?;
            Ok(Side { repository, owner: found.owner.clone(), branch: branch.to_owned(), sha })
        };
        let head = side(self, new.head_repository, new.head_branch, "head")?;
        let base = side(self, id, new.base_branch, "base")?;
        if head.sha == base.sha {
            return Err(Refusal::custom(
                "PullRequest",
                "head",
                &format!("No commits between {} and {}", base.branch, head.branch),
            ));
        }
        let twice = self
            .open_pulls_from(head.repository, &head.branch)
            .into_iter()
            .filter(|(repository, _)| *repository == id)
            .filter_map(|(_, number)| self.pull(id, number).ok())
            .any(|pull| pull.base.branch == base.branch);
        if twice {
            return Err(Refusal::custom(
                "PullRequest",
                "head",
                &format!("A pull request already exists for {}:{}.", head.owner, head.branch),
            ));
        }
        self.share(id, &head.sha)?;
        let mut labels = Vec::new();
        for label in new.labels {
            labels.push(self.ensure_label(id, label)?);
        }
        let (pull_id, now) = (self.next_id(), self.clock.now());
        let repository = self.repository_mut(id)?;
        repository.last_number += 1;
        let number = repository.last_number;
        repository.pulls.insert(
            number,
            Pull {
                id: pull_id,
                number,
                title: new.title.to_owned(),
                body: new.body.map(String::from),
                author: author.clone(),
                draft: new.draft,
                head,
                base,
                labels: labels.clone(),
                created_at: now,
                updated_at: now,
                closed_at: None,
                merged: None,
            },
        );
        self.emit_pull(id, number, "opened", &author, json!({}))?;
        for label in labels {
            let label = self.label_json(self.repository(id)?, &label);
            self.emit_pull(id, number, "labeled", &author, json!({ "label": label }))?;
        }
        Ok(number)
    }

    /// Makes a commit of a fork readable here, as `refs/pull/{n}/head` does.
    fn share(&mut self, id: u64, sha: &str) -> Result<(), Refusal> {
        let reached: Vec<String> = git::ancestors(&self.commits, sha).iter().map(|commit| commit.sha.clone()).collect();
        self.repository_mut(id)?.commits.extend(reached);
        Ok(())
    }

    /// Open pull requests, in any repository, whose head is this branch.
    pub(crate) fn open_pulls_from(&self, repository: u64, branch: &str) -> Vec<(u64, u64)> {
        self.repositories
            .values()
            .flat_map(|base| base.pulls.values().map(move |pull| (base.id, pull)))
            .filter(|(_, pull)| pull.is_open() && pull.head.repository == repository && pull.head.branch == branch)
            .map(|(base, pull)| (base, pull.number))
            .collect()
    }

    /// Tells the pull requests of a branch that it moved.
    pub(crate) fn synchronize(
        &mut self,
        repository: u64,
        branch: &str,
        before: &str,
        after: &str,
        sender: &str,
    ) -> Result<(), Refusal> {
        for (id, number) in self.open_pulls_from(repository, branch) {
            self.share(id, after)?;
            let now = self.clock.now();
            let base_branch = self.pull(id, number)?.base.branch.clone();
            let base_tip = self.repository(id)?.branches.get(&base_branch).cloned();
            let pull = self.pull_mut(id, number)?;
            after.clone_into(&mut pull.head.sha);
            pull.updated_at = now;
            if let Some(tip) = base_tip {
                pull.base.sha = tip;
            }
            let more = json!({ "before": before, "after": after });
            self.emit_pull(id, number, "synchronize", sender, more)?;
        }
        Ok(())
    }

    /// Closes without merging.
    pub(crate) fn close(&mut self, id: u64, number: u64, sender: &str) -> Result<(), Refusal> {
        self.account(sender, AccountKind::User);
        let now = self.clock.now();
        let pull = self.pull_mut(id, number)?;
        if !pull.is_open() {
            return Ok(());
        }
        pull.closed_at = Some(now);
        pull.updated_at = now;
        self.emit_pull(id, number, "closed", sender, json!({}))
    }

    /// Opens again what was closed, at the branch's commit of now.
    pub(crate) fn reopen(&mut self, id: u64, number: u64, sender: &str) -> Result<(), Refusal> {
        self.account(sender, AccountKind::User);
        let pull = self.pull(id, number)?;
        if pull.is_open() {
            return Ok(());
        }
        let refuse = |message: &str| Refusal::custom("PullRequest", "state", message);
        if pull.merged.is_some() {
            return Err(refuse("state cannot be changed. The pull request was merged."));
        }
        let branch = pull.head.branch.clone();
        let sha = self
            .repositories
            .get(&pull.head.repository)
            .and_then(|head| head.branches.get(&branch))
            .cloned()
            .ok_or_else(|| refuse(&format!("state cannot be changed. The {branch} branch has been deleted.")))?;
        self.share(id, &sha)?;
        let now = self.clock.now();
        let pull = self.pull_mut(id, number)?;
        pull.head.sha = sha;
        pull.closed_at = None;
        pull.updated_at = now;
        self.emit_pull(id, number, "reopened", sender, json!({}))
    }

    /// Merges into the base branch; answers the merge commit.
    pub(crate) fn merge_pull(&mut self, id: u64, number: u64, sender: &str) -> Result<String, Refusal> {
        let sender = self.account(sender, AccountKind::User).login;
        let pull = self.pull(id, number)?.clone();
        if !pull.is_open() || pull.draft {
            return Err(Refusal::new(405, "Pull Request is not mergeable"));
        }
        let message =
            format!("Merge pull request #{number} from {}/{}\n\n{}", pull.head.owner, pull.head.branch, pull.title);
        let sha = self.merge_commit(id, &pull.base.branch, &pull.head.sha, &message, &sender)?;
        let now = self.clock.now();
        let pull = self.pull_mut(id, number)?;
        pull.closed_at = Some(now);
        pull.updated_at = now;
        pull.merged = Some(Merged { at: now, by: sender.clone(), sha: sha.clone() });
        self.emit_pull(id, number, "closed", &sender, json!({}))?;
        Ok(sha)
    }

    /// Merges a commit into a branch and moves the branch.
    pub(crate) fn merge_commit(
        &mut self,
        id: u64,
        branch: &str,
        theirs: &str,
        message: &str,
        sender: &str,
    ) -> Result<String, Refusal> {
        let ours = self.repository(id)?.branches.get(branch).cloned().ok_or_else(Refusal::not_found)?;
        let base = git::merge_base(&self.commits, &ours, theirs);
        let empty = git::Tree::new();
        let files = git::merge_trees(
            base.as_ref().map_or(&empty, |base| &base.files),
            &self.commit(&ours)?.files,
            &self.commit(theirs)?.files,
        );
        let (date, serial) = (self.clock.now(), self.next_id());
        let parents = vec![ours, theirs.to_owned()];
        let commit = Commit::new(message, sender, date, parents, files, serial);
        let sha = self.store(id, commit)?;
        self.move_branch(id, branch, &sha, sender)?;
        Ok(sha)
    }

    /// Changes title or base branch.
    pub(crate) fn edit(
        &mut self,
        id: u64,
        number: u64,
        title: Option<&str>,
        base: Option<&str>,
        sender: &str,
    ) -> Result<(), Refusal> {
        self.account(sender, AccountKind::User);
        let mut changes = Map::new();
        let tip = match base {
            Some(branch) => Some(
                self.repository(id)?
                    .branches
                    .get(branch)
                    .cloned()
                    .ok_or_else(|| Refusal::field("PullRequest", "base", "invalid"))?,
            ),
            None => None,
        };
        let now = self.clock.now();
        let pull = self.pull_mut(id, number)?;
        if let Some(title) = title {
            if title.trim().is_empty() {
                return Err(Refusal::field("PullRequest", "title", "missing_field"));
            }
            let from = std::mem::replace(&mut pull.title, title.to_owned());
            changes.insert("title".to_owned(), json!({ "from": from }));
        }
        if let (Some(branch), Some(tip)) = (base, tip) {
            let from = std::mem::replace(&mut pull.base.branch, branch.to_owned());
            let from_sha = std::mem::replace(&mut pull.base.sha, tip);
            changes.insert("base".to_owned(), json!({ "ref": { "from": from }, "sha": { "from": from_sha } }));
        }
        pull.updated_at = now;
        let changes = json!({ "changes": Value::Object(changes) });
        self.emit_pull(id, number, "edited", sender, changes)
    }

    /// Makes a draft of it, or says it is ready for review.
    pub(crate) fn set_draft(&mut self, id: u64, number: u64, draft: bool, sender: &str) -> Result<(), Refusal> {
        self.account(sender, AccountKind::User);
        let now = self.clock.now();
        let pull = self.pull_mut(id, number)?;
        if pull.draft == draft {
            return Ok(());
        }
        pull.draft = draft;
        pull.updated_at = now;
        let action = if draft { "converted_to_draft" } else { "ready_for_review" };
        self.emit_pull(id, number, action, sender, json!({}))
    }
}
