use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use seatrial_operations::views::RepositoryName;
use seatrial_operations::{OperationError, ProjectChange, views};

use super::errors::{ListError, ReadError, WriteError, parse};
use super::teams::Gone;
use super::text::Text;
use super::{Tag, page};
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::{Project, ProjectPage, Secret, SecretList};

pub(crate) struct Projects;

/// A repository to be given to a team.
#[derive(Object)]
#[oai(example)]
struct NewProject {
    /// `owner/name`, as GitHub spells it.
    repository: Text,
    /// The team's name.
    team: Text,
    /// How many of its previews may be up at once; without it, as many as the settings allow.
    #[oai(validator(minimum(value = "1")))]
    max_previews: Option<u32>,
}

impl Example for NewProject {
    fn example() -> Self {
        Self { repository: "acme/shop".into(), team: "payments".into(), max_previews: Some(5) }
    }
}

/// What is changed; what is not named stays as it is.
#[derive(Object)]
#[oai(example)]
struct ChangedProject {
    /// Another team's name. For operators.
    team: Option<Text>,
    /// How many of its previews may be up at once; 0 takes the limit away.
    max_previews: Option<u32>,
}

impl Example for ChangedProject {
    fn example() -> Self {
        Self { team: None, max_previews: Some(10) }
    }
}

/// A secret's new value.
#[derive(Object)]
#[oai(example)]
struct NewSecret {
    /// Text of at most 64 KiB.
    #[oai(validator(min_length = 1, max_length = 65536))]
    value: Text,
}

impl Example for NewSecret {
    fn example() -> Self {
        Self { value: "postgres://shop:correct-horse@db.previews/shop".into() }
    }
}

#[derive(ApiResponse)]
enum ProjectCreated {
    /// It was made.
    #[oai(status = 201)]
    Created(
        Json<Project>,
        /// The project.
        #[oai(header = "Location")]
        String,
    ),
}

#[OpenApi(prefix_path = "/projects", tag = "Tag::Projects")]
impl Projects {
    /// List projects
    ///
    /// The repositories of one's teams, by name; all of them for operators.
    #[oai(path = "/", method = "get", operation_id = "listProjects")]
    async fn list(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// The `next` of the page before.
        after: Query<Option<String>>,
        /// How many at most.
        #[oai(validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<Option<u32>>,
    ) -> Result<Json<ProjectPage>, ListError> {
        Ok(Json(api.operations.list_projects(&caller.0.0, &page(after, limit)).await?.into()))
    }

    /// Give a repository to a team
    ///
    /// From then on the team sees its previews, those there are already among them. How it is
    /// deployed is said by its `.seatrial.yaml`. For operators.
    #[oai(path = "/", method = "post", operation_id = "createProject")]
    async fn create(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        body: Json<NewProject>,
    ) -> Result<ProjectCreated, WriteError> {
        let project = views::NewProject {
            repository: parse("repository", &body.repository)?,
            team: parse("team", &body.team)?,
            max_previews: body.max_previews,
        };
        let project = api.operations.create_project(&caller.0.0, &project).await?;
        let location = format!("/api/v1/projects/{}", project.repository);
        Ok(ProjectCreated::Created(Json(project.into()), location))
    }

    /// Get a project
    ///
    /// Whose it is, and its own limit.
    #[oai(path = "/:owner/:name", method = "get", operation_id = "getProject")]
    async fn get(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        owner: Path<String>,
        name: Path<String>,
    ) -> Result<Json<Project>, ReadError> {
        Ok(Json(api.operations.get_project(&caller.0.0, &repository(&owner, &name)?).await?.into()))
    }

    /// Change a project
    ///
    /// For maintainers of its team; giving it to another team is for operators.
    #[oai(path = "/:owner/:name", method = "patch", operation_id = "changeProject")]
    async fn change(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        owner: Path<String>,
        name: Path<String>,
        body: Json<ChangedProject>,
    ) -> Result<Json<Project>, WriteError> {
        let change = ProjectChange {
            team: body.team.as_deref().map(|team| parse("team", team)).transpose()?,
            max_previews: body.max_previews.map(|most| (most > 0).then_some(most)),
        };
        let changed = api.operations.change_project(&caller.0.0, &repository(&owner, &name)?, &change).await?;
        Ok(Json(changed.into()))
    }

    /// Delete a project
    ///
    /// Its secrets go with it. Its previews stay, and are the operators' to see. For operators.
    #[oai(path = "/:owner/:name", method = "delete", operation_id = "deleteProject")]
    async fn delete(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        owner: Path<String>,
        name: Path<String>,
    ) -> Result<Gone, WriteError> {
        api.operations.delete_project(&caller.0.0, &repository(&owner, &name)?).await?;
        Ok(Gone::Gone)
    }

    /// List a project's secrets
    ///
    /// Their names. Their values are never given back.
    #[oai(path = "/:owner/:name/secrets", method = "get", operation_id = "listSecrets")]
    async fn secrets(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        owner: Path<String>,
        name: Path<String>,
    ) -> Result<Json<SecretList>, ReadError> {
        let secrets = api.operations.list_secrets(&caller.0.0, &repository(&owner, &name)?).await?;
        Ok(Json(SecretList { items: secrets.into_iter().map(Secret::from).collect() }))
    }

    /// Set a secret of a project
    ///
    /// Previews get it when they are next deployed, as a key of the Secret `project-secrets` of
    /// their namespace; those of forks never do. For maintainers of the project's team.
    #[oai(path = "/:owner/:name/secrets/:secret", method = "put", operation_id = "setSecret")]
    async fn set_secret(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        owner: Path<String>,
        name: Path<String>,
        /// 1 to 100 letters, digits, `-`, `_` and `.`.
        secret: Path<String>,
        body: Json<NewSecret>,
    ) -> Result<Json<Secret>, WriteError> {
        let (repository, secret) = (repository(&owner, &name)?, parse("secret", &secret)?);
        let value = body.0.value.0.into();
        Ok(Json(api.operations.put_secret(&caller.0.0, &repository, &secret, &value).await?.into()))
    }

    /// Delete a secret of a project
    ///
    /// Previews lose it when they are next deployed. For maintainers of the project's team.
    #[oai(path = "/:owner/:name/secrets/:secret", method = "delete", operation_id = "deleteSecret")]
    async fn delete_secret(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        owner: Path<String>,
        name: Path<String>,
        secret: Path<String>,
    ) -> Result<Gone, WriteError> {
        let (repository, secret) = (repository(&owner, &name)?, parse("secret", &secret)?);
        api.operations.delete_secret(&caller.0.0, &repository, &secret).await?;
        Ok(Gone::Gone)
    }
}

fn repository(owner: &str, name: &str) -> Result<RepositoryName, OperationError> {
    parse("repository", &format!("{owner}/{name}"))
}
