use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Tools;
use super::answer::{ToolError, caller};
use super::arguments::Named;
use crate::wire::Preview;

#[derive(Debug, Deserialize, JsonSchema)]
struct Arguments {
    #[serde(flatten)]
    named: Named,
    /// Keep it until its pull request is closed, or not any more.
    pinned: Option<bool>,
    /// Keep it at least so many hours from now, 1 to 720.
    #[schemars(range(min = 1, max = 720))]
    for_hours: Option<u32>,
}

#[tool_router(router = keep_preview_environment_router, vis = "pub(super)")]
impl Tools {
    /// Say how long a preview is kept although nobody uses it: pinned, for a number of hours, or both. What is not named stays as it is.
    #[tool(annotations(
        title = "Keep a preview",
        read_only_hint = false,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn keep_preview_environment(
        &self,
        Parameters(arguments): Parameters<Arguments>,
        Extension(parts): Extension<Parts>,
    ) -> Result<Json<Preview>, ToolError> {
        let caller = caller(&parts)?;
        let name = arguments.named.name()?;
        let kept = self.api.operations.keep_preview(caller, &name, arguments.pinned, arguments.for_hours).await?;
        Ok(Json(kept.into()))
    }
}
