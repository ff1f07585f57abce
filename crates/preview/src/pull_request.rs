//! A pull request as Seatrial sees it, whatever forge it comes from.

use serde::{Deserialize, Serialize};

use crate::ids::{HeadSha, PullRequestRef, RepositoryName};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PullRequest {
    pub at: PullRequestRef,
    pub title: String,
    pub author: String,
    pub author_is_bot: bool,
    pub draft: bool,
    pub state: PullRequestState,
    pub head: Head,
    pub base: Base,
    pub labels: Vec<String>,
    /// The page people read.
    pub html_url: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullRequestState {
    Open,
    Closed,
    Merged,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    pub sha: HeadSha,
    pub branch: String,
    /// `None` when the fork the pull request came from was deleted.
    pub repository: Option<RepositoryName>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Base {
    pub branch: String,
    pub sha: HeadSha,
}

impl PullRequest {
    /// True unless the head is known to be in the repository itself: a deleted fork is a fork.
    pub fn is_from_fork(&self) -> bool {
        self.head.repository.as_ref() != Some(&self.at.repository)
    }
    pub fn is_open(&self) -> bool {
        self.state == PullRequestState::Open
    }
}
