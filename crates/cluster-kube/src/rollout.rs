//! Waiting for a release, by watch.

use futures::StreamExt;
use seatrial_preview::ports::{ProgressSink, Rollout};
use seatrial_preview::{Error, Namespace, Result};
use tokio::time::{Instant, timeout};

use crate::cluster::KubeCluster;
use crate::scene::{Scene, watch};
use crate::verdict::{Patience, Verdict, judge};
use crate::{diagnosis, errors, namespaces};

/// All workloads of the namespace count: it holds this release and nothing else, and charts do not
/// label their objects reliably.
///
/// What an earlier deployment left behind does not count: old generations, pods of older
/// ReplicaSets and revisions, pods that are going. A pod that the new deployment did not replace
/// (its template is unchanged) does count, with the crashes it had before.
pub(crate) async fn await_ready(
    cluster: &KubeCluster,
    namespace: &Namespace,
    progress: ProgressSink,
) -> Result<Rollout> {
    let doing = format!("watch the rollout in {namespace}");
    if namespaces::find(cluster, namespace).await?.is_none() {
        return Err(errors::no_namespace(namespace));
    }
    let mut changes = watch(&cluster.streams, namespace);
    let mut scene = Scene::default();
    let mut patience = Patience::new(cluster.settings.unschedulable_limit);
    let mut said = String::new();
    loop {
        let mut recheck = None;
        if scene.is_complete() {
            match judge(&scene, &mut patience, Instant::now()) {
                Verdict::Ready(rollout) => return Ok(rollout),
                Verdict::Failed(blame) => {
                    return Err(Error::diagnosed(diagnosis::with_evidence(cluster, namespace, &scene, *blame).await));
                }
                Verdict::Waiting { progress: words, recheck: again } => {
                    recheck = again;
                    if words != said {
                        progress(words.clone());
                        said = words;
                    }
                }
            }
        }
        let change = match recheck {
            None => changes.next().await,
            Some(wait) => match timeout(wait, changes.next()).await {
                Ok(change) => change,
                Err(_) => continue,
            },
        };
        match change {
            Some(Ok(change)) => scene.note(change),
            Some(Err(error)) => {
                let explained = errors::explain_watch(&doing, error);
                if !explained.is_transient() {
                    return Err(gone_or(cluster, namespace, explained).await);
                }
                tracing::warn!(%namespace, error = %explained.message, "a watch broke off and begins anew");
            }
            None => return Err(Error::transient(format!("cannot {doing}: the watch broke off"))),
        }
    }
}

/// Without the namespace there are no rights in it either: say what is the cause.
async fn gone_or(cluster: &KubeCluster, namespace: &Namespace, error: Error) -> Error {
    match namespaces::find(cluster, namespace).await {
        Ok(None) => errors::no_namespace(namespace),
        _ => error,
    }
}
