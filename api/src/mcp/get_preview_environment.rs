use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};

use super::Tools;
use super::answer::{ToolError, caller};
use super::arguments::Named;
use crate::wire::Preview;

#[tool_router(router = get_preview_environment_router, vis = "pub(super)")]
impl Tools {
    /// Get one preview: its state, commit, URL, the step it is at, and who is to blame if it failed.
    #[tool(annotations(title = "Get a preview", read_only_hint = true, open_world_hint = false))]
    async fn get_preview_environment(
        &self,
        Parameters(arguments): Parameters<Named>,
        Extension(parts): Extension<Parts>,
    ) -> Result<Json<Preview>, ToolError> {
        let caller = caller(&parts)?;
        Ok(Json(self.api.operations.get_preview(caller, &arguments.name()?).await?.into()))
    }
}
