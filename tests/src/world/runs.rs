//! The journal of a world, over REST.

use anyhow::{Context, Result, ensure};
use futures::StreamExt;

use super::{PATIENCE, World, until};
use crate::rest::Run;

impl World {
    pub async fn runs(&self, number: u64) -> Result<Vec<Run>> {
        self.rest.runs(&self.key(number)).await
    }

    /// The newest run of the pull request.
    pub async fn newest_run(&self, number: u64) -> Result<Run> {
        self.runs(number).await?.pop().with_context(|| format!("there is no run of {}", self.key(number)))
    }

    /// Waits until the newest run of a workflow has ended.
    pub async fn wait_run(&self, number: u64, workflow: &str) -> Result<Run> {
        let what = format!("the end of {workflow} of {}", self.key(number));
        until(&what, PATIENCE, async || {
            let newest = self.runs(number).await?.pop();
            Ok(newest.filter(|run| run.workflow == workflow && run.state.is_final()))
        })
        .await
    }

    /// Waits until the newest run has begun one of these steps, or is past it.
    pub async fn wait_step(&self, number: u64, workflow: &str, step: &str) -> Result<Run> {
        let key = self.key(number);
        let what = format!("step {step} of {workflow} of {key}");
        let waited = async {
            // Events are listened to before the journal is read, so that none is missed.
            let mut events = std::pin::pin!(self.rest.events(&key).await?);
            loop {
                let newest = self.runs(number).await?.pop().filter(|run| run.workflow == workflow);
                if let Some(run) = newest {
                    if run.step(step).is_some() {
                        return Ok(run);
                    }
                    ensure!(!run.state.is_final(), "the run ended without it: {}", run.summary());
                }
                loop {
                    let event = events.next().await.context("the stream of events ended")??;
                    if event.kind != "progress" || event.text.is_none() {
                        break;
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, waited)
            .await
            .with_context(|| format!("{what}: not within {PATIENCE:?}"))?
            .context(what)
    }
}
