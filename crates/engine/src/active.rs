//! The runs this process is executing, and how they are told to stop.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::ids::{Epoch, RunId};
use crate::journal::{Claim, Held};

/// A run's request to stop: seen at once by the step in flight.
#[derive(Debug, Default)]
pub(crate) struct Cancellation {
    token: CancellationToken,
    reason: OnceLock<String>,
}

impl Cancellation {
    pub(crate) fn request(&self, reason: &str) {
        // The first reason stands: it is the one that was acted on.
        let _ = self.reason.set(reason.to_owned());
        self.token.cancel();
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    pub(crate) async fn requested(&self) {
        self.token.cancelled().await;
    }

    pub(crate) fn reason(&self) -> String {
        self.reason.get().cloned().unwrap_or_else(|| "cancelled".to_owned())
    }
}

/// Until when this process knows that it holds a run.
#[derive(Debug)]
pub(crate) struct Lease(AtomicI64);

impl Lease {
    pub(crate) fn until(until: DateTime<Utc>) -> Self {
        Self(AtomicI64::new(until.timestamp_millis()))
    }

    pub(crate) fn extend(&self, until: DateTime<Utc>) {
        self.0.fetch_max(until.timestamp_millis(), Ordering::Relaxed);
    }

    pub(crate) fn has_expired(&self, now: DateTime<Utc>) -> bool {
        now >= self.ends_at()
    }

    pub(crate) fn ends_at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0.load(Ordering::Relaxed)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

/// One run in flight.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    pub(crate) epoch: Epoch,
    pub(crate) cancellation: Arc<Cancellation>,
    pub(crate) lease: Arc<Lease>,
    /// The lease is lost: stop and record nothing.
    pub(crate) lost: CancellationToken,
}

/// A run in flight; however its execution ends, its lease is renewed no longer.
pub(crate) struct InFlight {
    active: Arc<Active>,
    run: RunId,
    pub(crate) flight: Flight,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.active.remove(self.run, self.flight.epoch);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Active {
    flights: Mutex<HashMap<RunId, Flight>>,
    /// Requests to stop for runs that are not in flight here, or not yet: a claim may be on its
    /// way back from the journal.
    early: Mutex<HashMap<RunId, (DateTime<Utc>, String)>>,
}

/// More than this many unclaimed requests are forgotten; renewals bring them all the same.
const EARLY: usize = 1024;

impl Active {
    /// Puts a claimed run in flight, as long as what this returns lives.
    pub(crate) fn board(self: &Arc<Self>, claim: &Claim) -> InFlight {
        let flight = Flight {
            epoch: claim.epoch,
            cancellation: Arc::default(),
            lease: Arc::new(Lease::until(claim.lease_until)),
            lost: CancellationToken::new(),
        };
        if let Some(reason) = &claim.cancel {
            flight.cancellation.request(reason);
        }
        if let Some(earlier) = self.flights().insert(claim.id, flight.clone()) {
            // This process has claimed its own run anew: what it did under the old lease ends.
            earlier.lost.cancel();
        }
        // An older request was there for the claim to read, or has been undone by a retry.
        if let Some((at, reason)) = lock(&self.early).remove(&claim.id)
            && at >= claim.claimed_at
        {
            flight.cancellation.request(&reason);
        }
        InFlight { active: self.clone(), run: claim.id, flight }
    }

    pub(crate) fn held(&self) -> Vec<Held> {
        self.flights().iter().map(|(run, flight)| Held { run: *run, epoch: flight.epoch }).collect()
    }

    pub(crate) fn cancel(&self, run: RunId, reason: &str, now: DateTime<Utc>) {
        // The early requests are locked first, so that no insertion comes in between.
        let mut early = lock(&self.early);
        if let Some(flight) = self.flights().get(&run) {
            flight.cancellation.request(reason);
            return;
        }
        if early.len() >= EARLY {
            early.clear();
        }
        early.insert(run, (now, reason.to_owned()));
    }

    /// The run was ended by force: its flight lets go, at whatever epoch.
    pub(crate) fn stop(&self, run: RunId) {
        if let Some(flight) = self.flights().get(&run) {
            flight.lost.cancel();
        }
    }

    /// The leases held are good until then.
    pub(crate) fn renewed(&self, held: &[Held], until: DateTime<Utc>) {
        let flights = self.flights();
        for held in held {
            if let Some(flight) = flights.get(&held.run)
                && flight.epoch == held.epoch
            {
                flight.lease.extend(until);
            }
        }
    }

    pub(crate) fn lose(&self, held: Held) {
        if let Some(flight) = self.flights().get(&held.run)
            && flight.epoch == held.epoch
        {
            flight.lost.cancel();
        }
    }

    /// Forgets the flight, unless the run has been claimed anew meanwhile.
    fn remove(&self, run: RunId, epoch: Epoch) {
        let mut flights = self.flights();
        if flights.get(&run).is_some_and(|flight| flight.epoch == epoch) {
            flights.remove(&run);
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<RunId, Flight>> {
        lock(&self.flights)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
