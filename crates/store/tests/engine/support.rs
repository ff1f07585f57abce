//! What the tests stand on: a store of its own, workers, and a workflow whose steps
//! do as the test says.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::DateTime;
use seatrial_engine::{
    Backoff, Claim, Clock, Context, Entry, Failure, Journal, ManualClock, NewRun, Registry, RunDetail, RunId, RunState,
    SystemClock, Transition, Worker, WorkerConfig, Workflow,
};
use seatrial_store::Store;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use crate::place::{On, Place};

/// Nothing here takes longer unless it hangs.
pub const HANGS: Duration = Duration::from_secs(20);

/// A future that ends, or the test fails saying what hung.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANGS, future).await.unwrap_or_else(|_| panic!("hung: {what}"))
}

pub struct Bench {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub script: Script,
    pub play: Play,
    pub child: ChildPlay,
    pub place: Arc<Place>,
}

impl Bench {
    pub async fn new(on: On) -> Self {
        Self::with_clock(on, Arc::new(SystemClock)).await
    }

    pub async fn with_manual_clock(on: On) -> (Self, ManualClock) {
        let clock = ManualClock::at(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        (Self::with_clock(on, Arc::new(clock.clone())).await, clock)
    }

    async fn with_clock(on: On, clock: Arc<dyn Clock>) -> Self {
        let place = Arc::new(Place::new(on).await);
        let store = place.open(clock.clone()).await;
        Self { store, clock, script: Script::default(), play: Play::default(), child: ChildPlay::default(), place }
    }

    /// The same runs, as another process or a restarted one opens them.
    pub async fn reopen(&self) -> Self {
        let store = self.place.open(self.clock.clone()).await;
        Self {
            store,
            clock: self.clock.clone(),
            script: self.script.clone(),
            play: self.play.clone(),
            child: self.child.clone(),
            place: self.place.clone(),
        }
    }

    pub fn worker(&self, name: &str) -> Running {
        self.worker_with(name, |_| {})
    }

    pub fn worker_with(&self, name: &str, set: impl FnOnce(&mut WorkerConfig)) -> Running {
        self.worker_on(self.store.journal(), name, set)
    }

    pub fn worker_on(&self, journal: Arc<dyn Journal>, name: &str, set: impl FnOnce(&mut WorkerConfig)) -> Running {
        let mut config = WorkerConfig::new(name);
        config.grace = Duration::from_millis(200);
        set(&mut config);
        let registry = Registry::new()
            .with(Scripted(self.script.clone()))
            .with(Played(self.play.clone()))
            .with(PlayedChild(self.child.clone()));
        let stop = CancellationToken::new();
        let worker = Worker::new(config, journal, registry, self.clock.clone());
        Running { stop: stop.clone(), task: tokio::spawn(worker.run(stop)) }
    }

    pub async fn start(&self, run: NewRun) -> RunId {
        self.store.start(run).await.unwrap().id
    }

    pub async fn run(&self, id: RunId) -> RunDetail {
        self.store.find_run(id).await.unwrap().expect("the run is there")
    }

    /// Waits until the run is as it should be, by the store's own events.
    pub async fn changes_to(&self, id: RunId, holds: impl Fn(&RunDetail) -> bool) -> RunDetail {
        let mut events = self.store.bell().subscribe();
        within(&format!("run {id} changing"), async {
            loop {
                let run = self.run(id).await;
                if holds(&run) {
                    return run;
                }
                // Lagging is fine: the run is looked at again.
                let _ = tokio::time::timeout(Duration::from_millis(100), events.recv()).await;
            }
        })
        .await
    }

    /// Waits for the state by the store's own events.
    pub async fn reaches(&self, id: RunId, state: RunState) -> RunDetail {
        let mut events = self.store.bell().subscribe();
        within(&format!("run {id} becoming {}", state.as_str()), async {
            loop {
                let run = self.run(id).await;
                if run.summary.state == state {
                    return run;
                }
                assert!(!run.summary.state.is_final(), "the run ended as {:?}: {:?}", run.summary.state, run.summary);
                // Lagging is fine: the run is looked at again.
                let _ = tokio::time::timeout(Duration::from_millis(100), events.recv()).await;
            }
        })
        .await
    }
}

pub struct Running {
    pub stop: CancellationToken,
    pub task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// As SIGTERM does.
    pub async fn drain(self) {
        self.stop.cancel();
        within("the worker draining", self.task).await.unwrap();
    }

    /// As `kill -9` does: nothing is handed back.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

type Effect = Arc<dyn Fn(u32) -> Pin<Box<dyn Future<Output = Result<String, Failure>> + Send>> + Send + Sync>;

/// What each step does, given how often it has been run, and how often that was.
#[derive(Clone, Default)]
pub struct Script {
    effects: Arc<Mutex<HashMap<String, Effect>>>,
    calls: Arc<Mutex<Vec<String>>>,
    called: Arc<Notify>,
}

impl Script {
    pub fn on<F, Fut>(&self, step: &str, effect: F)
    where
        F: Fn(u32) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, Failure>> + Send + 'static,
    {
        let effect: Effect = Arc::new(move |call| Box::pin(effect(call)));
        self.effects.lock().unwrap().insert(step.to_owned(), effect);
    }

    pub fn hangs(&self, step: &str) {
        self.on(step, |_| std::future::pending());
    }

    /// The calls so far, in order: `run input/step`.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    pub fn count(&self, call: &str) -> usize {
        self.calls().iter().filter(|made| *made == call).count()
    }

    pub async fn is_called(&self, call: &str) {
        self.is_called_times(call, 1).await;
    }

    pub async fn is_called_times(&self, call: &str, times: usize) {
        within(&format!("the call of {call}"), async {
            loop {
                let called = self.called.notified();
                if self.count(call) >= times {
                    return;
                }
                called.await;
            }
        })
        .await;
    }

    pub async fn call(&self, run: &str, step: &str) -> Result<String, Failure> {
        let call = format!("{run}/{step}");
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(call.clone());
            u32::try_from(calls.iter().filter(|made| **made == call).count()).unwrap()
        };
        self.called.notify_waiters();
        let effect = self.effects.lock().unwrap().get(step).cloned();
        match effect {
            Some(effect) => effect(number).await,
            None => Ok(format!("{step} of {run}")),
        }
    }
}

/// Three steps, and a clean-up when it is cancelled.
pub struct Scripted(pub Script);

impl Workflow for Scripted {
    const NAME: &'static str = "scripted";
    const VERSION: u32 = 1;
    const STEPS: &'static [&'static str] = &["one", "two", "three"];
    type Input = String;
    type Output = Vec<String>;

    async fn run(&self, cx: Context, input: String) -> Result<Vec<String>, Failure> {
        let Self(script) = self;
        let story = async {
            let mut results = Vec::new();
            for step in Self::STEPS {
                let backoff = Backoff { retries: 2, first: Duration::from_millis(1), max: Duration::from_millis(1) };
                results.push(cx.step(step, || script.call(&input, step)).retry(backoff).await?);
            }
            Ok(results)
        };
        match story.await {
            Err(cancelled) if Failure::is_cancelled(&cancelled) => {
                let cx = cx.shielded("cancelled");
                cx.step("clean-up", || script.call(&input, "clean-up")).await?;
                Err(cancelled)
            }
            other => other,
        }
    }
}

pub fn run(input: &str) -> NewRun {
    NewRun::of::<Scripted>(&input.to_owned()).unwrap()
}

type Story = Arc<dyn Fn(Context, String) -> Pin<Box<dyn Future<Output = Result<Value, Failure>> + Send>> + Send + Sync>;

/// A workflow whose function is the test's own.
#[derive(Clone, Default)]
pub struct Play(Arc<Mutex<Option<Story>>>);

impl Play {
    pub fn is<F, Fut>(&self, story: F)
    where
        F: Fn(Context, String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, Failure>> + Send + 'static,
    {
        *self.0.lock().unwrap() = Some(Arc::new(move |cx, input| Box::pin(story(cx, input))));
    }

    async fn run(&self, cx: Context, input: String) -> Result<Value, Failure> {
        let story = self.0.lock().unwrap().clone().expect("the test gives the play a story");
        story(cx, input).await
    }
}

pub type ChildPlay = Play;

pub struct Played(pub Play);

impl Workflow for Played {
    const NAME: &'static str = "played";
    const VERSION: u32 = 2;
    const CONTINUES_FROM: u32 = 1;
    const STEPS: &'static [&'static str] = &[];
    type Input = String;
    type Output = Value;

    async fn run(&self, cx: Context, input: String) -> Result<Value, Failure> {
        self.0.run(cx, input).await
    }
}

pub struct PlayedChild(pub Play);

impl Workflow for PlayedChild {
    const NAME: &'static str = "child";
    const VERSION: u32 = 1;
    const STEPS: &'static [&'static str] = &[];
    type Input = String;
    type Output = Value;

    async fn run(&self, cx: Context, input: String) -> Result<Value, Failure> {
        self.0.run(cx, input).await
    }
}

pub fn played(input: &str) -> NewRun {
    NewRun::of::<Played>(&input.to_owned()).unwrap()
}

/// A write of a claimed run that records no step.
pub fn entry(claim: &Claim, bench: &Bench, transition: Option<Transition>) -> Entry {
    let at = bench.clock.now();
    Entry {
        run: claim.id,
        row: claim.row,
        key: claim.key.clone(),
        epoch: claim.epoch,
        parent: claim.parent,
        at,
        lease_until: at + Duration::from_secs(60),
        open: Vec::new(),
        finished: Vec::new(),
        children: Vec::new(),
        transition,
    }
}
