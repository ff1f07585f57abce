//! Short words under what the comment says: warnings, and answers to commands.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{bounded, short_code, time};
use crate::ids::HeadSha;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// Nobody has used the preview for long.
    WillBeDeleted { at: DateTime<Utc> },
    /// What became of a `/preview` command.
    Answer { by: String, line: String, outcome: Result<Answer, String> },
}

/// What a command has brought about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "done", rename_all = "snake_case")]
pub enum Answer {
    Deploying,
    Retrying,
    Deleting,
    FallingAsleep,
    Waking,
    KeptUntil { at: DateTime<Utc> },
    Pinned,
    Unpinned,
    Approved { sha: HeadSha },
    Logs { pod: String, text: String },
    Help,
}

/// All commands, for people.
const HELP: &str = "Commands, for people with write access: `/preview deploy`, `retry`, `delete`, `sleep`, `wake`, `extend 3d`, `pin`, `unpin`, `approve <sha>`, `logs`.";

pub(super) fn render(notice: &Notice) -> String {
    match notice {
        Notice::WillBeDeleted { at } => format!(
            "⏰ **Nobody has used this preview for a while: it will be deleted {}.** Opening it, a push, `/preview extend 3d` or `/preview pin` keeps it.",
            time(*at)
        ),
        // A name in code mentions nobody.
        Notice::Answer { by, line, outcome } => {
            let asked = format!("{} by {}:", short_code(line), short_code(by));
            match outcome {
                Ok(Answer::Logs { pod, text }) => format!("> {asked}\n\n{}", logs(pod, text)),
                Ok(answer) => format!("> {asked} {}", words(answer)),
                Err(reason) => format!("> {asked} not done. {}", bounded(reason, 500)),
            }
        }
    }
}

fn words(answer: &Answer) -> String {
    match answer {
        Answer::Deploying => "the newest commit is being deployed.".to_owned(),
        Answer::Retrying => "the deployment goes on from the step that failed.".to_owned(),
        Answer::Deleting => "the preview is being removed.".to_owned(),
        Answer::FallingAsleep => "the preview is being put to sleep. Opening it wakes it.".to_owned(),
        Answer::Waking => "the preview is being woken.".to_owned(),
        Answer::KeptUntil { at } => format!("the preview is kept at least until {}.", time(*at)),
        Answer::Pinned => "the preview is kept until the pull request is closed.".to_owned(),
        Answer::Unpinned => "the preview has its usual lifetime again.".to_owned(),
        Answer::Approved { sha } => {
            format!("commit `{}` is approved and is being deployed. A push needs an approval of its own.", sha.short())
        }
        Answer::Logs { .. } => String::new(),
        Answer::Help => HELP.to_owned(),
    }
}

fn logs(pod: &str, text: &str) -> String {
    let title = super::markdown::clip(&format!("Last log lines of {pod}"), 120);
    super::markdown::folded(&title, &super::markdown::block(&super::markdown::shorten_middle(text, 8_000)))
}
