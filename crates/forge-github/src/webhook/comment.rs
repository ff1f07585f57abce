//! Comments that speak to Seatrial.

use seatrial_preview::command::PREFIX;
use seatrial_preview::comment::marker;
use seatrial_preview::event::CommandComment;
use seatrial_preview::{CommentId, PullRequestRef};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::meaning::Repository;
use crate::failure::bounded;

/// A line longer than this is no command; its end is cut off.
const LONGEST: usize = 200;

#[derive(Deserialize)]
pub(super) struct CommentEvent {
    issue: Issue,
    comment: Comment,
    repository: Repository,
}

#[derive(Deserialize)]
struct Issue {
    number: u64,
    /// There when the issue is a pull request.
    #[serde(default)]
    pull_request: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Comment {
    id: u64,
    #[serde(default)]
    body: Option<String>,
    /// `null` for an account that was deleted.
    #[serde(default)]
    user: Option<User>,
}

#[derive(Deserialize)]
struct User {
    login: String,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

/// The command in a new comment, or why there is none.
pub(super) fn command(event: CommentEvent) -> Result<CommandComment, &'static str> {
    let CommentEvent { issue, comment, repository } = event;
    if issue.pull_request.is_none() {
        return Err("issue_comment: not on a pull request");
    }
    let body = comment.body.unwrap_or_default();
    let line = find_command(&body).ok_or("issue_comment: no line begins with /preview")?;
    let user = comment.user.ok_or("issue_comment: its author is gone")?;
    if user.kind.as_deref() == Some("Bot") || user.login.ends_with("[bot]") {
        return Err("issue_comment: bots are not obeyed");
    }
    let at = PullRequestRef { repository: repository.full_name, number: issue.number };
    // With a personal token our own account is a person's; what it says bears the marker.
    if body.contains(&marker(&at)) {
        return Err("issue_comment: our own");
    }
    Ok(CommandComment {
        at,
        comment: CommentId(comment.id),
        author: bounded(&user.login, 100),
        line: bounded(line, LONGEST),
    })
}

/// The first line that begins with `/preview` and is neither quoted nor code: whoever explains a
/// command does not give it.
fn find_command(body: &str) -> Option<&str> {
    let mut fence: Option<(u8, usize)> = None;
    for line in body.lines() {
        let text = line.trim_start_matches(' ');
        // Four spaces make a line code.
        if line.len() - text.len() > 3 {
            continue;
        }
        let mark = text.bytes().next().filter(|byte| matches!(byte, b'`' | b'~'));
        let run = mark.map_or(0, |mark| text.bytes().take_while(|byte| *byte == mark).count());
        match (fence, mark) {
            (None, Some(mark)) if run >= 3 => fence = Some((mark, run)),
            (Some((open, least)), Some(mark)) if mark == open && run >= least && text[run..].trim().is_empty() => {
                fence = None;
            }
            (None, _) => {
                let word = text.split_whitespace().next().unwrap_or_default();
                if text.starts_with('/') && word.eq_ignore_ascii_case(PREFIX) {
                    return Some(text.trim_end());
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_line_of_its_own() {
        assert_eq!(find_command("/preview deploy"), Some("/preview deploy"));
        assert_eq!(find_command("Looks good.\r\n\r\n  /preview sleep  \r\n/preview wake"), Some("/preview sleep"));
        assert_eq!(find_command("/PREVIEW"), Some("/PREVIEW"));
        for body in [
            "",
            "try /preview deploy",
            "> /preview deploy",
            "- /preview deploy",
            "`/preview deploy`",
            "/previews deploy",
            "/preview/deploy",
            "    /preview deploy",
            "\t/preview deploy",
            "```\n/preview deploy\n```",
            "~~~~sh\n~~~\n/preview deploy\n",
        ] {
            assert_eq!(find_command(body), None, "{body}");
        }
        assert_eq!(find_command("```sh\n/preview pin\n```\n/preview unpin"), Some("/preview unpin"));
        assert_eq!(find_command("```` \n```\n/preview pin\n````\n/preview unpin"), Some("/preview unpin"));
    }
}
