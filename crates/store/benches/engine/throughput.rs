use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use seatrial_engine::{NewRun, Registry, RunEvent, RunId, RunState, SystemClock, Worker, WorkerConfig};
use seatrial_store::Store;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, filter};

use crate::{NoOp, open};

#[derive(Args)]
pub struct Throughput {
    #[arg(long)]
    url: String,
    #[arg(long)]
    in_flight: usize,
    #[arg(long)]
    runs: u64,
}

/// Runs whose end somebody waits for.
#[derive(Default)]
struct Awaited(Mutex<HashMap<RunId, oneshot::Sender<RunState>>>);

impl Awaited {
    fn wait_for(&self, run: RunId) -> oneshot::Receiver<RunState> {
        let (tell, told) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(run, tell);
        told
    }

    fn tell(&self, run: RunId, state: RunState) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
        if let Some(waiting) = waiting {
            let _ = waiting.send(state);
        }
    }
}

impl Throughput {
    pub async fn run(self) -> Result<Value, Box<dyn Error>> {
        let commits = count("store_commits_total");
        let store = open(&self.url).await?;
        let stop = CancellationToken::new();
        let mut config = WorkerConfig::new("bench");
        // The load is bounded by its loops, as the peers' is.
        config.slots = config.slots.max(2 * self.in_flight);
        let worker = Worker::new(config, store.journal(), Registry::new().with(NoOp), Arc::new(SystemClock));
        let worker = tokio::spawn(worker.run(stop.clone()));
        let awaited = Arc::new(Awaited::default());
        tokio::spawn(forward(store.clone(), awaited.clone()));
        // Connections, statements and the allocator are warm when it counts.
        drive(&store, &awaited, self.in_flight, (self.runs / 10).max(20)).await?;
        let committed = commits.load(Ordering::Relaxed);
        let begun = Instant::now();
        let latencies = drive(&store, &awaited, self.in_flight, self.runs).await?;
        let took = begun.elapsed();
        let commits = commits.load(Ordering::Relaxed) - committed;
        let handlers = handler_starts(&store, &latencies).await?;
        stop.cancel();
        worker.await?;
        Ok(json!({
            "in_flight": self.in_flight,
            "runs": self.runs,
            "seconds": took.as_secs_f64(),
            "runs_per_s": self.runs as f64 / took.as_secs_f64(),
            "commits_per_run": commits as f64 / self.runs as f64,
            "start_to_end_ms_p50": median(latencies.iter().map(|l| l.end_ms).collect()),
            "commit_to_handler_ms_p50": median(handlers),
        }))
    }
}

struct Latency {
    run: RunId,
    /// When the start was answered, in microseconds since 1970.
    started_at: i64,
    end_ms: f64,
}

/// Starts and awaits `runs` runs, `in_flight` at once.
async fn drive(
    store: &Store,
    awaited: &Arc<Awaited>,
    in_flight: usize,
    runs: u64,
) -> Result<Vec<Latency>, Box<dyn Error>> {
    let next = Arc::new(AtomicU64::new(0));
    let mut loops = tokio::task::JoinSet::new();
    for _ in 0..in_flight {
        let (store, awaited, next) = (store.clone(), awaited.clone(), next.clone());
        loops.spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= runs {
                    return Ok::<_, String>(latencies);
                }
                let run = NewRun::of::<NoOp>(&number).map_err(|e| e.to_string())?;
                let (id, begun) = (run.id, Instant::now());
                let ended = awaited.wait_for(id);
                store.start(run).await.map_err(|e| e.to_string())?;
                let started_at = now_micros();
                let state = ended.await.map_err(|e| e.to_string())?;
                if state != RunState::Succeeded {
                    return Err(format!("run {id} ended as {}", state.as_str()));
                }
                latencies.push(Latency { run: id, started_at, end_ms: begun.elapsed().as_secs_f64() * 1_000.0 });
            }
        });
    }
    let mut latencies = Vec::new();
    while let Some(ended) = loops.join_next().await {
        latencies.extend(ended??);
    }
    Ok(latencies)
}

/// From the answered start to the function's first line. The function may begin before the
/// starter hears of it: then it took nothing.
async fn handler_starts(store: &Store, latencies: &[Latency]) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut waits = Vec::new();
    for latency in latencies.iter().take(1_000) {
        let Some(run) = store.find_run(latency.run).await? else { continue };
        if let Some(entered) = run.output.as_ref().and_then(Value::as_i64) {
            waits.push(((entered - latency.started_at).max(0)) as f64 / 1_000.0);
        }
    }
    Ok(waits)
}

async fn forward(store: Store, awaited: Arc<Awaited>) {
    let mut events = store.bell().subscribe();
    loop {
        match events.recv().await {
            Ok(RunEvent::State { run, state, .. }) if state.is_final() => awaited.tell(run, state),
            Ok(_) => {}
            Err(e) => {
                eprintln!("events were lost ({e}): the measurement cannot go on");
                std::process::exit(1);
            }
        }
    }
}

#[derive(Args)]
pub struct Idle {
    #[arg(long)]
    url: String,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

impl Idle {
    pub async fn run(self) -> Result<Value, Box<dyn Error>> {
        let statements = Arc::new(AtomicU64::new(0));
        tracing_subscriber::registry()
            .with(
                Statements(statements.clone())
                    .with_filter(filter::Targets::new().with_target("sqlx::query", tracing::Level::DEBUG)),
            )
            .init();
        let store = open(&self.url).await?;
        let stop = CancellationToken::new();
        let worker =
            Worker::new(WorkerConfig::new("idle"), store.journal(), Registry::new().with(NoOp), Arc::new(SystemClock));
        let worker = tokio::spawn(worker.run(stop.clone()));
        // Past its start, then a window of time: what is measured is a rate.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = statements.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(self.seconds)).await;
        let asked = statements.load(Ordering::Relaxed) - before;
        stop.cancel();
        worker.await?;
        Ok(json!({ "seconds": self.seconds, "queries_per_s": asked as f64 / self.seconds as f64 }))
    }
}

/// Counts the statements that sqlx says it has executed.
struct Statements(Arc<AtomicU64>);

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Args)]
pub struct Fill {
    #[arg(long)]
    url: String,
    #[arg(long)]
    runs: u64,
}

impl Fill {
    /// Finished runs by the ordinary way, so that tables and indexes are as they come to be.
    pub async fn run(self) -> Result<Value, Box<dyn Error>> {
        let filled = Throughput { url: self.url, in_flight: 256, runs: self.runs }.run().await?;
        Ok(json!({ "runs": filled["runs"], "seconds": filled["seconds"] }))
    }
}

/// A counter of the metrics, as it grows.
fn count(name: &'static str) -> Arc<AtomicU64> {
    let value = Arc::new(AtomicU64::new(0));
    // Set once: each measurement is a process of its own.
    let _ = metrics::set_global_recorder(OneCounter { name, value: value.clone() });
    value
}

struct OneCounter {
    name: &'static str,
    value: Arc<AtomicU64>,
}

impl metrics::Recorder for OneCounter {
    fn describe_counter(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_gauge(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_histogram(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}

    fn register_counter(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        if key.name() == self.name { metrics::Counter::from_arc(self.value.clone()) } else { metrics::Counter::noop() }
    }

    fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::noop()
    }

    fn register_histogram(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::noop()
    }
}

pub fn now_micros() -> i64 {
    use seatrial_engine::Clock;
    SystemClock.now().timestamp_micros()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
