//! How long a preview lives, and when it sleeps.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::HeadSha;

/// When a preview was used and what follows from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Life {
    /// When it was last deployed, visited or spoken to.
    pub active_at: DateTime<Utc>,
    /// It is deleted when it was not used for so long.
    pub ttl: Duration,
    /// It is scaled to zero when it was not used for so long; never without.
    pub sleep_after: Option<Duration>,
    /// Somebody asked to keep it at least until then.
    pub kept_until: Option<DateTime<Utc>>,
    /// Neither deleted nor put to sleep by the time.
    pub pinned: bool,
    pub asleep_since: Option<DateTime<Utc>>,
    /// When people were told that it will be deleted; forgotten when it is used again.
    pub warned_at: Option<DateTime<Utc>>,
}

/// Of a preview whose settings say nothing.
pub const DEFAULT_TTL: Duration = Duration::from_secs(7 * 86_400);
/// People are warned so long before a preview is deleted, of short lives a quarter before.
const WARNED_BEFORE: Duration = Duration::from_secs(86_400);

impl Default for Life {
    fn default() -> Self {
        Self {
            active_at: DateTime::UNIX_EPOCH,
            ttl: DEFAULT_TTL,
            sleep_after: None,
            kept_until: None,
            pinned: false,
            asleep_since: None,
            warned_at: None,
        }
    }
}

/// What the time asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Due {
    /// Say that it will be deleted.
    Warn,
    /// Say so no longer: somebody has used it.
    TakeWarningBack,
    Delete,
    Sleep,
}

impl Life {
    /// When it is deleted if nobody uses it until then; never while it is pinned.
    pub fn ends_at(&self) -> Option<DateTime<Utc>> {
        if self.pinned {
            return None;
        }
        let by_use = self.active_at + self.ttl;
        Some(self.kept_until.map_or(by_use, |kept| kept.max(by_use)))
    }

    /// What is due now. Nothing is deleted that was not warned of: not before the notice was up
    /// for as long as it promises.
    pub fn due(&self, now: DateTime<Utc>) -> Option<Due> {
        let ends_at = self.ends_at()?;
        let notice = WARNED_BEFORE.min(self.ttl / 4);
        match self.warned_at {
            Some(warned_at) if now >= ends_at.max(warned_at + notice) => return Some(Due::Delete),
            None if now >= ends_at - notice => return Some(Due::Warn),
            _ => {}
        }
        let sleeps_at = self.active_at + self.sleep_after?;
        (self.asleep_since.is_none() && now >= sleeps_at).then_some(Due::Sleep)
    }

    /// When a preview that was warned of goes.
    pub fn goes_at(&self) -> Option<DateTime<Utc>> {
        let notice = WARNED_BEFORE.min(self.ttl / 4);
        Some(self.ends_at()?.max(self.warned_at? + notice))
    }
}

/// Somebody with write access has read a fork's commit and wants it deployed. A push voids it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub sha: HeadSha,
    pub by: String,
}

/// How many previews there may be at once; sleeping ones do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    pub cluster: Option<u32>,
    pub repository: Option<u32>,
}

/// Whether there is room for a preview.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "place", rename_all = "snake_case")]
pub enum Place {
    Taken,
    /// `position` is 1 for the next; `wait` is by how often places have come free lately.
    Waiting {
        position: u32,
        wait: Option<Duration>,
        held_by: HeldBy,
    },
}

/// Which limit holds a preview up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldBy {
    Cluster,
    /// Its own repository's.
    Repository,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(hours: u32) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + HOUR * hours
    }

    fn used_at_zero() -> Life {
        Life { ttl: HOUR * 48, ..Life::default() }
    }

    #[test]
    fn a_preview_is_warned_of_before_it_is_deleted() {
        let mut life = used_at_zero();
        assert_eq!(life.due(at(35)), None);
        assert_eq!(life.due(at(36)), Some(Due::Warn));
        // However late the warning came, it stands as long as it says.
        life.warned_at = Some(at(60));
        assert_eq!(life.due(at(71)), None);
        assert_eq!(life.due(at(72)), Some(Due::Delete));
        assert_eq!(life.goes_at(), Some(at(72)));
    }

    #[test]
    fn it_is_kept_as_long_as_somebody_asked_for_and_for_ever_when_pinned() {
        let mut life = Life { kept_until: Some(at(100)), ..used_at_zero() };
        assert_eq!(life.due(at(87)), None);
        assert_eq!(life.due(at(88)), Some(Due::Warn));
        life.pinned = true;
        assert_eq!(life.due(at(1_000)), None);
    }

    #[test]
    fn it_sleeps_once_and_only_when_asked_to() {
        let mut life = used_at_zero();
        assert_eq!(life.due(at(30)), None);
        life.sleep_after = Some(HOUR * 2);
        assert_eq!(life.due(at(1)), None);
        assert_eq!(life.due(at(2)), Some(Due::Sleep));
        life.asleep_since = Some(at(2));
        assert_eq!(life.due(at(3)), None);
    }
}
