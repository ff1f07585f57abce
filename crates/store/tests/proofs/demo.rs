//! Workflows that use everything a run can do. Each effect is remembered by the world.

use std::sync::Arc;
use std::time::Duration;

use seatrial_engine::{Backoff, Context, Failure, FailureKind, Workflow};
use serde::{Deserialize, Serialize};

use crate::process::Process;
use crate::stage::{Effect, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plot {
    /// Three steps.
    Steps,
    /// A step whose failure is retried in place, and one for which the run is parked.
    Retries,
    /// A durable sleep between two steps.
    Sleeps,
    /// Waits for a signal between two steps.
    Waits,
    /// A child run between two steps.
    Child,
    /// A step that only ends when the run is cancelled, and two that clean up.
    Held,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Input {
    pub label: String,
    pub plot: Plot,
}

pub struct Demo {
    pub world: World,
    pub process: Arc<Process>,
}

pub struct Part {
    pub world: World,
    pub process: Arc<Process>,
}

/// What the steps of one execution act on.
struct Acts<'a> {
    cx: &'a Context,
    label: &'a str,
    world: &'a World,
    process: &'a Process,
}

impl Acts<'_> {
    fn name(&self, step: &str) -> String {
        format!("{}/{step}", self.label)
    }

    /// The effect of a step.
    async fn act(&self, step: &str) -> Result<String, Failure> {
        self.process.lives().await;
        self.world.tried(&self.name(step));
        let effect = Effect { run: self.cx.run_id(), label: self.label.to_owned(), step: step.to_owned() };
        self.world.apply(effect);
        Ok(format!("{step} of {}", self.label))
    }

    /// A step that fails the first time it is tried.
    async fn act_the_second_time(&self, step: &str, retry_after: Option<Duration>) -> Result<String, Failure> {
        self.process.lives().await;
        if self.world.tried(&self.name(step)) == 1 {
            let kind = FailureKind::Transient { retry_after };
            return Err(Failure { kind, ..Failure::transient("the first time") });
        }
        self.act(step).await
    }

    async fn hang(&self, step: &str) -> Result<String, Failure> {
        self.process.lives().await;
        self.world.tried(&self.name(step));
        std::future::pending().await
    }

    async fn steps(&self, steps: &[&str]) -> Result<Vec<String>, Failure> {
        let mut results = Vec::new();
        for step in steps {
            results.push(self.cx.step(step, || self.act(step)).await?);
        }
        Ok(results)
    }
}

const ONE_SECOND: Backoff = Backoff { retries: 2, first: Duration::from_secs(1), max: Duration::from_secs(1) };
/// Long enough for the run to be parked.
const LONG: Duration = Duration::from_secs(7);

impl Workflow for Demo {
    const NAME: &'static str = "demo";
    const VERSION: u32 = 1;
    const STEPS: &'static [&'static str] = &[];
    type Input = Input;
    type Output = Vec<String>;

    async fn run(&self, cx: Context, input: Input) -> Result<Vec<String>, Failure> {
        let acts = Acts { cx: &cx, label: &input.label, world: &self.world, process: &self.process };
        let mut results = Vec::new();
        match input.plot {
            Plot::Steps => results.extend(acts.steps(&["one", "two", "three"]).await?),
            Plot::Retries => {
                results.extend(acts.steps(&["one"]).await?);
                results.push(cx.step("soon", || acts.act_the_second_time("soon", None)).retry(ONE_SECOND).await?);
                let later = || acts.act_the_second_time("later", Some(LONG));
                results.push(cx.step("later", later).retry(ONE_SECOND).await?);
                results.extend(acts.steps(&["three"]).await?);
            }
            Plot::Sleeps => {
                results.extend(acts.steps(&["one"]).await?);
                cx.sleep("nap", LONG).await?;
                results.extend(acts.steps(&["two"]).await?);
            }
            Plot::Waits => {
                results.extend(acts.steps(&["one"]).await?);
                let word: Option<String> = cx.wait_for("word", Duration::from_secs(86_400)).await?;
                results.push(word.unwrap_or_default());
                results.extend(acts.steps(&["two"]).await?);
            }
            Plot::Child => {
                results.extend(acts.steps(&["one"]).await?);
                results.extend(cx.child::<Part>("part", &format!("{}/part", input.label)).await?);
                results.extend(acts.steps(&["two"]).await?);
            }
            Plot::Held => {
                results.extend(acts.steps(&["one"]).await?);
                if let Err(failure) = cx.step("held", || acts.hang("held")).await {
                    let cx = cx.shielded("cancelled");
                    let acts = Acts { cx: &cx, ..acts };
                    acts.steps(&["undo", "forget"]).await?;
                    return Err(failure);
                }
            }
        }
        Ok(results)
    }
}

impl Workflow for Part {
    const NAME: &'static str = "part";
    const VERSION: u32 = 1;
    const STEPS: &'static [&'static str] = &[];
    type Input = String;
    type Output = Vec<String>;

    async fn run(&self, cx: Context, label: String) -> Result<Vec<String>, Failure> {
        let acts = Acts { cx: &cx, label: &label, world: &self.world, process: &self.process };
        acts.steps(&["first", "second"]).await
    }
}
