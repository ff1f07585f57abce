use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::Tag;
use super::errors::WriteError;
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::Requested;

pub(crate) struct PreviewActions;

/// Which pull request to deploy.
#[derive(Object)]
#[oai(example)]
struct Deploy {
    /// `owner/name`.
    repository: String,
    /// The pull request's number.
    number: u64,
}

impl Example for Deploy {
    fn example() -> Self {
        Self { repository: "acme/shop".to_owned(), number: 7 }
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
impl PreviewActions {
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
}
