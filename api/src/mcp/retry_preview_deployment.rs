use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};

use super::Tools;
use super::answer::{ToolError, caller};
use super::arguments::Named;
use crate::wire::Requested;

#[tool_router(router = retry_preview_deployment_router, vis = "pub(super)")]
impl Tools {
    /// Let the failed or cancelled run of a preview go on at its first failed step; steps that succeeded are not run again. Returns the run; follow it with get_workflow_run.
    #[tool(annotations(
        title = "Retry a failed run",
        read_only_hint = false,
        destructive_hint = false,
        idempotent_hint = false,
        open_world_hint = true
    ))]
    async fn retry_preview_deployment(
        &self,
        Parameters(arguments): Parameters<Named>,
        Extension(parts): Extension<Parts>,
    ) -> Result<Json<Requested>, ToolError> {
        let caller = caller(&parts)?;
        Ok(Json(self.api.operations.retry_preview(caller, &arguments.name()?).await?.into()))
    }
}
