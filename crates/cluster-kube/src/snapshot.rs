//! All that was to be seen when a deployment failed.

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use kube::api::ListParams;
use seatrial_preview::failure::{ClusterEvent, ContainerLog, FailureSnapshot};
use seatrial_preview::{Namespace, Result};

use crate::cluster::KubeCluster;
use crate::pods::{self, MOST_PODS, bounded, status_of, to_chrono};
use crate::{diagnosis, logs};

pub(crate) const MOST_EVENTS: usize = 50;
/// Logs are the large part: 40 times 64 KiB at most.
const MOST_LOGS: usize = 40;

/// The step and the manifest are the caller's to fill in.
pub(crate) async fn take(cluster: &KubeCluster, namespace: &Namespace) -> Result<FailureSnapshot> {
    let (mut pods, events, diagnosis) = futures::try_join!(
        pods::list(cluster, namespace),
        list_events(cluster, namespace),
        diagnosis::diagnose(cluster, namespace)
    )?;
    // What is not ready explains more.
    pods.sort_by_key(pods::is_ready);
    pods.truncate(MOST_PODS);
    Ok(FailureSnapshot {
        taken_at: chrono::Utc::now(),
        step: String::new(),
        diagnosis,
        pods: pods.iter().map(status_of).collect(),
        events,
        logs: read_logs(cluster, namespace, &pods).await,
        manifest: None,
    })
}

async fn read_logs(cluster: &KubeCluster, namespace: &Namespace, pods: &[Pod]) -> Vec<ContainerLog> {
    let mut wanted = Vec::new();
    for pod in pods {
        for container in status_of(pod).containers {
            if container.restarts > 0 {
                wanted.push((pod.name_any(), container.name.clone(), true));
            }
            wanted.push((pod.name_any(), container.name, false));
        }
    }
    wanted.truncate(MOST_LOGS);
    futures::stream::iter(wanted)
        .map(|(pod, container, previous)| async move {
            let text = logs::tail(cluster, namespace, &pod, &container, previous).await?;
            Some(ContainerLog { pod, container, previous, text })
        })
        .buffered(4)
        .filter_map(std::future::ready)
        .collect()
        .await
}

/// Warnings first, then the newest first.
pub(crate) async fn list_events(cluster: &KubeCluster, namespace: &Namespace) -> Result<Vec<ClusterEvent>> {
    match cluster.api::<Event>(namespace).list(&ListParams::default().limit(500)).await {
        Ok(found) => {
            let mut events: Vec<ClusterEvent> = found.items.iter().map(event_of).collect();
            events.sort_by(|a, b| (b.kind == "Warning").cmp(&(a.kind == "Warning")).then(b.at.cmp(&a.at)));
            events.truncate(MOST_EVENTS);
            Ok(events)
        }
        Err(error) => Err(cluster.explain_in(namespace, &format!("list the events of {namespace}"), error).await),
    }
}

fn event_of(event: &Event) -> ClusterEvent {
    let series = event.series.as_ref();
    let micro = series.and_then(|series| series.last_observed_time.as_ref()).or(event.event_time.as_ref());
    let at = event
        .last_timestamp
        .as_ref()
        .and_then(to_chrono)
        .or_else(|| micro.and_then(|time| to_chrono(&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time.0))))
        .or_else(|| event.metadata.creation_timestamp.as_ref().and_then(to_chrono));
    let count = event.count.or(series.and_then(|series| series.count)).unwrap_or(1);
    let object = &event.involved_object;
    ClusterEvent {
        at,
        kind: event.type_.clone().unwrap_or_else(|| "Normal".to_owned()),
        reason: event.reason.clone().unwrap_or_default(),
        object: format!(
            "{}/{}",
            object.kind.as_deref().unwrap_or("Object"),
            object.name.as_deref().unwrap_or("without a name")
        ),
        message: bounded(event.message.as_deref().unwrap_or_default(), 2_048),
        count: u32::try_from(count).unwrap_or(1),
    }
}
