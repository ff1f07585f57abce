//! A worker: claims runs as slots are free, keeps their leases, and has apalis execute them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use apalis::prelude::{Monitor, ParallelizeExt, WorkerBuilder, WorkerBuilderExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::active::Active;
use crate::backend::{Assignment, Assignments};
use crate::bell::{Listener, RunEvent};
use crate::clock::Clock;
use crate::eager::Offer;
use crate::executor::Executor;
use crate::ids::WorkerId;
use crate::journal::{
    Claim, ClaimRequest, Held, Incarnations, Journal, Limits, Renewal, Retention, Tick, WorkflowVersions,
};
use crate::registry::Registry;
use crate::schedule::Schedule;

#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Stays the same over restarts of the process, differs between processes.
    pub name: String,
    /// Runs executed at once.
    pub slots: usize,
    /// A worker that is silent for this long loses its runs to others.
    pub lease: Duration,
    /// After the order to stop, steps in flight get this long.
    pub grace: Duration,
    /// The same for all workers of a journal.
    pub limits: Limits,
    /// Started by the clock. A schedule that is in no worker's list any more does not tick.
    pub schedules: Vec<Schedule>,
    /// How long finished runs are kept; for ever when it is `None`.
    pub retention: Option<Retention>,
}

impl WorkerConfig {
    /// 64 slots, a lease of 10 s, a grace of 20 s; no limits, no schedules, and every run is kept.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            slots: 64,
            lease: Duration::from_secs(10),
            grace: Duration::from_secs(20),
            limits: Limits::default(),
            schedules: Vec::new(),
            retention: None,
        }
    }
}

/// Executes the registry's workflows from the journal until it is told to stop.
pub struct Worker {
    config: WorkerConfig,
    id: WorkerId,
    journal: Arc<dyn Journal>,
    registry: Registry,
    clock: Arc<dyn Clock>,
}

impl Worker {
    pub fn new(config: WorkerConfig, journal: Arc<dyn Journal>, registry: Registry, clock: Arc<dyn Clock>) -> Self {
        Self { id: WorkerId::new(config.name.clone()), config, journal, registry, clock }
    }

    /// Runs until `shutdown` is cancelled, then drains: no new claims, steps in flight get their
    /// grace time, runs are handed back at the step boundary.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { config, id, journal, registry, clock } = self;
        let executor = Arc::new(Executor {
            journal,
            registry,
            clock,
            lease: config.lease,
            active: Arc::new(Active::default()),
            // The order itself, so that the next step boundary sees it, whoever is scheduled first.
            drain: shutdown.clone(),
            stop: CancellationToken::new(),
        });
        let (assignments, queue) = mpsc::unbounded_channel();
        let monitor = tokio::spawn(monitor(executor.clone(), queue, config.clone(), shutdown.clone()));
        let stop = async {
            shutdown.cancelled().await;
            executor.clock.sleep(config.grace).await;
            executor.stop.cancel();
            std::future::pending::<()>().await;
        };
        let slots = Arc::new(Semaphore::new(config.slots));
        let work = async {
            take_back(&executor, &id).await;
            tokio::join!(
                claim_runs(&executor, &config, &id, &slots, assignments),
                keep_leases(&executor),
                forward_orders(&executor),
                keep_schedules(&executor, &config.schedules),
                prune(&executor, config.retention),
            );
        };
        tokio::select! {
            // Ends once the shutdown has been ordered and every run in flight has been left.
            ended = monitor => if let Err(e) = ended { error!(error = %e, "the executing worker stopped") },
            () = work => {}
            () = stop => {}
        }
        // A claim or an eager start may have been on its way while the worker closed.
        let all = u32::try_from(config.slots).unwrap_or(u32::MAX);
        tokio::select! {
            _ = slots.acquire_many(all) => {}
            () = executor.clock.sleep(config.lease) => {}
        }
        let now = executor.clock.now();
        if let Err(e) = executor.journal.end_leases(&id.name, Incarnations::Only(id.incarnation), now).await {
            warn!(error = %e, "leases could not be given back; they will expire");
        }
    }
}

/// What an earlier process of this name held goes on at once.
async fn take_back(executor: &Executor, id: &WorkerId) {
    loop {
        let now = executor.clock.now();
        match executor.journal.end_leases(&id.name, Incarnations::AllBut(id.incarnation), now).await {
            Ok(0) => return,
            Ok(runs) => {
                info!(runs, "taking back the runs of this worker's earlier process");
                return;
            }
            Err(e) => {
                warn!(error = %e, "the journal cannot be used; trying again");
                executor.clock.sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// apalis: one worker with a service that executes assignments. It ends when it is told to.
async fn monitor(
    executor: Arc<Executor>,
    queue: mpsc::UnboundedReceiver<Assignment>,
    config: WorkerConfig,
    shutdown: CancellationToken,
) {
    // Shared, so that a worker which apalis makes anew goes on with the same queue.
    let queue = Arc::new(Mutex::new(queue));
    let grace = config.grace;
    let monitor = Monitor::new()
        .register(move |_| {
            let executor = executor.clone();
            WorkerBuilder::new(config.name.as_str())
                .backend(Assignments(queue.clone()))
                .catch_panic()
                .concurrency(config.slots)
                .parallelize(tokio::spawn)
                .build(move |assignment: Assignment| {
                    let executor = executor.clone();
                    async move {
                        executor.execute(assignment.claim).await;
                        drop(assignment.slot);
                        Ok::<(), std::convert::Infallible>(())
                    }
                })
        })
        .should_restart(|_, _| true)
        // A run is handed back when its grace is over; apalis waits a little longer than that.
        .shutdown_timeout(grace + Duration::from_secs(5));
    let ordered = async move {
        shutdown.cancelled().await;
        Ok(())
    };
    if let Err(e) = monitor.run_with_signal(ordered).await {
        error!(error = %e, "apalis ended with an error");
    }
}

/// Looked at least this often, should a ring of the bell from another process be lost.
const SWEEP: Duration = Duration::from_secs(2);

/// Not asked again sooner than this by the time alone.
const BREATH: Duration = Duration::from_millis(5);

async fn claim_runs(
    executor: &Executor,
    config: &WorkerConfig,
    id: &WorkerId,
    slots: &Arc<Semaphore>,
    assignments: mpsc::UnboundedSender<Assignment>,
) {
    let workflows = executor.registry.versions();
    let without_limit = workflows.iter().filter(|workflow| config.limits.workflow(&workflow.name) == usize::MAX);
    let without_limit: Arc<Vec<_>> = Arc::new(without_limit.cloned().collect());
    let mut bell = executor.journal.bell().listener();
    let mut in_vain = 0;
    while !executor.drain.is_cancelled() {
        let first = tokio::select! {
            slot = slots.clone().acquire_owned() => slot,
            () = executor.drain.cancelled() => return,
        };
        let Ok(first) = first else { return };
        let mut free = vec![first];
        while let Ok(more) = slots.clone().try_acquire_owned() {
            free.push(more);
        }
        bell.hears();
        let now = executor.clock.now();
        let request = ClaimRequest {
            worker: id.clone(),
            workflows: workflows.clone(),
            limit: free.len(),
            limits: config.limits.clone(),
            now,
            lease_until: now + config.lease,
        };
        let (claims, mut free) = claim(executor.journal.clone(), request, free).await;
        if claims.is_empty() {
            drop(free);
            let _offering = executor.journal.bell().eager().offer(Offer {
                worker: id.clone(),
                lease: config.lease,
                workflows: without_limit.clone(),
                slots: slots.clone(),
                assignments: assignments.clone(),
            });
            let with_limits = !config.limits.is_empty();
            wait_for_work(executor, &workflows, with_limits, &mut bell, &mut in_vain).await;
            continue;
        }
        in_vain = 0;
        for claim in claims {
            let Some(slot) = free.pop() else { break };
            if assignments.send(Assignment { claim, slot }).is_err() {
                return;
            }
        }
    }
}

/// The slots are kept until the journal has answered, whatever becomes of the caller: a worker that
/// closes gives its leases back when it has all of them.
async fn claim(
    journal: Arc<dyn Journal>,
    request: ClaimRequest,
    slots: Vec<OwnedSemaphorePermit>,
) -> (Vec<Claim>, Vec<OwnedSemaphorePermit>) {
    let asked = tokio::spawn(async move {
        let claims = journal.claim(&request).await.unwrap_or_else(|e| {
            warn!(error = %e, "no runs can be claimed; trying again");
            Vec::new()
        });
        (claims, slots)
    });
    asked.await.unwrap_or_else(|e| {
        error!(error = %e, "a claim ended early; its leases will expire");
        (Vec::new(), Vec::new())
    })
}

/// Returns when a claim is worth its while: the bell rang, a run is queued, or the next wait or
/// lease is over. A sweep finds what nobody has rung for.
/// With limits, the end of any run may make room. `in_vain` counts the claims that found nothing although something was due.
async fn wait_for_work(
    executor: &Executor,
    workflows: &[WorkflowVersions],
    with_limits: bool,
    bell: &mut Listener,
    in_vain: &mut u32,
) {
    loop {
        let now = executor.clock.now();
        let due = match executor.journal.next_due(workflows, now).await {
            Ok(due) => due,
            Err(e) => {
                warn!(error = %e, "the journal cannot be asked what is due; trying again");
                None
            }
        };
        // What is due and was not claimed is held back by its key or by a limit, or on its way to
        // another worker: the end of that rings. Should it not, ask less and less often.
        let is_due = due.is_some_and(|due| due <= now);
        let next = if is_due {
            if *in_vain == 0 {
                *in_vain = 1;
                return;
            }
            now + BREATH.saturating_mul(1 << (*in_vain).min(9)).min(SWEEP)
        } else {
            due.map_or(now + SWEEP, |due| due.min(now + SWEEP))
        };
        tokio::select! {
            () = bell.wakes(with_limits) => return,
            () = executor.clock.sleep_until(next) => if due.is_some_and(|due| due <= next) {
                *in_vain = if is_due { *in_vain + 1 } else { 0 };
                return;
            },
            () = executor.drain.cancelled() => return,
        }
    }
}

async fn keep_leases(executor: &Executor) {
    loop {
        executor.clock.sleep(executor.lease / 3).await;
        let held = executor.active.held();
        if held.is_empty() {
            continue;
        }
        let until = executor.clock.now() + executor.lease;
        match executor.journal.renew(&held, until).await {
            Ok(renewals) => {
                for held in held.into_iter().filter(|held| is_renewed(*held, &renewals)) {
                    executor.active.renewed(held, until);
                }
                for renewal in renewals {
                    match renewal {
                        Renewal::Busy(_) => {}
                        Renewal::Lost(held) => executor.active.lose(held),
                        Renewal::Cancel(run, reason) => executor.active.cancel(run, &reason, executor.clock.now()),
                    }
                }
            }
            Err(e) => warn!(error = %e, "leases could not be renewed; trying again"),
        }
    }
}

fn is_renewed(held: Held, renewals: &[Renewal]) -> bool {
    !renewals.iter().any(|renewal| matches!(renewal, Renewal::Busy(not) | Renewal::Lost(not) if *not == held))
}

/// An order to stop that was written by this process reaches the step at once; one written by
/// another comes with its bell, or with the next renewal.
async fn forward_orders(executor: &Executor) {
    let mut events = executor.journal.bell().subscribe();
    loop {
        match events.recv().await {
            Ok(RunEvent::CancelRequested { run, reason }) => executor.active.cancel(run, &reason, executor.clock.now()),
            Ok(RunEvent::Stopped { run }) => executor.active.stop(run),
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Asks the journal for each schedule when it ticks. Asks nothing in between.
async fn keep_schedules(executor: &Executor, schedules: &[Schedule]) {
    let keep = schedules.iter().map(|schedule| async move {
        let tick = Tick {
            name: schedule.name.clone(),
            run: schedule.run.clone(),
            missed: schedule.missed,
            cron: schedule.cron.clone(),
        };
        loop {
            let now = executor.clock.now();
            let next = match executor.journal.tick(&tick, now).await {
                Ok(next) => next,
                Err(e) => {
                    warn!(schedule = tick.name, error = %e, "a schedule could not be kept; trying again");
                    now + Duration::from_secs(1)
                }
            };
            executor.clock.sleep_until(next).await;
        }
    });
    futures::future::join_all(keep).await;
}

/// Runs are deleted in batches of this size, so that no write waits long for one.
const PRUNE_BATCH: u32 = 500;
const PRUNE_EVERY: Duration = Duration::from_secs(60);

async fn prune(executor: &Executor, retention: Option<Retention>) {
    let Some(retention) = retention else { return };
    loop {
        let pruned = executor.journal.prune(&retention, executor.clock.now(), PRUNE_BATCH).await;
        match pruned {
            Ok(0) => executor.clock.sleep(PRUNE_EVERY).await,
            Ok(runs) => {
                info!(runs, "finished runs beyond their retention are deleted");
                if runs < u64::from(PRUNE_BATCH) {
                    executor.clock.sleep(PRUNE_EVERY).await;
                }
            }
            Err(e) => {
                warn!(error = %e, "finished runs could not be deleted; trying again");
                executor.clock.sleep(PRUNE_EVERY).await;
            }
        }
    }
}
