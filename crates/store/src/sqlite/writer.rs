//! The one connection that writes. What waits at the same time is folded into one transaction:
//! entries of runs as one batch, other writes each in a savepoint of its own. One fails without
//! the others, all share the commit, and each is answered only after it.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use seatrial_engine::{Bell, Entry, JournalError};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection as _};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use super::db::Connection;
use super::{batch, record};
use crate::effects::{COMMITS, Effects, Writing};
use crate::entries::one_entry_a_run;
use crate::error::StoreError;
use crate::plain_start::PlainStart;

/// At most so many writes share a commit, so that none waits for long.
const FOLD: usize = 512;

enum Job {
    Record(Entry, oneshot::Sender<Result<(), StoreError>>),
    Start(PlainStart, oneshot::Sender<Result<bool, StoreError>>),
    Other(OtherJob),
}

/// Told whether it is alone in its transaction.
type OtherJob = Box<dyn for<'c> FnOnce(&'c mut Connection, bool) -> Running<'c> + Send>;
/// The answer, and whether the transaction still stands: SQLite ends it by itself on some errors.
type Running<'c> = Pin<Box<dyn Future<Output = (Answer, bool)> + Send + 'c>>;
/// Tells the caller how its write went, given how the commit went.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) -> Effects + Send>;

#[derive(Clone)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    pub(super) fn spawn(connection: Connection, options: SqliteConnectOptions, bell: Arc<Bell>) -> Self {
        let (jobs, queue) = mpsc::channel(4 * FOLD);
        tokio::spawn(write_all(connection, options, queue, bell));
        Self { jobs }
    }

    /// Runs `write` and returns once it is committed. If the caller goes away meanwhile, the
    /// write is done all the same.
    pub(super) async fn write<A, T>(
        &self,
        given: A,
        write: for<'c> fn(&'c mut Connection, A) -> Writing<'c, T>,
    ) -> Result<T, StoreError>
    where
        A: Send + 'static,
        T: Send + 'static,
    {
        self.enqueue(given, write, false).await
    }

    /// [`Writer::write`] for what is one statement: it needs no savepoint, as SQLite undoes a
    /// statement that fails by itself.
    pub(super) async fn write_statement<A, T>(
        &self,
        given: A,
        write: for<'c> fn(&'c mut Connection, A) -> Writing<'c, T>,
    ) -> Result<T, StoreError>
    where
        A: Send + 'static,
        T: Send + 'static,
    {
        self.enqueue(given, write, true).await
    }

    async fn enqueue<A, T>(
        &self,
        given: A,
        write: for<'c> fn(&'c mut Connection, A) -> Writing<'c, T>,
        is_statement: bool,
    ) -> Result<T, StoreError>
    where
        A: Send + 'static,
        T: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: OtherJob = Box::new(move |connection, alone| {
            Box::pin(async move {
                let (outcome, stands) = if is_statement {
                    let outcome = write(&mut *connection, given).await;
                    // Some errors end the whole transaction: none of it is trusted then.
                    let stands = outcome.is_ok();
                    (outcome, stands)
                } else if alone {
                    by_itself(connection, given, write).await
                } else {
                    in_savepoint(connection, given, write).await
                };
                let tell: Answer = Box::new(move |committed| {
                    let (outcome, effects) = match (committed, outcome) {
                        (Ok(()), Ok((value, effects))) => (Ok(value), effects),
                        (Ok(()), Err(e)) | (Err(e), _) => (Err(e), Effects::none()),
                    };
                    // The caller may have gone away; the write stands.
                    let _ = answer.send(outcome);
                    effects
                });
                (tell, stands)
            })
        });
        self.send(Job::Other(job), answered).await
    }

    /// Writes an entry that concerns its run alone.
    pub(super) async fn record(&self, entry: Entry) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Job::Record(entry, answer), answered).await
    }

    /// Starts a run, and says whether it was not there already.
    pub(super) async fn start(&self, start: PlainStart) -> Result<bool, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Job::Start(start, answer), answered).await
    }

    async fn send<T>(&self, job: Job, answered: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
        let unavailable = |why: &str| StoreError::Unavailable(why.to_owned());
        self.jobs.send(job).await.map_err(|_| unavailable("the store is closed"))?;
        answered.await.map_err(|_| unavailable("the transaction ended early; nothing of this was written"))?
    }

    /// False once the writing task has ended: nothing will be written any more.
    pub(super) fn is_alive(&self) -> bool {
        !self.jobs.is_closed()
    }
}

/// The only write of the transaction: it needs no savepoint, and each statement is a way to the
/// connection's thread and back.
async fn by_itself<A, T>(
    connection: &mut Connection,
    given: A,
    write: for<'c> fn(&'c mut Connection, A) -> Writing<'c, T>,
) -> (Result<(T, Effects), StoreError>, bool) {
    let outcome = write(&mut *connection, given).await;
    if outcome.is_ok() {
        return (outcome, true);
    }
    match sqlx::raw_sql("ROLLBACK; BEGIN IMMEDIATE").execute(&mut *connection).await {
        Ok(_) => (outcome, true),
        Err(e) => (Err(e.into()), false),
    }
}

/// One write of several in the transaction; false when the transaction does not stand any more.
async fn in_savepoint<A, T>(
    connection: &mut Connection,
    given: A,
    write: for<'c> fn(&'c mut Connection, A) -> Writing<'c, T>,
) -> (Result<(T, Effects), StoreError>, bool) {
    if let Err(e) = sqlx::query("SAVEPOINT write").execute(&mut *connection).await {
        return (Err(e.into()), false);
    }
    let outcome = write(&mut *connection, given).await;
    let end = if outcome.is_err() { "ROLLBACK TO write; RELEASE write" } else { "RELEASE write" };
    match sqlx::raw_sql(end).execute(&mut *connection).await {
        Ok(_) => (outcome, true),
        Err(e) => (Err(e.into()), false),
    }
}

async fn write_all(
    mut connection: Connection,
    options: SqliteConnectOptions,
    mut queue: mpsc::Receiver<Job>,
    bell: Arc<Bell>,
) {
    let mut jobs = Vec::with_capacity(FOLD);
    while queue.recv_many(&mut jobs, FOLD).await > 0 {
        let (effects, broken) = fold(&mut connection, &mut jobs).await;
        effects.publish(&bell);
        if broken {
            connection = reconnect(connection, &options).await;
        }
    }
    if let Err(e) = connection.close().await {
        warn!(error = %e, "the database was not closed cleanly");
    }
}

/// One transaction. Says what to publish, and whether the connection can no longer be trusted.
async fn fold(connection: &mut Connection, jobs: &mut Vec<Job>) -> (Effects, bool) {
    let (mut entries, mut starts, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for job in jobs.drain(..) {
        match job {
            Job::Record(entry, answer) => entries.push((entry, answer)),
            Job::Start(start, answer) => starts.push((start, answer)),
            Job::Other(job) => others.push(job),
        }
    }
    let mut answers = Vec::with_capacity(entries.len() + others.len() + starts.len());
    let outcome = write_together(connection, entries, starts, others, &mut answers).await;
    if let Err(e) = &outcome {
        error!(error = %e, "a transaction failed; nothing of it was written");
    }
    let mut effects = Effects::none();
    for answer in answers {
        effects = effects.and(answer(outcome.clone()));
    }
    (effects, outcome.is_err())
}

type Recorded = (Entry, oneshot::Sender<Result<(), StoreError>>);
type Begun = (PlainStart, oneshot::Sender<Result<bool, StoreError>>);

/// What is not answered when this fails is told by the end of its channel.
async fn write_together(
    connection: &mut Connection,
    entries: Vec<Recorded>,
    starts: Vec<Begun>,
    others: Vec<OtherJob>,
    answers: &mut Vec<Answer>,
) -> Result<(), StoreError> {
    let alone = entries.is_empty() && starts.is_empty() && others.len() == 1;
    let batches = one_entry_a_run(entries);
    let begun: Vec<_> = starts.iter().map(|(start, _)| start).collect();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let mut rows = batch::insert_runs(connection, &begun).await?;
    let written = write_batches(connection, &batches).await?;
    answers.extend(starts.into_iter().map(|(start, answer)| {
        // The row is the first one's: the same start may be here twice.
        let row = rows.remove(&start.run.id);
        answer_start(start, row, answer)
    }));
    for (batch, written) in batches.into_iter().zip(written) {
        answers.extend(batch.into_iter().map(|(entry, answer)| {
            let is_written = written.contains(&entry.row);
            answer_entry(entry, is_written, answer)
        }));
    }
    for job in others {
        let (answer, stands) = job(&mut *connection, alone).await;
        answers.push(answer);
        if !stands {
            // After a transaction that SQLite ended, a further write would be one of its own.
            return Err(StoreError::Unavailable("the transaction could not be finished".to_owned()));
        }
    }
    sqlx::query("COMMIT").execute(&mut *connection).await?;
    metrics::counter!(COMMITS).increment(1);
    Ok(())
}

/// Returns the rows written of each batch.
async fn write_batches(
    connection: &mut Connection,
    batches: &[Vec<Recorded>],
) -> Result<Vec<HashSet<i64>>, StoreError> {
    let mut written = Vec::with_capacity(batches.len());
    for batch in batches {
        let entries: Vec<_> = batch.iter().map(|(entry, _)| entry).collect();
        written.push(batch::write_entries(connection, &entries).await?);
    }
    Ok(written)
}

fn answer_start(start: PlainStart, row: Option<i64>, answer: oneshot::Sender<Result<bool, StoreError>>) -> Answer {
    Box::new(move |committed| {
        let effects = if committed.is_ok() { start.committed(row) } else { Effects::none() };
        let _ = answer.send(committed.map(|()| row.is_some()));
        effects
    })
}

fn answer_entry(entry: Entry, is_written: bool, answer: oneshot::Sender<Result<(), StoreError>>) -> Answer {
    Box::new(move |committed| {
        let (outcome, effects) = match (committed, is_written) {
            (Ok(()), true) => (Ok(()), record::effects_of(&entry)),
            (Ok(()), false) => {
                (Err(JournalError::Fenced { run: entry.run, epoch: entry.epoch }.into()), Effects::none())
            }
            (Err(e), _) => (Err(e), Effects::none()),
        };
        let _ = answer.send(outcome);
        effects
    })
}

async fn reconnect(old: Connection, options: &SqliteConnectOptions) -> Connection {
    // An error here says again that the old connection is of no use.
    let _ = old.close_hard().await;
    loop {
        match options.connect().await {
            Ok(connection) => return connection,
            Err(e) => {
                warn!(error = %e, "the database cannot be opened; trying again");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
    }
}
