//! A worker: claims runs as slots are free, keeps their leases, and has apalis execute them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apalis::prelude::{Monitor, ParallelizeExt, WorkerBuilder, WorkerBuilderExt};
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::active::Active;
use crate::backend::{Assignment, Assignments};
use crate::bell::RunEvent;
use crate::clock::Clock;
use crate::executor::Executor;
use crate::ids::WorkerId;
use crate::journal::{ClaimRequest, Claims, Journal, Renewal};
use crate::registry::Registry;

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
}

impl WorkerConfig {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), slots: 64, lease: Duration::from_secs(10), grace: Duration::from_secs(20) }
    }
}

/// Executes the registry's workflows from the journal until it is told to stop.
pub struct Worker {
    config: WorkerConfig,
    id: WorkerId,
    executor: Arc<Executor>,
}

impl Worker {
    pub fn new(config: WorkerConfig, journal: Arc<dyn Journal>, registry: Registry, clock: Arc<dyn Clock>) -> Self {
        let executor = Executor {
            journal,
            registry,
            clock,
            lease: config.lease,
            active: Arc::new(Active::default()),
            drain: CancellationToken::new(),
            stop: CancellationToken::new(),
        };
        Self { id: WorkerId::new(config.name.clone()), config, executor: Arc::new(executor) }
    }

    /// Runs until `shutdown` is cancelled, then drains: no new claims, steps in flight get their
    /// grace time, runs are handed back at the step boundary.
    pub async fn run(self, shutdown: CancellationToken) {
        let (assignments, queue) = mpsc::unbounded_channel();
        let monitor = tokio::spawn(monitor(self.executor.clone(), queue, self.config.grace, shutdown.clone()));
        let executor = self.executor.clone();
        let drain = async move {
            shutdown.cancelled().await;
            executor.drain.cancel();
            executor.clock.sleep(self.config.grace).await;
            executor.stop.cancel();
            std::future::pending::<()>().await;
        };
        let work = async {
            self.take_back().await;
            tokio::join!(
                claim_runs(&self.executor, &self.config, &self.id, assignments),
                keep_leases(&self.executor),
                forward_cancellations(&self.executor),
            );
        };
        tokio::select! {
            // Ends once the shutdown has been ordered and every run in flight has been left.
            ended = monitor => if let Err(e) = ended { error!(error = %e, "the executing worker stopped") },
            () = work => {}
            () = drain => {}
        }
        // A claim may have been on its way while the worker closed.
        let now = self.executor.clock.now();
        if let Err(e) = self.executor.journal.end_leases(&self.id.name, None, now).await {
            warn!(error = %e, "leases could not be given back; they will expire");
        }
    }

    /// What an earlier process of this name held goes on at once.
    async fn take_back(&self) {
        let executor = &self.executor;
        loop {
            let now = executor.clock.now();
            match executor.journal.end_leases(&self.id.name, Some(self.id.incarnation), now).await {
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
}

/// apalis: one worker with a service that executes assignments. It ends when it is told to.
async fn monitor(
    executor: Arc<Executor>,
    queue: mpsc::UnboundedReceiver<Assignment>,
    grace: Duration,
    shutdown: CancellationToken,
) {
    let queue = Arc::new(Mutex::new(Some(queue)));
    let monitor = Monitor::new()
        .register(move |_| {
            // Monitors make their workers once; the queue cannot be handed out twice.
            let queue = queue.lock().unwrap_or_else(PoisonError::into_inner).take();
            let queue = queue.unwrap_or_else(|| mpsc::unbounded_channel().1);
            let executor = executor.clone();
            WorkerBuilder::new("runs").backend(Assignments(queue)).catch_panic().parallelize(tokio::spawn).build(
                move |assignment: Assignment| {
                    let executor = executor.clone();
                    async move {
                        executor.execute(assignment.claim).await;
                        drop(assignment.slot);
                        Ok::<(), std::convert::Infallible>(())
                    }
                },
            )
        })
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

/// Looked at least this often, should a ring of the bell come from another process.
const SWEEP: Duration = Duration::from_secs(1);

/// Never asked again sooner than this by the time alone.
const BREATH: Duration = Duration::from_millis(5);

async fn claim_runs(
    executor: &Executor,
    config: &WorkerConfig,
    id: &WorkerId,
    assignments: mpsc::UnboundedSender<Assignment>,
) {
    let slots = Arc::new(Semaphore::new(config.slots));
    let workflows = executor.registry.names();
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
        let now = executor.clock.now();
        let request = ClaimRequest {
            worker: id.clone(),
            workflows: workflows.clone(),
            limit: free.len(),
            now,
            lease_until: now + config.lease,
        };
        let claims = match executor.journal.claim(&request).await {
            Ok(claims) => claims,
            Err(e) => {
                warn!(error = %e, "no runs can be claimed; trying again");
                Claims::default()
            }
        };
        if claims.runs.is_empty() {
            drop(free);
            let next = claims.next_at.unwrap_or(now + SWEEP).clamp(now + BREATH, now + SWEEP);
            tokio::select! {
                () = executor.journal.bell().rung() => {}
                () = executor.clock.sleep_until(next) => {}
                () = executor.drain.cancelled() => {}
            }
            continue;
        }
        for claim in claims.runs {
            let Some(slot) = free.pop() else { break };
            if assignments.send(Assignment { claim, slot }).is_err() {
                return;
            }
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
        match executor.journal.renew(&held, executor.clock.now() + executor.lease).await {
            Ok(renewals) => {
                for renewal in renewals {
                    match renewal {
                        Renewal::Lost(held) => executor.active.lose(held),
                        Renewal::Cancel(run, reason) => executor.active.cancel(run, &reason, executor.clock.now()),
                    }
                }
            }
            Err(e) => warn!(error = %e, "leases could not be renewed; trying again"),
        }
    }
}

/// A cancellation that was written by this process reaches the step at once; one written by
/// another comes with the next renewal.
async fn forward_cancellations(executor: &Executor) {
    let mut events = executor.journal.bell().subscribe();
    loop {
        match events.recv().await {
            Ok(RunEvent::CancelRequested { run, reason }) => executor.active.cancel(run, &reason, executor.clock.now()),
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}
