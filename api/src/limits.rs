//! How often and by how many at once: sign-in, wrong tokens, streams.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use seatrial_operations::OperationError;

/// Ten tries at once, then one every six seconds.
const TRIES: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");
const EVERY: Duration = Duration::from_secs(6);
/// Streams that are open at the same time: in all, and of one caller.
const STREAMS: usize = 512;
const STREAMS_OF_ONE: usize = 32;
/// Addresses are forgotten once their tries have come back; looked at when there are so many.
const ADDRESSES: usize = 10_000;

/// Shared by all requests of this process.
pub(crate) struct Limits {
    tries: DefaultKeyedRateLimiter<IpAddr>,
    streams: Arc<Mutex<HashMap<String, usize>>>,
}

impl Default for Limits {
    fn default() -> Self {
        let quota = Quota::with_period(EVERY).expect("six seconds are not nothing").allow_burst(TRIES);
        Self { tries: RateLimiter::keyed(quota), streams: Arc::default() }
    }
}

impl Limits {
    /// Counts a try to come in from this address. `Err` says how long to wait.
    pub fn try_from(&self, address: Option<IpAddr>) -> Result<(), OperationError> {
        let Some(address) = address else { return Ok(()) };
        if self.tries.len() > ADDRESSES {
            self.tries.retain_recent();
        }
        self.tries.check_key(&address).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now()).max(Duration::from_secs(1));
            let sentence = format!(
                "too many tries to sign in, or with tokens that are not valid, came from this address: wait {} s",
                wait.as_secs()
            );
            OperationError::TooMany { sentence, retry_after: wait }
        })
    }

    /// Counts a stream as open until the place is dropped.
    pub fn open_stream(&self, who: &str) -> Result<StreamPlace, OperationError> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (streams.values().sum::<usize>(), streams.get(who).copied().unwrap_or_default());
        if own >= STREAMS_OF_ONE || all >= STREAMS {
            let whose = if own >= STREAMS_OF_ONE { format!("{own} of yours") } else { format!("{all} in all") };
            return Err(OperationError::TooMany {
                sentence: format!("{whose} streams are open, which is the limit: close some"),
                retry_after: Duration::from_secs(5),
            });
        }
        *streams.entry(who.to_owned()).or_default() += 1;
        Ok(StreamPlace { who: who.to_owned(), streams: self.streams.clone() })
    }
}

/// One open stream.
pub(crate) struct StreamPlace {
    who: String,
    streams: Arc<Mutex<HashMap<String, usize>>>,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = streams.get_mut(&self.who) {
            *open -= 1;
            if *open == 0 {
                streams.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_tries() {
        let limits = Limits::default();
        let (one, other) = (Some("192.0.2.1".parse().unwrap()), Some("192.0.2.2".parse().unwrap()));
        for _ in 0..TRIES.get() {
            limits.try_from(one).unwrap();
        }
        let Err(OperationError::TooMany { retry_after, .. }) = limits.try_from(one) else { panic!("one too many") };
        assert!(retry_after <= EVERY && retry_after >= Duration::from_secs(1));
        limits.try_from(other).unwrap();
    }

    #[test]
    fn a_stream_that_ends_makes_room() {
        let limits = Limits::default();
        let mut open: Vec<_> = (0..STREAMS_OF_ONE).map(|_| limits.open_stream("ada").unwrap()).collect();
        assert!(limits.open_stream("ada").is_err());
        assert!(limits.open_stream("bob").is_ok());
        open.pop();
        assert!(limits.open_stream("ada").is_ok());
        drop(open);
        assert!(limits.streams.lock().unwrap().is_empty());
    }
}
