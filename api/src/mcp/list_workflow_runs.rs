use chrono::{DateTime, Utc};
use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};

use schemars::JsonSchema;
use seatrial_operations::views::{self, PageRequest, RunFilter};
use serde::Deserialize;

use super::Tools;
use super::answer::{ToolError, caller};
use crate::wire::{RunPage, RunState};

#[derive(Debug, Deserialize, JsonSchema)]
struct Arguments {
    /// Only those in this state.
    state: Option<RunState>,
    /// preview_up or preview_down.
    workflow: Option<String>,
    /// The concurrency key, owner/name#number.
    key: Option<String>,
    /// Text in the key, the workflow or the failure.
    text: Option<String>,
    /// Started at this time or after.
    since: Option<DateTime<Utc>>,
    /// Started before this time.
    until: Option<DateTime<Utc>>,
    /// The next of the page before.
    after: Option<String>,
    /// How many at most, 1 to 200; 50 if absent.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
}

#[tool_router(router = list_workflow_runs_router, vis = "pub(super)")]
impl Tools {
    /// List runs of workflows (preview_up deploys, preview_down tears down), the newest first. All conditions hold together.
    #[tool(annotations(title = "List runs", read_only_hint = true, open_world_hint = false))]
    async fn list_workflow_runs(
        &self,
        Parameters(arguments): Parameters<Arguments>,
        Extension(parts): Extension<Parts>,
    ) -> Result<Json<RunPage>, ToolError> {
        let caller = caller(&parts)?;
        let filter = RunFilter {
            state: arguments.state.map(views::RunState::from),
            workflow: arguments.workflow,
            key: arguments.key,
            text: arguments.text,
            since: arguments.since,
            until: arguments.until,
        };
        let page = PageRequest { after: arguments.after, limit: arguments.limit.unwrap_or(50) };
        Ok(Json(self.api.operations.list_runs(caller, &filter, &page).await?.into()))
    }
}
