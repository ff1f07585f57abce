//! Repositories: how they look, and how they are made, forked, renamed and removed.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use crate::auth::{Caller, Need, Permission, allow, permission_of};
use crate::call::Call;
use crate::clock::iso;
use crate::reply::{Answer, Refusal, Reply};
use crate::state::{Repository, State};
use crate::text::node_id;
use crate::users::{AccountKind, merge};

/// Links the API gives below a repository's own address; `{…}` is left to the client.
const LINKS: &[(&str, &str)] = &[
    ("archive_url", "/{archive_format}{/ref}"),
    ("assignees_url", "/assignees{/user}"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("branches_url", "/branches{/branch}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("comments_url", "/comments{/number}"),
    ("commits_url", "/commits{/sha}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("contents_url", "/contents/{+path}"),
    ("contributors_url", "/contributors"),
    ("deployments_url", "/deployments"),
    ("downloads_url", "/downloads"),
    ("events_url", "/events"),
    ("forks_url", "/forks"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("hooks_url", "/hooks"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("issue_events_url", "/issues/events{/number}"),
    ("issues_url", "/issues{/number}"),
    ("keys_url", "/keys{/key_id}"),
    ("labels_url", "/labels{/name}"),
    ("languages_url", "/languages"),
    ("merges_url", "/merges"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("pulls_url", "/pulls{/number}"),
    ("releases_url", "/releases{/id}"),
    ("stargazers_url", "/stargazers"),
    ("statuses_url", "/statuses/{sha}"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("tags_url", "/tags"),
    ("teams_url", "/teams"),
    ("trees_url", "/git/trees{/sha}"),
];

/// What a new repository is to be.
pub(crate) struct NewRepository<'a> {
    pub(crate) owner: &'a str,
    pub(crate) name: &'a str,
    pub(crate) private: bool,
    pub(crate) default_branch: &'a str,
}

impl State {
    /// The address of the repository in the API.
    pub(crate) fn repository_url(&self, repository: &Repository) -> String {
        format!("{}/repos/{}", self.base, repository.full_name())
    }

    /// The form other objects carry.
    pub(crate) fn repository_json(&self, repository: &Repository) -> Value {
        let base = &self.base;
        let full_name = repository.full_name();
        let api = self.repository_url(repository);
        let page = format!("{base}/{full_name}");
        let open = repository.pulls.values().filter(|pull| pull.is_open()).count();
        let forks = self.forks_of(repository.id);
        let size: usize = repository
            .resolve("HEAD")
            .and_then(|sha| self.commits.get(&sha))
            .map_or(0, |commit| commit.files.values().map(|blob| blob.data.len()).sum());
        let mut value = json!({
            "id": repository.id,
            "node_id": node_id("R", repository.id),
            "name": repository.name,
            "full_name": full_name,
            "private": repository.private,
            "owner": self.user_json(&repository.owner),
            "html_url": page,
            "description": null,
            "fork": repository.fork_of.is_some(),
            "url": api,
            "git_url": format!("{}.git", page.replacen("http", "git", 1)),
            "ssh_url": format!("git@localhost:{full_name}.git"),
            "clone_url": format!("{page}.git"),
            "svn_url": page,
            "mirror_url": null,
            "homepage": null,
            "size": size / 1024,
            "stargazers_count": 0, "watchers_count": 0, "language": null,
            "has_issues": true, "has_projects": true, "has_downloads": true,
            "has_wiki": true, "has_pages": false, "has_discussions": false,
            "has_pull_requests": true, "pull_request_creation_policy": "all",
            "forks_count": forks, "archived": false, "disabled": false,
            "open_issues_count": open, "license": null, "allow_forking": true,
            "is_template": false, "web_commit_signoff_required": false, "topics": [],
            "visibility": if repository.private { "private" } else { "public" },
            "forks": forks, "open_issues": open, "watchers": 0,
            "default_branch": repository.default_branch,
            "created_at": iso(repository.created_at),
            "updated_at": iso(repository.pushed_at),
            "pushed_at": iso(repository.pushed_at),
        });
        for (name, path) in LINKS {
            value[*name] = format!("{api}{path}").into();
        }
        value
    }

    fn full_json(&self, call: &Call, repository: &Repository) -> Value {
        let mut value = self.repository_json(repository);
        merge(
            &mut value,
            json!({
                "temp_clone_token": null, "subscribers_count": 0,
                "network_count": self.forks_of(repository.id),
                "allow_squash_merge": true, "allow_merge_commit": true, "allow_rebase_merge": true,
                "allow_auto_merge": false, "delete_branch_on_merge": false,
            }),
        );
        if let Caller::User { login } = &call.caller {
            let has = permission_of(self, repository, login);
            value["permissions"] = permissions(has);
        }
        if let Some(parent) = repository.fork_of.and_then(|id| self.repositories.get(&id)) {
            value["parent"] = self.repository_json(parent);
            value["source"] = value["parent"].clone();
        }
        if self.is_organization(&repository.owner) {
            value["organization"] = self.user_json(&repository.owner);
        }
        value
    }

    fn forks_of(&self, id: u64) -> usize {
        self.repositories.values().filter(|other| other.fork_of == Some(id)).count()
    }

    pub(crate) fn is_organization(&self, login: &str) -> bool {
        self.users.get(&login.to_ascii_lowercase()).is_some_and(|user| user.kind == AccountKind::Organization)
    }

    /// Makes an empty repository; its owner becomes an organisation unless it is known.
    pub(crate) fn create_repository(&mut self, new: &NewRepository<'_>) -> Result<u64, Refusal> {
        check_name(new.name)?;
        if self.find(new.owner, new.name).is_some() {
            return Err(Refusal::custom("Repository", "name", "name already exists on this account"));
        }
        let owner = self.account(new.owner, AccountKind::Organization).login;
        self.ensure_installation(&owner);
        let id = self.next_id();
        let now = self.clock.now();
        self.former_names.remove(&format!("{owner}/{}", new.name).to_ascii_lowercase());
        self.repositories.insert(
            id,
            Repository {
                id,
                owner,
                name: new.name.to_owned(),
                private: new.private,
                default_branch: new.default_branch.to_owned(),
                fork_of: None,
                created_at: now,
                pushed_at: now,
                branches: BTreeMap::new(),
                commits: HashSet::new(),
                collaborators: BTreeMap::new(),
                labels: BTreeMap::new(),
                pulls: BTreeMap::new(),
                comments: BTreeMap::new(),
                statuses: Vec::new(),
                check_runs: BTreeMap::new(),
                deployments: BTreeMap::new(),
                last_number: 0,
            },
        );
        Ok(id)
    }

    /// Copies a repository's branches under another owner.
    pub(crate) fn fork(&mut self, id: u64, owner: &str, name: &str) -> Result<u64, Refusal> {
        self.account(owner, AccountKind::User);
        let source = self.repository(id)?;
        let (private, branch) = (source.private, source.default_branch.clone());
        let (branches, commits) = (source.branches.clone(), source.commits.clone());
        let fork = self.create_repository(&NewRepository { owner, name, private, default_branch: &branch })?;
        let copy = self.repository_mut(fork)?;
        copy.fork_of = Some(id);
        copy.branches = branches;
        copy.commits = commits;
        Ok(fork)
    }

    /// Gives a repository another name; the old one redirects until it is taken again.
    pub(crate) fn rename(&mut self, id: u64, name: &str, sender: &str) -> Result<(), Refusal> {
        check_name(name)?;
        let repository = self.repository(id)?;
        let (owner, from) = (repository.owner.clone(), repository.name.clone());
        if self.find(&owner, name).is_some_and(|other| other.id != id) {
            return Err(Refusal::custom("Repository", "name", "name already exists on this account"));
        }
        let former = format!("{owner}/{from}").to_ascii_lowercase();
        self.repository_mut(id)?.name = name.to_owned();
        self.former_names.insert(former, id);
        self.former_names.remove(&format!("{owner}/{name}").to_ascii_lowercase());
        let changes = json!({ "changes": { "repository": { "name": { "from": from } } } });
        self.emit(id, "repository", Some("renamed"), sender, changes)
    }

    /// Gives a repository to another account; its old name redirects as after a renaming.
    pub(crate) fn transfer(&mut self, id: u64, owner: &str, sender: &str) -> Result<(), Refusal> {
        let owner = self.account(owner, AccountKind::Organization).login;
        let repository = self.repository(id)?;
        let (from, name) = (repository.owner.clone(), repository.name.clone());
        if self.find(&owner, &name).is_some() {
            return Err(Refusal::custom("Repository", "name", "name already exists on this account"));
        }
        self.ensure_installation(&owner);
        self.repository_mut(id)?.owner = owner.clone();
        self.former_names.insert(format!("{from}/{name}").to_ascii_lowercase(), id);
        self.former_names.remove(&format!("{owner}/{name}").to_ascii_lowercase());
        let kind = if self.is_organization(&from) { "organization" } else { "user" };
        let mut changes = json!({ "changes": { "owner": { "from": {} } } });
        changes["changes"]["owner"]["from"][kind] = self.user_json(&from);
        self.emit(id, "repository", Some("transferred"), sender, changes)
    }

    /// Removes a repository; pull requests from it lose their head repository.
    pub(crate) fn remove_repository(&mut self, id: u64, sender: &str) -> Result<(), Refusal> {
        self.emit(id, "repository", Some("deleted"), sender, json!({}))?;
        self.repositories.remove(&id);
        self.former_names.retain(|_, target| *target != id);
        Ok(())
    }
}

/// What a role amounts to.
fn permissions(has: Permission) -> Value {
    json!({
        "admin": has >= Permission::Admin, "maintain": has >= Permission::Maintain,
        "push": has >= Permission::Write, "triage": has >= Permission::Triage,
        "pull": has >= Permission::Read,
    })
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > 100 || !name.bytes().all(allowed) || name == "." {
        return Err(Refusal::field("Repository", "name", "invalid"));
    }
    Ok(())
}

/// `GET /repos/{owner}/{repo}` and `GET /repositories/{id}`
pub(crate) fn get(state: &State, call: &Call, id: u64) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, Need::read(&["metadata"]))?;
    Ok(Reply::ok(state.full_json(call, repository)))
}

/// `GET /user/repos`: what the caller owns or was given a part in, in the order they were made
pub(crate) fn of_user(state: &State, call: &Call) -> Answer {
    let Caller::User { login } = &call.caller else {
        return Err(match call.caller {
            Caller::Anonymous => Refusal::new(401, "Requires authentication"),
            _ => Refusal::new(403, "Resource not accessible by integration"),
        });
    };
    let known = login.to_ascii_lowercase();
    let theirs = |repository: &&Repository| {
        repository.owner.eq_ignore_ascii_case(login)
            || repository.collaborators.get(&known).or_else(|| state.grants.get(&known)).copied()
                > Some(Permission::None)
    };
    let list = state.repositories.values().filter(theirs).map(|repository| {
        let mut value = state.repository_json(repository);
        value["permissions"] = permissions(permission_of(state, repository, login));
        value
    });
    Ok(call.page(&state.base, list.collect()))
}

/// `GET …/collaborators/{user}/permission`
pub(crate) fn permission(state: &State, call: &Call, id: u64, login: &str) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, Need::read(&["metadata"]))?;
    match &call.caller {
        Caller::Anonymous => return Err(Refusal::new(401, "Requires authentication")),
        Caller::User { login } if permission_of(state, repository, login) < Permission::Write => {
            return Err(Refusal::new(403, "Must have push access to view collaborator permission."));
        }
        _ => {}
    }
    let user = state
        .users
        .get(&login.to_ascii_lowercase())
        .ok_or_else(|| Refusal::new(404, format!("{login} is not a user")))?;
    let has = permission_of(state, repository, &user.login);
    let mut account = state.user_json(&user.login);
    merge(
        &mut account,
        json!({
            "role_name": has.role(),
            "permissions": permissions(has),
        }),
    );
    Ok(Reply::ok(json!({
        "permission": has.legacy(), "role_name": has.role(), "user": account,
    })))
}
