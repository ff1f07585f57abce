//! Workloads become ready, or somebody is told what keeps them.

use std::sync::Arc;
use std::time::Duration;

use seatrial_engine::{Context, Failure};
use seatrial_preview::Error;
use seatrial_preview::environment::Environment;
use seatrial_preview::failure::{Diagnosis, Reason};
use seatrial_preview::ports::Rollout;

use crate::World;
use crate::failures::failure;

/// Waits until every workload of the environment is ready, at most so long. `advice` is for whoever
/// finds that it only takes longer.
pub(crate) async fn await_rollout(
    world: &World,
    cx: &Context,
    environment: &Environment,
    limit: Duration,
    advice: &str,
) -> Result<Rollout, Failure> {
    let (cluster, namespace) = (&world.cluster, &environment.namespace);
    let progress = {
        let cx = cx.clone();
        Arc::new(move |text| cx.progress(text))
    };
    match tokio::time::timeout(limit, cluster.await_rollout(namespace, progress)).await {
        Ok(rollout) => rollout.map_err(failure),
        Err(_) => {
            let known = cluster.diagnose(namespace).await.map_err(failure)?;
            Err(failure(Error::diagnosed(known.unwrap_or_else(|| Diagnosis {
                reason: Reason::RolloutTimeout,
                culprit: format!("the workloads of namespace {namespace}"),
                summary: format!("They were not ready within {limit:?}."),
                advice: advice.to_owned(),
                evidence: Vec::new(),
            }))))
        }
    }
}
