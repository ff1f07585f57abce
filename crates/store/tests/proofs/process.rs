//! A process that can be stopped or paused at any point: all that its worker does to the journal,
//! to the clock and to the world goes through here.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use seatrial_engine::{
    AttemptOutcome, Bell, Claim, ClaimRequest, Clock, Entry, Epoch, Fork, Held, Incarnations, Journal, JournalError,
    NewRun, NewSignal, Renewal, Retention, RunDetail, RunId, Started, StepKey, Tick, WorkflowVersions,
};
use tokio::sync::watch;

use crate::stage::Traffic;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Runs,
    /// As by SIGSTOP: it does nothing, and goes on later as if no time had passed.
    Paused,
    /// As by SIGKILL.
    Dead,
}

/// Where a process stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    Never,
    /// Before its persisting call of that number, which then has no effect.
    Before(usize),
    /// After that call is written, before its answer arrives.
    After(usize),
    /// When it is about to be given its first run.
    Claimed,
}

/// What was written to a run.
#[derive(Debug, Clone)]
pub struct Written {
    pub run: RunId,
    pub epoch: Epoch,
    pub succeeded: Vec<StepKey>,
    /// By a process that had been paused before.
    pub after_pause: bool,
}

pub struct Process {
    life: watch::Sender<Life>,
    point: Point,
    becomes: Life,
    calls: AtomicUsize,
    was_paused: AtomicBool,
    written: Mutex<Vec<Written>>,
    claimed: Mutex<Vec<Held>>,
    traffic: Traffic,
}

impl Process {
    pub fn new(point: Point, becomes: Life, traffic: Traffic) -> Arc<Self> {
        Arc::new(Self {
            life: watch::Sender::new(Life::Runs),
            point,
            becomes,
            calls: AtomicUsize::new(0),
            was_paused: AtomicBool::new(false),
            written: Mutex::default(),
            claimed: Mutex::default(),
            traffic,
        })
    }

    /// Goes on when the process does; never, when it is dead.
    pub async fn goes_on(&self) {
        // The sender lives in self, so this cannot end by a closed channel.
        let _ = self.life.subscribe().wait_for(|life| *life == Life::Runs).await;
    }

    /// For what is done between two calls: a pause begins and ends at one.
    pub async fn lives(&self) {
        let _ = self.life.subscribe().wait_for(|life| *life != Life::Dead).await;
    }

    pub async fn stopped(&self) {
        let _ = self.life.subscribe().wait_for(|life| *life != Life::Runs).await;
    }

    pub fn becomes(&self, life: Life) {
        if life == Life::Paused {
            self.was_paused.store(true, Ordering::Relaxed);
        }
        self.life.send_replace(life);
    }

    pub fn written(&self) -> Vec<Written> {
        self.written.lock().unwrap().clone()
    }

    /// What it was given before it was first paused.
    pub fn claimed_before_pause(&self) -> Vec<Held> {
        self.claimed.lock().unwrap().clone()
    }

    async fn read<T>(&self, call: impl Future<Output = T>) -> T {
        self.goes_on().await;
        let answer = self.traffic.counts(call).await;
        self.goes_on().await;
        answer
    }

    async fn write<T>(
        &self,
        call: impl Future<Output = Result<T, JournalError>>,
        note: impl FnOnce(&T, bool),
    ) -> Result<T, JournalError> {
        self.goes_on().await;
        let number = 1 + self.calls.fetch_add(1, Ordering::Relaxed);
        if self.point == Point::Before(number) {
            self.becomes(self.becomes);
            self.goes_on().await;
        }
        let after_pause = self.was_paused.load(Ordering::Relaxed);
        let answer = self.traffic.counts(call).await;
        if let Ok(answer) = &answer {
            note(answer, after_pause);
        }
        if self.point == Point::After(number) {
            self.becomes(self.becomes);
        }
        self.goes_on().await;
        answer
    }

    fn note_claims(&self, claims: &[Claim], after_pause: bool) {
        if after_pause {
            return;
        }
        let first = {
            let mut claimed = self.claimed.lock().unwrap();
            let first = claimed.is_empty();
            claimed.extend(claims.iter().map(|claim| Held { run: claim.id, epoch: claim.epoch }));
            first
        };
        if self.point == Point::Claimed && first && !claims.is_empty() {
            self.becomes(self.becomes);
        }
    }

    fn note_written(&self, entry: &Entry, after_pause: bool) {
        self.written.lock().unwrap().push(Written {
            run: entry.run,
            epoch: entry.epoch,
            succeeded: entry
                .finished
                .iter()
                .filter(|attempt| attempt.outcome == AttemptOutcome::Succeeded)
                .map(|attempt| attempt.key.clone())
                .collect(),
            after_pause,
        });
    }
}

/// The journal as a process sees it.
pub struct Seen {
    pub process: Arc<Process>,
    pub journal: Arc<dyn Journal>,
}

#[async_trait]
impl Journal for Seen {
    async fn start(&self, run: NewRun) -> Result<Started, JournalError> {
        self.process.write(self.journal.start(run), |_, _| ()).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, JournalError> {
        self.process
            .write(self.journal.claim(request), |claims, after_pause| self.process.note_claims(claims, after_pause))
            .await
    }

    async fn next_due(
        &self,
        workflows: &[WorkflowVersions],
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, JournalError> {
        self.process.read(self.journal.next_due(workflows, now)).await
    }

    /// A write that is on its way when the process is paused arrives when it goes on, although
    /// nobody waits for the answer any more.
    async fn record(&self, entry: Entry) -> Result<(), JournalError> {
        let (process, journal) = (self.process.clone(), self.journal.clone());
        let sent = tokio::spawn(async move {
            let noted = entry.clone();
            process.write(journal.record(entry), |(), after_pause| process.note_written(&noted, after_pause)).await
        });
        sent.await.unwrap_or_else(|e| Err(JournalError::Unavailable(e.to_string())))
    }

    async fn renew(&self, held: &[Held], until: DateTime<Utc>) -> Result<Vec<Renewal>, JournalError> {
        self.process.write(self.journal.renew(held, until), |_, _| ()).await
    }

    async fn end_leases(&self, worker: &str, of: Incarnations, now: DateTime<Utc>) -> Result<u64, JournalError> {
        self.process.write(self.journal.end_leases(worker, of, now), |_, _| ()).await
    }

    async fn cancel(&self, run: RunId, reason: &str, now: DateTime<Utc>) -> Result<(), JournalError> {
        self.process.write(self.journal.cancel(run, reason, now), |(), _| ()).await
    }

    async fn force_stop(&self, run: RunId, reason: &str, now: DateTime<Utc>) -> Result<(), JournalError> {
        self.process.write(self.journal.force_stop(run, reason, now), |(), _| ()).await
    }

    async fn retry(&self, run: RunId, from: Option<&StepKey>) -> Result<(), JournalError> {
        self.process.write(self.journal.retry(run, from), |(), _| ()).await
    }

    async fn fork(&self, run: RunId, fork: Fork) -> Result<Started, JournalError> {
        self.process.write(self.journal.fork(run, fork), |_, _| ()).await
    }

    async fn signal(&self, run: RunId, signal: NewSignal, now: DateTime<Utc>) -> Result<(), JournalError> {
        self.process.write(self.journal.signal(run, signal, now), |(), _| ()).await
    }

    async fn tick(&self, schedule: &Tick, now: DateTime<Utc>) -> Result<DateTime<Utc>, JournalError> {
        self.process.write(self.journal.tick(schedule, now), |_, _| ()).await
    }

    async fn prune(&self, retention: &Retention, now: DateTime<Utc>, limit: u32) -> Result<u64, JournalError> {
        self.process.write(self.journal.prune(retention, now, limit), |_, _| ()).await
    }

    async fn position(&self, run: RunId) -> Result<Option<u64>, JournalError> {
        self.process.read(self.journal.position(run)).await
    }

    async fn find_run(&self, run: RunId) -> Result<Option<RunDetail>, JournalError> {
        self.process.read(self.journal.find_run(run)).await
    }

    fn bell(&self) -> &Bell {
        self.journal.bell()
    }
}

/// The clock as a process sees it: time goes on while it is paused.
pub struct SeenClock<C> {
    pub process: Arc<Process>,
    pub clock: C,
}

#[async_trait]
impl<C: Clock> Clock for SeenClock<C> {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    async fn sleep_until(&self, at: DateTime<Utc>) {
        // One that does nothing is not slept for: nobody would wait for it.
        tokio::select! {
            () = self.clock.sleep_until(at) => {}
            () = self.process.stopped() => {
                self.process.goes_on().await;
                self.clock.sleep_until(at).await;
            }
        }
        self.process.goes_on().await;
    }
}
