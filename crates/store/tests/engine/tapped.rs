//! The store's journal with a tap on what a worker asks of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use seatrial_engine::{
    Bell, Claim, ClaimRequest, Entry, Fork, Held, Journal, JournalError, NewRun, NewSignal, Renewal, Retention,
    RunDetail, RunId, Started, StepKey, Tick,
};
use uuid::Uuid;

/// What is about to be asked.
#[derive(Clone, Copy)]
pub enum Call<'a> {
    Start,
    Claim,
    Read,
    Record(&'a Entry),
    Renew,
    Other,
}

type Answer = Pin<Box<dyn Future<Output = Result<(), JournalError>> + Send>>;

/// Each call goes through once the tap has answered well.
#[derive(Clone)]
pub struct Tapped {
    journal: Arc<dyn Journal>,
    tap: Arc<dyn Fn(Call<'_>) -> Answer + Send + Sync>,
}

impl Tapped {
    pub fn new<F>(journal: Arc<dyn Journal>, tap: impl Fn(Call<'_>) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = Result<(), JournalError>> + Send + 'static,
    {
        Arc::new(Self { journal, tap: Arc::new(move |call| Box::pin(tap(call))) })
    }
}

#[async_trait]
impl Journal for Tapped {
    async fn start(&self, run: NewRun) -> Result<Started, JournalError> {
        (self.tap)(Call::Start).await?;
        self.journal.start(run).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, JournalError> {
        (self.tap)(Call::Claim).await?;
        self.journal.claim(request).await
    }

    async fn next_due(&self, workflows: &[String], now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, JournalError> {
        (self.tap)(Call::Read).await?;
        self.journal.next_due(workflows, now).await
    }

    async fn record(&self, entry: Entry) -> Result<(), JournalError> {
        (self.tap)(Call::Record(&entry)).await?;
        self.journal.record(entry).await
    }

    async fn renew(&self, held: &[Held], until: DateTime<Utc>) -> Result<Vec<Renewal>, JournalError> {
        (self.tap)(Call::Renew).await?;
        self.journal.renew(held, until).await
    }

    async fn end_leases(&self, worker: &str, except: Option<Uuid>, now: DateTime<Utc>) -> Result<u64, JournalError> {
        (self.tap)(Call::Other).await?;
        self.journal.end_leases(worker, except, now).await
    }

    async fn cancel(&self, run: RunId, reason: &str, now: DateTime<Utc>) -> Result<(), JournalError> {
        (self.tap)(Call::Other).await?;
        self.journal.cancel(run, reason, now).await
    }

    async fn force_stop(&self, run: RunId, reason: &str, now: DateTime<Utc>) -> Result<(), JournalError> {
        (self.tap)(Call::Other).await?;
        self.journal.force_stop(run, reason, now).await
    }

    async fn retry(&self, run: RunId, from: Option<&StepKey>) -> Result<(), JournalError> {
        (self.tap)(Call::Other).await?;
        self.journal.retry(run, from).await
    }

    async fn fork(&self, run: RunId, fork: Fork) -> Result<Started, JournalError> {
        (self.tap)(Call::Other).await?;
        self.journal.fork(run, fork).await
    }

    async fn signal(&self, run: RunId, signal: NewSignal, now: DateTime<Utc>) -> Result<(), JournalError> {
        (self.tap)(Call::Other).await?;
        self.journal.signal(run, signal, now).await
    }

    async fn tick(&self, schedule: &Tick, now: DateTime<Utc>) -> Result<DateTime<Utc>, JournalError> {
        (self.tap)(Call::Other).await?;
        self.journal.tick(schedule, now).await
    }

    async fn prune(&self, retention: &Retention, now: DateTime<Utc>, limit: u32) -> Result<u64, JournalError> {
        (self.tap)(Call::Other).await?;
        self.journal.prune(retention, now, limit).await
    }

    async fn position(&self, run: RunId) -> Result<Option<u64>, JournalError> {
        (self.tap)(Call::Read).await?;
        self.journal.position(run).await
    }

    async fn find_run(&self, run: RunId) -> Result<Option<RunDetail>, JournalError> {
        (self.tap)(Call::Read).await?;
        self.journal.find_run(run).await
    }

    fn bell(&self) -> &Bell {
        self.journal.bell()
    }
}
