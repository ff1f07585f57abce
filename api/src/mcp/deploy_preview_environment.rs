use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};

use seatrial_operations::EnvironmentName;

use super::Tools;
use super::answer::{ToolError, caller};
use super::arguments::Named;
use crate::wire::Requested;

#[tool_router(router = deploy_preview_environment_router, vis = "pub(super)")]
impl Tools {
    /// Deploy the newest commit of an open pull request, whether it has a preview already or not; supersedes what runs for it. Returns the run; follow it with get_workflow_run.
    #[tool(annotations(
        title = "Deploy a pull request",
        read_only_hint = false,
        destructive_hint = false,
        idempotent_hint = false,
        open_world_hint = true
    ))]
    async fn deploy_preview_environment(
        &self,
        Parameters(arguments): Parameters<Named>,
        Extension(parts): Extension<Parts>,
    ) -> Result<Json<Requested>, ToolError> {
        let caller = caller(&parts)?;
        let operations = &self.api.operations;
        let requested = match arguments.name()? {
            EnvironmentName::PullRequest(at) => {
                operations.deploy_pull_request(caller, &at.repository.to_string(), at.number).await?
            }
            known => operations.deploy_preview(caller, &known).await?,
        };
        Ok(Json(requested.into()))
    }
}
