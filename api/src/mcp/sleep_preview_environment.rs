use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};

use super::Tools;
use super::answer::{ToolError, caller};
use super::arguments::Named;
use crate::wire::Requested;

#[tool_router(router = sleep_preview_environment_router, vis = "pub(super)")]
impl Tools {
    /// Scale a running preview to zero; opening its URL or wake_preview_environment brings it back within a minute. Returns the run; follow it with get_workflow_run.
    #[tool(annotations(
        title = "Put a preview to sleep",
        read_only_hint = false,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = true
    ))]
    async fn sleep_preview_environment(
        &self,
        Parameters(arguments): Parameters<Named>,
        Extension(parts): Extension<Parts>,
    ) -> Result<Json<Requested>, ToolError> {
        let caller = caller(&parts)?;
        Ok(Json(self.api.operations.sleep_preview(caller, &arguments.name()?).await?.into()))
    }
}
