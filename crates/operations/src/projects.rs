//! Projects: which team a repository belongs to, what is set for it, and its secrets.

use seatrial_preview::RepositoryName;
use seatrial_preview::access::{Project, Role, SecretInfo, SecretName, TeamName};
use seatrial_store::access::NewProject;
use seatrial_store::views::{Page, PageRequest};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::access::Principal;
use crate::audit::Act;
use crate::error::OperationError;
use crate::operations::Operations;
use crate::previews::{check, of_page};
use crate::teams::no_team;

/// A Secret of Kubernetes holds 1 MiB in all.
const SECRET_LIMIT: usize = 64 * 1024;
const MOST_SECRETS: usize = 15;

/// What is changed of a project; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectChange {
    pub team: Option<TeamName>,
    /// `Some(None)` takes the limit away.
    pub max_previews: Option<Option<u32>>,
}

impl Operations {
    pub async fn list_projects(&self, who: &Principal, page: &PageRequest) -> Result<Page<Project>, OperationError> {
        check(page)?;
        self.store.list_projects(&who.visible(), page).await.map_err(|error| of_page(error, page))
    }

    pub async fn get_project(&self, who: &Principal, repository: &RepositoryName) -> Result<Project, OperationError> {
        self.store.find_project(&who.visible(), repository).await?.ok_or_else(|| no_project(repository))
    }

    /// Gives a repository to a team. For operators, and maintainers of the team.
    pub async fn create_project(&self, who: &Principal, project: &NewProject) -> Result<Project, OperationError> {
        let NewProject { repository, team, max_previews } = project;
        let act = Act::new("project.create", repository).repository(repository).team(team);
        self.audited(who, act.detail(json!({ "team": team, "max_previews": max_previews })), async {
            self.get_team(who, team).await.map_err(|_| unknown_team(team))?;
            // Which repositories there are is the operators' to say: any could be named here.
            who.check_operator("giving a repository to a team")?;
            check_limit(*max_previews)?;
            match self.store.create_project(project).await? {
                Some(project) => Ok(project),
                None if self.store.find_team(&who.visible(), team).await?.is_none() => Err(no_team(team)),
                None => Err(OperationError::conflict(
                    "project_exists",
                    format!("{repository} is a project already: change it instead"),
                )),
            }
        })
        .await
    }

    /// For maintainers of its team; giving it to another team is for operators.
    pub async fn change_project(
        &self,
        who: &Principal,
        repository: &RepositoryName,
        change: &ProjectChange,
    ) -> Result<Project, OperationError> {
        let act = Act::new("project.change", repository).repository(repository);
        let detail = json!({ "team": change.team, "max_previews": change.max_previews });
        self.audited(who, act.detail(detail), async {
            let project = self.get_project(who, repository).await?;
            who.check(Role::Maintainer, Some(&project.team), "changing a project")?;
            let team = change.team.clone().unwrap_or_else(|| project.team.clone());
            if team != project.team {
                who.check_operator("giving a project to another team")?;
                self.get_team(who, &team).await.map_err(|_| unknown_team(&team))?;
            }
            let max_previews = change.max_previews.unwrap_or(project.max_previews);
            check_limit(max_previews)?;
            let changed = NewProject { repository: repository.clone(), team, max_previews };
            self.store.update_project(&changed).await?.ok_or_else(|| no_project(repository))
        })
        .await
    }

    /// Its secrets go with it; its previews stay, for operators. For operators.
    pub async fn delete_project(&self, who: &Principal, repository: &RepositoryName) -> Result<(), OperationError> {
        self.audited(who, Act::new("project.delete", repository).repository(repository), async {
            self.get_project(who, repository).await?;
            who.check_operator("deleting a project")?;
            if self.store.delete_project(repository).await? { Ok(()) } else { Err(no_project(repository)) }
        })
        .await
    }

    /// Names of secrets. Their values are never given back.
    pub async fn list_secrets(
        &self,
        who: &Principal,
        repository: &RepositoryName,
    ) -> Result<Vec<SecretInfo>, OperationError> {
        self.get_project(who, repository).await?;
        Ok(self.store.list_secrets(repository).await?)
    }

    /// Sets a secret of the project. Previews get it when they are next deployed. For maintainers.
    pub async fn put_secret(
        &self,
        who: &Principal,
        repository: &RepositoryName,
        name: &SecretName,
        value: &SecretString,
    ) -> Result<SecretInfo, OperationError> {
        let act = Act::new("secret.put", format!("{repository}/{name}")).repository(repository);
        self.audited(who, act, async {
            let project = self.get_project(who, repository).await?;
            who.check(Role::Maintainer, Some(&project.team), "setting a secret")?;
            if value.expose_secret().is_empty() || value.expose_secret().len() > SECRET_LIMIT {
                return Err(OperationError::field("value", "must be text of 1 byte to 64 KiB"));
            }
            if !self.vault.has_key() {
                return Err(OperationError::conflict(
                    "encryption_not_configured",
                    "secrets cannot be stored: whoever runs Seatrial sets SEATRIAL_ENCRYPTION_KEY (openssl rand -base64 32) and starts it again",
                ));
            }
            let known = self.store.list_secrets(repository).await?;
            if known.len() >= MOST_SECRETS && known.iter().all(|secret| secret.name != *name) {
                return Err(OperationError::conflict(
                    "too_many_secrets",
                    format!("{repository} has {MOST_SECRETS} secrets, which is the limit: delete one first"),
                ));
            }
            let sealed = self.vault.seal(name, value, who.name()).map_err(OperationError::Broken)?;
            if !self.store.put_secret(repository, &sealed).await? {
                return Err(no_project(repository));
            }
            let stored = self.store.list_secrets(repository).await?;
            stored.into_iter().find(|secret| secret.name == *name).ok_or_else(|| no_secret(repository, name))
        })
        .await
    }

    /// For maintainers.
    pub async fn delete_secret(
        &self,
        who: &Principal,
        repository: &RepositoryName,
        name: &SecretName,
    ) -> Result<(), OperationError> {
        let act = Act::new("secret.delete", format!("{repository}/{name}")).repository(repository);
        self.audited(who, act, async {
            let project = self.get_project(who, repository).await?;
            who.check(Role::Maintainer, Some(&project.team), "deleting a secret")?;
            match self.store.delete_secret(repository, name).await? {
                true => Ok(()),
                false => Err(no_secret(repository, name)),
            }
        })
        .await
    }
}

fn check_limit(max_previews: Option<u32>) -> Result<(), OperationError> {
    match max_previews {
        Some(0) => Err(OperationError::field("max_previews", "must be 1 or more; without it there is no own limit")),
        _ => Ok(()),
    }
}

fn unknown_team(team: &TeamName) -> OperationError {
    OperationError::field("team", format!("there is no team {team}, or you are not in it: make it first"))
}

fn no_project(repository: &RepositoryName) -> OperationError {
    OperationError::not_found(
        "project_not_found",
        format!("{repository} is no project of yours: an operator adds it with \"seatrial project add\""),
    )
}

fn no_secret(repository: &RepositoryName, name: &SecretName) -> OperationError {
    OperationError::not_found("secret_not_found", format!("{repository} has no secret {name}"))
}
