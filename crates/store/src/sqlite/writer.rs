//! The one connection that writes. Writes that wait at the same time are folded into one
//! transaction, each in a savepoint of its own: one fails without the others, all share the
//! commit, and each is answered only after it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use seatrial_engine::{Bell, RunEvent};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use crate::error::StoreError;

/// At most so many writes share a commit, so that none waits for long.
const FOLD: usize = 256;

pub(super) type Writing<'c, T> = Pin<Box<dyn Future<Output = Result<(T, Effects), StoreError>> + Send + 'c>>;

/// What the process is told once the write is safe on disk.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) events: Vec<RunEvent>,
    /// A run may be ready to be claimed.
    pub(super) ring: bool,
}

impl Effects {
    pub(super) fn none() -> Self {
        Self::default()
    }

    pub(super) fn event(event: RunEvent) -> Self {
        Self { events: vec![event], ring: false }
    }
}

type Job = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> Running<'c> + Send>;
/// The answer, and whether the transaction still stands: SQLite ends it by itself on some errors.
type Running<'c> = Pin<Box<dyn Future<Output = (Answer, bool)> + Send + 'c>>;
/// Tells the caller how its write went, given how the commit went.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) -> Effects + Send>;

#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    pub(super) fn spawn(connection: SqliteConnection, options: SqliteConnectOptions, bell: Arc<Bell>) -> Self {
        let (jobs, queue) = mpsc::channel(4 * FOLD);
        tokio::spawn(write_all(connection, options, queue, bell));
        Self { jobs }
    }

    /// Runs `write` and returns once it is committed. If the caller goes away meanwhile, the
    /// write is done all the same.
    pub(super) async fn write<T, F>(&self, write: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> Writing<'c, T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            Box::pin(async move {
                let (outcome, stands) = in_savepoint(connection, write).await;
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
        let unavailable = |why: &str| StoreError::Unavailable(why.to_owned());
        self.jobs.send(job).await.map_err(|_| unavailable("the store is closed"))?;
        answered.await.map_err(|_| unavailable("the transaction ended early; nothing of this was written"))?
    }

    /// False once the writing task has ended: nothing will be written any more.
    pub(super) fn is_alive(&self) -> bool {
        !self.jobs.is_closed()
    }
}

/// One write of the transaction; false when the transaction does not stand any more.
async fn in_savepoint<T, F>(connection: &mut SqliteConnection, write: F) -> (Result<(T, Effects), StoreError>, bool)
where
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> Writing<'c, T>,
{
    if let Err(e) = sqlx::query("SAVEPOINT write").execute(&mut *connection).await {
        return (Err(e.into()), false);
    }
    let outcome = write(&mut *connection).await;
    let end = if outcome.is_err() { "ROLLBACK TO write; RELEASE write" } else { "RELEASE write" };
    match sqlx::raw_sql(end).execute(&mut *connection).await {
        Ok(_) => (outcome, true),
        Err(e) => (Err(e.into()), false),
    }
}

async fn write_all(
    mut connection: SqliteConnection,
    options: SqliteConnectOptions,
    mut queue: mpsc::Receiver<Job>,
    bell: Arc<Bell>,
) {
    let mut jobs = Vec::with_capacity(FOLD);
    while queue.recv_many(&mut jobs, FOLD).await > 0 {
        let effects = fold(&mut connection, &mut jobs).await;
        let mut ring = false;
        for effect in effects.0 {
            ring |= effect.ring;
            for event in effect.events {
                bell.publish(event);
            }
        }
        if ring {
            bell.ring();
        }
        if effects.1 {
            connection = reconnect(connection, &options).await;
        }
    }
    if let Err(e) = connection.close().await {
        warn!(error = %e, "the database was not closed cleanly");
    }
}

/// One transaction. Says what to publish, and whether the connection can no longer be trusted.
async fn fold(connection: &mut SqliteConnection, jobs: &mut Vec<Job>) -> (Vec<Effects>, bool) {
    let begun = sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await;
    let mut answers = Vec::with_capacity(jobs.len());
    let mut outcome = begun.map(|_| ()).map_err(StoreError::from);
    if outcome.is_ok() {
        let mut stands = true;
        for job in jobs.drain(..) {
            // After a transaction that SQLite ended, a further write would be one of its own.
            if stands {
                let (answer, still) = job(&mut *connection).await;
                answers.push(answer);
                stands = still;
            }
        }
        outcome = if stands {
            sqlx::query("COMMIT").execute(&mut *connection).await.map(|_| ()).map_err(StoreError::from)
        } else {
            Err(StoreError::Unavailable("the transaction could not be finished".to_owned()))
        };
    } else {
        // Not begun: dropping the jobs tells their callers that nothing was written.
        jobs.clear();
    }
    let mut broken = false;
    if let Err(e) = &outcome {
        error!(error = %e, "a transaction failed; nothing of it was written");
        broken = true;
    }
    (answers.into_iter().map(|answer| answer(outcome.clone())).collect(), broken)
}

async fn reconnect(old: SqliteConnection, options: &SqliteConnectOptions) -> SqliteConnection {
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
