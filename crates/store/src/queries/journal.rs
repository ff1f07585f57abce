//! The engine's journal.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use seatrial_engine::{
    Bell, Claim, ClaimRequest, Entry, Fork, Held, Incarnations, Journal, JournalError, NewRun, NewSignal, Renewal,
    Retention, RunDetail, RunId, Started, StepKey, Tick, WorkflowVersions,
};

use super::db::Connection;
use super::open::Db;
use super::rows::{millis, unsigned};
use super::{batch, claim, control, record, retention, schedules, signals, start};
use crate::effects::Effects;
use crate::error::StoreError;
use crate::plain_start::PlainStart;

#[async_trait]
impl Journal for Db {
    async fn start(&self, run: NewRun) -> Result<Started, JournalError> {
        let now = self.clock.now();
        if run.key.is_none() && run.deduplication.is_none() && run.group.is_none() && run.parent.is_none() {
            let id = run.id;
            let slot = self.bell.eager().slot_for(&run.workflow, run.version);
            let fresh = self.writer.start(PlainStart::new(run, now, slot)).await?;
            return Ok(Started { id, fresh });
        }
        let started =
            self.writer.write((run, now), |c, (run, now)| Box::pin(async move { start::start(c, &run, now).await }));
        Ok(started.await?)
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, JournalError> {
        let claims =
            self.writer.write(request.clone(), |c, request| Box::pin(async move { claim::claim(c, &request).await }));
        Ok(claims.await?)
    }

    async fn next_due(
        &self,
        workflows: &[WorkflowVersions],
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, JournalError> {
        Ok(claim::next_due(&self.readers, workflows, now).await?)
    }

    async fn record(&self, entry: Entry) -> Result<(), JournalError> {
        if record::is_plain(&entry) {
            return Ok(self.writer.record(entry).await?);
        }
        let recorded = self.writer.write(entry, |c, entry| Box::pin(async move { record::record(c, &entry).await }));
        Ok(recorded.await?)
    }

    async fn renew(&self, held: &[Held], until: DateTime<Utc>) -> Result<Vec<Renewal>, JournalError> {
        let renewals = self
            .writer
            .write((held.to_vec(), until), |c, (held, until)| Box::pin(async move { renew(c, &held, until).await }));
        Ok(renewals.await?)
    }

    async fn end_leases(&self, worker: &str, of: Incarnations, now: DateTime<Utc>) -> Result<u64, JournalError> {
        let ended = self.writer.write((worker.to_owned(), of, now), |c, (worker, of, now)| {
            Box::pin(async move { end_leases(c, &worker, of, now).await })
        });
        Ok(ended.await?)
    }

    async fn cancel(&self, run: RunId, reason: &str, now: DateTime<Utc>) -> Result<(), JournalError> {
        let cancelled = self.writer.write((run, reason.to_owned(), now), |c, (run, reason, now)| {
            Box::pin(async move { control::cancel(c, run, &reason, now).await })
        });
        Ok(cancelled.await?)
    }

    async fn force_stop(&self, run: RunId, reason: &str, now: DateTime<Utc>) -> Result<(), JournalError> {
        let stopped = self.writer.write((run, reason.to_owned(), now), |c, (run, reason, now)| {
            Box::pin(async move { control::force_stop(c, run, &reason, now).await })
        });
        Ok(stopped.await?)
    }

    async fn retry(&self, run: RunId, from: Option<&StepKey>) -> Result<(), JournalError> {
        let retried = self.writer.write((run, from.cloned()), |c, (run, from)| {
            Box::pin(async move { control::retry(c, run, from.as_ref()).await })
        });
        Ok(retried.await?)
    }

    async fn fork(&self, run: RunId, fork: Fork) -> Result<Started, JournalError> {
        let forked = self.writer.write((run, fork, self.clock.now()), |c, (run, fork, now)| {
            Box::pin(async move { control::fork(c, run, &fork, now).await })
        });
        Ok(forked.await?)
    }

    async fn signal(&self, run: RunId, signal: NewSignal, now: DateTime<Utc>) -> Result<(), JournalError> {
        let sent = self.writer.write((run, signal, now), |c, (run, signal, now)| {
            Box::pin(async move { signals::signal(c, run, &signal, now).await })
        });
        Ok(sent.await?)
    }

    async fn tick(&self, schedule: &Tick, now: DateTime<Utc>) -> Result<DateTime<Utc>, JournalError> {
        let next = self.writer.write((schedule.clone(), now), |c, (schedule, now)| {
            Box::pin(async move { schedules::tick(c, &schedule, now).await })
        });
        Ok(next.await?)
    }

    async fn prune(&self, retention: &Retention, now: DateTime<Utc>, limit: u32) -> Result<u64, JournalError> {
        let beyond = retention::beyond(&self.readers, retention, now, limit).await?;
        if beyond.is_empty() {
            return Ok(0);
        }
        let pruned =
            self.writer.write(beyond, |c, beyond| Box::pin(async move { retention::delete(c, &beyond).await }));
        Ok(pruned.await?)
    }

    async fn position(&self, run: RunId) -> Result<Option<u64>, JournalError> {
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM runs o
                     WHERE o.state = 'queued' AND (o.priority > r.priority OR (o.priority = r.priority
                           AND (o.fair < r.fair OR (o.fair = r.fair AND o.seq < r.seq))))) AS ahead
             FROM runs r WHERE r.id = $1 AND r.state = 'queued'",
        )
        .bind(run.0)
        .fetch_optional(&self.readers)
        .await
        .map_err(StoreError::from)?;
        Ok(row.map(|row| unsigned(&row, "ahead")).transpose()?)
    }

    async fn find_run(&self, run: RunId) -> Result<Option<RunDetail>, JournalError> {
        Ok(self.read_run(run).await?)
    }

    fn bell(&self) -> &Bell {
        &self.bell
    }
}

async fn renew(
    connection: &mut Connection,
    held: &[Held],
    until: DateTime<Utc>,
) -> Result<(Vec<Renewal>, Effects), StoreError> {
    let mut found = batch::renew(connection, held, millis(until)).await?;
    let mut renewals = Vec::new();
    for held in held {
        let Some(lease) = found.remove(&held.run) else {
            renewals.push(Renewal::Lost(*held));
            continue;
        };
        if !lease.is_renewed {
            renewals.push(Renewal::Busy(*held));
        }
        renewals.extend(lease.cancel_reason.map(|reason| Renewal::Cancel(held.run, reason)));
    }
    Ok((renewals, Effects::none()))
}

async fn end_leases(
    connection: &mut Connection,
    worker: &str,
    of: Incarnations,
    now: DateTime<Utc>,
) -> Result<(u64, Effects), StoreError> {
    let (compared, incarnation) = match of {
        Incarnations::Only(incarnation) => ("=", incarnation),
        Incarnations::AllBut(incarnation) => ("IS DISTINCT FROM", incarnation),
    };
    let ended = sqlx::query(sqlx::AssertSqlSafe(format!(
        "UPDATE runs SET lease_until = $1
         WHERE state = 'running' AND worker = $2 AND incarnation {compared} $3 AND lease_until > $1"
    )))
    .bind(millis(now))
    .bind(worker)
    .bind(incarnation)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    Ok((ended, Effects { events: Vec::new(), ring: ended > 0 }))
}
