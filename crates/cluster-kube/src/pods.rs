//! Pods as the domain shows them.

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus as KubeContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::ListParams;
use seatrial_preview::failure::{ContainerStatus, PodStatus};
use seatrial_preview::{Namespace, Result};

use crate::cluster::KubeCluster;

/// Lists are shown, stored and logged: none is longer than this.
pub(crate) const MOST_PODS: usize = 20;

pub(crate) async fn list_statuses(cluster: &KubeCluster, namespace: &Namespace) -> Result<Vec<PodStatus>> {
    Ok(list(cluster, namespace).await?.iter().take(MOST_PODS).map(status_of).collect())
}

/// The newest first.
pub(crate) async fn list(cluster: &KubeCluster, namespace: &Namespace) -> Result<Vec<Pod>> {
    list_selected(cluster, namespace, &ListParams::default()).await
}

pub(crate) async fn list_selected(
    cluster: &KubeCluster,
    namespace: &Namespace,
    params: &ListParams,
) -> Result<Vec<Pod>> {
    match cluster.api::<Pod>(namespace).list(&params.clone().limit(200)).await {
        Ok(found) => {
            let mut pods = found.items;
            pods.sort_by(|a, b| {
                (&b.metadata.creation_timestamp, b.name_any()).cmp(&(&a.metadata.creation_timestamp, a.name_any()))
            });
            Ok(pods)
        }
        Err(error) => Err(cluster.explain_in(namespace, &format!("list the pods of {namespace}"), error).await),
    }
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

pub(crate) fn container_names(pod: &Pod) -> Vec<String> {
    let spec = pod.spec.iter();
    spec.flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()))
        .map(|container| container.name.clone())
        .collect()
}

pub(crate) fn status_of(pod: &Pod) -> PodStatus {
    let status = pod.status.clone().unwrap_or_default();
    let spec = pod.spec.clone().unwrap_or_default();
    let mut containers = Vec::new();
    for (init, declared, seen) in [
        (true, spec.init_containers.unwrap_or_default(), status.init_container_statuses.unwrap_or_default()),
        (false, spec.containers, status.container_statuses.unwrap_or_default()),
    ] {
        for container in declared {
            containers.push(match seen.iter().find(|seen| seen.name == container.name) {
                Some(seen) => container_status(pod, seen, init),
                None => ContainerStatus {
                    name: container.name,
                    image: container.image.unwrap_or_default(),
                    init,
                    ready: false,
                    restarts: 0,
                    state: "waiting".to_owned(),
                    message: None,
                },
            });
        }
    }
    let phase = match (&pod.metadata.deletion_timestamp, status.reason, status.phase) {
        (Some(_), _, _) => "Terminating".to_owned(),
        (None, Some(reason), _) => reason,
        (None, None, phase) => phase.unwrap_or_else(|| "Unknown".to_owned()),
    };
    PodStatus { name: pod.name_any(), phase, ready: is_ready(pod), node: spec.node_name, containers }
}

/// The image that the pod asks for: the status may name any other tag of the same content.
pub(crate) fn image_of(pod: &Pod, seen: &KubeContainerStatus) -> String {
    let spec = pod.spec.iter();
    let mut declared = spec.flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let image = declared.find(|declared| declared.name == seen.name).and_then(|declared| declared.image.clone());
    image.unwrap_or_else(|| seen.image.clone())
}

fn container_status(pod: &Pod, seen: &KubeContainerStatus, init: bool) -> ContainerStatus {
    let (state, message) = match &seen.state {
        Some(ContainerState { running: Some(_), .. }) => ("running".to_owned(), None),
        Some(ContainerState { terminated: Some(ended), .. }) => (
            format!("terminated: {} ({})", ended.reason.as_deref().unwrap_or("Ended"), ended.exit_code),
            ended.message.clone(),
        ),
        Some(ContainerState { waiting: Some(waiting), .. }) => {
            (format!("waiting: {}", waiting.reason.as_deref().unwrap_or("ContainerCreating")), waiting.message.clone())
        }
        _ => ("waiting".to_owned(), None),
    };
    ContainerStatus {
        name: seen.name.clone(),
        image: image_of(pod, seen),
        init,
        ready: seen.ready,
        restarts: u32::try_from(seen.restart_count).unwrap_or_default(),
        state,
        message: message.map(|text| bounded(&text, 2_048)),
    }
}

/// The beginning of a text, at a character's border.
pub(crate) fn bounded(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}…", &text[..end])
}

pub(crate) fn to_chrono(time: &Time) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.0.as_second(), u32::try_from(time.0.subsec_nanosecond()).unwrap_or_default())
}
