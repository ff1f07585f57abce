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
    /// The step to begin with, as get_workflow_run names it: `release`, `scope/step`, `step[1]`. The first failed one when absent.
    step: Option<String>,
}

#[tool_router(router = retry_from_step_router, vis = "pub(super)")]
impl Tools {
    /// Let a failed or cancelled run go on at a step: that step and those after it are run again, those before it are not. Refused when a newer run of the same pull request has taken its place. Follow it with get_workflow_run.
    #[tool(annotations(
        title = "Retry a run from a step",
        read_only_hint = false,
        destructive_hint = false,
        idempotent_hint = false,
        open_world_hint = true
    ))]
    async fn retry_from_step(
        &self,
        Parameters(arguments): Parameters<Arguments>,
        Extension(parts): Extension<Parts>,
    ) -> Result<Json<RunDetail>, ToolError> {
        let caller = caller(&parts)?;
        let run = run_id(&arguments.run)?;
        self.api.operations.retry_run(caller, run, arguments.step.as_deref()).await?;
        Ok(Json(self.api.operations.get_run(caller, run).await?.into()))
    }
}
