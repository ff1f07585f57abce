//! Time that stands still until nobody has anything left to do, and then leaps to the next moment
//! that somebody sleeps until.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use seatrial_engine::Clock;
use tokio::sync::watch;

#[derive(Clone)]
pub struct Leaping {
    now: Arc<watch::Sender<DateTime<Utc>>>,
    /// How many sleep until when.
    sleepers: Arc<Mutex<BTreeMap<DateTime<Utc>, usize>>>,
}

impl Leaping {
    pub fn new() -> Self {
        let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        Self { now: Arc::new(watch::Sender::new(start)), sleepers: Arc::default() }
    }

    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now += by);
    }

    /// To the next moment that somebody sleeps until.
    pub fn leap(&self) {
        let next = self.sleepers.lock().unwrap().keys().next().copied();
        if let Some(next) = next {
            self.now.send_modify(|now| *now = (*now).max(next));
        }
    }
}

/// One that sleeps, as long as this lives.
struct Sleeper<'a>(&'a Leaping, DateTime<Utc>);

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        let mut sleepers = self.0.sleepers.lock().unwrap();
        if let Some(count) = sleepers.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                sleepers.remove(&self.1);
            }
        }
    }
}

#[async_trait]
impl Clock for Leaping {
    fn now(&self) -> DateTime<Utc> {
        *self.now.borrow()
    }

    async fn sleep_until(&self, at: DateTime<Utc>) {
        let mut changes = self.now.subscribe();
        *self.sleepers.lock().unwrap().entry(at).or_default() += 1;
        let _sleeper = Sleeper(self, at);
        // The sender lives in self, so this cannot end by a closed channel.
        let _ = changes.wait_for(|now| *now >= at).await;
    }
}
