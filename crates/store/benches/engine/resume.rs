use std::error::Error;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use seatrial_engine::{
    Backoff, Context, Failure, NewRun, Registry, RunEvent, RunState, SystemClock, Worker, WorkerConfig, Workflow,
};
use seatrial_store::views::{PageRequest, RunFilter};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::open;
use crate::throughput::now_micros;
use seatrial_preview::access::Visible;

#[derive(Args)]
pub struct Resume {
    #[arg(long)]
    url: String,
    /// The worker's name.
    #[arg(long)]
    name: String,
    /// Each executed step, one a line: run, step, microseconds since 1970.
    #[arg(long)]
    log: String,
    /// Start so many runs first.
    #[arg(long, default_value_t = 0)]
    start: u32,
    #[arg(long)]
    steps: u32,
    #[arg(long)]
    step_ms: u64,
}

struct Slow {
    step: Duration,
    log: Arc<Mutex<std::fs::File>>,
}

impl Workflow for Slow {
    const NAME: &'static str = "slow";
    const VERSION: u32 = 1;
    const STEPS: &'static [&'static str] = &["step"];
    type Input = u32;
    type Output = ();

    async fn run(&self, cx: Context, steps: u32) -> Result<(), Failure> {
        for number in 0..steps {
            let run = cx.run_id();
            cx.step("step", || async move {
                writeln!(self.log.lock().unwrap_or_else(PoisonError::into_inner), "{run} {number} {}", now_micros())
                    .map_err(|e| Failure::permanent(format!("the log cannot be written: {e}")))?;
                // This is the work.
                tokio::time::sleep(self.step).await;
                Ok::<_, Failure>(())
            })
            .retry(Backoff::NONE)
            .await?;
        }
        Ok(())
    }
}

impl Resume {
    /// Ends when no run is left.
    pub async fn run(self) -> Result<Value, Box<dyn Error>> {
        let (begun, began_at) = (Instant::now(), now_micros());
        let store = open(&self.url).await?;
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let slow = Slow { step: Duration::from_millis(self.step_ms), log: Arc::new(Mutex::new(log)) };
        let mut events = store.bell().subscribe();
        for _ in 0..self.start {
            store.start(NewRun::of::<Slow>(&self.steps)?).await?;
        }
        let stop = CancellationToken::new();
        let mut config = WorkerConfig::new(&self.name);
        config.slots = 256;
        let worker = Worker::new(config, store.journal(), Registry::new().with(slow), Arc::new(SystemClock));
        let worker = tokio::spawn(worker.run(stop.clone()));
        loop {
            let left = [RunState::Queued, RunState::Running, RunState::Waiting].map(|state| {
                let store = store.clone();
                async move {
                    let filter = RunFilter { state: Some(state), ..RunFilter::default() };
                    store.list_runs(&Visible::All, &filter, &PageRequest { after: None, limit: 1 }).await
                }
            });
            let mut any = false;
            for state in left {
                any |= !state.await?.items.is_empty();
            }
            if !any {
                break;
            }
            // Told or not, looked at again.
            let _ = tokio::time::timeout(Duration::from_millis(500), async {
                while let Ok(event) = events.recv().await {
                    if matches!(event, RunEvent::State { state, .. } if state.is_final()) {
                        break;
                    }
                }
            })
            .await;
        }
        stop.cancel();
        worker.await?;
        Ok(json!({ "began_at": began_at, "seconds": begun.elapsed().as_secs_f64() }))
    }
}
