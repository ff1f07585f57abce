use http::request::Parts;
use rmcp::handler::server::tool::IntoCallToolResult;
use rmcp::model::{CallToolResponse, CallToolResult, ContentBlock, ErrorData};
use seatrial_operations::{OperationError, Principal};

use crate::guard::Caller;
use crate::wire::Problem;

/// Why a tool did not do what it was asked: a sentence that an agent can act on.
pub(super) struct ToolError(Problem);

impl From<OperationError> for ToolError {
    fn from(error: OperationError) -> Self {
        Self(error.into())
    }
}

impl IntoCallToolResult for ToolError {
    fn into_call_tool_result(self) -> Result<CallToolResponse, ErrorData> {
        let problem = self.0;
        let mut text = format!("{} (code: {})", problem.detail, problem.code);
        if let Some(seconds) = problem.retry_after {
            text.push_str(&format!("\nTry again in {seconds} s."));
        }
        for error in problem.errors.unwrap_or_default() {
            text.push_str(&format!("\n{}: {}", error.pointer.trim_start_matches('/'), error.message));
        }
        Ok(CallToolResult::error(vec![ContentBlock::text(text)]).into())
    }
}

/// Whoever the guard let in.
pub(super) fn caller(parts: &Parts) -> Result<&Principal, ErrorData> {
    let caller = parts.extensions.get::<Caller>().map(|caller| &caller.0);
    caller.ok_or_else(|| ErrorData::internal_error("the request has no caller", None))
}

impl From<ErrorData> for ToolError {
    fn from(error: ErrorData) -> Self {
        Self(OperationError::Broken(error.message.into_owned()).into())
    }
}
