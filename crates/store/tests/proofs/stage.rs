//! Where a case is played: a database that begins empty, a clock, a world that remembers what was
//! done to it, and processes that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use seatrial_engine::{Journal, Registry, RunId, Worker, WorkerConfig};
use seatrial_store::Store;
use seatrial_store::views::PageRequest;
use sqlx::Connection as _;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio_util::sync::CancellationToken;

use crate::broken::{Broken, Fault};
use crate::clock::Leaping;
use crate::demo::{Demo, Part};
use crate::place::{On, Place};
use crate::process::{Life, Point, Process, Seen, SeenClock};
use seatrial_preview::access::Visible;

/// Runs one case to its end on a runtime of its own: whatever it leaves behind goes with it.
pub fn alone<T>(case: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), case).await.expect("a case hung: neither work nor time goes on")
    })
}

/// A test for each database of each `fn name(on: On)`.
macro_rules! alone_on_each_store {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test]
            fn $name() {
                super::$name(crate::place::On::Sqlite);
            })+
        }
        mod postgres {
            $(#[test]
            fn $name() {
                super::$name(crate::place::On::Postgres);
            })+
        }
    };
}

/// The databases of one test's cases.
pub struct Ground {
    on: On,
    /// PostgreSQL takes its time for a new database: one is emptied for each case.
    server: Option<Place>,
}

impl Ground {
    pub fn new(on: On) -> Self {
        let server = (on == On::Postgres).then(|| alone(Place::new(on)));
        Self { on, server }
    }

    async fn empty(&self) -> String {
        let Some(place) = &self.server else { unreachable!("asked for a server only") };
        let mut connection = sqlx::PgConnection::connect(&place.url()).await.unwrap();
        // In the first case the tables are not there yet.
        let _ = sqlx::raw_sql("TRUNCATE runs CASCADE").execute(&mut connection).await;
        connection.close().await.unwrap();
        place.url()
    }

    /// An empty database.
    pub async fn place(&self) -> Place {
        match self.on {
            On::Sqlite => Place::new(On::Sqlite).await,
            On::Postgres => Place::Server(self.empty().await),
        }
    }
}

/// The calls that are on their way in the store.
#[derive(Clone)]
pub struct Traffic {
    under_way: Arc<watch::Sender<usize>>,
    begun: Arc<AtomicUsize>,
}

impl Traffic {
    fn new() -> Self {
        Self { under_way: Arc::new(watch::Sender::new(0)), begun: Arc::default() }
    }

    pub async fn counts<T>(&self, call: impl Future<Output = T>) -> T {
        struct UnderWay<'a>(&'a Traffic);
        impl Drop for UnderWay<'_> {
            fn drop(&mut self) {
                self.0.under_way.send_modify(|calls| *calls -= 1);
            }
        }
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.under_way.send_modify(|calls| *calls += 1);
        let _under_way = UnderWay(self);
        call.await
    }

    /// Waits until no call is under way and none is begun however often the others are let on.
    pub async fn settles(&self) {
        let mut under_way = self.under_way.subscribe();
        let mut quiet = 0;
        while quiet < 64 {
            // The sender lives in self, so this cannot end by a closed channel.
            let _ = under_way.wait_for(|calls| *calls == 0).await;
            let before = self.begun.load(Ordering::Relaxed);
            tokio::task::yield_now().await;
            quiet = if self.begun.load(Ordering::Relaxed) == before { quiet + 1 } else { 0 };
        }
    }
}

/// Something that was done to the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    pub run: RunId,
    pub label: String,
    pub step: String,
}

impl Effect {
    pub fn name(&self) -> String {
        format!("{}/{}", self.label, self.step)
    }
}

/// What the steps act on: it outlives every process.
#[derive(Clone, Default)]
pub struct World {
    done: Arc<std::sync::Mutex<Vec<Effect>>>,
    tries: Arc<std::sync::Mutex<Vec<String>>>,
}

impl World {
    pub fn apply(&self, effect: Effect) {
        self.done.lock().unwrap().push(effect);
    }

    pub fn done(&self) -> Vec<Effect> {
        self.done.lock().unwrap().clone()
    }

    /// How often the step has begun, this time included.
    pub fn tried(&self, name: &str) -> usize {
        let mut tries = self.tries.lock().unwrap();
        tries.push(name.to_owned());
        tries.iter().filter(|tried| *tried == name).count()
    }

    pub fn has_begun(&self, name: &str) -> bool {
        self.tries.lock().unwrap().iter().any(|tried| tried == name)
    }
}

pub struct Stage {
    place: Place,
    pub clock: Leaping,
    pub world: World,
    traffic: Traffic,
    /// Held by the one who lets time go on, or keeps it from going on.
    turn: Mutex<()>,
    fault: Fault,
}

impl Stage {
    pub async fn new(ground: &Ground, fault: Fault) -> Self {
        Self {
            place: ground.place().await,
            clock: Leaping::new(),
            world: World::default(),
            traffic: Traffic::new(),
            turn: Mutex::default(),
            fault,
        }
    }

    /// A process that stops where it is told to, and then is as it is told to be.
    pub async fn process(&self, point: Point, becomes: Life) -> Actor {
        let process = Process::new(point, becomes, self.traffic.clone());
        let clock = SeenClock { process: process.clone(), clock: self.clock.clone() };
        let store = self.place.open(Arc::new(self.clock.clone())).await;
        let broken = Broken::of(self.fault, &store);
        let journal = Arc::new(Seen { process: process.clone(), journal: broken });
        Actor { process, store, journal, clock: Arc::new(clock), world: self.world.clone() }
    }

    /// Waits until nobody has anything left to do.
    pub async fn settles(&self) {
        drop(self.stands_still().await);
    }

    /// The same; time stands still as long as the answer lives.
    pub async fn stands_still(&self) -> MutexGuard<'_, ()> {
        let turn = self.turn.lock().await;
        self.traffic.settles().await;
        turn
    }

    /// Asks again and again while the others work and time goes on.
    pub async fn until<T>(&self, what: &str, asked: impl AsyncFn() -> Option<T>) -> Result<T, String> {
        for _ in 0..LEAPS {
            let _stands_still = self.stands_still().await;
            if let Some(answer) = asked().await {
                return Ok(answer);
            }
            self.clock.leap();
        }
        Err(format!("waited in vain for {what}"))
    }
}

/// Each leap is two seconds at most, as the workers sweep.
const LEAPS: usize = 400;

/// A process with its store.
pub struct Actor {
    pub process: Arc<Process>,
    pub store: Store,
    pub journal: Arc<Seen>,
    clock: Arc<SeenClock<Leaping>>,
    world: World,
}

impl Actor {
    /// A worker of that name begins in the process.
    pub fn works(&self, name: &str) -> tokio::task::JoinHandle<()> {
        let registry = Registry::new()
            .with(Demo { world: self.world.clone(), process: self.process.clone() })
            .with(Part { world: self.world.clone(), process: self.process.clone() });
        let config = WorkerConfig { slots: 4, ..WorkerConfig::new(name) };
        let worker = Worker::new(config, self.journal.clone() as Arc<dyn Journal>, registry, self.clock.clone());
        tokio::spawn(worker.run(CancellationToken::new()))
    }

    /// All runs that there are.
    pub async fn runs(&self) -> Vec<seatrial_engine::RunDetail> {
        let page = PageRequest { limit: 200, ..PageRequest::default() };
        let listed =
            self.store.list_runs(&Visible::All, &seatrial_store::views::RunFilter::default(), &page).await.unwrap();
        let mut runs = Vec::new();
        for run in listed.items.iter().rev() {
            runs.push(self.store.find_run(run.id).await.unwrap().unwrap());
        }
        runs
    }
}
