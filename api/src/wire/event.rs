use poem_openapi::{Enum, Object};
use schemars::JsonSchema;
use seatrial_operations::{LiveEvent, views};
use serde::Serialize;

/// Something that happened to a run.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct Event {
    pub kind: EventKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The run's concurrency key: `owner/name#number`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The new state, the step, the progress in words, or the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, JsonSchema)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    State,
    Step,
    Progress,
    CancelRequested,
    /// Events were lost on the way to a slow listener: look again.
    Missed,
}

/// A piece of a log that is followed.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct LogEvent {
    /// One line, without its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// Why there will be no more lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

impl From<LiveEvent> for Event {
    fn from(event: LiveEvent) -> Self {
        let of = |kind, run: views::RunId, key: Option<String>, text: String| Self {
            kind,
            run: Some(run.to_string()),
            key,
            text: Some(text),
        };
        match event {
            LiveEvent::Run(views::RunEvent::State { run, key, state }) => {
                of(EventKind::State, run, key, state.as_str().to_owned())
            }
            LiveEvent::Run(views::RunEvent::Step { run, key, step }) => of(EventKind::Step, run, key, step),
            LiveEvent::Run(views::RunEvent::Progress { run, key, text }) => of(EventKind::Progress, run, key, text),
            LiveEvent::Run(views::RunEvent::CancelRequested { run, reason }) => {
                of(EventKind::CancelRequested, run, None, reason)
            }
            LiveEvent::Run(views::RunEvent::Stopped { run }) => {
                of(EventKind::CancelRequested, run, None, "stopped by force".to_owned())
            }
            LiveEvent::Missed => Self { kind: EventKind::Missed, run: None, key: None, text: None },
        }
    }
}
