//! What GitHub's refusals mean to the domain.

use std::error::Error as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode};
use seatrial_preview::Error;
use serde::Deserialize;

use crate::limits::Exceeded;

/// GitHub asks for at least a minute after a secondary limit that names no time.
const UNNAMED_WAIT: Duration = Duration::from_secs(60);
/// Limits reset within the hour.
const LONGEST_WAIT: Duration = Duration::from_secs(3600 + 60);

/// What was being done, for the message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doing<'a> {
    /// Completes "GitHub … to", like `comment on owner/name#5`.
    pub(crate) what: &'a str,
    /// The permission it takes, as GitHub's settings call it.
    pub(crate) permission: &'a str,
}

/// GitHub's body of an error.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    message: String,
    errors: serde_json::Value,
}

/// An answer that is not a success.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: Error,
    /// The limit that it was refused for, and for how long.
    pub(crate) exceeded: Option<(Exceeded, Duration)>,
}

/// Turns an answer that is not a success into the domain's error.
pub(crate) fn refusal(doing: Doing<'_>, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Refusal {
    let body: Body = serde_json::from_slice(body).unwrap_or_default();
    let limited = matches!(status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS);
    match exceeded(status, headers, &body.message).filter(|_| limited) {
        Some((kind, wait)) => Refusal {
            error: Error::transient(format!(
                "GitHub's rate limit is used up: it refused to {}; try again in {} s",
                doing.what,
                wait.as_secs()
            ))
            .retry_after(wait),
            exceeded: Some((kind, wait)),
        },
        None => Refusal { error: plain(doing, status, headers, &body), exceeded: None },
    }
}

/// What a refusal means that is not for a rate limit.
fn plain(doing: Doing<'_>, status: StatusCode, headers: &HeaderMap, body: &Body) -> Error {
    let Doing { what, permission } = doing;
    let said = said(body);
    match status.as_u16() {
        401 => Error::forbidden(format!(
            "GitHub does not accept the credentials (401){said}, so it refused to {what}; check that \
             SEATRIAL_GITHUB_TOKEN has not expired or been revoked, or that the App's id and private key belong together"
        )),
        403 | 451 => {
            let accepted = headers
                .get("x-accepted-github-permissions")
                .and_then(|value| value.to_str().ok())
                .map(|text| format!(" (GitHub says: {})", bounded(text, 120)))
                .unwrap_or_default();
            Error::forbidden(format!(
                "GitHub refused to {what}{said}; the token or App needs the permission \"{permission}\"{accepted}"
            ))
        }
        404 | 410 => Error::not_found(format!(
            "GitHub found nothing to {what}{said}; it does not exist, or the token or App may not see it"
        )),
        409 => Error::conflict(format!("GitHub could not {what} in its present state{said}")),
        400 | 422 => Error::invalid(format!("GitHub did not accept the request to {what}{said}")),
        408 | 500..=599 => {
            let error = Error::transient(format!("GitHub failed to {what} ({}){said}", status.as_u16()));
            match seconds(headers, "retry-after") {
                Some(wait) => error.retry_after(wait.clamp(Duration::from_secs(1), LONGEST_WAIT)),
                None => error,
            }
        }
        other => Error::invalid(format!("GitHub answered {other} to the request to {what}{said}")),
    }
}

/// Turns what octocrab says when there is no answer to read into the domain's error.
pub(crate) fn no_answer(doing: Doing<'_>, error: octocrab::Error) -> Error {
    match error {
        octocrab::Error::JWT { .. } => {
            Error::invalid("the GitHub App's private key cannot sign; check that it is complete")
        }
        other => Error::transient(format!("GitHub could not be reached to {}: {}", doing.what, causes(&other))),
    }
}

/// Whether GitHub itself could not do what was asked: its front door answers, or nobody does.
pub(crate) fn is_outage(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT
}

/// The limit that a refusal is for, and the wait it asks for; `None` when it is no such refusal.
fn exceeded(status: StatusCode, headers: &HeaderMap, message: &str) -> Option<(Exceeded, Duration)> {
    let spent = seconds(headers, "x-ratelimit-remaining") == Some(Duration::ZERO);
    let kind = if spent { Exceeded::Primary } else { Exceeded::Secondary };
    let wait = if let Some(wait) = seconds(headers, "retry-after") {
        wait
    } else if let Some(wait) = until_reset(headers).filter(|_| spent) {
        wait
    } else {
        let message = message.to_ascii_lowercase();
        let named = message.contains("rate limit") || message.contains("abuse detection");
        (status == StatusCode::TOO_MANY_REQUESTS || named).then_some(UNNAMED_WAIT)?
    };
    Some((kind, wait.clamp(Duration::from_secs(1), LONGEST_WAIT)))
}

/// How long until the hourly limit is reset, by the server's own clock; within reason.
pub(crate) fn until_reset(headers: &HeaderMap) -> Option<Duration> {
    let reset = seconds(headers, "x-ratelimit-reset")?.as_secs();
    let now = u64::try_from(server_time(headers).timestamp()).unwrap_or_default();
    // A second more: GitHub's resets have a resolution of one second.
    let wait = Duration::from_secs(reset.saturating_sub(now).saturating_add(1));
    Some(wait.min(LONGEST_WAIT))
}

/// The server's own time, which its times refer to; ours may be off.
pub(crate) fn server_time(headers: &HeaderMap) -> DateTime<Utc> {
    headers
        .get(http::header::DATE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| DateTime::parse_from_rfc2822(text).ok())
        .map_or_else(Utc::now, |time| time.to_utc())
}

pub(crate) fn seconds(headers: &HeaderMap, name: &str) -> Option<Duration> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// GitHub's own words, and the fields it names.
fn said(body: &Body) -> String {
    let mut parts = vec![body.message.clone()];
    if let serde_json::Value::Array(errors) = &body.errors {
        parts.extend(errors.iter().take(8).map(|error| {
            match error {
                serde_json::Value::String(text) => text.clone(),
                object => ["resource", "field", "code", "message"]
                    .iter()
                    .filter_map(|key| object.get(key)?.as_str())
                    .collect::<Vec<_>>()
                    .join(" "),
            }
        }));
    }
    parts.retain(|part| !part.is_empty());
    if parts.is_empty() { String::new() } else { format!(": \"{}\"", bounded(&parts.join("; "), 400)) }
}

/// One line of at most so many characters, without control characters.
pub(crate) fn bounded(text: &str, most: usize) -> String {
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    if text.chars().count() > most { line.take(most - 1).chain(['…']).collect() } else { line.collect() }
}

fn causes(error: &octocrab::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = bounded(error.to_string().lines().next().unwrap_or_default(), 200);
        if !text.is_empty() && !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        cause = error.source();
    }
    if parts.is_empty() { "no reason was given".to_owned() } else { parts.join(": ") }
}

#[cfg(test)]
mod tests {
    use seatrial_preview::ErrorKind;

    use super::*;

    const DOING: Doing<'_> = Doing { what: "comment on o/r#1", permission: "Pull requests: write" };

    fn with(status: u16, headers: &[(&'static str, &str)], body: &str) -> Error {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>();
        refusal(DOING, StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes()).error
    }

    #[test]
    fn rate_limits_say_how_long_to_wait() {
        let date = ("date", "Tue, 24 Nov 2026 10:00:00 GMT");
        let reset = DateTime::parse_from_rfc3339("2026-11-24T10:05:00Z").unwrap().timestamp().to_string();
        let spent = ("x-ratelimit-remaining", "0");
        let error = with(403, &[date, spent, ("x-ratelimit-reset", &reset)], "{}");
        assert_eq!((error.kind, error.retry_after), (ErrorKind::Transient, Some(Duration::from_secs(301))));
        let error = with(429, &[("retry-after", "7"), spent, ("x-ratelimit-reset", &reset)], "");
        assert_eq!((error.kind, error.retry_after), (ErrorKind::Transient, Some(Duration::from_secs(7))));
        let error = with(403, &[], r#"{"message":"You have exceeded a secondary rate limit."}"#);
        assert_eq!((error.kind, error.retry_after), (ErrorKind::Transient, Some(UNNAMED_WAIT)));
        // Hostile numbers stay within reason.
        let error = with(429, &[("retry-after", "99999999999999")], "");
        assert_eq!(error.retry_after, Some(LONGEST_WAIT));
        let error = with(403, &[date, spent, ("x-ratelimit-reset", "0")], "");
        assert_eq!(error.retry_after, Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_two_limits_are_told_apart() {
        let kind = |status: u16, headers: &[(&'static str, &str)], body: &str| {
            let headers = headers
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect::<HeaderMap>();
            let refusal = refusal(DOING, StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes());
            refusal.exceeded.map(|(kind, _)| kind)
        };
        let spent = ("x-ratelimit-remaining", "0");
        assert_eq!(kind(403, &[spent, ("x-ratelimit-reset", "1")], ""), Some(Exceeded::Primary));
        assert_eq!(kind(429, &[("retry-after", "7")], ""), Some(Exceeded::Secondary));
        assert_eq!(kind(403, &[("x-ratelimit-remaining", "12"), ("retry-after", "7")], ""), Some(Exceeded::Secondary));
        assert_eq!(
            kind(403, &[], r#"{"message":"You have triggered an abuse detection mechanism"}"#),
            Some(Exceeded::Secondary)
        );
        assert_eq!(kind(403, &[], r#"{"message":"Resource not accessible by integration"}"#), None);
        assert_eq!(kind(503, &[("retry-after", "7")], ""), None, "an outage is no limit");
        assert_eq!(kind(404, &[spent, ("x-ratelimit-reset", "1")], ""), None);
    }

    #[test]
    fn a_refusal_names_the_permission() {
        let error = with(
            403,
            &[
                ("x-ratelimit-remaining", "4000"),
                ("x-accepted-github-permissions", "issues=write; pull_requests=write"),
            ],
            r#"{"message":"Resource not accessible by integration"}"#,
        );
        assert_eq!(error.kind, ErrorKind::Forbidden);
        assert!(error.message.contains("\"Pull requests: write\""), "{error}");
        assert!(error.message.contains("issues=write; pull_requests=write"), "{error}");
        assert!(error.message.contains("Resource not accessible by integration"), "{error}");
    }

    #[test]
    fn the_kinds() {
        let kind = |status| with(status, &[], "not json").kind;
        assert_eq!(kind(401), ErrorKind::Forbidden);
        assert_eq!(kind(404), ErrorKind::NotFound);
        assert_eq!(kind(410), ErrorKind::NotFound);
        assert_eq!(kind(409), ErrorKind::Conflict);
        assert_eq!(kind(422), ErrorKind::Invalid);
        assert_eq!(kind(429), ErrorKind::Transient);
        for status in [408, 500, 502, 503, 504] {
            assert_eq!(kind(status), ErrorKind::Transient, "{status}");
        }
    }

    #[test]
    fn field_errors_are_told() {
        let error = with(
            422,
            &[],
            r#"{"message":"Validation Failed","errors":[{"resource":"Status","field":"context","code":"too_long"},"plain"]}"#,
        );
        assert!(error.message.contains("Validation Failed; Status context too_long; plain"), "{error}");
    }

    #[test]
    fn words_from_outside_are_one_bounded_line() {
        assert_eq!(bounded("a\nb\u{1b}[31m", 80), "a b [31m");
        assert_eq!(bounded(&"é".repeat(200), 140).chars().count(), 140);
        assert_eq!(bounded(&"é".repeat(140), 140), "é".repeat(140));
    }
}
