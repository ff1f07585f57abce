use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};

use schemars::JsonSchema;
use serde::Deserialize;

use super::Tools;
use super::answer::{ToolError, caller};
use crate::rest::run_id;
use crate::wire::RunDetail;

#[derive(Debug, Deserialize, JsonSchema)]
struct Arguments {
    /// The run's id.
    run: String,
}

#[tool_router(router = cancel_workflow_run_router, vis = "pub(super)")]
impl Tools {
    /// Ask a run to stop at its next safe point. What it has done stays done; retry_from_step lets it go on.
    #[tool(annotations(
        title = "Cancel a run",
        read_only_hint = false,
        destructive_hint = true,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn cancel_workflow_run(
        &self,
        Parameters(arguments): Parameters<Arguments>,
        Extension(parts): Extension<Parts>,
    ) -> Result<Json<RunDetail>, ToolError> {
        let caller = caller(&parts)?;
        let run = run_id(&arguments.run)?;
        self.api.operations.cancel_run(caller, run).await?;
        Ok(Json(self.api.operations.get_run(caller, run).await?.into()))
    }
}
