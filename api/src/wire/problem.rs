use poem::http::StatusCode;
use poem_openapi::Object;
use schemars::JsonSchema;
use seatrial_operations::OperationError;
use serde::Serialize;

/// Why a request was not done (RFC 9457).
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none, example)]
pub struct Problem {
    /// A URI that stands for the code.
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable; for programs.
    pub code: String,
    /// A sentence: what happened, to what, and what to do.
    pub detail: String,
    /// The first wrong field, as a JSON pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Every wrong field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<FieldProblem>>,
    /// Seconds to wait before trying again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// One field that is wrong.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
pub struct FieldProblem {
    /// A JSON pointer: `/number`.
    pub pointer: String,
    pub message: String,
}

impl poem_openapi::types::Example for Problem {
    fn example() -> Self {
        Self::new(StatusCode::CONFLICT, "run_state", "run 0198… cannot be retried: it is running")
    }
}

impl Problem {
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:seatrial:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.into(),
            pointer: None,
            errors: None,
            retry_after: None,
        }
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<OperationError> for Problem {
    fn from(error: OperationError) -> Self {
        let status = match &error {
            OperationError::NotFound { .. } => StatusCode::NOT_FOUND,
            OperationError::Conflict { .. } => StatusCode::CONFLICT,
            OperationError::Invalid { .. } => StatusCode::BAD_REQUEST,
            OperationError::Denied(_) | OperationError::Unsigned(_) => StatusCode::UNAUTHORIZED,
            OperationError::Forbidden(_) => StatusCode::FORBIDDEN,
            OperationError::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            OperationError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            OperationError::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut problem = Self::new(status, error.code(), error.to_string());
        match error {
            OperationError::Invalid { fields, .. } if !fields.is_empty() => {
                let errors: Vec<FieldProblem> = fields
                    .into_iter()
                    .map(|field| FieldProblem { pointer: pointer(&field.field), message: field.message })
                    .collect();
                problem.pointer = errors.first().map(|error| error.pointer.clone());
                problem.errors = Some(errors);
            }
            OperationError::TooMany { retry_after, .. } => problem.retry_after = Some(retry_after.as_secs().max(1)),
            OperationError::Unavailable { retry_after, .. } => {
                problem.retry_after = retry_after.map(|wait| wait.as_secs().max(1));
            }
            OperationError::Broken(reason) => {
                tracing::error!(reason, "an operation failed by a fault of Seatrial's own");
                problem.detail = "Seatrial made a mistake; it is in its log. Trying again may help.".to_owned();
            }
            _ => {}
        }
        problem
    }
}

/// RFC 6901.
fn pointer(field: &str) -> String {
    format!("/{}", field.replace('~', "~0").replace('/', "~1"))
}
