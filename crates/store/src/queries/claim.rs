//! Taking runs to execute.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use seatrial_engine::history::records;
use seatrial_engine::{
    Claim, ClaimRequest, Epoch, FinishedAttempt, Limits, OpenStep, RunEvent, RunId, RunState, StepRecord,
};
use sqlx::Row as _;
use uuid::Uuid;

use super::db::{self, Connection, Pool, Row};
use super::rows::{from_millis, json, kept_attempt, millis, time, to_json, unsigned};
use super::{batch, signals};
use crate::effects::Effects;
use crate::error::StoreError;

/// What may go on, first what has begun: parked runs whose time has come, running ones whose lease
/// has expired, then queued ones of whose key nothing has begun or was started before them. Each
/// part reads its own index. `$4` and `$5` are the workflows and groups that are full.
fn candidates() -> String {
    let part = |name: &str, condition: &str, order: &str| {
        format!(
            "{name} AS (
                SELECT r.seq, r.workflow, r.limit_group FROM runs r
                WHERE {condition} AND r.workflow {wanted} AND NOT (r.workflow {full})
                  AND (r.limit_group IS NULL OR NOT (r.limit_group {full_group}))
                ORDER BY {order} LIMIT $3{lock})",
            wanted = one_of!("$2"),
            full = one_of!("$4"),
            full_group = one_of!("$5"),
            lock = db::FOR_UPDATE,
        )
    };
    let queued = "r.state = 'queued' AND (r.key IS NULL OR NOT EXISTS (
                      SELECT 1 FROM runs o
                      WHERE o.key = r.key AND o.seq <> r.seq AND o.state IN ('queued', 'running', 'waiting')
                        AND (o.state <> 'queued' OR o.seq < r.seq)))";
    format!(
        "WITH {}, {}, {}
         SELECT seq, workflow, limit_group FROM due UNION ALL SELECT seq, workflow, limit_group FROM expired
         UNION ALL SELECT seq, workflow, limit_group FROM queued LIMIT $3",
        part("due", "r.state = 'waiting' AND r.wake_at <= $1", "r.wake_at, r.seq"),
        part("expired", "r.state = 'running' AND r.lease_until <= $1", "r.seq"),
        part("queued", queued, "r.priority DESC, r.fair, r.seq"),
    )
}

const TAKE: &str = concat!(
    "UPDATE runs SET state = 'running', epoch = epoch + 1, worker = $1, incarnation = $2, lease_until = $3,
                     wake_at = NULL, wait_reason = NULL, awaits_signal = FALSE, started_at = coalesce(started_at, $4)
     WHERE seq ",
    one_of!("$5"),
    " RETURNING seq, id, epoch, workflow, version, input, key, parent, trace, created_at, cancel_reason, open, signalled,
                forked_from"
);

pub(super) async fn claim(
    connection: &mut Connection,
    request: &ClaimRequest,
) -> Result<(Vec<Claim>, Effects), StoreError> {
    let chosen = choose(connection, request).await?;
    if chosen.is_empty() {
        return Ok((Vec::new(), Effects::none()));
    }
    let rows = sqlx::query(TAKE)
        .bind(&request.worker.name)
        .bind(request.worker.incarnation)
        .bind(millis(request.lease_until))
        .bind(millis(request.now))
        .bind(db::numbers(&chosen))
        .fetch_all(&mut *connection)
        .await?;
    let mut taken = HashMap::with_capacity(rows.len());
    let mut effects = Effects::none();
    for row in rows {
        let claim = take(connection, &row, request).await?;
        effects.events.push(RunEvent::State { run: claim.id, key: claim.key.clone(), state: RunState::Running });
        taken.insert(row.try_get::<i64, _>("seq")?, claim);
    }
    // In the order they were chosen.
    Ok((chosen.iter().filter_map(|seq| taken.remove(seq)).collect(), effects))
}

/// The runs to take, in order: as many as are wanted and the limits leave room for.
async fn choose(connection: &mut Connection, request: &ClaimRequest) -> Result<Vec<i64>, StoreError> {
    let mut room = Room::new(&request.limits);
    if !request.limits.is_empty() {
        db::lock_claims(connection).await?;
        room.count(connection, request.now).await?;
    }
    let mut chosen: Vec<i64> = Vec::new();
    loop {
        let wanted = request.limit - chosen.len();
        let rows = sqlx::query(sqlx::AssertSqlSafe(candidates()))
            .bind(millis(request.now))
            .bind(db::texts(&request.workflows))
            .bind(i64::try_from(request.limit).unwrap_or(i64::MAX))
            .bind(db::texts(&room.full_workflows))
            .bind(db::texts(&room.full_groups))
            .fetch_all(&mut *connection)
            .await?;
        let (mut added, mut left_out) = (0, false);
        for row in &rows {
            let seq: i64 = row.try_get("seq")?;
            if added == wanted || chosen.contains(&seq) {
                continue;
            }
            if room.take(row.try_get("workflow")?, row.try_get("limit_group")?) {
                chosen.push(seq);
                added += 1;
            } else {
                left_out = true;
            }
        }
        // Something full stood in the way of others: look again without it.
        if !left_out || added == wanted {
            return Ok(chosen);
        }
    }
}

/// What the limits leave room for.
struct Room<'a> {
    limits: &'a Limits,
    workflows: HashMap<String, usize>,
    groups: HashMap<String, usize>,
    full_workflows: Vec<String>,
    full_groups: Vec<String>,
}

impl<'a> Room<'a> {
    fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            workflows: HashMap::new(),
            groups: HashMap::new(),
            full_workflows: Vec::new(),
            full_groups: Vec::new(),
        }
    }

    /// What is running already, on all workers. One whose lease has expired does not count: it is
    /// itself to be claimed.
    async fn count(&mut self, connection: &mut Connection, now: DateTime<Utc>) -> Result<(), StoreError> {
        let rows = sqlx::query(
            "SELECT workflow, limit_group, count(*) AS n FROM runs WHERE state = 'running' AND lease_until > $1
             GROUP BY workflow, limit_group",
        )
        .bind(millis(now))
        .fetch_all(connection)
        .await?;
        for row in &rows {
            let n: usize = unsigned(row, "n")?;
            *self.workflows.entry(row.try_get("workflow")?).or_default() += n;
            if let Some(group) = row.try_get::<Option<String>, _>("limit_group")? {
                *self.groups.entry(group).or_default() += n;
            }
        }
        for (name, n) in &self.workflows {
            if *n >= self.limits.workflow(name) {
                self.full_workflows.push(name.clone());
            }
        }
        for (name, n) in &self.groups {
            if *n >= self.limits.group(Some(name)) {
                self.full_groups.push(name.clone());
            }
        }
        Ok(())
    }

    fn take(&mut self, workflow: &str, group: Option<&str>) -> bool {
        let of_workflow = self.workflows.get(workflow).copied().unwrap_or_default();
        let of_group = group.and_then(|group| self.groups.get(group)).copied().unwrap_or_default();
        let workflow_is_full = of_workflow >= self.limits.workflow(workflow);
        let group_is_full = of_group >= self.limits.group(group);
        if workflow_is_full && !self.full_workflows.iter().any(|full| full == workflow) {
            self.full_workflows.push(workflow.to_owned());
        }
        if let Some(group) = group.filter(|group| group_is_full && !self.full_groups.iter().any(|full| full == group)) {
            self.full_groups.push(group.to_owned());
        }
        if workflow_is_full || group_is_full {
            return false;
        }
        self.workflows.insert(workflow.to_owned(), of_workflow + 1);
        if let Some(group) = group {
            self.groups.insert(group.to_owned(), of_group + 1);
        }
        true
    }
}

async fn take(connection: &mut Connection, row: &Row, request: &ClaimRequest) -> Result<Claim, StoreError> {
    let seq: i64 = row.try_get("seq")?;
    let epoch: i64 = row.try_get("epoch")?;
    let (mut history, mut waits) = (Vec::new(), Vec::new());
    // A first claim has no history, unless the run was forked.
    if epoch > 1 || row.try_get::<Option<Uuid>, _>("forked_from")?.is_some() {
        waits = interrupt(connection, seq, json(row.try_get("open")?)?, request.now).await?;
        history = read_history(connection, seq).await?;
    }
    let signalled: i64 = row.try_get("signalled")?;
    Ok(Claim {
        id: RunId(row.try_get("id")?),
        row: seq,
        epoch: Epoch(epoch),
        workflow: row.try_get("workflow")?,
        version: unsigned(row, "version")?,
        input: json(row.try_get("input")?)?,
        key: row.try_get("key")?,
        parent: row.try_get::<Option<Uuid>, _>("parent")?.map(RunId),
        trace: row.try_get("trace")?,
        started_at: time(row, "created_at")?,
        claimed_at: request.now,
        lease_until: request.lease_until,
        cancel: row.try_get("cancel_reason")?,
        history,
        waits,
        signals: if signalled > 0 { signals::of_run(connection, seq).await? } else { Vec::new() },
    })
}

/// Attempts that an earlier claim left running are kept as interrupted; waits go on.
async fn interrupt(
    connection: &mut Connection,
    seq: i64,
    open: Vec<OpenStep>,
    now: DateTime<Utc>,
) -> Result<Vec<OpenStep>, StoreError> {
    let (waits, running): (Vec<_>, Vec<_>) = open.into_iter().partition(|open| open.wait.is_some());
    if !running.is_empty() {
        let cut_off: Vec<_> = running.into_iter().map(|open| (seq, FinishedAttempt::interrupted(open, now))).collect();
        let cut_off: Vec<_> = cut_off.iter().map(|(seq, attempt)| (*seq, attempt)).collect();
        batch::insert_attempts(connection, &cut_off).await?;
        sqlx::query("UPDATE runs SET open = $1 WHERE seq = $2")
            .bind(to_json(&waits)?)
            .bind(seq)
            .execute(connection)
            .await?;
    }
    Ok(waits)
}

async fn read_history(connection: &mut Connection, seq: i64) -> Result<Vec<StepRecord>, StoreError> {
    let rows = sqlx::query("SELECT scope, name, occurrence, attempt, position, started_at AS began_at, finished_at AS ended_at, outcome, output,
                failure AS why, retry_at, discarded
         FROM attempts WHERE run = $1",
    ).bind(seq).fetch_all(connection).await?;
    Ok(records(rows.iter().map(kept_attempt).collect::<Result<_, _>>()?))
}

/// When the next of these workflows' runs can be claimed, as far as time decides: now when one is
/// queued, although its key or a limit may hold it back.
pub(super) async fn next_due(
    readers: &Pool,
    workflows: &[String],
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT (SELECT min(wake_at) FROM runs WHERE state = 'waiting' AND workflow ",
        one_of!("$1"),
        ") AS wake_at, (SELECT min(lease_until) FROM runs WHERE state = 'running' AND workflow ",
        one_of!("$1"),
        ") AS lease_until, EXISTS (SELECT 1 FROM runs WHERE state = 'queued' AND workflow ",
        one_of!("$1"),
        ") AS is_queued"
    ))
    .bind(db::texts(workflows))
    .fetch_one(readers)
    .await?;
    if row.try_get("is_queued")? {
        return Ok(Some(now));
    }
    let times = [row.try_get::<Option<i64>, _>("wake_at")?, row.try_get("lease_until")?];
    let due = times.into_iter().flatten().min();
    due.map(|at| from_millis(at.max(millis(now)))).transpose()
}
