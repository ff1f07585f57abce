//! The process that is killed, stopped and traced: this test program itself, which becomes a
//! worker when a variable holds its orders. So it is always built, and of the same source.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use seatrial_engine::{
    Context, Failure, NewRun, Registry, RunEvent, RunId, SystemClock, Worker, WorkerConfig, Workflow,
};
use seatrial_store::Store;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio_util::sync::CancellationToken;

use crate::place::open_at;
use crate::witness::Line;

/// The variable with the orders.
pub const ORDERS: &str = "SEATRIAL_TEST_PROCESS";
/// The test that follows them.
pub const TEST: &str = "process::works_when_it_has_orders";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    pub url: String,
    /// The worker's name.
    pub name: String,
    /// Counts the processes of a test from 1.
    pub life: u32,
    pub lease: Duration,
    pub slots: usize,
    /// How long each step takes.
    pub step: Duration,
    /// A step that does not end before a file is there; its effect comes first.
    pub hold: Option<(usize, PathBuf)>,
    /// Where lines are appended to: see [`Line`].
    pub witness: PathBuf,
    pub starts: Starts,
}

/// What the process starts by itself and says so once it is acknowledged.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Starts {
    Nothing,
    /// So many runs, through the store; it says of their ends as well.
    Runs(usize),
    /// So many runs past the store, on a connection of this power safety. No worker runs.
    Raw(usize, Synchronous),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Synchronous {
    Off,
    Normal,
    Full,
}

#[test]
fn works_when_it_has_orders() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let orders: Orders = serde_json::from_str(&orders).unwrap();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(follow(orders));
}

/// Works until its input is closed, then drains.
async fn follow(orders: Orders) {
    let stop = CancellationToken::new();
    let ordered = stop.clone();
    std::thread::spawn(move || {
        // An error ends it as the end of the input does.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ordered.cancel();
    });
    let witness = Arc::new(Witness(File::options().create(true).append(true).open(&orders.witness).unwrap()));
    let store = open_at(&orders.url, Arc::new(SystemClock)).await;
    match orders.starts {
        Starts::Raw(runs, synchronous) => return start_raw(&orders.url, runs, synchronous, &witness).await,
        Starts::Runs(runs) => {
            tokio::spawn(tell_ends(store.clone(), witness.clone()));
            // Some at the same time, so that they share commits.
            for lane in 0..4 {
                tokio::spawn(start(store.clone(), (runs + 3 - lane) / 4, witness.clone()));
            }
        }
        Starts::Nothing => {}
    }
    let mut config = WorkerConfig::new(orders.name.clone());
    (config.lease, config.slots, config.grace) = (orders.lease, orders.slots, Duration::from_secs(2));
    let registry = Registry::new().with(Story { orders, witness });
    Worker::new(config, store.journal(), registry, Arc::new(SystemClock)).run(stop).await;
}

async fn start(store: Store, runs: usize, witness: Arc<Witness>) {
    for _ in 0..runs {
        let started = store.start(run()).await.unwrap();
        witness.says(&Line::Started(started.id));
    }
}

/// Its events are published once what they tell of is committed.
async fn tell_ends(store: Store, witness: Arc<Witness>) {
    let mut events = store.bell().subscribe();
    loop {
        match events.recv().await {
            Ok(RunEvent::State { run, state, .. }) if state.is_final() => witness.says(&Line::Ended(run)),
            Ok(_) => {}
            Err(e) => panic!("an end was missed: {e}"),
        }
    }
}

async fn start_raw(url: &str, runs: usize, synchronous: Synchronous, witness: &Witness) {
    let synchronous = match synchronous {
        Synchronous::Off => SqliteSynchronous::Off,
        Synchronous::Normal => SqliteSynchronous::Normal,
        Synchronous::Full => SqliteSynchronous::Full,
    };
    let options = SqliteConnectOptions::from_str(url).unwrap();
    let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(synchronous);
    let mut connection = options.busy_timeout(Duration::from_secs(5)).connect().await.unwrap();
    for _ in 0..runs {
        let run = RunId::new();
        sqlx::query(
            "INSERT INTO runs (id, workflow, version, state, input, created_at) VALUES ($1, 'raw', 1, 'queued', '1', 1)",
        )
        .bind(run.0)
        .execute(&mut connection)
        .await
        .unwrap();
        witness.says(&Line::Started(run));
    }
    connection.close().await.unwrap();
}

/// What a process has done, for others to see: each line is one write to the end of a file.
struct Witness(File);

impl Witness {
    fn says(&self, line: &Line) {
        (&self.0).write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

pub const STEPS: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

/// Six steps; each appends a line, and returns which life did it.
struct Story {
    orders: Orders,
    witness: Arc<Witness>,
}

impl Workflow for Story {
    const NAME: &'static str = "story";
    const VERSION: u32 = 1;
    const STEPS: &'static [&'static str] = &STEPS;
    type Input = ();
    type Output = Vec<String>;

    async fn run(&self, cx: Context, (): ()) -> Result<Vec<String>, Failure> {
        let mut results = Vec::new();
        for (step, name) in STEPS.into_iter().enumerate() {
            results.push(cx.step(name, || self.act(cx.run_id(), step)).await?);
        }
        Ok(results)
    }
}

impl Story {
    async fn act(&self, run: RunId, step: usize) -> Result<String, Failure> {
        let Orders { life, hold, .. } = &self.orders;
        // The step's work is to take this long, with its effect in the middle.
        tokio::time::sleep(self.orders.step / 2).await;
        self.witness.says(&Line::Effect { run, step, life: *life });
        tokio::time::sleep(self.orders.step / 2).await;
        if let Some((held, until)) = hold
            && *held == step
        {
            while !until.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(result(step, *life))
    }
}

/// What a step returns.
pub fn result(step: usize, life: u32) -> String {
    format!("{} by life {life}", STEPS[step])
}

pub fn run() -> NewRun {
    NewRun::of::<Story>(&()).unwrap()
}
