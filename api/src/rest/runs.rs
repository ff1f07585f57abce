use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use seatrial_operations::OperationError;
use seatrial_operations::views::{RunFilter, RunId};
use uuid::Uuid;

use super::errors::{ListError, ReadError, WriteError};
use super::{Tag, page};
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::{RunDetail, RunPage, RunState};

pub(crate) struct Runs;

#[derive(ApiResponse)]
enum RunAnswer {
    /// Accepted; the run as it is now.
    #[oai(status = 202)]
    Accepted(Json<RunDetail>),
}

#[OpenApi(prefix_path = "/runs", tag = "Tag::Runs")]
impl Runs {
    /// List runs
    ///
    /// The newest first. All conditions hold together.
    #[oai(path = "/", method = "get", operation_id = "listRuns")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the query")]
    async fn list(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        state: Query<Option<RunState>>,
        /// `preview_up`, `preview_down`.
        workflow: Query<Option<String>>,
        /// The concurrency key: `owner/name#number`.
        key: Query<Option<String>>,
        /// Text in the key, the workflow or the failure.
        text: Query<Option<String>>,
        /// Started at this time or after.
        since: Query<Option<DateTime<Utc>>>,
        /// Started before this time.
        until: Query<Option<DateTime<Utc>>>,
        /// The `next` of the page before.
        after: Query<Option<String>>,
        /// How many at most.
        #[oai(validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<Option<u32>>,
    ) -> Result<Json<RunPage>, ListError> {
        let filter = RunFilter {
            state: state.0.map(Into::into),
            workflow: workflow.0,
            key: key.0,
            text: text.0,
            since: since.0,
            until: until.0,
        };
        Ok(Json(api.operations.list_runs(&caller.0.0, &filter, &page(after, limit)).await?.into()))
    }

    /// Get a run
    ///
    /// With its journal: every step and its attempts, then the steps still to come.
    #[oai(path = "/:run", method = "get", operation_id = "getRun")]
    async fn get(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        run: Path<String>,
    ) -> Result<Json<RunDetail>, ReadError> {
        Ok(Json(api.operations.get_run(&caller.0.0, run_id(&run)?).await?.into()))
    }

    /// Retry a run
    ///
    /// A failed or cancelled run goes on at its first failed step, or at the named one, unless a newer
    /// run of its key has taken its place. Steps before it are not run again.
    #[oai(path = "/:run/retry", method = "post", operation_id = "retryRun")]
    async fn retry(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        run: Path<String>,
        /// The step to begin with, as the journal names it: `release`, `failed/report`.
        from: Query<Option<String>>,
    ) -> Result<RunAnswer, WriteError> {
        let run = run_id(&run)?;
        api.operations.retry_run(&caller.0.0, run, from.as_deref()).await?;
        Ok(RunAnswer::Accepted(Json(api.operations.get_run(&caller.0.0, run).await?.into())))
    }

    /// Cancel a run
    ///
    /// It stops at its next safe point.
    #[oai(path = "/:run/cancel", method = "post", operation_id = "cancelRun")]
    async fn cancel(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        run: Path<String>,
    ) -> Result<RunAnswer, WriteError> {
        let run = run_id(&run)?;
        api.operations.cancel_run(&caller.0.0, run).await?;
        Ok(RunAnswer::Accepted(Json(api.operations.get_run(&caller.0.0, run).await?.into())))
    }
}

pub(crate) fn run_id(text: &str) -> Result<RunId, OperationError> {
    let id =
        Uuid::parse_str(text).map_err(|_| OperationError::field("run", format!("{text:?} is not the id of a run")))?;
    Ok(RunId(id))
}
