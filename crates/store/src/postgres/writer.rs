//! Writes on PostgreSQL. Entries and starts of runs that wait at the same time share a statement
//! and its commit; other writes have transactions of their own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use seatrial_engine::{Bell, Entry, JournalError, RunId};
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::db::Connection;
use super::notify::Notifier;
use super::{batch, record};
use crate::effects::{COMMITS, Effects, Writing};
use crate::entries::one_entry_a_run;
use crate::error::StoreError;
use crate::plain_start::PlainStart;

/// At most so many writes share a commit, so that none waits for long.
const FOLD: usize = 256;
/// Entries go through this many lanes: while one waits for the disk, the others fill.
const LANES: usize = 4;
/// A transaction that ran into another's locks is tried again so often.
const TRIES: u32 = 5;
/// Before the second try; doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;
type Recorded = (Entry, Answer<()>);
/// Answered whether the run was not there already.
type Begun = (PlainStart, Answer<bool>);

enum Job {
    Record(Recorded),
    Start(Begun),
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
    /// again when it ran into the locks of another. If the caller goes away meanwhile, the write is
    /// done all the same, and everybody is told.
    pub(super) async fn write<A, T>(
        &self,
        given: A,
        write: for<'c> fn(&'c mut Connection, A) -> Writing<'c, T>,
    ) -> Result<T, StoreError>
    where
        A: Clone + Send + 'static,
        T: Send + 'static,
    {
        self.write_or_retry(given, write, false).await
    }

    /// [`Writer::write`] for what is one statement, and so a transaction by itself: one way to the
    /// server instead of three.
    pub(super) async fn write_statement<A, T>(
        &self,
        given: A,
        write: for<'c> fn(&'c mut Connection, A) -> Writing<'c, T>,
    ) -> Result<T, StoreError>
    where
        A: Clone + Send + 'static,
        T: Send + 'static,
    {
        self.write_or_retry(given, write, true).await
    }

    async fn write_or_retry<A, T>(
        &self,
        given: A,
        write: for<'c> fn(&'c mut Connection, A) -> Writing<'c, T>,
        is_statement: bool,
    ) -> Result<T, StoreError>
    where
        A: Clone + Send + 'static,
        T: Send + 'static,
    {
        let writer = self.clone();
        let written = tokio::spawn(async move {
            let mut tries = Tries::new();
            loop {
                let written = match is_statement {
                    true => writer.execute_once(given.clone(), write).await,
                    false => writer.write_once(given.clone(), write).await,
                };
                match written {
                    Ok((value, effects)) => {
                        writer.told.publish(effects);
                        return Ok(value);
                    }
                    Err(e) => tries.again_after(e).await?,
                }
            }
        });
        written.await.unwrap_or_else(|e| Err(StoreError::Unavailable(format!("the write ended early: {e}"))))
    }

    async fn write_once<A, T>(
        &self,
        given: A,
        write: for<'c> fn(&'c mut Connection, A) -> Writing<'c, T>,
    ) -> Result<(T, Effects), StoreError> {
        let mut transaction = self.pool.begin().await?;
        let written = write(&mut transaction, given).await?;
        transaction.commit().await?;
        metrics::counter!(COMMITS).increment(1);
        Ok(written)
    }

    async fn execute_once<A, T>(
        &self,
        given: A,
        write: for<'c> fn(&'c mut Connection, A) -> Writing<'c, T>,
    ) -> Result<(T, Effects), StoreError> {
        let mut connection = self.pool.acquire().await?;
        let written = write(&mut connection, given).await?;
        metrics::counter!(COMMITS).increment(1);
        Ok(written)
    }

    /// Writes an entry that concerns its run alone.
    pub(super) async fn record(&self, entry: Entry) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(entry.run, Job::Record((entry, answer)), answered).await
    }

    /// Starts a run, and says whether it was not there already.
    pub(super) async fn start(&self, start: PlainStart) -> Result<bool, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(start.run.id, Job::Start((start, answer)), answered).await
    }

    async fn send<T>(
        &self,
        run: RunId,
        job: Job,
        answered: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
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

/// What ran into another's locks is tried again after a moment: the other one needs it.
struct Tries {
    left: u32,
    pause: Duration,
}

impl Tries {
    fn new() -> Self {
        Self { left: TRIES - 1, pause: FIRST_PAUSE }
    }

    async fn again_after(&mut self, error: StoreError) -> Result<(), StoreError> {
        let StoreError::Conflict(reason) = &error else { return Err(error) };
        if self.left == 0 {
            return Err(error);
        }
        warn!(reason, "a transaction ran into another; trying again");
        tokio::time::sleep(self.pause).await;
        (self.left, self.pause) = (self.left - 1, self.pause * 2);
        Ok(())
    }
}

async fn write_lane(pool: PgPool, mut queue: mpsc::Receiver<Job>, told: Told) {
    let mut jobs = Vec::with_capacity(FOLD);
    while queue.recv_many(&mut jobs, FOLD).await > 0 {
        let (mut entries, mut starts) = (Vec::new(), Vec::new());
        for job in jobs.drain(..) {
            match job {
                Job::Start(start) => starts.push(start),
                Job::Record(entry) => entries.push(entry),
            }
        }
        let mut effects = Effects::none();
        if !starts.is_empty() {
            effects = effects.and(start_all(&pool, starts).await);
        }
        for batch in one_entry_a_run(entries) {
            effects = effects.and(record_all(&pool, batch).await);
        }
        told.publish(effects);
    }
}

async fn record_all(pool: &PgPool, entries: Vec<Recorded>) -> Effects {
    let mut effects = Effects::none();
    match write_entries(pool, &entries).await {
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
        // One of them cannot be written: it does not take the others with it.
        Err(StoreError::Invalid(_)) if entries.len() > 1 => {
            for entry in entries {
                effects = effects.and(Box::pin(record_all(pool, vec![entry])).await);
            }
        }
        Err(e) => answer_all(e, entries.into_iter().map(|(_, answer)| answer)),
    }
    effects
}

async fn start_all(pool: &PgPool, starts: Vec<Begun>) -> Effects {
    let mut effects = Effects::none();
    match insert_runs(pool, &starts).await {
        Ok(mut rows) => {
            for (start, answer) in starts {
                // The row is the first one's: the same start may be here twice.
                let row = rows.remove(&start.run.id);
                effects = effects.and(start.committed(row));
                let _ = answer.send(Ok(row.is_some()));
            }
        }
        Err(StoreError::Invalid(_)) if starts.len() > 1 => {
            for start in starts {
                effects = effects.and(Box::pin(start_all(pool, vec![start])).await);
            }
        }
        Err(e) => answer_all(e, starts.into_iter().map(|(_, answer)| answer)),
    }
    effects
}

/// One statement, which is its own transaction.
async fn write_entries(pool: &PgPool, entries: &[Recorded]) -> Result<HashSet<i64>, StoreError> {
    let entries: Vec<_> = entries.iter().map(|(entry, _)| entry).collect();
    let mut tries = Tries::new();
    loop {
        let mut connection = pool.acquire().await?;
        let mut written = batch::write_new_entries(&mut connection, &entries).await;
        if let Err(StoreError::Invalid(_)) = written {
            written = batch::write_entries(&mut connection, &entries).await;
        }
        match written {
            Ok(written) => {
                metrics::counter!(COMMITS).increment(1);
                return Ok(written);
            }
            Err(e) => tries.again_after(e).await?,
        }
    }
}

/// One statement, which is its own transaction.
async fn insert_runs(pool: &PgPool, starts: &[Begun]) -> Result<HashMap<RunId, i64>, StoreError> {
    let starts: Vec<_> = starts.iter().map(|(start, _)| start).collect();
    let mut tries = Tries::new();
    loop {
        let mut connection = pool.acquire().await?;
        match batch::insert_runs(&mut connection, &starts).await {
            Ok(rows) => {
                metrics::counter!(COMMITS).increment(1);
                return Ok(rows);
            }
            Err(e) => tries.again_after(e).await?,
        }
    }
}

fn answer_all<T>(error: StoreError, answers: impl ExactSizeIterator<Item = Answer<T>>) {
    warn!(%error, writes = answers.len(), "a write failed");
    for answer in answers {
        let _ = answer.send(Err(error.clone()));
    }
}
