use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};

use super::Tools;
use super::answer::{ToolError, caller};
use super::arguments::Named;
use crate::wire::Requested;

#[tool_router(router = delete_preview_environment_router, vis = "pub(super)")]
impl Tools {
    /// Delete a preview: its release is uninstalled and its namespace deleted with all that is in it. May be repeated. Returns the run; follow it with get_workflow_run.
    #[tool(annotations(
        title = "Delete a preview",
        read_only_hint = false,
        destructive_hint = true,
        idempotent_hint = true,
        open_world_hint = true
    ))]
    async fn delete_preview_environment(
        &self,
        Parameters(arguments): Parameters<Named>,
        Extension(parts): Extension<Parts>,
    ) -> Result<Json<Requested>, ToolError> {
        let caller = caller(&parts)?;
        Ok(Json(self.api.operations.delete_preview(caller, &arguments.name()?).await?.into()))
    }
}
