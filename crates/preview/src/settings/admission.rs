//! Which pull requests get a preview.

use serde::{Deserialize, Serialize};

use super::Settings;
use crate::pull_request::PullRequest;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    Deploy,
    Refuse(Refusal),
}

/// Why a pull request gets no preview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Refusal {
    Draft,
    Fork,
    Bot,
    /// None of the `wanted` labels is on the pull request.
    MissingLabel {
        wanted: Vec<String>,
    },
    IgnoredLabel {
        label: String,
    },
    BaseBranch {
        base: String,
        allowed: Vec<String>,
    },
    /// It changes no file that one of the patterns fits.
    Paths {
        wanted: Vec<String>,
    },
    /// Closed or merged.
    Closed,
    /// The base branch has no `.seatrial.yaml`.
    Unconfigured,
}

/// Decides from the pull request and the settings alone. A fork's commit that was not `approved` is
/// refused whatever the settings say; of several reasons, the one that most needs to be known comes
/// first.
pub fn admit(pull_request: &PullRequest, settings: &Settings, approved: bool) -> Admission {
    match refusal(pull_request, settings, approved) {
        Some(refusal) => Admission::Refuse(refusal),
        None => Admission::Deploy,
    }
}

fn refusal(pull_request: &PullRequest, settings: &Settings, approved: bool) -> Option<Refusal> {
    let filters = &settings.filters;
    if !pull_request.is_open() {
        return Some(Refusal::Closed);
    }
    if pull_request.is_from_fork() && !approved {
        return Some(Refusal::Fork);
    }
    if pull_request.author_is_bot && !filters.bots {
        return Some(Refusal::Bot);
    }
    if !filters.base_branches.is_empty() && !filters.base_branches.contains(&pull_request.base.branch) {
        return Some(Refusal::BaseBranch {
            base: pull_request.base.branch.clone(),
            allowed: filters.base_branches.clone(),
        });
    }
    if let Some(label) = pull_request.labels.iter().find(|label| carries(&filters.ignore_labels, label)) {
        return Some(Refusal::IgnoredLabel { label: label.clone() });
    }
    if !filters.labels.is_empty() && !pull_request.labels.iter().any(|label| carries(&filters.labels, label)) {
        return Some(Refusal::MissingLabel { wanted: filters.labels.clone() });
    }
    if pull_request.draft && !filters.drafts {
        return Some(Refusal::Draft);
    }
    None
}

/// GitHub's labels differ by more than case: `Preview` and `preview` cannot both exist.
fn carries(labels: &[String], label: &str) -> bool {
    labels.iter().any(|known| known.to_lowercase() == label.to_lowercase())
}
