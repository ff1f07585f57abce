//! Random operations on the journal and on the model of it, one after another: after each the
//! answers are compared, and every run.
//!
//! Each seed is a sequence of its own. Many of them, or one again (`N` and `SEED` are numbers):
//!
//! ```text
//! SEATRIAL_SIM_SEEDS=N cargo xtask test --ring engine -- simulation
//! SEATRIAL_SIM_SEED=SEED cargo xtask test --ring engine -- simulation
//! ```

mod compare;
mod draw;
mod entries;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use seatrial_engine::{Claim, Clock as _, Journal, RunId, WorkerId};
use seatrial_store::Store;
use uuid::Uuid;

use crate::broken::{Broken, Fault};
use crate::clock::Leaping;
use crate::model::{Model, Refusal};
use crate::place::On;
use crate::stage::{Ground, alone};

alone_on_each_store!(the_store_does_what_the_model_does);

const OPERATIONS: usize = 80;

fn the_store_does_what_the_model_does(on: On) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seeds = match (number("SEATRIAL_SIM_SEED"), number("SEATRIAL_SIM_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(seeds)) => 0..seeds,
        (None, None) => 0..if on == On::Sqlite { 60 } else { 15 },
    };
    simulate(on, seeds, Fault::None).unwrap();
}

pub fn simulate(on: On, seeds: std::ops::Range<u64>, fault: Fault) -> Result<(), String> {
    let ground = Ground::new(on);
    for seed in seeds {
        alone(async {
            let mut simulation = Simulation::new(&ground, seed, fault).await;
            for number in 0..OPERATIONS {
                simulation.goes_on().await.map_err(|reason| {
                    let done = simulation.done.join("\n");
                    format!(
                        "seed {seed}, operation {number}: {reason}\nSEATRIAL_SIM_SEED={seed} plays it again:\n{done}"
                    )
                })?;
            }
            Ok::<_, String>(())
        })?;
    }
    Ok(())
}

struct Simulation {
    rng: StdRng,
    clock: Leaping,
    store: Store,
    /// The store's, or one that is broken on purpose.
    journal: Arc<dyn Journal>,
    model: Model,
    workers: Vec<WorkerId>,
    /// All that were ever given out: what is recorded under an old one is refused.
    claims: Vec<Claim>,
    /// What was done so far, for people to read.
    done: Vec<String>,
    /// Keeps the database.
    _place: crate::place::Place,
}

impl Simulation {
    async fn new(ground: &Ground, seed: u64, fault: Fault) -> Self {
        let clock = Leaping::new();
        let place = ground.place().await;
        let store = place.open(Arc::new(clock.clone())).await;
        let mut rng = StdRng::seed_from_u64(seed);
        let workers = ["a", "b", "c"].map(|name| worker(name, &mut rng)).into();
        Self {
            rng,
            clock,
            journal: Broken::of(fault, &store),
            store,
            model: Model::default(),
            workers,
            claims: Vec::new(),
            done: Vec::new(),
            _place: place,
        }
    }

    /// One operation.
    async fn goes_on(&mut self) -> Result<(), String> {
        let before = self.model.clone();
        match self.rng.random_range(0..100) {
            0..18 => self.starts().await,
            18..36 => self.claims().await,
            36..66 => self.records().await,
            66..70 => self.cancels().await,
            70..72 => self.stops_by_force().await,
            72..77 => self.retries().await,
            77..85 => self.signals().await,
            85..88 => self.renews().await,
            88..90 => self.restarts().await,
            90..92 => self.forks().await,
            92..93 => self.prunes().await,
            93..96 => self.asks().await,
            _ => {
                self.time_jumps();
                Ok(())
            }
        }?;
        // An operation takes a while itself.
        let while_it_ran = self.rng.random_range(0..400);
        self.clock.advance(Duration::from_millis(while_it_ran));
        self.runs_are_the_same(&before).await
    }

    fn time_jumps(&mut self) {
        let jump = match self.rng.random_range(0..10) {
            0..6 => Duration::from_millis(self.rng.random_range(1..5_000)),
            6..9 => Duration::from_secs(self.rng.random_range(5..30)),
            _ => Duration::from_secs(3_600),
        };
        self.done.push(format!("time jumps by {jump:?}"));
        self.clock.advance(jump);
    }

    /// The time as one of several machines has it.
    fn now(&mut self) -> DateTime<Utc> {
        let behind = if self.rng.random_bool(0.2) { self.rng.random_range(0..2_000) } else { 0 };
        self.clock.now() - Duration::from_millis(behind)
    }

    fn new_id(&mut self) -> RunId {
        RunId(Uuid::from_u128(self.rng.random()))
    }

    /// One of all the runs; sometimes one that does not exist.
    fn any_run(&mut self) -> RunId {
        if self.model.runs.is_empty() || self.rng.random_bool(0.03) {
            return self.new_id();
        }
        let at = self.rng.random_range(0..self.model.runs.len());
        self.model.runs[at].new.id
    }

    fn note(&mut self, what: String, answer: &impl std::fmt::Debug) {
        self.done.push(format!("{}: {what} → {answer:?}", self.clock.now().timestamp_millis()));
    }
}

fn worker(name: &str, rng: &mut StdRng) -> WorkerId {
    WorkerId { name: name.to_owned(), incarnation: Uuid::from_u128(rng.random()) }
}

/// The answers of both, as far as they say the same.
fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    store: Result<T, Refusal>,
    model: Result<T, Refusal>,
) -> Result<(), String> {
    if store == model { Ok(()) } else { Err(format!("{what}: the store answered {store:?}, the model {model:?}")) }
}
