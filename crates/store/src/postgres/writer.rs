//! Writes on PostgreSQL. Entries and starts of runs that wait at the same time share a statement
//! and its commit; other writes have transactions of their own.

use std::sync::Arc;

use seatrial_engine::{Bell, Entry, JournalError, RunId};
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::db::Connection;
use super::notify::Notifier;
use super::{batch, record};
use crate::effects::{Effects, Writing};
use crate::error::StoreError;
use crate::plain_start::PlainStart;

/// At most so many writes share a commit, so that none waits for long.
const FOLD: usize = 256;
/// Entries go through this many lanes: while one waits for the disk, the others fill.
const LANES: usize = 4;
/// A transaction that ran into another's locks is tried again so often.
const TRIES: u32 = 5;

type Answer = oneshot::Sender<Result<(), StoreError>>;

enum Job {
    Record(Entry, Answer),
    Start(PlainStart, Answer),
}

#[derive(Clone)]
pub(crate) struct Writer {
    pool: PgPool,
    lanes: Arc<Vec<mpsc::Sender<Job>>>,
    told: Told,
}

/// Whom a commit is told to: this process, and the others.
#[derive(Clone)]
struct Told {
    bell: Arc<Bell>,
    notifier: Notifier,
}

impl Told {
    fn publish(&self, effects: Effects) {
        self.notifier.tell(&effects);
        effects.publish(&self.bell);
    }
}

impl Writer {
    pub(super) fn spawn(pool: PgPool, bell: Arc<Bell>, notifier: Notifier) -> Self {
        let told = Told { bell, notifier };
        let lanes = (0..LANES)
            .map(|_| {
                let (jobs, queue) = mpsc::channel(4 * FOLD);
                tokio::spawn(write_lane(pool.clone(), queue, told.clone()));
                jobs
            })
            .collect();
        Self { pool, lanes: Arc::new(lanes), told }
    }

    /// Runs `write` in a transaction of its own and returns once that is committed. It may be run
    /// again when it ran into the locks of another.
    pub(super) async fn write<A, T>(
        &self,
        given: A,
        write: for<'c> fn(&'c mut Connection, A) -> Writing<'c, T>,
    ) -> Result<T, StoreError>
    where
        A: Clone,
    {
        let mut tries = 1;
        loop {
            match self.write_once(given.clone(), write).await {
                Ok((value, effects)) => {
                    self.told.publish(effects);
                    return Ok(value);
                }
                Err(StoreError::Conflict(reason)) if tries < TRIES => {
                    tries += 1;
                    warn!(reason, "a transaction ran into another; trying again");
                }
                Err(e) => return Err(e),
            }
        }
    }

    async fn write_once<A, T>(
        &self,
        given: A,
        write: for<'c> fn(&'c mut Connection, A) -> Writing<'c, T>,
    ) -> Result<(T, Effects), StoreError> {
        let mut transaction = self.pool.begin().await?;
        let written = write(&mut transaction, given).await?;
        transaction.commit().await?;
        if !written.1.is_none() {
            metrics::counter!("store_commits_total").increment(1);
        }
        Ok(written)
    }

    /// Writes an entry that concerns its run alone.
    pub(super) async fn record(&self, entry: Entry) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(entry.run, Job::Record(entry, answer), answered).await
    }

    pub(super) async fn start(&self, start: PlainStart) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(start.run.id, Job::Start(start, answer), answered).await
    }

    async fn send(
        &self,
        run: RunId,
        job: Job,
        answered: oneshot::Receiver<Result<(), StoreError>>,
    ) -> Result<(), StoreError> {
        // A run keeps its lane, so that no two entries of it are in one statement and none
        // overtakes another.
        let lane = &self.lanes[(run.0.as_u128() % self.lanes.len() as u128) as usize];
        let unavailable = |why: &str| StoreError::Unavailable(why.to_owned());
        lane.send(job).await.map_err(|_| unavailable("the store is closed"))?;
        answered.await.map_err(|_| unavailable("the write ended early"))?
    }

    /// False once nothing will be written any more.
    pub(super) fn is_alive(&self) -> bool {
        self.lanes.iter().all(|lane| !lane.is_closed())
    }
}

async fn write_lane(pool: PgPool, mut queue: mpsc::Receiver<Job>, told: Told) {
    let mut jobs = Vec::with_capacity(FOLD);
    while queue.recv_many(&mut jobs, FOLD).await > 0 {
        let (mut entries, mut starts, mut later) = (Vec::new(), Vec::new(), Vec::new());
        for job in jobs.drain(..) {
            match job {
                Job::Start(start, answer) => starts.push((start, answer)),
                // A second entry of a run comes from another epoch: fenced by itself.
                Job::Record(entry, answer) => {
                    if entries.iter().any(|(known, _): &(Entry, Answer)| known.run == entry.run) {
                        later.push((entry, answer));
                    } else {
                        entries.push((entry, answer));
                    }
                }
            }
        }
        let mut effects = Effects::none();
        if !starts.is_empty() {
            effects = effects.and(start_all(&pool, starts).await);
        }
        for entries in [entries, later] {
            if !entries.is_empty() {
                effects = effects.and(record_all(&pool, entries).await);
            }
        }
        told.publish(effects);
    }
}

async fn record_all(pool: &PgPool, entries: Vec<(Entry, Answer)>) -> Effects {
    let waiting: Vec<_> = entries.iter().map(|(entry, _)| entry).collect();
    let mut tries = 1;
    let outcome = loop {
        let outcome = match pool.acquire().await {
            Ok(mut connection) => batch::write_entries(&mut connection, &waiting).await,
            Err(e) => Err(e.into()),
        };
        match outcome {
            Err(StoreError::Conflict(reason)) if tries < TRIES => {
                tries += 1;
                warn!(reason, "a write ran into another; trying again");
            }
            other => break other,
        }
    };
    metrics::counter!("store_commits_total").increment(1);
    let mut effects = Effects::none();
    match outcome {
        Ok(written) => {
            for (entry, answer) in entries {
                let outcome = if written.contains(&entry.row) {
                    effects = effects.and(record::effects_of(&entry));
                    Ok(())
                } else {
                    Err(JournalError::Fenced { run: entry.run, epoch: entry.epoch }.into())
                };
                // The caller may have gone away; the write stands.
                let _ = answer.send(outcome);
            }
        }
        Err(e) => {
            warn!(error = %e, entries = entries.len(), "a write failed");
            for (_, answer) in entries {
                let _ = answer.send(Err(e.clone()));
            }
        }
    }
    effects
}

async fn start_all(pool: &PgPool, starts: Vec<(PlainStart, Answer)>) -> Effects {
    let waiting: Vec<_> = starts.iter().map(|(start, _)| start).collect();
    let outcome = match pool.acquire().await {
        Ok(mut connection) => batch::insert_runs(&mut connection, &waiting).await,
        Err(e) => Err(e.into()),
    };
    metrics::counter!("store_commits_total").increment(1);
    let mut effects = Effects::none();
    for (start, answer) in starts {
        let outcome = match &outcome {
            Ok(rows) => {
                let row = rows.get(&start.run.id).copied();
                effects = effects.and(start.committed(row));
                Ok(())
            }
            Err(e) => Err(e.clone()),
        };
        let _ = answer.send(outcome);
    }
    effects
}
