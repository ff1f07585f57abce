use std::fmt;
use std::future::{Future, IntoFuture};
use std::time::Duration;

use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::failure::Failure;

/// Names one step of a run for good: the scope it ran in, its name, and how often that name came
/// before in that scope. A loop repeats a name safely; a step that is put between others shifts
/// none of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StepKey {
    /// Empty for the workflow's own steps.
    pub scope: String,
    pub name: String,
    pub occurrence: u32,
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scope.is_empty() {
            write!(f, "{}/", self.scope)?;
        }
        f.write_str(&self.name)?;
        if self.occurrence > 0 {
            write!(f, "[{}]", self.occurrence)?;
        }
        Ok(())
    }
}

/// How a step's transient failures are retried: after waits that double, each shortened by up to a
/// fifth so that many runs do not retry in step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// Retries after the first attempt.
    pub retries: u32,
    /// The longest wait before the first retry.
    pub first: Duration,
    /// The longest wait before any.
    pub max: Duration,
}

impl Backoff {
    pub const NONE: Self = Self { retries: 0, first: Duration::ZERO, max: Duration::ZERO };

    /// `retries` retries after 1 s, 2 s, 4 s … at most a minute apart.
    pub const fn transient(retries: u32) -> Self {
        Self { retries, first: Duration::from_secs(1), max: Duration::from_secs(60) }
    }

    /// The wait before retry `number`; 1 is the first.
    pub(crate) fn wait(&self, number: u32) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(number.saturating_sub(1)));
        doubled.min(self.max).mul_f64(rand::random_range(0.8..=1.0))
    }
}

/// A step about to run: set its retry and timeout, then `.await` it.
#[must_use = "a step does nothing until it is awaited"]
pub struct Step<'a, F> {
    pub(crate) context: &'a Context,
    pub(crate) name: &'a str,
    pub(crate) effect: F,
    pub(crate) backoff: Backoff,
    pub(crate) timeout: Option<Duration>,
}

impl<F> Step<'_, F> {
    /// Retries transient failures. Short waits are waited out in place; for longer ones the run
    /// is parked in the journal and the worker is free.
    pub fn retry(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Bounds each attempt. An attempt that takes longer is dropped and counts as a transient
    /// failure.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl<'a, F, Fut, T, E> IntoFuture for Step<'a, F>
where
    F: FnMut() -> Fut + Send + 'a,
    Fut: Future<Output = Result<T, E>> + Send + 'a,
    T: Serialize + DeserializeOwned + Send + 'a,
    E: Into<Failure> + Send + 'a,
{
    type Output = Result<T, Failure>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.context.run_step(self.name, self.effect, self.backoff, self.timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_limit_within_a_fifth() {
        let backoff = Backoff::transient(10);
        for (retry, expected) in [(1, 1.0), (2, 2.0), (3, 4.0), (7, 60.0), (40, 60.0)] {
            let wait = backoff.wait(retry).as_secs_f64();
            assert!((expected * 0.8..=expected * 1.2).contains(&wait), "retry {retry} waits {wait} s");
        }
    }

    #[test]
    fn a_key_reads_like_a_path() {
        let key = |scope: &str, occurrence| StepKey { scope: scope.into(), name: "release".into(), occurrence };
        assert_eq!(key("", 0).to_string(), "release");
        assert_eq!(key("cancelled", 2).to_string(), "cancelled/release[2]");
    }
}
