use std::future::Future;
use std::pin::Pin;

use seatrial_engine::{Bell, RunEvent};

use crate::error::StoreError;

/// Counts the transactions that were committed, also those that found nothing to write.
pub(crate) const COMMITS: &str = "store_commits_total";

/// A write in progress on its transaction's connection.
pub(crate) type Writing<'c, T> = Pin<Box<dyn Future<Output = Result<(T, Effects), StoreError>> + Send + 'c>>;

/// What the process is told once the write is safe on disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effects {
    pub(crate) events: Vec<RunEvent>,
    /// A run may be ready to be claimed.
    pub(crate) ring: bool,
}

impl Effects {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Nothing has changed that anybody would want to know.
    pub(crate) fn is_none(&self) -> bool {
        self.events.is_empty() && !self.ring
    }

    pub(crate) fn and(mut self, other: Self) -> Self {
        self.events.extend(other.events);
        self.ring |= other.ring;
        self
    }

    /// Tells this process.
    pub(crate) fn publish(self, bell: &Bell) {
        for event in self.events {
            bell.publish(event);
        }
        if self.ring {
            bell.ring();
        }
    }
}
