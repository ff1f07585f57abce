use schemars::JsonSchema;
use seatrial_operations::{EnvironmentName, OperationError};
use serde::Deserialize;

/// Names a preview: by `preview`, or by `repository` and `number`.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Named {
    /// The preview's id, its namespace (pr-…), or owner/name#number.
    pub preview: Option<String>,
    /// Instead of `preview`, together with `number`: owner/name.
    pub repository: Option<String>,
    /// Instead of `preview`, together with `repository`: the pull request's number.
    pub number: Option<u64>,
}

impl Named {
    pub fn name(&self) -> Result<EnvironmentName, OperationError> {
        match (&self.preview, &self.repository, self.number) {
            (Some(preview), None, None) => preview.parse(),
            (None, Some(repository), Some(number)) => EnvironmentName::pull_request(repository, number),
            _ => Err(OperationError::field(
                "preview",
                "name the preview either by preview (id, namespace or owner/name#number) or by repository and number",
            )),
        }
    }
}
