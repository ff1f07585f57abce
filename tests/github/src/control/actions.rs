//! Changes to repositories and pull requests that the control API asks for.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::auth::Token;
use crate::branches;
use crate::control::types::{
    CheckView, FileContent, Files, NewCommit, NewPull, NewRepository, Seed, StatusView, TokenSpec,
};
use crate::git::{Blob, Mode, Tree};
use crate::pull_changes;
use crate::reply::Refusal;
use crate::repositories;
use crate::state::State;
use crate::statuses::NewStatus;
use crate::users::AccountKind;

fn blob(content: &FileContent) -> Result<Arc<Blob>, Refusal> {
    match content {
        FileContent::Text(text) => Ok(Blob::file(text.clone())),
        FileContent::Base64 { base64 } => STANDARD
            .decode(base64)
            .map(Blob::file)
            .map_err(|error| Refusal::unprocessable(format!("That is not base64: {error}"))),
        FileContent::Symlink { symlink } => Ok(Blob::new(symlink.clone(), Mode::Symlink)),
    }
}

/// Git itself refuses such paths.
fn check_path(path: &str) -> Result<(), Refusal> {
    let bad = path.split('/').any(|part| ["", ".", "..", ".git"].contains(&part));
    if bad || path.contains('\0') {
        return Err(Refusal::unprocessable(format!("{path:?} is not a path in a repository")));
    }
    Ok(())
}

fn blobs(files: &Files) -> Result<Tree, Refusal> {
    files
        .iter()
        .map(|(path, content)| {
            check_path(path)?;
            Ok((path.clone(), blob(content)?))
        })
        .collect()
}

impl State {
    /// Adds personal tokens, repositories and pull requests.
    pub(crate) fn sow(&mut self, seed: &Seed) -> Result<(), Refusal> {
        for token in &seed.tokens {
            self.give_token(token);
        }
        for new in &seed.repositories {
            self.control_create(new)?;
        }
        for (name, pulls) in &seed.pulls {
            let id = self.by_full_name(name)?;
            for new in pulls {
                self.control_open(id, new)?;
            }
        }
        Ok(())
    }

    pub(crate) fn give_token(&mut self, spec: &TokenSpec) {
        let login = self.account(&spec.login, AccountKind::User).login;
        if let Some(permission) = spec.permission {
            self.grants.insert(login.to_ascii_lowercase(), permission);
        }
        self.tokens.insert(spec.token.clone(), Token::Personal { login });
    }

    /// The id of `owner/name`.
    pub(crate) fn by_full_name(&self, full_name: &str) -> Result<u64, Refusal> {
        full_name
            .split_once('/')
            .and_then(|(owner, name)| self.find(owner, name))
            .map(|repository| repository.id)
            .ok_or_else(|| Refusal::new(404, format!("There is no repository {full_name}")))
    }

    pub(crate) fn control_create(&mut self, new: &NewRepository) -> Result<u64, Refusal> {
        let branch = new.default_branch.as_deref().unwrap_or("main");
        let id = self.create_repository(&repositories::NewRepository {
            owner: &new.owner,
            name: &new.name,
            private: new.private,
            default_branch: branch,
        })?;
        if !new.files.is_empty() {
            let first = NewCommit {
                branch: branch.to_owned(),
                files: new.files.clone(),
                message: "First commit".to_owned(),
                ..NewCommit::default()
            };
            self.control_commit(id, &first, "octocat")?;
        }
        Ok(id)
    }

    /// Commits to the branch given; `author` is who it is where nobody is named.
    pub(crate) fn control_commit(&mut self, id: u64, new: &NewCommit, author: &str) -> Result<String, Refusal> {
        let files = blobs(&new.files)?;
        let message = match (new.message.as_str(), new.files.keys().next()) {
            ("", Some(path)) => format!("Change {path}"),
            ("", None) => "Change nothing".to_owned(),
            (message, _) => message.to_owned(),
        };
        let author = if new.author.is_empty() { author } else { &new.author };
        let commit = branches::NewCommit { branch: &new.branch, message: &message, author, force: new.force };
        self.commit_to(id, &commit, |tree| {
            for path in &new.delete {
                let folder = format!("{path}/");
                tree.retain(|known, _| known != path && !known.starts_with(&folder));
            }
            tree.extend(files);
        })
    }

    pub(crate) fn control_open(&mut self, id: u64, new: &NewPull) -> Result<u64, Refusal> {
        let base = match &new.base {
            Some(base) => base.clone(),
            None => self.repository(id)?.default_branch.clone(),
        };
        let head_repository = match &new.head_repository {
            Some(name) => self.by_full_name(name)?,
            None => id,
        };
        let author = self.account(&new.author.login, new.author.kind).login;
        if !new.files.is_empty() {
            let there = self.repository(head_repository)?.branches.contains_key(&new.head);
            let tip = self.repository(id)?.branches.get(&base).cloned();
            if let (false, Some(tip)) = (there, tip) {
                self.repository_mut(head_repository)?.commits.insert(tip.clone());
                self.move_branch(head_repository, &new.head, &tip, &author)?;
            }
            let commit = NewCommit {
                branch: new.head.clone(),
                files: new.files.clone(),
                message: new.title.clone(),
                ..NewCommit::default()
            };
            self.control_commit(head_repository, &commit, &author)?;
        }
        self.open_pull(
            id,
            &pull_changes::NewPull {
                title: &new.title,
                body: new.body.as_deref(),
                author: &author,
                author_kind: new.author.kind,
                head_repository,
                head_branch: &new.head,
                base_branch: &base,
                draft: new.draft,
                labels: &new.labels,
            },
        )
    }

    /// Commits to a pull request's head branch.
    pub(crate) fn control_push(&mut self, id: u64, number: u64, new: &NewCommit) -> Result<String, Refusal> {
        let pull = self.pull(id, number)?.clone();
        let commit = NewCommit { branch: pull.head.branch, ..new.clone() };
        self.control_commit(pull.head.repository, &commit, &pull.author)
    }

    pub(crate) fn control_status(&mut self, id: u64, new: &StatusView) -> Result<String, Refusal> {
        let sha = branches::named(self.repository(id)?, &new.sha)?;
        let creator = if new.creator.is_empty() { "octocat" } else { &new.creator };
        let status = NewStatus {
            state: &new.state,
            context: &new.context,
            description: new.description.as_deref(),
            target_url: new.target_url.as_deref(),
        };
        self.set_status(id, &sha, &status, creator)?;
        Ok(sha)
    }

    pub(crate) fn control_check(&mut self, id: u64, new: &CheckView) -> Result<String, Refusal> {
        let repository = self.repository(id)?;
        let sha = branches::named(repository, &new.sha)?;
        let known = repository.check_runs.values().rfind(|run| run.sha == sha && run.name == new.name).cloned();
        let mut run = match known {
            Some(run) => run,
            None => self.create_check(id, &sha, &new.name, false)?,
        };
        let mut body = serde_json::Map::new();
        if !new.status.is_empty() {
            body.insert("status".to_owned(), new.status.as_str().into());
        }
        if let Some(conclusion) = &new.conclusion {
            body.insert("conclusion".to_owned(), conclusion.as_str().into());
        } else {
            run.conclusion = None;
            run.completed_at = None;
        }
        self.apply_check(&mut run, &body)?;
        self.account("github-actions[bot]", AccountKind::Bot);
        self.put_check(id, run, "github-actions[bot]")?;
        Ok(sha)
    }
}
