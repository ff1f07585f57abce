use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use seatrial_operations::views::{EnvironmentFilter, RepositoryName};

use super::errors::{ListError, ReadError, WriteError, parse};
use super::text::Text;
use super::{Tag, page};
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::{Preview, PreviewPage, PreviewState, Requested};

pub(crate) struct Previews;

/// Which pull request to deploy.
#[derive(Object)]
#[oai(example)]
struct Deploy {
    /// `owner/name`.
    repository: Text,
    /// The pull request's number.
    number: u64,
}

impl Example for Deploy {
    fn example() -> Self {
        Self { repository: "acme/shop".into(), number: 7 }
    }
}

/// How long a preview is kept.
#[derive(Object)]
#[oai(example)]
struct Keep {
    /// Keep it until its pull request is closed, or not any more.
    pinned: Option<bool>,
    /// Keep it at least so many hours from now.
    #[oai(validator(minimum(value = "1"), maximum(value = "720")))]
    for_hours: Option<u32>,
}

impl Example for Keep {
    fn example() -> Self {
        Self { pinned: None, for_hours: Some(72) }
    }
}

/// Which commit somebody has read.
#[derive(Object)]
#[oai(example)]
struct Approve {
    /// `owner/name`.
    repository: Text,
    /// The pull request's number.
    number: u64,
    /// The commit's whole id.
    commit: Text,
}

impl Example for Approve {
    fn example() -> Self {
        Self { repository: "acme/shop".into(), number: 7, commit: "3f0c9ab51f4e8d7c6b5a49382716f5e4d3c2b1a0".into() }
    }
}

#[derive(ApiResponse)]
enum AcceptedAnswer {
    /// Accepted; the run does it.
    #[oai(status = 202)]
    Accepted(
        Json<Requested>,
        /// The run.
        #[oai(header = "Location")]
        String,
    ),
}

impl From<seatrial_operations::Requested> for AcceptedAnswer {
    fn from(requested: seatrial_operations::Requested) -> Self {
        let requested = Requested::from(requested);
        let location = requested.run_url.clone();
        Self::Accepted(Json(requested), location)
    }
}

#[OpenApi(prefix_path = "/previews", tag = "Tag::Previews")]
impl Previews {
    /// List previews
    ///
    /// The newest first. All conditions hold together.
    #[oai(path = "/", method = "get", operation_id = "listPreviews")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the query")]
    async fn list(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// Only those in this state. Deleted ones are listed only when asked for.
        state: Query<Option<PreviewState>>,
        /// Only those of this repository, as `owner/name`.
        repository: Query<Option<String>>,
        /// Only those of pull requests with this number. With `repository`, also a deleted one.
        #[oai(validator(minimum(value = "1"), maximum(value = "2147483647")))]
        number: Query<Option<u64>>,
        /// Text in the title, branch, author, namespace or repository.
        text: Query<Option<String>>,
        /// The `next` of the page before.
        after: Query<Option<String>>,
        /// How many at most.
        #[oai(validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<Option<u32>>,
    ) -> Result<Json<PreviewPage>, ListError> {
        // What cannot be a repository is refused, not looked for.
        repository.0.as_deref().map(|name| parse::<RepositoryName>("repository", name)).transpose()?;
        let filter = EnvironmentFilter {
            state: state.0.map(Into::into),
            include_deleted: repository.0.is_some() && number.0.is_some(),
            repository: repository.0,
            number: number.0,
            text: text.0,
        };
        let found = api.operations.list_previews(&caller.0.0, &filter, &page(after, limit)).await?;
        Ok(Json(found.into()))
    }

    /// Get a preview
    ///
    /// As it is now, with the newest run for it.
    #[oai(path = "/:preview", method = "get", operation_id = "getPreview")]
    async fn get(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// Its id or its namespace.
        preview: Path<String>,
    ) -> Result<Json<Preview>, ReadError> {
        Ok(Json(api.operations.get_preview(&caller.0.0, &preview.parse()?).await?.into()))
    }

    /// Deploy a pull request
    ///
    /// Deploys its newest commit, whether it has a preview already or not. Supersedes what runs
    /// for it.
    #[oai(path = "/", method = "post", operation_id = "deployPullRequest")]
    async fn create(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        body: Json<Deploy>,
    ) -> Result<AcceptedAnswer, WriteError> {
        Ok(api.operations.deploy_pull_request(&caller.0.0, &body.repository, body.number).await?.into())
    }

    /// Deploy a preview again
    ///
    /// The newest commit of its pull request. Supersedes what runs for it.
    #[oai(path = "/:preview/deploy", method = "post", operation_id = "deployPreview")]
    async fn deploy(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// Its id or its namespace.
        preview: Path<String>,
    ) -> Result<AcceptedAnswer, WriteError> {
        Ok(api.operations.deploy_preview(&caller.0.0, &preview.parse()?).await?.into())
    }

    /// Retry a preview's failed run
    ///
    /// The run goes on at its first failed step; steps that succeeded are not run again.
    #[oai(path = "/:preview/retry", method = "post", operation_id = "retryPreview")]
    async fn retry(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// Its id or its namespace.
        preview: Path<String>,
    ) -> Result<AcceptedAnswer, WriteError> {
        Ok(api.operations.retry_preview(&caller.0.0, &preview.parse()?).await?.into())
    }

    /// Delete a preview
    ///
    /// Uninstalls its release, deletes its namespace and waits until both are gone. May be
    /// repeated: a teardown that runs, or has run, is returned again.
    #[oai(path = "/:preview", method = "delete", operation_id = "deletePreview")]
    async fn delete(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// Its id or its namespace.
        preview: Path<String>,
    ) -> Result<AcceptedAnswer, WriteError> {
        Ok(api.operations.delete_preview(&caller.0.0, &preview.parse()?).await?.into())
    }

    /// Put a preview to sleep
    ///
    /// Scales it to zero. Opening it, or asking for it, wakes it.
    #[oai(path = "/:preview/sleep", method = "post", operation_id = "sleepPreview")]
    async fn sleep(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// Its id or its namespace.
        preview: Path<String>,
    ) -> Result<AcceptedAnswer, WriteError> {
        Ok(api.operations.sleep_preview(&caller.0.0, &preview.parse()?).await?.into())
    }

    /// Wake a sleeping preview
    ///
    /// Gives it its replicas back. One that runs already is left as it is.
    #[oai(path = "/:preview/wake", method = "post", operation_id = "wakePreview")]
    async fn wake(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// Its id or its namespace.
        preview: Path<String>,
    ) -> Result<AcceptedAnswer, WriteError> {
        Ok(api.operations.wake_preview(&caller.0.0, &preview.parse()?).await?.into())
    }

    /// Keep a preview
    ///
    /// Says how long it is kept although nobody uses it. What is not named stays as it is.
    #[oai(path = "/:preview/life", method = "patch", operation_id = "keepPreview")]
    async fn keep(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// Its id or its namespace.
        preview: Path<String>,
        body: Json<Keep>,
    ) -> Result<Json<Preview>, WriteError> {
        let kept = api.operations.keep_preview(&caller.0.0, &preview.parse()?, body.pinned, body.for_hours).await?;
        Ok(Json(kept.into()))
    }

    /// Approve a fork's commit
    ///
    /// Deploys it. Only the pull request's newest commit can be approved, and a push needs an
    /// approval of its own.
    #[oai(path = "/approvals", method = "post", operation_id = "approveCommit")]
    async fn approve(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        body: Json<Approve>,
    ) -> Result<AcceptedAnswer, WriteError> {
        let requested =
            api.operations.approve_pull_request(&caller.0.0, &body.repository, body.number, &body.commit).await?;
        Ok(requested.into())
    }
}
