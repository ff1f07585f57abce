//! What a webhook delivery means to Seatrial.

use serde::{Deserialize, Serialize};

use crate::ids::{CommentId, HeadSha, PullRequestRef, RepositoryName};
use crate::pull_request::PullRequest;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ForgeEvent {
    /// The pull request wants a preview at its present head: opened, reopened, pushed to,
    /// ready for review, retargeted.
    Deploy { pull_request: Box<PullRequest>, action: String },
    /// The pull request was closed or merged: its preview goes away.
    Remove { pull_request: Box<PullRequest>, action: String },
    /// Somebody wrote `/preview …` on a pull request.
    Command(CommandComment),
    /// Something that a deployment may be waiting for has come: a check has ended, an image was
    /// pushed.
    Arrived { repository: RepositoryName, sha: Option<HeadSha>, what: Awaited },
    /// The repository has a new name; its pull requests keep their numbers.
    Renamed { from: RepositoryName, to: RepositoryName },
    /// Nothing to do; the reason is kept with the delivery.
    Ignored { reason: String },
}

/// A comment that speaks to Seatrial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandComment {
    pub at: PullRequestRef,
    pub comment: CommentId,
    /// Who wrote it; whether they may is asked of GitHub.
    pub author: String,
    /// The line that begins with `/preview`.
    pub line: String,
}

/// What a deployment may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Awaited {
    Image,
    Check,
}
