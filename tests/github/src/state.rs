//! Everything the stand-in knows, behind one lock.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::apps::{App, Installation};
use crate::auth::{Permission, Token};
use crate::checks::CheckRun;
use crate::clock::Clock;
use crate::comments::Comment;
use crate::deployments::Deployment;
use crate::faults::Faults;
use crate::git::{self, Commits};
use crate::hooks::Hooks;
use crate::labels::Label;
use crate::oauth::Code;
use crate::pulls::Pull;
use crate::ratelimit::Limits;
use crate::reply::Refusal;
use crate::requests::Requests;
use crate::statuses::Status;
use crate::users::User;

/// A repository and all that belongs to it.
#[derive(Debug)]
pub(crate) struct Repository {
    pub(crate) id: u64,
    pub(crate) owner: String,
    pub(crate) name: String,
    pub(crate) private: bool,
    pub(crate) default_branch: String,
    pub(crate) fork_of: Option<u64>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) pushed_at: DateTime<Utc>,
    pub(crate) branches: BTreeMap<String, String>,
    /// What can be read through this repository; forks share objects, not this.
    pub(crate) commits: HashSet<String>,
    pub(crate) collaborators: BTreeMap<String, Permission>,
    pub(crate) labels: BTreeMap<String, Label>,
    pub(crate) pulls: BTreeMap<u64, Pull>,
    pub(crate) comments: BTreeMap<u64, Comment>,
    pub(crate) statuses: Vec<Status>,
    pub(crate) check_runs: BTreeMap<u64, CheckRun>,
    pub(crate) deployments: BTreeMap<u64, Deployment>,
    pub(crate) last_number: u64,
}

impl Repository {
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The commit a branch, `refs/…`, pull request ref or (short) hash names.
    pub(crate) fn resolve(&self, reference: &str) -> Option<String> {
        let reference = reference.strip_prefix("refs/").unwrap_or(reference);
        if reference == "HEAD" {
            return self.branches.get(&self.default_branch).cloned();
        }
        let branch = reference.strip_prefix("heads/").unwrap_or(reference);
        if let Some(sha) = self.branches.get(branch) {
            return Some(sha.clone());
        }
        if let Some(number) = reference.strip_prefix("pull/").and_then(|rest| rest.strip_suffix("/head")) {
            let number = number.parse().ok()?;
            return self.pulls.get(&number).map(|pull| pull.head.sha.clone());
        }
        let hexadecimal = reference.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hexadecimal || !(7..=40).contains(&reference.len()) {
            return None;
        }
        let wanted = reference.to_ascii_lowercase();
        let mut found = self.commits.iter().filter(|sha| sha.starts_with(&wanted));
        let first = found.next()?;
        found.next().is_none().then(|| first.clone())
    }
}

/// An event on its way to the hook; its payload is fixed when it happens.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) repository: u64,
    pub(crate) event: &'static str,
    pub(crate) action: Option<String>,
    pub(crate) payload: Value,
}

/// The whole of the stand-in's memory.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) base: String,
    pub(crate) clock: Clock,
    pub(crate) last_id: u64,
    pub(crate) users: BTreeMap<String, User>,
    /// Permissions that hold in every repository, by login.
    pub(crate) grants: BTreeMap<String, Permission>,
    pub(crate) tokens: HashMap<String, Token>,
    /// Codes of the sign-in that were not used yet.
    pub(crate) codes: HashMap<String, Code>,
    pub(crate) repositories: BTreeMap<u64, Repository>,
    /// Former names, which GitHub redirects.
    pub(crate) former_names: HashMap<String, u64>,
    pub(crate) commits: Commits,
    pub(crate) app: App,
    pub(crate) installations: BTreeMap<u64, Installation>,
    pub(crate) hooks: Hooks,
    pub(crate) outbox: Vec<Outgoing>,
    pub(crate) faults: Faults,
    pub(crate) limits: Limits,
    pub(crate) requests: Requests,
}

impl State {
    pub(crate) fn new(base: String, clock: Clock, app: App) -> Self {
        Self {
            base,
            clock,
            last_id: 1000,
            users: BTreeMap::new(),
            grants: BTreeMap::new(),
            tokens: HashMap::new(),
            codes: HashMap::new(),
            repositories: BTreeMap::new(),
            former_names: HashMap::new(),
            commits: Commits::new(),
            app,
            installations: BTreeMap::new(),
            hooks: Hooks::default(),
            outbox: Vec::new(),
            faults: Faults::default(),
            limits: Limits::default(),
            requests: Requests::default(),
        }
    }

    /// A number nothing else has.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(crate) fn find(&self, owner: &str, name: &str) -> Option<&Repository> {
        self.repositories.values().find(|repository| {
            repository.owner.eq_ignore_ascii_case(owner) && repository.name.eq_ignore_ascii_case(name)
        })
    }

    /// The repository, which the caller has found before.
    pub(crate) fn repository(&self, id: u64) -> Result<&Repository, Refusal> {
        self.repositories.get(&id).ok_or_else(Refusal::not_found)
    }

    pub(crate) fn repository_mut(&mut self, id: u64) -> Result<&mut Repository, Refusal> {
        self.repositories.get_mut(&id).ok_or_else(Refusal::not_found)
    }

    pub(crate) fn pull(&self, id: u64, number: u64) -> Result<&Pull, Refusal> {
        self.repository(id)?.pulls.get(&number).ok_or_else(Refusal::not_found)
    }

    pub(crate) fn pull_mut(&mut self, id: u64, number: u64) -> Result<&mut Pull, Refusal> {
        self.repository_mut(id)?.pulls.get_mut(&number).ok_or_else(Refusal::not_found)
    }

    pub(crate) fn commit(&self, sha: &str) -> Result<&git::Commit, Refusal> {
        self.commits.get(sha).map(AsRef::as_ref).ok_or_else(Refusal::not_found)
    }
}
