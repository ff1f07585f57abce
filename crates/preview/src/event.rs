//! What a webhook delivery means to Seatrial.

use serde::{Deserialize, Serialize};

use crate::pull_request::PullRequest;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ForgeEvent {
    /// The pull request wants a preview at its present head: opened, reopened, pushed to,
    /// ready for review, retargeted.
    Deploy { pull_request: Box<PullRequest>, action: String },
    /// The pull request was closed or merged: its preview goes away.
    Remove { pull_request: Box<PullRequest>, action: String },
    /// Nothing to do; the reason is kept with the delivery.
    Ignored { reason: String },
}
