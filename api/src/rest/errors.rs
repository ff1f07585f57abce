//! The errors of the API, as each kind of operation can have them.

use poem_openapi::ApiResponse;
use poem_openapi::payload::Json;
use seatrial_operations::OperationError;

use crate::wire::Problem;

/// What reading a list can answer besides the list.
#[derive(ApiResponse)]
pub(super) enum ListError {
    /// A filter or the cursor cannot be understood.
    #[oai(status = 400, content_type = "application/problem+json")]
    Invalid(Json<Problem>),
    /// The token is missing or wrong.
    #[oai(status = 401, content_type = "application/problem+json")]
    Unauthorized(Json<Problem>),
    /// What the caller may do does not reach this far; `detail` says what would.
    #[oai(status = 403, content_type = "application/problem+json")]
    Forbidden(Json<Problem>),
    /// Too many wrong tokens, or streams, from there.
    #[oai(status = 429, content_type = "application/problem+json")]
    TooMany(Json<Problem>, #[oai(header = "Retry-After")] Option<u64>),
    /// A mistake of Seatrial's own.
    #[oai(status = 500, content_type = "application/problem+json")]
    Broken(Json<Problem>),
    /// The database cannot be reached now; try again.
    #[oai(status = 503, content_type = "application/problem+json")]
    Unavailable(Json<Problem>, #[oai(header = "Retry-After")] Option<u64>),
}

/// What reading one thing can answer besides the thing.
#[derive(ApiResponse)]
pub(super) enum ReadError {
    /// The name or a parameter cannot be understood.
    #[oai(status = 400, content_type = "application/problem+json")]
    Invalid(Json<Problem>),
    /// The token is missing or wrong.
    #[oai(status = 401, content_type = "application/problem+json")]
    Unauthorized(Json<Problem>),
    /// What the caller may do does not reach this far; `detail` says what would.
    #[oai(status = 403, content_type = "application/problem+json")]
    Forbidden(Json<Problem>),
    /// Too many wrong tokens, or streams, from there.
    #[oai(status = 429, content_type = "application/problem+json")]
    TooMany(Json<Problem>, #[oai(header = "Retry-After")] Option<u64>),
    /// There is no such thing.
    #[oai(status = 404, content_type = "application/problem+json")]
    NotFound(Json<Problem>),
    /// A mistake of Seatrial's own.
    #[oai(status = 500, content_type = "application/problem+json")]
    Broken(Json<Problem>),
    /// The database or the cluster cannot be reached now; try again.
    #[oai(status = 503, content_type = "application/problem+json")]
    Unavailable(Json<Problem>, #[oai(header = "Retry-After")] Option<u64>),
}

/// What asking for a change can answer besides its acceptance.
#[derive(ApiResponse)]
pub(super) enum WriteError {
    /// The name, a parameter or the body cannot be understood.
    #[oai(status = 400, content_type = "application/problem+json")]
    Invalid(Json<Problem>),
    /// The token is missing or wrong.
    #[oai(status = 401, content_type = "application/problem+json")]
    Unauthorized(Json<Problem>),
    /// What the caller may do does not reach this far; `detail` says what would.
    #[oai(status = 403, content_type = "application/problem+json")]
    Forbidden(Json<Problem>),
    /// Too many wrong tokens, or streams, from there.
    #[oai(status = 429, content_type = "application/problem+json")]
    TooMany(Json<Problem>, #[oai(header = "Retry-After")] Option<u64>),
    /// There is no such thing.
    #[oai(status = 404, content_type = "application/problem+json")]
    NotFound(Json<Problem>),
    /// Its state forbids the change; `detail` says what would be possible.
    #[oai(status = 409, content_type = "application/problem+json")]
    Conflict(Json<Problem>),
    /// A mistake of Seatrial's own.
    #[oai(status = 500, content_type = "application/problem+json")]
    Broken(Json<Problem>),
    /// The database, the cluster or GitHub cannot be reached now; try again.
    #[oai(status = 503, content_type = "application/problem+json")]
    Unavailable(Json<Problem>, #[oai(header = "Retry-After")] Option<u64>),
}

impl From<OperationError> for ListError {
    fn from(error: OperationError) -> Self {
        let problem = Problem::from(error);
        let wait = problem.retry_after;
        match problem.status {
            400 => Self::Invalid(Json(problem)),
            401 => Self::Unauthorized(Json(problem)),
            403 => Self::Forbidden(Json(problem)),
            429 => Self::TooMany(Json(problem), wait),
            503 => Self::Unavailable(Json(problem), wait),
            _ => Self::Broken(Json(problem)),
        }
    }
}

impl From<OperationError> for ReadError {
    fn from(error: OperationError) -> Self {
        let problem = Problem::from(error);
        let wait = problem.retry_after;
        match problem.status {
            400 => Self::Invalid(Json(problem)),
            401 => Self::Unauthorized(Json(problem)),
            403 => Self::Forbidden(Json(problem)),
            429 => Self::TooMany(Json(problem), wait),
            404 => Self::NotFound(Json(problem)),
            503 => Self::Unavailable(Json(problem), wait),
            _ => Self::Broken(Json(problem)),
        }
    }
}

impl From<OperationError> for WriteError {
    fn from(error: OperationError) -> Self {
        let problem = Problem::from(error);
        let wait = problem.retry_after;
        match problem.status {
            400 => Self::Invalid(Json(problem)),
            401 => Self::Unauthorized(Json(problem)),
            403 => Self::Forbidden(Json(problem)),
            429 => Self::TooMany(Json(problem), wait),
            404 => Self::NotFound(Json(problem)),
            409 => Self::Conflict(Json(problem)),
            503 => Self::Unavailable(Json(problem), wait),
            _ => Self::Broken(Json(problem)),
        }
    }
}

/// A parameter or field of a checked type.
pub(super) fn parse<T>(field: &str, text: &str) -> Result<T, OperationError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    text.parse().map_err(|error: T::Err| OperationError::field(field, error.to_string()))
}
