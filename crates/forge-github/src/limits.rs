//! GitHub's rate limits, kept before GitHub has to: one gate for all requests with the same
//! credentials.
//!
//! - *Primary*: when an answer says that none are left, nothing is sent until the reset.
//! - *Secondary* (too much at once): nothing is sent for as long as GitHub says. For a while after
//!   it writes go one a second, as GitHub asks of those who write much; all who waited would else
//!   come at once and be refused again. Before GitHub has complained writes are not held up: a
//!   preview's few would only be slower.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::HeaderMap;
use tokio::time::Instant;

use crate::failure::{seconds, until_reset};

/// Between writes, once GitHub has complained: "wait at least one second between each request"
/// (docs.github.com, best practices for using the REST API).
const SPACING: Duration = Duration::from_secs(1);
/// So long after the complaint.
const SPACED_FOR: Duration = Duration::from_secs(600);
/// A place in the line of writes further away than this is waited for by the engine.
const LONGEST_LINE: Duration = Duration::from_secs(10);

/// What GitHub last said about our use of its API (FR-014).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    pub limit: u64,
    pub remaining: u64,
    pub resets_at: DateTime<Utc>,
}

/// Whose limit it is: GitHub counts for each installation of an App by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// The token, or the App itself.
    Account,
    Installation(u64),
}

/// Whether a request may go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// After so long, mostly none.
    After(Duration),
    /// Not before so long has passed: come again.
    Closed(Duration),
}

/// What kind of limit a refusal was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exceeded {
    Primary,
    Secondary,
}

#[derive(Debug, Default)]
pub(crate) struct Limits {
    holders: Mutex<HashMap<Holder, Limit>>,
}

#[derive(Debug, Default)]
struct Limit {
    seen: Option<RateLimit>,
    closed_until: Option<Instant>,
    spaced_until: Option<Instant>,
    next_write: Option<Instant>,
}

impl Limits {
    /// What GitHub last said; of several installations, of the one with the fewest left.
    pub(crate) fn seen(&self) -> Option<RateLimit> {
        self.lock().values().filter_map(|limit| limit.seen).min_by_key(|seen| seen.remaining)
    }

    /// When the next request may go. A write that may takes its place in the line.
    pub(crate) fn turn(&self, holder: Holder, write: bool, now: Instant) -> Turn {
        let mut holders = self.lock();
        let Some(limit) = holders.get_mut(&holder) else { return Turn::After(Duration::ZERO) };
        if let Some(until) = limit.closed_until.filter(|until| now < *until) {
            return Turn::Closed(until - now);
        }
        if !write || limit.spaced_until.is_none_or(|until| until <= now) {
            return Turn::After(Duration::ZERO);
        }
        let at = limit.next_write.unwrap_or(now).max(now);
        let wait = at - now;
        if wait > LONGEST_LINE {
            return Turn::Closed(wait);
        }
        limit.next_write = Some(at + SPACING);
        Turn::After(wait)
    }

    /// Learns from the headers of any answer.
    pub(crate) fn note(&self, holder: Holder, headers: &HeaderMap, now: Instant) {
        // Other resources (search, GraphQL) have limits of their own.
        if headers.get("x-ratelimit-resource").is_some_and(|value| value != "core") {
            return;
        }
        let number = |name| seconds(headers, name).map(|value| value.as_secs());
        let (Some(limit), Some(remaining), Some(reset)) =
            (number("x-ratelimit-limit"), number("x-ratelimit-remaining"), number("x-ratelimit-reset"))
        else {
            return;
        };
        let Some(resets_at) = i64::try_from(reset).ok().and_then(|reset| DateTime::from_timestamp(reset, 0)) else {
            return;
        };
        let whose = match holder {
            Holder::Account => "account".to_owned(),
            Holder::Installation(id) => format!("installation {id}"),
        };
        // Never more than 2^53: limits are thousands.
        metrics::gauge!("github_quota_remaining", "credentials" => whose).set(remaining as f64);
        let mut holders = self.lock();
        let known = holders.entry(holder).or_default();
        known.seen = Some(RateLimit { limit, remaining, resets_at });
        if remaining == 0
            && let Some(wait) = until_reset(headers)
        {
            known.close(now + wait);
        }
    }

    /// GitHub has refused a request for a limit, and named the wait.
    pub(crate) fn exceeded(&self, holder: Holder, kind: Exceeded, wait: Duration, now: Instant) {
        let mut holders = self.lock();
        let limit = holders.entry(holder).or_default();
        limit.close(now + wait);
        if kind == Exceeded::Secondary {
            limit.spaced_until = Some(now + wait + SPACED_FOR);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Holder, Limit>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limit {
    fn close(&mut self, until: Instant) {
        self.closed_until = Some(self.closed_until.map_or(until, |known| known.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GO: Turn = Turn::After(Duration::ZERO);
    const US: Holder = Holder::Account;

    fn headers(remaining: &str, reset: &str, resource: &str) -> HeaderMap {
        let pairs = [
            ("date", "Tue, 24 Nov 2026 10:00:00 GMT"),
            ("x-ratelimit-limit", "5000"),
            ("x-ratelimit-remaining", remaining),
            ("x-ratelimit-reset", reset),
            ("x-ratelimit-resource", resource),
        ];
        pairs.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    /// 2026-11-24T10:05:00Z
    const RESET: &str = "1795514700";

    #[test]
    fn the_last_request_of_the_hour_closes_the_gate_until_the_reset() {
        let (limits, now) = (Limits::default(), Instant::now());
        limits.note(US, &headers("1", RESET, "core"), now);
        assert_eq!(limits.turn(US, true, now), GO);
        limits.note(US, &headers("0", RESET, "search"), now);
        assert_eq!(limits.turn(US, true, now), GO, "another resource");
        limits.note(US, &headers("0", RESET, "core"), now);
        assert_eq!(limits.turn(US, false, now), Turn::Closed(Duration::from_secs(301)));
        assert_eq!(limits.turn(Holder::Installation(1), false, now), GO, "others have limits of their own");
        assert_eq!(limits.turn(US, true, now + Duration::from_secs(301)), GO, "writes go at once, too");
        let seen = limits.seen().unwrap();
        assert_eq!(
            (seen.limit, seen.remaining, seen.resets_at.to_rfc3339()),
            (5000, 0, "2026-11-24T10:05:00+00:00".to_owned())
        );
    }

    #[test]
    fn an_answer_that_comes_late_does_not_open_the_gate() {
        let (limits, now) = (Limits::default(), Instant::now());
        limits.exceeded(US, Exceeded::Primary, Duration::from_secs(60), now);
        limits.exceeded(US, Exceeded::Primary, Duration::from_secs(5), now);
        limits.note(US, &headers("7", RESET, "core"), now);
        assert_eq!(limits.turn(US, false, now), Turn::Closed(Duration::from_secs(60)));
    }

    #[test]
    fn after_a_complaint_writes_go_one_a_second_for_a_while() {
        let (limits, start) = (Limits::default(), Instant::now());
        let wait = Duration::from_secs(30);
        limits.exceeded(US, Exceeded::Secondary, wait, start);
        assert_eq!(limits.turn(US, false, start), Turn::Closed(wait));
        let now = start + wait;
        for second in 0..=10 {
            assert_eq!(limits.turn(US, true, now), Turn::After(Duration::from_secs(second)));
        }
        assert_eq!(limits.turn(US, true, now), Turn::Closed(Duration::from_secs(11)), "the line is long enough");
        assert_eq!(limits.turn(US, true, now), Turn::Closed(Duration::from_secs(11)), "and nobody took a place");
        assert_eq!(limits.turn(US, false, now), GO, "reading is free");
        let later = now + SPACED_FOR;
        assert_eq!((limits.turn(US, true, later), limits.turn(US, true, later)), (GO, GO));
    }

    #[test]
    fn writes_are_free_before_any_complaint() {
        let (limits, now) = (Limits::default(), Instant::now());
        limits.note(US, &headers("4000", RESET, "core"), now);
        assert!((0..1000).all(|_| limits.turn(US, true, now) == GO));
    }

    #[test]
    fn the_poorest_installation_is_shown() {
        let (limits, now) = (Limits::default(), Instant::now());
        assert_eq!(limits.seen(), None);
        for (id, remaining) in [(1, "900"), (2, "12"), (3, "4000")] {
            limits.note(Holder::Installation(id), &headers(remaining, RESET, "core"), now);
        }
        assert_eq!(limits.seen().unwrap().remaining, 12);
        let broken = headers("many", RESET, "core");
        limits.note(Holder::Installation(2), &broken, now);
        assert_eq!(limits.seen().unwrap().remaining, 12);
    }
}
