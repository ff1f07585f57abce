//! How a check stands: check runs and commit statuses are one to those who wait for them.

use chrono::{DateTime, Utc};
use seatrial_preview::ports::{Check, CheckOutcome};
use serde::Deserialize;

/// A page of check runs.
#[derive(Deserialize)]
pub(crate) struct CheckRuns {
    pub(crate) check_runs: Vec<CheckRun>,
}

/// A page of the newest status of each context.
#[derive(Deserialize)]
pub(crate) struct Statuses {
    pub(crate) statuses: Vec<Status>,
}

#[derive(Deserialize)]
pub(crate) struct CheckRun {
    id: u64,
    name: String,
    status: String,
    #[serde(default)]
    conclusion: Option<String>,
    /// `null` while it is queued.
    #[serde(default)]
    started_at: Option<DateTime<Utc>>,
    #[serde(default)]
    html_url: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Status {
    context: String,
    state: String,
    #[serde(default)]
    updated_at: Option<DateTime<Utc>>,
    #[serde(default)]
    target_url: Option<String>,
}

/// The newest of that name, of whichever kind.
pub(crate) fn newest(name: &str, runs: Vec<CheckRun>, statuses: Vec<Status>) -> Option<Check> {
    // A check that is run again gets a greater id. GitHub's filter by name is not relied upon.
    let run = runs.into_iter().filter(|run| run.name == name).max_by_key(|run| run.id);
    let status = statuses.into_iter().find(|status| status.context == name);
    match (run, status) {
        // What has not begun yet is newer than what has.
        (Some(run), Some(status)) if run.started_at.is_some() && status.updated_at > run.started_at => {
            Some(of_status(status))
        }
        (Some(run), _) => Some(of_run(run)),
        (None, status) => status.map(of_status),
    }
}

fn of_run(run: CheckRun) -> Check {
    let outcome = match (run.status.as_str(), run.conclusion.as_deref()) {
        ("completed", Some("success" | "neutral" | "skipped")) => CheckOutcome::Succeeded,
        // Somebody is to approve it; then it goes on.
        ("completed", Some("action_required")) => CheckOutcome::Pending,
        ("completed", _) => CheckOutcome::Failed,
        _ => CheckOutcome::Pending,
    };
    Check { outcome, url: page(run.html_url) }
}

fn of_status(status: Status) -> Check {
    let outcome = match status.state.as_str() {
        "success" => CheckOutcome::Succeeded,
        "pending" => CheckOutcome::Pending,
        _ => CheckOutcome::Failed,
    };
    Check { outcome, url: page(status.target_url) }
}

/// People are sent there: nothing but a web page will do.
fn page(url: Option<String>) -> Option<String> {
    url.filter(|url| url.len() <= 2000 && (url.starts_with("https://") || url.starts_with("http://")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(id: u64, status: &str, conclusion: Option<&str>, started: Option<&str>) -> CheckRun {
        let run = json!({ "id": id, "name": "build", "status": status, "conclusion": conclusion,
            "started_at": started, "html_url": format!("https://ci.example/{id}") });
        serde_json::from_value(run).unwrap()
    }

    fn status(context: &str, state: &str, at: &str) -> Status {
        let status = json!({ "context": context, "state": state, "updated_at": at, "target_url": "javascript:x" });
        serde_json::from_value(status).unwrap()
    }

    const EARLY: &str = "2026-11-24T10:00:00Z";
    const LATE: &str = "2026-11-24T10:00:01Z";

    #[test]
    fn conclusions_are_outcomes() {
        let outcome = |status, conclusion| of_run(run(1, status, conclusion, None)).outcome;
        for conclusion in ["success", "neutral", "skipped"] {
            assert_eq!(outcome("completed", Some(conclusion)), CheckOutcome::Succeeded, "{conclusion}");
        }
        for conclusion in ["failure", "cancelled", "timed_out", "stale", "startup_failure", "something new"] {
            assert_eq!(outcome("completed", Some(conclusion)), CheckOutcome::Failed, "{conclusion}");
        }
        assert_eq!(outcome("completed", Some("action_required")), CheckOutcome::Pending);
        for status in ["queued", "in_progress", "waiting", "requested", "pending"] {
            assert_eq!(outcome(status, None), CheckOutcome::Pending, "{status}");
        }
        for (state, outcome) in [
            ("success", CheckOutcome::Succeeded),
            ("pending", CheckOutcome::Pending),
            ("failure", CheckOutcome::Failed),
            ("error", CheckOutcome::Failed),
        ] {
            assert_eq!(of_status(status("build", state, EARLY)).outcome, outcome);
        }
    }

    #[test]
    fn the_newest_counts() {
        let outcome = |runs, statuses| newest("build", runs, statuses).map(|check| check.outcome);
        assert_eq!(outcome(vec![], vec![]), None);
        assert_eq!(outcome(vec![], vec![status("other", "success", EARLY)]), None);
        let again = || vec![run(2, "queued", None, None), run(1, "completed", Some("failure"), Some(EARLY))];
        assert_eq!(outcome(again(), vec![]), Some(CheckOutcome::Pending));
        assert_eq!(outcome(again(), vec![status("build", "success", LATE)]), Some(CheckOutcome::Pending));
        let done = |at| vec![run(1, "completed", Some("failure"), Some(at))];
        assert_eq!(outcome(done(EARLY), vec![status("build", "success", LATE)]), Some(CheckOutcome::Succeeded));
        assert_eq!(outcome(done(LATE), vec![status("build", "success", EARLY)]), Some(CheckOutcome::Failed));
    }

    #[test]
    fn only_web_pages_are_linked() {
        assert_eq!(newest("build", vec![], vec![status("build", "success", EARLY)]).unwrap().url, None);
        let found = newest("build", vec![run(7, "queued", None, None)], vec![]).unwrap();
        assert_eq!(found.url.as_deref(), Some("https://ci.example/7"));
    }
}
