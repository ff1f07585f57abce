//! What people may write on a pull request: `/preview …`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ids::HeadSha;

/// What a line that begins with this asks of us.
pub const PREFIX: &str = "/preview";

/// One command. Whether its author may give it is asked of GitHub, not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Deploy the newest commit, again if need be.
    Deploy,
    /// Go on from the step that failed.
    Retry,
    /// Remove the preview; the next push makes a new one.
    Delete,
    /// Scale to zero until somebody opens it.
    Sleep,
    Wake,
    /// Keep it at least so long from now: 1 hour to 30 days.
    Extend {
        by: Duration,
    },
    /// Keep it until the pull request is closed.
    Pin,
    Unpin,
    /// Trust this one commit of a fork.
    Approve {
        commit: HeadSha,
    },
    /// Show the last log lines.
    Logs,
    /// Say which commands there are.
    Help,
}

/// Names, as they are written and listed to people.
const NAMES: [&str; 11] =
    ["deploy", "retry", "delete", "sleep", "wake", "extend", "pin", "unpin", "approve", "logs", "help"];
const LIST: &str = "`/preview` takes `deploy`, `retry`, `delete`, `sleep`, `wake`, `extend 3d`, `pin`, `unpin`, \
                    `approve <commit>`, `logs` or `help`.";

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
const SHORTEST: u64 = HOUR;
const LONGEST: u64 = 30 * DAY;

impl Command {
    /// Reads a line that begins with [`PREFIX`]. Upper and lower case are one. `Invalid` is a
    /// sentence for whoever wrote it: what is wrong, the nearest command, and all there are.
    ///
    /// ```
    /// # use seatrial_preview::command::Command;
    /// assert_eq!(Command::parse("/preview deploy").unwrap(), Command::Deploy);
    /// ```
    pub fn parse(line: &str) -> Result<Self> {
        let mut words = line.split_whitespace();
        if !words.next().is_some_and(|word| word.eq_ignore_ascii_case(PREFIX)) {
            return Err(Error::invalid(format!("A command begins with `{PREFIX}`. {LIST}")));
        }
        let Some(name) = words.next() else {
            return Err(Error::invalid(format!("No command was named. {LIST}")));
        };
        let name = name.to_ascii_lowercase();
        let rest: Vec<&str> = words.collect();
        let command = match name.as_str() {
            "deploy" => Self::Deploy,
            "retry" => Self::Retry,
            "delete" => Self::Delete,
            "sleep" => Self::Sleep,
            "wake" => Self::Wake,
            "pin" => Self::Pin,
            "unpin" => Self::Unpin,
            "logs" => Self::Logs,
            "help" => Self::Help,
            "extend" => return one(&rest, "extend", "a time, like `extend 3d`").and_then(extend),
            "approve" => return one(&rest, "approve", "the commit's whole id").and_then(approve),
            _ => return Err(unknown(&name)),
        };
        match rest.first() {
            None => Ok(command),
            Some(word) => Err(Error::invalid(format!("`{name}` takes nothing more, but {} follows.", quoted(word)))),
        }
    }
}

/// The one word that a command takes.
fn one<'a>(rest: &[&'a str], name: &str, wanted: &str) -> Result<&'a str> {
    match rest {
        [word] => Ok(word),
        [] => Err(Error::invalid(format!("`{name}` needs {wanted}."))),
        [_, second, ..] => {
            Err(Error::invalid(format!("`{name}` takes {wanted}, and nothing more, but {} follows.", quoted(second))))
        }
    }
}

fn extend(word: &str) -> Result<Command> {
    let wrong = || {
        Error::invalid(format!(
            "{} is not a time that `extend` takes: hours or days are, from `1h` to `30d`, like `extend 12h` or `extend 3d`.",
            quoted(word)
        ))
    };
    let (digits, unit) = match word.as_bytes().last() {
        Some(b'h' | b'H') => (&word[..word.len() - 1], HOUR),
        Some(b'd' | b'D') => (&word[..word.len() - 1], DAY),
        _ => return Err(wrong()),
    };
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten();
    match number.and_then(|number| number.checked_mul(unit)) {
        Some(seconds) if (SHORTEST..=LONGEST).contains(&seconds) => {
            Ok(Command::Extend { by: Duration::from_secs(seconds) })
        }
        _ => Err(wrong()),
    }
}

fn approve(word: &str) -> Result<Command> {
    // All of it: a commit that begins like another can be made.
    let commit = word.to_ascii_lowercase().parse().map_err(|_| {
        Error::invalid(format!(
            "{} is not a commit's whole id: copy all 40 digits, like `approve 1a2b3c4d…`; the comment has them.",
            quoted(word)
        ))
    })?;
    Ok(Command::Approve { commit })
}

fn unknown(name: &str) -> Error {
    let nearest = NAMES
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(candidate, name), *candidate))
        // More than half of the letters wrong is another word.
        .filter(|(distance, candidate)| distance * 2 <= candidate.len())
        .min();
    let hint = nearest.map(|(_, candidate)| format!("; did you mean `{candidate}`?")).unwrap_or(".".to_owned());
    Error::invalid(format!("There is no command {}{hint} {LIST}", quoted(name)))
}

/// A word from outside inside a sentence: short, and without what Markdown or a terminal obeys.
fn quoted(word: &str) -> String {
    const MOST: usize = 40;
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':') { c } else { '?' };
    let text: String = word.chars().take(MOST).map(plain).collect();
    let more = if word.chars().nth(MOST).is_some() { "…" } else { "" };
    format!("“{text}{more}”")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Command {
        Command::parse(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn refused(line: &str) -> String {
        Command::parse(line).err().unwrap_or_else(|| panic!("{line:?} was understood")).message
    }

    #[test]
    fn every_command_is_understood() {
        for (line, command) in [
            ("/preview deploy", Command::Deploy),
            ("/preview retry", Command::Retry),
            ("/preview delete", Command::Delete),
            ("/preview sleep", Command::Sleep),
            ("/preview wake", Command::Wake),
            ("/preview pin", Command::Pin),
            ("/preview unpin", Command::Unpin),
            ("/preview logs", Command::Logs),
            ("/preview help", Command::Help),
            ("  /Preview \t DEPLOY \r\n", Command::Deploy),
        ] {
            assert_eq!(parsed(line), command, "{line}");
        }
    }

    #[test]
    fn the_list_for_people_is_the_list_of_commands() {
        for name in NAMES {
            assert!(LIST.contains(&format!("`{name}")), "{name} is not listed");
            let error = Command::parse(&format!("/preview {name}")).err();
            assert!(!error.is_some_and(|error| error.message.contains("no command")), "{name} is not understood");
        }
    }

    #[test]
    fn times_go_from_an_hour_to_thirty_days() {
        let by = |text: &str| match Command::parse(&format!("/preview extend {text}")) {
            Ok(Command::Extend { by }) => Some(by.as_secs()),
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert!(error.message.contains("from `1h` to `30d`"), "{error}");
                None
            }
        };
        assert_eq!(
            (by("1h"), by("24h"), by("3d"), by("30D"), by("720h")),
            (Some(HOUR), Some(DAY), Some(3 * DAY), Some(30 * DAY), Some(30 * DAY))
        );
        for text in
            ["0h", "0d", "31d", "721h", "3", "d", "h", "-3d", "+3d", "3.5d", "3w", "1é", "18446744073709551615d"]
        {
            assert_eq!(by(text), None, "{text}");
        }
        assert!(refused("/preview extend").contains("needs a time"));
        assert!(refused("/preview extend 3 d").contains("nothing more"));
    }

    #[test]
    fn a_commit_is_named_in_full() {
        let sha: HeadSha = "1a2b3c4d5e6f7081928374655647382910abcdef".parse().unwrap();
        for written in [sha.to_string(), sha.to_string().to_uppercase()] {
            assert_eq!(parsed(&format!("/preview approve {written}")), Command::Approve { commit: sha.clone() });
        }
        for word in ["1a2b3c4", "1a2b3c4d5e6f708192837465564738291", "HEAD", "main", &"a".repeat(65)] {
            let message = refused(&format!("/preview approve {word}"));
            assert!(message.contains("whole id"), "{message}");
        }
    }

    #[test]
    fn what_is_not_understood_is_answered_with_the_nearest_and_all() {
        let message = refused("/preview delpoy");
        assert_eq!(message, format!("There is no command “delpoy”; did you mean `deploy`? {LIST}"));
        assert!(refused("/preview extnd 3d").contains("did you mean `extend`?"));
        let message = refused("/preview supercalifragilistic");
        assert!(!message.contains("did you mean") && message.ends_with(LIST), "{message}");
        assert_eq!(refused("/preview"), format!("No command was named. {LIST}"));
        assert_eq!(refused("/previews deploy"), format!("A command begins with `/preview`. {LIST}"));
        assert!(refused("/preview deploy now").contains("“now”"));
        assert!(refused("/preview approve").contains("needs the commit"));
    }

    #[test]
    fn hostile_words_come_back_harmless_and_short() {
        for word in ["`@everyone`", "</details>", "[x](http://e.example)", "\u{202e}\u{1b}[31m", &"x".repeat(10_000)] {
            let message = refused(&format!("/preview {word}"));
            assert!(message.chars().count() < 400, "{message}");
            let answer = message.replace(LIST, "");
            assert!(!answer.contains(['@', '<', '[', '(', '\u{1b}', '\u{202e}']), "{answer}");
        }
    }
}
