use futures::StreamExt;
use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::{tool, tool_router};
use schemars::JsonSchema;
use seatrial_operations::OperationError;
use seatrial_operations::views::LogQuery;
use serde::Deserialize;

use super::Tools;
use super::answer::{ToolError, caller};
use super::arguments::Named;

const TAIL_MAX: i64 = 5_000;
/// More would fill an agent's memory with one answer.
const BYTES_MAX: usize = 256 * 1024;

#[derive(Debug, Deserialize, JsonSchema)]
struct Arguments {
    #[serde(flatten)]
    named: Named,
    /// The newest pod when absent.
    pod: Option<String>,
    /// The pod's first container when absent.
    container: Option<String>,
    /// The log of the container's previous life.
    previous: Option<bool>,
    /// Only the last so many lines, 1 to 5000; 200 if absent.
    #[schemars(range(min = 1, max = 5000))]
    tail: Option<i64>,
}

#[tool_router(router = get_preview_logs_router, vis = "pub(super)")]
impl Tools {
    /// Read the last log lines of one container of a preview, as text. With previous, of the life before its last restart: the one to read after a crash.
    #[tool(annotations(title = "Read logs", read_only_hint = true, open_world_hint = false))]
    async fn get_preview_logs(
        &self,
        Parameters(arguments): Parameters<Arguments>,
        Extension(parts): Extension<Parts>,
    ) -> Result<String, ToolError> {
        let caller = caller(&parts)?;
        let tail = arguments.tail.unwrap_or(200);
        if !(1..=TAIL_MAX).contains(&tail) {
            return Err(OperationError::field("tail", format!("must be a number of lines from 1 to {TAIL_MAX}")).into());
        }
        let query = LogQuery {
            pod: arguments.pod,
            container: arguments.container,
            previous: arguments.previous.unwrap_or(false),
            follow: false,
            tail: Some(tail),
        };
        let mut chunks = self.api.operations.get_logs(caller, &arguments.named.name()?, query).await?;
        let mut log = Vec::new();
        let mut end = String::new();
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) => log.extend_from_slice(&chunk),
                Err(error) => end = format!("\n(the log breaks off here: {error})"),
            }
            if log.len() > BYTES_MAX {
                log.truncate(BYTES_MAX);
                end = "\n(there is more: ask for a smaller tail)".to_owned();
                break;
            }
        }
        let text = String::from_utf8_lossy(&log);
        Ok(if text.trim().is_empty() { format!("The log is empty.{end}") } else { format!("{text}{end}") })
    }
}
