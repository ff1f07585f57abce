//! One error for all ports. Its kind is what callers branch on; the rest is for people.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::Diagnosis;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller may do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// May pass by itself: try again, not before [`Error::retry_after`] if that is set.
    Transient,
    /// The thing that was asked for does not exist.
    NotFound,
    /// The thing exists, but is somebody else's or in a state that forbids the operation.
    Conflict,
    /// The credentials do not permit the operation.
    Forbidden,
    /// What was asked can never succeed as it was asked.
    Invalid,
}

/// An error of a port: what happened, to what, and what to do, in [`Error::message`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub kind: ErrorKind,
    /// A whole sentence for people. Never contains a secret.
    pub message: String,
    pub retry_after: Option<Duration>,
    /// Who is to blame and the evidence, when the failure is the application's own.
    pub diagnosis: Option<Box<Diagnosis>>,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None, diagnosis: None }
    }
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Transient, message)
    }
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, message)
    }
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }
    /// The application's own failure: waiting or retrying cannot cure it.
    pub fn diagnosed(diagnosis: Diagnosis) -> Self {
        Self {
            kind: ErrorKind::Invalid,
            message: diagnosis.summary.clone(),
            retry_after: None,
            diagnosis: Some(Box::new(diagnosis)),
        }
    }
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
    pub fn is_transient(&self) -> bool {
        self.kind == ErrorKind::Transient
    }
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }
}
