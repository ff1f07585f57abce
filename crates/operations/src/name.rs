use std::fmt;
use std::str::FromStr;

use seatrial_preview::{EnvironmentId, Namespace, PullRequestRef};
use uuid::Uuid;

use crate::error::OperationError;

/// The three ways to name a preview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvironmentName {
    Id(EnvironmentId),
    Namespace(Namespace),
    PullRequest(PullRequestRef),
}

impl EnvironmentName {
    /// # Errors
    /// `Invalid`, naming the field that is wrong.
    pub fn pull_request(repository: &str, number: u64) -> Result<Self, OperationError> {
        pull_request_ref(repository, number).map(Self::PullRequest)
    }
}

/// # Errors
/// `Invalid`, naming the field that is wrong.
pub(crate) fn pull_request_ref(repository: &str, number: u64) -> Result<PullRequestRef, OperationError> {
    let repository =
        repository.parse().map_err(|e: seatrial_preview::Error| OperationError::field("repository", e.message))?;
    if number == 0 || number > i64::MAX as u64 {
        return Err(OperationError::field("number", "is not the number of a pull request: they count from 1"));
    }
    Ok(PullRequestRef { repository, number })
}

impl FromStr for EnvironmentName {
    type Err = OperationError;

    /// Accepts an id, a namespace (`pr-…`), or `owner/name#number`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(id) = Uuid::parse_str(text) {
            return Ok(Self::Id(EnvironmentId(id)));
        }
        if let Some((repository, number)) = text.split_once('#') {
            let number = number.parse().map_err(|_| {
                OperationError::field("number", format!("{number:?} is not the number of a pull request"))
            })?;
            return Self::pull_request(repository, number);
        }
        text.parse().map(Self::Namespace).map_err(|_| {
            OperationError::field(
                "preview",
                format!("{text:?} does not name a preview: give its id, its namespace (pr-…) or owner/name#number"),
            )
        })
    }
}

impl fmt::Display for EnvironmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Namespace(namespace) => namespace.fmt(f),
            Self::PullRequest(at) => at.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_ways_are_understood() {
        for text in ["0198c0de-0000-7000-8000-000000000001", "pr-shop-7", "acme/shop#7"] {
            assert_eq!(text.parse::<EnvironmentName>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_words_are_refused_with_the_field() {
        for (text, field) in [
            ("shop", "preview"),
            ("", "preview"),
            ("../etc/passwd", "preview"),
            ("acme#7", "repository"),
            ("acme/shop#", "number"),
            ("acme/shop#0", "number"),
            ("acme/shop#-1", "number"),
            ("acme/shop#18446744073709551615", "number"),
        ] {
            match text.parse::<EnvironmentName>() {
                Err(OperationError::Invalid { fields, .. }) => assert_eq!(fields[0].field, field, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
