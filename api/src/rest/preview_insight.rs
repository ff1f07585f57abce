use std::sync::Arc;

use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;

use super::Tag;
use super::errors::ReadError;
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::{FailureSnapshot, Pod, WhyNotReady};

/// What is to be seen of a preview besides itself.
pub(crate) struct PreviewInsight;

#[OpenApi(prefix_path = "/previews", tag = "Tag::Previews")]
impl PreviewInsight {
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
