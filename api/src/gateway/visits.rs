//! That previews are used: what keeps them from being put to sleep or deleted, and what wakes them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use seatrial_operations::Operations;
use seatrial_operations::views::{Environment, EnvironmentId};

use super::stream::Noted;

/// A preview's use is recorded at most so often.
const RECORDED_EVERY: Duration = Duration::from_secs(60);
/// A sleeping preview is asked to wake at most so often: a page has many parts.
const WOKEN_EVERY: Duration = Duration::from_secs(10);

/// What was recorded lately, of all previews.
pub(super) struct Visits {
    operations: Arc<Operations>,
    began: Instant,
    used: Lately,
    woken: Lately,
}

impl Visits {
    pub(super) fn new(operations: Arc<Operations>) -> Self {
        Self { operations, began: Instant::now(), used: Lately::new(RECORDED_EVERY), woken: Lately::new(WOKEN_EVERY) }
    }

    /// Wakes a sleeping preview; the page looks again.
    pub(super) async fn wake(&self, environment: &Environment) {
        if self.woken.is_due(environment.id, Instant::now())
            && let Err(error) = self.operations.wake_for_visitor(environment).await
        {
            tracing::warn!(%error, namespace = %environment.namespace, "a sleeping preview could not be woken");
            self.woken.forget(environment.id);
        }
    }
}

/// One request's part in it: as long as bytes go to and fro, the preview is used.
pub(super) struct Visit {
    visits: Arc<Visits>,
    environment: Environment,
    /// Seconds since `began` when this request asked last: most bytes need no lock.
    asked: AtomicU64,
}

impl Visit {
    /// The request itself counts.
    pub(super) fn begin(visits: &Arc<Visits>, environment: &Environment) -> Arc<Self> {
        let visit = Self { visits: visits.clone(), environment: environment.clone(), asked: AtomicU64::new(0) };
        visit.record(Instant::now());
        Arc::new(visit)
    }

    pub(super) fn noted(self: Arc<Self>) -> Noted {
        Arc::new(move || self.goes_on())
    }

    fn goes_on(&self) {
        let now = Instant::now();
        let seconds = now.duration_since(self.visits.began).as_secs();
        if seconds.saturating_sub(self.asked.load(Ordering::Relaxed)) >= RECORDED_EVERY.as_secs() {
            self.asked.store(seconds, Ordering::Relaxed);
            self.record(now);
        }
    }

    /// Beside the request: it waits for no database.
    fn record(&self, now: Instant) {
        if !self.visits.used.is_due(self.environment.id, now) {
            return;
        }
        let (visits, environment) = (self.visits.clone(), self.environment.clone());
        tokio::spawn(async move {
            if let Err(error) = visits.operations.record_visit(&environment).await {
                tracing::warn!(%error, namespace = %environment.namespace, "a preview's use could not be recorded");
                visits.used.forget(environment.id);
            }
        });
    }
}

/// Lets everybody through once in a while.
struct Lately {
    every: Duration,
    seen: Mutex<HashMap<EnvironmentId, Instant>>,
}

impl Lately {
    /// Old entries are thrown out when there are so many.
    const MANY: usize = 1024;

    fn new(every: Duration) -> Self {
        Self { every, seen: Mutex::default() }
    }

    fn is_due(&self, environment: EnvironmentId, now: Instant) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= Self::MANY {
            seen.retain(|_, last| now.duration_since(*last) < self.every);
        }
        match seen.get(&environment) {
            Some(last) if now.duration_since(*last) < self.every => false,
            _ => {
                seen.insert(environment, now);
                true
            }
        }
    }

    fn forget(&self, environment: EnvironmentId) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(&environment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_preview_has_its_turn_once_in_a_while() {
        let lately = Lately::new(RECORDED_EVERY);
        let (one, other) = (EnvironmentId(uuid::Uuid::from_u128(1)), EnvironmentId(uuid::Uuid::from_u128(2)));
        let start = Instant::now();
        assert!(lately.is_due(one, start) && lately.is_due(other, start));
        assert!(!lately.is_due(one, start + RECORDED_EVERY / 2));
        assert!(lately.is_due(one, start + RECORDED_EVERY));
        assert!(!lately.is_due(one, start + RECORDED_EVERY * 3 / 2));
        lately.forget(one);
        assert!(lately.is_due(one, start + RECORDED_EVERY * 3 / 2));
    }

    #[test]
    fn what_is_long_past_is_not_kept() {
        let lately = Lately::new(WOKEN_EVERY);
        let start = Instant::now();
        for number in 0..Lately::MANY {
            lately.is_due(EnvironmentId(uuid::Uuid::from_u128(number as u128)), start);
        }
        lately.is_due(EnvironmentId(uuid::Uuid::nil()), start + WOKEN_EVERY);
        assert_eq!(lately.seen.lock().unwrap().len(), 1);
    }
}
