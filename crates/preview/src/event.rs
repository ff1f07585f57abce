//! What a webhook delivery means to Seatrial.

use serde::{Deserialize, Serialize};

use crate::ids::{CommentId, HeadSha, PullRequestRef, RepositoryName};
use crate::pull_request::PullRequest;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ForgeEvent {
    /// The pull request wants a preview at its present head: opened, reopened, pushed to,
    /// ready for review, retargeted, relabelled; or made a draft, which admission may refuse.
    Deploy { pull_request: Box<PullRequest>, action: String },
    /// The pull request was closed or merged: its preview goes away.
    Remove { pull_request: Box<PullRequest>, action: String },
    /// Somebody, not a bot, wrote `/preview …` on a pull request. See [`crate::command`].
    Command(CommandComment),
    /// Something that a deployment may be waiting for may have come. It says "look again", not
    /// what there is to see: a build that ended may have pushed the image too, and one build is
    /// reported several times (check run, check suite, workflow run).
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
    /// The first line that begins with `/preview`: at most 200 characters, none of them a
    /// control character. Hostile otherwise.
    pub line: String,
}

/// What a deployment may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Awaited {
    /// A container image was published; GitHub does not say for which commit.
    Image,
    /// A check run, check suite, workflow run or commit status has ended, well or not.
    Check,
}
