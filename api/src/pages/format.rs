//! Times, as people read them.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

/// `850 ms`, `4.2 s`, `38 s`, `1 min 12 s`, `2 h 5 min`.
pub(super) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..10 => format!("{}.{} s", seconds, ms % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

pub(super) fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> u64 {
    u64::try_from((to - from).num_milliseconds()).unwrap_or(0)
}

/// How long ago; the exact time as its title. Kept current by the script.
pub(super) fn age(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    html! { time.age datetime=(iso(at)) title=(stamp(at)) { (ago(now - at)) } }
}

/// How long something goes on already. Kept current by the script.
pub(super) fn running(since: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    html! { time.since datetime=(iso(since)) title=(stamp(since)) { (duration(between(since, now))) } }
}

/// A moment of today, to the second, in UTC.
pub(super) fn moment(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(iso(at)) title=(stamp(at)) { (at.format("%H:%M:%S")) } }
}

/// A time that may be days away, to the minute.
pub(super) fn date(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(iso(at)) title=(stamp(at)) { (at.format("%Y-%m-%d %H:%M UTC")) } }
}

fn ago(age: TimeDelta) -> String {
    match age.num_seconds() {
        ..5 => "just now".to_owned(),
        s @ 5..60 => format!("{s} s ago"),
        s @ 60..3600 => format!("{} min ago", s / 60),
        s @ 3600..172_800 => format!("{} h ago", s / 3600),
        s => format!("{} d ago", s / 86_400),
    }
}

pub(super) fn stamp(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn iso(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// The first seven digits of a commit.
pub(super) fn short(sha: &str) -> &str {
    sha.get(..7).unwrap_or(sha)
}

/// A URL as people read it.
pub(super) fn without_scheme(url: &str) -> &str {
    url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or(url)
}

/// A link's target, if it is one of the web: `javascript:` and the like lead nowhere.
pub(super) fn web(url: &str) -> &str {
    if url.starts_with("https://") || url.starts_with("http://") { url } else { "#" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_may_be_days_away_has_its_date() {
        let at = "2026-12-01T16:43:22Z".parse().unwrap();
        assert!(date(at).into_string().ends_with(">2026-12-01 16:43 UTC</time>"));
    }

    #[test]
    fn durations_read_naturally() {
        for (ms, text) in [
            (0, "0 ms"),
            (850, "850 ms"),
            (4_260, "4.2 s"),
            (38_900, "38 s"),
            (72_000, "1 min 12 s"),
            (7_500_000, "2 h 5 min"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn only_links_to_the_web_are_followed() {
        assert_eq!(web("javascript:alert(1)"), "#");
        assert_eq!(web("https://a.example/"), "https://a.example/");
    }
}
