//! What helm remembers of a release, and how to free one that a killed helm left half done.

use serde::Deserialize;

/// One revision, as `helm history -o json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Revision {
    pub(crate) revision: u32,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) chart: String,
}

/// What has to be done before the release can be upgraded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// Nothing of it ever worked, or it was being removed: begin afresh.
    Uninstall { status: String },
    /// Back to the newest revision that worked; helm then takes an upgrade again.
    Rollback { status: String, to: u32 },
}

/// `None` when the release does not exist or can be upgraded as it is (also when it failed).
pub(crate) fn recovery(history: &[Revision]) -> Option<Recovery> {
    let newest = history.iter().max_by_key(|revision| revision.revision)?;
    let status = newest.status.clone();
    let worked = || {
        history
            .iter()
            .filter(|revision| matches!(revision.status.as_str(), "deployed" | "superseded"))
            .max_by_key(|revision| (revision.status == "deployed", revision.revision))
    };
    match status.as_str() {
        "pending-install" | "pending-upgrade" | "pending-rollback" => Some(match worked() {
            Some(revision) => Recovery::Rollback { status, to: revision.revision },
            None => Recovery::Uninstall { status },
        }),
        "uninstalling" => Some(Recovery::Uninstall { status }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(statuses: &[&str]) -> Option<Recovery> {
        let history: Vec<Revision> = (1..)
            .zip(statuses)
            .map(|(revision, status)| Revision { revision, status: (*status).to_owned(), chart: String::new() })
            .collect();
        recovery(&history)
    }

    #[test]
    fn what_needs_no_recovery() {
        for statuses in [&[][..], &["deployed"], &["failed"], &["superseded", "deployed", "failed"], &["uninstalled"]] {
            assert_eq!(of(statuses), None, "{statuses:?}");
        }
    }

    #[test]
    fn what_never_worked_is_removed() {
        let uninstall = |status: &str| Some(Recovery::Uninstall { status: status.to_owned() });
        assert_eq!(of(&["pending-install"]), uninstall("pending-install"));
        assert_eq!(of(&["failed", "pending-upgrade"]), uninstall("pending-upgrade"));
        assert_eq!(of(&["deployed", "uninstalling"]), uninstall("uninstalling"));
    }

    #[test]
    fn what_worked_once_is_restored() {
        let rollback = |status: &str, to| Some(Recovery::Rollback { status: status.to_owned(), to });
        assert_eq!(of(&["deployed", "pending-upgrade"]), rollback("pending-upgrade", 1));
        assert_eq!(of(&["superseded", "deployed", "failed", "pending-upgrade"]), rollback("pending-upgrade", 2));
        assert_eq!(of(&["superseded", "superseded", "pending-rollback"]), rollback("pending-rollback", 2));
    }
}
