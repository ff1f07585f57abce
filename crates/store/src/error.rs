use seatrial_engine::JournalError;
use seatrial_preview::Error;

/// Why the store could not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The database cannot be used right now: locked, full, gone.
    #[error("the database cannot be used: {0}")]
    Unavailable(String),
    /// The transaction ran into another's locks and was undone: try it again.
    #[error("the database undid a transaction that ran into another: {0}")]
    Conflict(String),
    /// What the database holds, or what it was asked, makes no sense; says what.
    #[error("{0}")]
    Invalid(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Self::Invalid(format!("a row of the database cannot be read by this version of the program: {error}"))
            }
            // SQLite's plain error, and its broken constraints: the statement is wrong, and stays so.
            sqlx::Error::Database(ref database)
                if matches!(
                    database.code().as_deref(),
                    Some("1" | "19" | "275" | "787" | "1299" | "1555" | "2067")
                ) =>
            {
                Self::Invalid(format!("the database refused a statement: {error}"))
            }
            // PostgreSQL: a deadlock, or transactions that cannot be put in order.
            sqlx::Error::Database(ref database)
                if matches!(database.code().as_deref(), Some("40P01" | "40001" | "55P03")) =>
            {
                Self::Conflict(error.to_string())
            }
            // PostgreSQL: the statement itself is wrong (42), a value does not fit (22, 23), or is too
            // large for an index (54).
            sqlx::Error::Database(ref database)
                if database.code().is_some_and(|code| {
                    code.len() == 5 && ["22", "23", "42", "54"].iter().any(|class| code.starts_with(class))
                }) =>
            {
                Self::Invalid(format!("the database refused a statement: {error}"))
            }
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<StoreError> for JournalError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Journal(error) => error,
            StoreError::Unavailable(reason) | StoreError::Conflict(reason) => Self::Unavailable(reason),
            StoreError::Invalid(reason) => Self::Illegal(reason),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_)
            | StoreError::Conflict(_)
            | StoreError::Journal(JournalError::Unavailable(_)) => Self::transient(error.to_string()),
            other => Self::invalid(other.to_string()),
        }
    }
}
