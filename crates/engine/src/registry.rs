use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::context::Context;
use crate::failure::Failure;
use crate::journal::WorkflowVersions;

/// A durable function. Its code between steps must be deterministic: time, ids and everything
/// from outside come from steps or from the [`Context`].
pub trait Workflow: Send + Sync + 'static {
    /// Stored with each run; never change it.
    const NAME: &'static str;
    /// Raise it when older runs cannot be continued by the new code. Each run keeps the version
    /// it began with; see [`Context::version`] and [`Context::patched`] for changes in flight.
    const VERSION: u32;
    /// The oldest version whose runs this code can continue. Runs of other versions are parked
    /// with the reason, and go on when a program comes that can continue them.
    const CONTINUES_FROM: u32 = Self::VERSION;
    /// The steps of a run in which nothing goes wrong, waits among them, in order; pages show what is
    /// to come. A child is the step that starts it.
    const STEPS: &'static [&'static str];
    type Input: Serialize + DeserializeOwned + Send + 'static;
    type Output: Serialize + Send;

    fn run(&self, cx: Context, input: Self::Input) -> impl Future<Output = Result<Self::Output, Failure>> + Send;
}

/// The workflows a worker can execute.
#[derive(Clone, Default)]
pub struct Registry {
    workflows: BTreeMap<&'static str, Arc<dyn Registered>>,
}

impl Registry {
    pub fn new() -> Self {
        Self::default()
    }

    /// # Panics
    /// When two workflows have one name: a mistake in the program, found at its first start.
    #[must_use]
    pub fn with<W: Workflow>(mut self, workflow: W) -> Self {
        let before = self.workflows.insert(W::NAME, Arc::new(workflow));
        assert!(before.is_none(), "two workflows are named {}", W::NAME);
        self
    }

    pub fn names(&self) -> Vec<String> {
        self.workflows.keys().map(|name| (*name).to_owned()).collect()
    }

    /// What a worker with this registry continues.
    pub fn versions(&self) -> Vec<WorkflowVersions> {
        let each = self.workflows.iter();
        each.map(|(name, workflow)| WorkflowVersions { name: (*name).to_owned(), versions: workflow.versions() })
            .collect()
    }

    /// The version new runs of a workflow are started with.
    pub fn version(&self, workflow: &str) -> Option<u32> {
        self.workflows.get(workflow).map(|w| *w.versions().end())
    }

    /// The declared steps of a workflow; empty for one that is not known.
    pub fn plan(&self, workflow: &str) -> &'static [&'static str] {
        self.workflows.get(workflow).map_or(&[], |w| w.plan())
    }

    pub(crate) fn find(&self, workflow: &str) -> Option<Arc<dyn Registered>> {
        self.workflows.get(workflow).cloned()
    }
}

#[async_trait]
pub(crate) trait Registered: Send + Sync {
    fn versions(&self) -> RangeInclusive<u32>;
    fn plan(&self) -> &'static [&'static str];
    async fn run(&self, cx: Context, input: Value) -> Result<Value, Failure>;
}

#[async_trait]
impl<W: Workflow> Registered for W {
    fn versions(&self) -> RangeInclusive<u32> {
        W::CONTINUES_FROM..=W::VERSION
    }

    fn plan(&self) -> &'static [&'static str] {
        W::STEPS
    }

    async fn run(&self, cx: Context, input: Value) -> Result<Value, Failure> {
        let input = serde_json::from_value(input)
            .map_err(|e| Failure::permanent(format!("the input of workflow {} cannot be read: {e}", W::NAME)))?;
        let output = Workflow::run(self, cx, input).await?;
        serde_json::to_value(output)
            .map_err(|e| Failure::permanent(format!("the result of workflow {} is not JSON: {e}", W::NAME)))
    }
}
