use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};

use super::Tools;
use super::answer::{ToolError, caller};
use super::arguments::Named;
use crate::wire::WhyNotReady;

#[tool_router(router = why_not_ready_router, vis = "pub(super)")]
impl Tools {
    /// Ask why a preview is not ready: a sentence and what to do first, then the evidence: the step, its attempts and last error, when it is tried again, the pods, the diagnosis.
    #[tool(annotations(title = "Why is it not ready?", read_only_hint = true, open_world_hint = false))]
    async fn why_not_ready(
        &self,
        Parameters(arguments): Parameters<Named>,
        Extension(parts): Extension<Parts>,
    ) -> Result<Json<WhyNotReady>, ToolError> {
        let caller = caller(&parts)?;
        Ok(Json(self.api.operations.why_not_ready(caller, &arguments.name()?).await?.into()))
    }
}
