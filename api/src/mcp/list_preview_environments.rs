use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};

use schemars::JsonSchema;
use seatrial_operations::views::{EnvironmentFilter, EnvironmentState, PageRequest};
use serde::Deserialize;

use super::Tools;
use super::answer::{ToolError, caller};
use crate::wire::{PreviewPage, PreviewState};

#[derive(Debug, Deserialize, JsonSchema)]
struct Arguments {
    /// Only those in this state.
    state: Option<PreviewState>,
    /// Only those of this repository, owner/name.
    repository: Option<String>,
    /// Text in the title, branch, author, namespace or repository.
    text: Option<String>,
    /// The next of the page before.
    after: Option<String>,
    /// How many at most, 1 to 200; 50 if absent.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
}

#[tool_router(router = list_preview_environments_router, vis = "pub(super)")]
impl Tools {
    /// List previews, the newest first, with their states and URLs. All conditions hold together; deleted previews are listed only when asked for by state.
    #[tool(annotations(title = "List previews", read_only_hint = true, open_world_hint = false))]
    async fn list_preview_environments(
        &self,
        Parameters(arguments): Parameters<Arguments>,
        Extension(parts): Extension<Parts>,
    ) -> Result<Json<PreviewPage>, ToolError> {
        let caller = caller(&parts)?;
        let filter = EnvironmentFilter {
            state: arguments.state.map(EnvironmentState::from),
            repository: arguments.repository,
            text: arguments.text,
            ..EnvironmentFilter::default()
        };
        let page = PageRequest { after: arguments.after, limit: arguments.limit.unwrap_or(50) };
        Ok(Json(self.api.operations.list_previews(caller, &filter, &page).await?.into()))
    }
}
