//! Taking runs to execute.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use seatrial_engine::history::{ChildEnd, KeptAttempt, records};
use seatrial_engine::{
    Claim, ClaimRequest, Epoch, FinishedAttempt, Limits, ORPHANED_AFTER, OpenStep, RunEvent, RunId, RunState, Signal,
    WorkflowVersions,
};
use sqlx::Row as _;
use tracing::warn;
use uuid::Uuid;

use super::db::{self, Connection, Pool, Row};
use super::rows::{from_millis, json, kept_attempt, millis, text, time, to_json, unsigned};
use super::{batch, signals};
use crate::effects::Effects;
use crate::error::StoreError;

/// What may go on, first what has begun: parked runs whose time has come, running ones whose lease
/// has expired, then queued ones of whose key nothing has begun or was started before them. Each
/// part reads its own index. `$4` and `$5` are the workflows and groups that are full, `$6` is
/// since when a run must have been left alone for a worker that cannot continue it.
fn candidates(workflows: &[WorkflowVersions]) -> String {
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
    let since = |time: &str| format!("({} OR {time} <= $6)", continued(workflows, 7));
    let due = format!("r.state = 'waiting' AND r.wake_at <= $1 AND {}", since("r.wake_at"));
    let expired = format!("r.state = 'running' AND r.lease_until <= $1 AND {}", since("r.lease_until"));
    let queued = format!(
        "r.state = 'queued' AND {} AND (r.key IS NULL OR NOT EXISTS (
                      SELECT 1 FROM runs o
                      WHERE o.key = r.key AND o.seq <> r.seq AND o.state IN ('queued', 'running', 'waiting')
                        AND (o.state <> 'queued' OR o.seq < r.seq)))",
        since("r.created_at")
    );
    format!(
        "WITH {}, {}, {}
         SELECT seq, workflow, limit_group FROM due UNION ALL SELECT seq, workflow, limit_group FROM expired
         UNION ALL SELECT seq, workflow, limit_group FROM queued LIMIT $3",
        part("due", &due, "r.wake_at, r.seq"),
        part("expired", &expired, "r.seq"),
        part("queued", &queued, "r.priority DESC, r.fair, r.seq"),
    )
}

/// Whether `r` is of a version that is continued; its parameters, three a workflow, begin at `first`.
fn continued(workflows: &[WorkflowVersions], first: usize) -> String {
    if workflows.is_empty() {
        return "FALSE".to_owned();
    }
    let each = workflows.iter().enumerate().map(|(number, _)| {
        let at = first + 3 * number;
        format!("r.workflow = ${at} AND r.version BETWEEN ${} AND ${}", at + 1, at + 2)
    });
    format!("({})", each.collect::<Vec<_>>().join(" OR "))
}

/// Binds what [`continued`] asks for.
macro_rules! bind_continued {
    ($query:expr, $workflows:expr) => {{
        let mut query = $query;
        for workflow in $workflows {
            query = query
                .bind(&workflow.name)
                .bind(i64::from(*workflow.versions.start()))
                .bind(i64::from(*workflow.versions.end()));
        }
        query
    }};
}

fn names(workflows: &[WorkflowVersions]) -> Vec<String> {
    workflows.iter().map(|workflow| workflow.name.clone()).collect()
}

/// Who was left alone since then may be taken by those who cannot continue it.
fn orphaned(now: DateTime<Utc>) -> i64 {
    millis(now) - i64::try_from(ORPHANED_AFTER.as_millis()).unwrap_or(i64::MAX)
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
    let mut effects = Effects::none();
    let mut taken = HashMap::with_capacity(rows.len());
    let mut cut_off = Vec::new();
    let mut kept = Kept::read(connection, &rows).await?;
    for row in &rows {
        match kept.claim(row, request) {
            Ok((claim, interrupted)) => {
                effects.events.push(RunEvent::State {
                    run: claim.id,
                    key: claim.key.clone(),
                    state: RunState::Running,
                });
                if !interrupted.is_empty() {
                    cut_off.push((claim.row, claim.waits.clone(), interrupted));
                }
                taken.insert(claim.row, claim);
            }
            // One that this program cannot read does not keep the others from being taken.
            Err(StoreError::Invalid(reason)) => {
                effects = effects.and(set_aside(connection, row, &reason, request.now).await?);
            }
            Err(e) => return Err(e),
        }
    }
    interrupt(connection, &cut_off).await?;
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
    let (candidates, wanted_names) = (candidates(&request.workflows), names(&request.workflows));
    loop {
        let wanted = request.limit - chosen.len();
        let query = sqlx::query(sqlx::AssertSqlSafe(candidates.clone()))
            .bind(millis(request.now))
            .bind(db::texts(&wanted_names))
            .bind(i64::try_from(request.limit).unwrap_or(i64::MAX))
            .bind(db::texts(&room.full_workflows))
            .bind(db::texts(&room.full_groups))
            .bind(orphaned(request.now));
        let rows = bind_continued!(query, &request.workflows).fetch_all(&mut *connection).await?;
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

/// What the journal keeps of the runs that were taken, read for all of them at once.
struct Kept {
    attempts: HashMap<i64, Vec<Result<KeptAttempt, StoreError>>>,
    signals: HashMap<i64, Vec<Result<Signal, StoreError>>>,
}

impl Kept {
    async fn read(connection: &mut Connection, rows: &[Row]) -> Result<Self, StoreError> {
        let (mut resumed, mut signalled) = (Vec::new(), Vec::new());
        for row in rows {
            let seq: i64 = row.try_get("seq")?;
            // A first claim has no history, unless the run was forked.
            if row.try_get::<i64, _>("epoch")? > 1 || row.try_get::<Option<Uuid>, _>("forked_from")?.is_some() {
                resumed.push(seq);
            }
            if row.try_get::<i64, _>("signalled")? > 0 {
                signalled.push(seq);
            }
        }
        Ok(Self {
            attempts: attempts_of(connection, &resumed).await?,
            signals: signals::of_runs(connection, &signalled).await?,
        })
    }

    /// The claim of a run, and its attempts that an earlier claim left running: they are
    /// interrupted; waits go on.
    fn claim(&mut self, row: &Row, request: &ClaimRequest) -> Result<(Claim, Vec<FinishedAttempt>), StoreError> {
        let seq: i64 = row.try_get("seq")?;
        let open: Vec<OpenStep> = json(row.try_get("open")?)?;
        let (waits, running): (Vec<_>, Vec<_>) = open.into_iter().partition(|open| open.wait.is_some());
        let interrupted: Vec<_> =
            running.into_iter().map(|open| FinishedAttempt::interrupted(open, request.now)).collect();
        let attempts = self.attempts.remove(&seq).unwrap_or_default();
        let mut attempts = attempts.into_iter().collect::<Result<Vec<_>, _>>()?;
        for attempt in &interrupted {
            let is_same =
                |kept: &KeptAttempt| kept.attempt.key == attempt.key && kept.attempt.attempt == attempt.attempt;
            if !attempts.iter().any(is_same) {
                attempts.push(KeptAttempt { attempt: attempt.clone(), discarded: false });
            }
        }
        let signals = self.signals.remove(&seq).unwrap_or_default();
        let claim = Claim {
            id: RunId(row.try_get("id")?),
            row: seq,
            epoch: Epoch(row.try_get("epoch")?),
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
            history: records(attempts),
            waits,
            signals: signals.into_iter().collect::<Result<_, _>>()?,
        };
        Ok((claim, interrupted))
    }
}

async fn attempts_of(
    connection: &mut Connection,
    runs: &[i64],
) -> Result<HashMap<i64, Vec<Result<KeptAttempt, StoreError>>>, StoreError> {
    let mut attempts: HashMap<i64, Vec<_>> = HashMap::with_capacity(runs.len());
    if runs.is_empty() {
        return Ok(attempts);
    }
    let rows = sqlx::query(concat!(
        "SELECT run, scope, name, occurrence, attempt, position, started_at AS began_at, finished_at AS ended_at, outcome,
                output, failure AS why, retry_at, discarded
         FROM attempts WHERE run ",
        one_of!("$1")
    ))
    .bind(db::numbers(runs))
    .fetch_all(connection)
    .await?;
    for row in &rows {
        attempts.entry(row.try_get("run")?).or_default().push(kept_attempt(row));
    }
    Ok(attempts)
}

type CutOff = (i64, Vec<OpenStep>, Vec<FinishedAttempt>);

/// Keeps what was cut off; what is left open are waits.
async fn interrupt(connection: &mut Connection, cut_off: &[CutOff]) -> Result<(), StoreError> {
    if cut_off.is_empty() {
        return Ok(());
    }
    let attempts: Vec<_> =
        cut_off.iter().flat_map(|(seq, _, attempts)| attempts.iter().map(|attempt| (*seq, attempt))).collect();
    batch::insert_attempts(connection, &attempts).await?;
    let (waiting, idle): (Vec<_>, Vec<_>) = cut_off.iter().partition(|(_, waits, _)| !waits.is_empty());
    let idle: Vec<_> = idle.into_iter().map(|(seq, ..)| *seq).collect();
    sqlx::query(concat!("UPDATE runs SET open = '[]' WHERE seq ", one_of!("$1")))
        .bind(db::numbers(&idle))
        .execute(&mut *connection)
        .await?;
    for (seq, waits, _) in waiting {
        sqlx::query("UPDATE runs SET open = $1 WHERE seq = $2")
            .bind(to_json(waits)?)
            .bind(seq)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// How long a run that this program cannot read is left alone.
const UNREADABLE_WAIT: TimeDelta = TimeDelta::minutes(5);

/// Parks a run that this program cannot read: one that can may come. A run that is to stop ends
/// instead, or it would hold its key until then.
async fn set_aside(
    connection: &mut Connection,
    row: &Row,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Effects, StoreError> {
    let (seq, run): (i64, _) = (row.try_get("seq")?, RunId(row.try_get("id")?));
    let key: Option<String> = row.try_get("key")?;
    warn!(%run, reason, "a run cannot be read");
    let Some(cancelled) = row.try_get::<Option<String>, _>("cancel_reason")? else {
        let reason = format!("{reason}; run the version that wrote it, or cancel the run");
        sqlx::query(
            "UPDATE runs SET state = 'waiting', lease_until = NULL, wake_at = $1, wait_reason = $2 WHERE seq = $3",
        )
        .bind(millis(now + UNREADABLE_WAIT))
        .bind(text(&reason))
        .bind(seq)
        .execute(connection)
        .await?;
        return Ok(Effects { events: vec![RunEvent::State { run, key, state: RunState::Waiting }], ring: false });
    };
    sqlx::query(
        "UPDATE runs SET state = 'cancelled', lease_until = NULL, wake_at = NULL, open = '[]', finished_at = $1
         WHERE seq = $2",
    )
    .bind(millis(now))
    .bind(seq)
    .execute(&mut *connection)
    .await?;
    let ended = Effects { events: vec![RunEvent::State { run, key, state: RunState::Cancelled }], ring: true };
    match row.try_get::<Option<Uuid>, _>("parent")? {
        None => Ok(ended),
        Some(parent) => {
            let end = ChildEnd::Cancelled(cancelled);
            Ok(ended.and(signals::tell_parent(connection, RunId(parent), run, &end, now).await?))
        }
    }
}

/// When the next of these workflows' runs can be claimed, as far as time decides: now when one is
/// queued, although its key or a limit may hold it back.
pub(super) async fn next_due(
    readers: &Pool,
    workflows: &[WorkflowVersions],
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let mine = continued(workflows, 3);
    let orphan = |condition: &str| {
        format!("EXISTS (SELECT 1 FROM runs r WHERE {condition} <= $2 AND r.workflow {} AND NOT {mine})", one_of!("$1"))
    };
    let query = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT (SELECT min(r.wake_at) FROM runs r WHERE r.state = 'waiting' AND {mine}) AS wake_at,
                (SELECT min(r.lease_until) FROM runs r WHERE r.state = 'running' AND {mine}) AS lease_until,
                CASE WHEN EXISTS (SELECT 1 FROM runs r WHERE r.state = 'queued' AND {mine}) THEN TRUE
                     ELSE {} OR {} OR {} END AS is_due",
        orphan("r.state = 'waiting' AND r.wake_at"),
        orphan("r.state = 'running' AND r.lease_until"),
        orphan("r.state = 'queued' AND r.created_at"),
    )))
    .bind(db::texts(&names(workflows)))
    .bind(orphaned(now));
    let row = bind_continued!(query, workflows).fetch_one(readers).await?;
    if row.try_get("is_due")? {
        return Ok(Some(now));
    }
    let times = [row.try_get::<Option<i64>, _>("wake_at")?, row.try_get("lease_until")?];
    let due = times.into_iter().flatten().min();
    due.map(|at| from_millis(at.max(millis(now)))).transpose()
}
