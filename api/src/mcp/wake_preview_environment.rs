use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};

use super::Tools;
use super::answer::{ToolError, caller};
use super::arguments::Named;
use crate::wire::Requested;

#[tool_router(router = wake_preview_environment_router, vis = "pub(super)")]
impl Tools {
    /// Give a sleeping preview its replicas back. Returns the run; follow it with get_workflow_run.
    #[tool(annotations(
        title = "Wake a preview",
        read_only_hint = false,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = true
    ))]
    async fn wake_preview_environment(
        &self,
        Parameters(arguments): Parameters<Named>,
        Extension(parts): Extension<Parts>,
    ) -> Result<Json<Requested>, ToolError> {
        let caller = caller(&parts)?;
        Ok(Json(self.api.operations.wake_preview(caller, &arguments.name()?).await?.into()))
    }
}
