//! The pages' buttons. The guard has checked that the form came from our own pages.

use std::sync::Arc;

use poem::web::{Data, Path};
use poem::{Response, handler};
use seatrial_operations::{EnvironmentName, OperationError, Requested};

use super::{error, see_other};
use crate::config::Api;
use crate::guard::Caller;
use crate::rest::run_id;

#[handler]
pub(super) async fn deploy(api: Data<&Arc<Api>>, caller: Data<&Caller>, preview: Path<String>) -> Response {
    let done = match preview.parse::<EnvironmentName>() {
        Ok(name) => api.operations.deploy_preview(&caller.0.0, &name).await,
        Err(error) => Err(error),
    };
    to_preview(done)
}

#[handler]
pub(super) async fn retry(api: Data<&Arc<Api>>, caller: Data<&Caller>, preview: Path<String>) -> Response {
    let done = match preview.parse::<EnvironmentName>() {
        Ok(name) => api.operations.retry_preview(&caller.0.0, &name).await,
        Err(error) => Err(error),
    };
    to_preview(done)
}

#[handler]
pub(super) async fn sleep(api: Data<&Arc<Api>>, caller: Data<&Caller>, preview: Path<String>) -> Response {
    let done = match preview.parse::<EnvironmentName>() {
        Ok(name) => api.operations.sleep_preview(&caller.0.0, &name).await,
        Err(error) => Err(error),
    };
    to_preview(done)
}

#[handler]
pub(super) async fn wake(api: Data<&Arc<Api>>, caller: Data<&Caller>, preview: Path<String>) -> Response {
    let done = match preview.parse::<EnvironmentName>() {
        Ok(name) => api.operations.wake_preview(&caller.0.0, &name).await,
        Err(error) => Err(error),
    };
    to_preview(done)
}

/// Pins the preview, or lets its time count again.
#[handler]
pub(super) async fn pin(api: Data<&Arc<Api>>, caller: Data<&Caller>, preview: Path<String>) -> Response {
    kept(&api, &caller, &preview, true).await
}

#[handler]
pub(super) async fn unpin(api: Data<&Arc<Api>>, caller: Data<&Caller>, preview: Path<String>) -> Response {
    kept(&api, &caller, &preview, false).await
}

async fn kept(api: &Api, caller: &Caller, preview: &str, pinned: bool) -> Response {
    let done = match preview.parse::<EnvironmentName>() {
        Ok(name) => api.operations.pin_preview(&caller.0, &name, pinned).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(view) => see_other(&format!("/previews/{}", view.environment.id)),
        Err(failure) => error(&failure.into()),
    }
}

#[handler]
pub(super) async fn delete(api: Data<&Arc<Api>>, caller: Data<&Caller>, preview: Path<String>) -> Response {
    let done = match preview.parse::<EnvironmentName>() {
        Ok(name) => api.operations.delete_preview(&caller.0.0, &name).await,
        Err(error) => Err(error),
    };
    to_preview(done)
}

#[handler]
pub(super) async fn retry_run(api: Data<&Arc<Api>>, caller: Data<&Caller>, run: Path<String>) -> Response {
    let done = match run_id(&run) {
        Ok(run) => api.operations.retry_run(&caller.0.0, run, None).await,
        Err(error) => Err(error),
    };
    to_run(done, &run)
}

#[handler]
pub(super) async fn cancel_run(api: Data<&Arc<Api>>, caller: Data<&Caller>, run: Path<String>) -> Response {
    let done = match run_id(&run) {
        Ok(run) => api.operations.cancel_run(&caller.0.0, run).await,
        Err(error) => Err(error),
    };
    to_run(done, &run)
}

fn to_preview(done: Result<Requested, OperationError>) -> Response {
    match done {
        Ok(requested) => see_other(&format!("/previews/{}", requested.environment.environment.id)),
        Err(failure) => error(&failure.into()),
    }
}

fn to_run(done: Result<(), OperationError>, run: &str) -> Response {
    match done {
        Ok(()) => see_other(&format!("/runs/{run}")),
        Err(failure) => error(&failure.into()),
    }
}
