use std::time::Duration;

use seatrial_engine::JournalError;
use seatrial_preview::ErrorKind;
use seatrial_store::StoreError;

use crate::access::Denied;

/// Why an operation was not done. Each has a stable code for programs and a sentence for people
/// that says what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OperationError {
    /// What was named does not exist, or may not be seen.
    #[error("{sentence}")]
    NotFound { code: &'static str, sentence: String },
    /// It exists, in a state that forbids the operation.
    #[error("{sentence}")]
    Conflict { code: &'static str, sentence: String },
    /// What was asked can never succeed as it was asked; every wrong field is named.
    #[error("{sentence}")]
    Invalid { sentence: String, fields: Vec<FieldError> },
    /// It may be seen, but not this be done with it.
    #[error("{0}")]
    Forbidden(String),
    #[error(transparent)]
    Denied(Denied),
    /// The webhook's signature is missing or wrong.
    #[error("{0}")]
    Unsigned(String),
    /// It is asked too often, or by too many at once.
    #[error("{sentence}")]
    TooMany { sentence: String, retry_after: Duration },
    /// Something that is needed cannot be reached now.
    #[error("{sentence}")]
    Unavailable { code: &'static str, sentence: String, retry_after: Option<Duration> },
    /// Seatrial's own fault. The sentence is for logs; callers are told that it was logged.
    #[error("{0}")]
    Broken(String),
}

/// One thing that is wrong with what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// `repository`, `number`, `after`.
    pub field: String,
    pub message: String,
}

impl OperationError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { code, .. } | Self::Conflict { code, .. } | Self::Unavailable { code, .. } => code,
            Self::Invalid { .. } => "invalid_request",
            Self::Forbidden(_) => "forbidden",
            Self::Denied(denied) => denied.code(),
            Self::Unsigned(_) => "signature_invalid",
            Self::TooMany { .. } => "too_many_requests",
            Self::Broken(_) => "internal_error",
        }
    }

    /// One field is to blame.
    pub fn field(field: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::Invalid {
            sentence: format!("{field}: {message}"),
            fields: vec![FieldError { field: field.to_owned(), message }],
        }
    }

    pub(crate) fn not_found(code: &'static str, sentence: impl Into<String>) -> Self {
        Self::NotFound { code, sentence: sentence.into() }
    }

    pub(crate) fn conflict(code: &'static str, sentence: impl Into<String>) -> Self {
        Self::Conflict { code, sentence: sentence.into() }
    }

    /// An error of the cluster or the forge.
    pub(crate) fn of_port(port: Port, error: seatrial_preview::Error) -> Self {
        let sentence = error.message;
        match error.kind {
            ErrorKind::NotFound => Self::NotFound { code: port.not_found(), sentence },
            ErrorKind::Conflict => Self::Conflict { code: port.conflict(), sentence },
            ErrorKind::Invalid => Self::Invalid { sentence, fields: Vec::new() },
            ErrorKind::Transient => {
                Self::Unavailable { code: port.unavailable(), sentence, retry_after: error.retry_after }
            }
            // Seatrial's own credentials are not enough: the caller can do nothing about it.
            ErrorKind::Forbidden => Self::Unavailable { code: port.forbidden(), sentence, retry_after: None },
        }
    }
}

/// Where an error of a port came from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Port {
    Cluster,
    Forge,
}

impl Port {
    fn not_found(self) -> &'static str {
        match self {
            Self::Cluster => "not_in_cluster",
            Self::Forge => "pull_request_not_found",
        }
    }
    fn conflict(self) -> &'static str {
        match self {
            Self::Cluster => "cluster_conflict",
            Self::Forge => "forge_conflict",
        }
    }
    pub(crate) fn unavailable(self) -> &'static str {
        match self {
            Self::Cluster => "cluster_unavailable",
            Self::Forge => "forge_unavailable",
        }
    }
    fn forbidden(self) -> &'static str {
        match self {
            Self::Cluster => "cluster_forbidden",
            Self::Forge => "forge_forbidden",
        }
    }
}

impl From<Denied> for OperationError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unavailable(sentence) => unavailable(sentence),
            denied => Self::Denied(denied),
        }
    }
}

impl From<StoreError> for OperationError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Journal(error) => error.into(),
            StoreError::Unavailable(_) | StoreError::Conflict(_) => unavailable(error.to_string()),
            StoreError::Invalid(reason) => Self::Broken(reason),
        }
    }
}

impl From<JournalError> for OperationError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::NotFound(run) => Self::not_found("run_not_found", format!("there is no run {run}")),
            JournalError::Illegal(_) | JournalError::KeyTaken { .. } | JournalError::Fenced { .. } => {
                Self::conflict("run_state", error.to_string())
            }
            JournalError::Unavailable(_) => unavailable(error.to_string()),
        }
    }
}

fn unavailable(sentence: String) -> OperationError {
    OperationError::Unavailable { code: "database_unavailable", sentence, retry_after: Some(Duration::from_secs(5)) }
}
