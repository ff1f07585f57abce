use std::sync::Arc;

use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use seatrial_operations::EnvironmentName;
use seatrial_operations::views::{EnvironmentFilter, EnvironmentView, Page};

use super::errors::{ListError, ReadError};
use super::{Tag, page};
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::{FailureSnapshot, Pod, Preview, PreviewPage, PreviewState, WhyNotReady};

pub(crate) struct Previews;

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
        /// With `repository`: the preview of this pull request.
        number: Query<Option<u64>>,
        /// Text in the title, branch, author, namespace or repository.
        text: Query<Option<String>>,
        /// The `next` of the page before.
        after: Query<Option<String>>,
        /// How many at most.
        #[oai(validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<Option<u32>>,
    ) -> Result<Json<PreviewPage>, ListError> {
        if let (Some(repository), Some(number)) = (&repository.0, number.0) {
            let name = EnvironmentName::pull_request(repository, number)?;
            let found = match api.operations.get_preview(&caller.0.0, &name).await {
                Err(seatrial_operations::OperationError::NotFound { .. }) => None,
                found => Some(found?),
            };
            let state = state.0.map(seatrial_operations::views::EnvironmentState::from);
            let items: Vec<EnvironmentView> =
                found.into_iter().filter(|view| state.is_none_or(|state| state == view.state)).collect();
            return Ok(Json(Page { items, next: None }.into()));
        }
        let filter = EnvironmentFilter {
            state: state.0.map(Into::into),
            repository: repository.0,
            text: text.0,
            include_deleted: false,
        };
        let found = api.operations.list_previews(&caller.0.0, &filter, &page(after, limit)).await?;
        Ok(Json(found.into()))
    }

    /// Get a preview
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

    /// Get the pods of a preview
    ///
    /// As the cluster has them now.
    #[oai(path = "/:preview/pods", method = "get", operation_id = "listPreviewPods")]
    async fn pods(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// Its id or its namespace.
        preview: Path<String>,
    ) -> Result<Json<Vec<Pod>>, ReadError> {
        let pods = api.operations.list_pods(&caller.0.0, &preview.parse()?).await?;
        Ok(Json(pods.into_iter().map(Pod::from).collect()))
    }

    /// Get the newest failure of a preview
    ///
    /// The events, container states, logs and manifest that were to be seen when it failed. Kept
    /// after the preview is gone.
    #[oai(path = "/:preview/failure", method = "get", operation_id = "getPreviewFailure")]
    async fn failure(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// Its id or its namespace.
        preview: Path<String>,
    ) -> Result<Json<FailureSnapshot>, ReadError> {
        Ok(Json(api.operations.get_failure(&caller.0.0, &preview.parse()?).await?.into()))
    }

    /// Ask why a preview is not ready
    ///
    /// A sentence and what to do; then the evidence, from the journal and, if it answers in time,
    /// from the cluster.
    #[oai(path = "/:preview/why-not-ready", method = "get", operation_id = "whyNotReady")]
    async fn why_not_ready(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// Its id or its namespace.
        preview: Path<String>,
    ) -> Result<Json<WhyNotReady>, ReadError> {
        Ok(Json(api.operations.why_not_ready(&caller.0.0, &preview.parse()?).await?.into()))
    }
}
