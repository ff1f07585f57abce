//! What keeps a pod from its volumes: claims that are not there or get no volume, and ConfigMaps
//! and Secrets that do not exist.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use seatrial_preview::failure::Reason;

use crate::blame::Blame;
use crate::pods::bounded;
use crate::scene::Scene;

/// Why no node was found for the pod; `None` when it has one or is still looked at.
pub(crate) fn unscheduled(pod: &Pod) -> Option<&str> {
    let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let found = conditions.find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            // The scheduler takes a storage class that does not exist for an error of its own.
            && matches!(condition.reason.as_deref(), Some("Unschedulable" | "SchedulerError"))
    })?;
    Some(found.message.as_deref().unwrap_or("no node takes it"))
}

/// The culprit, and whether it is sure that waiting does not cure it.
pub(crate) fn blame_volume(scene: &Scene, pod: &Pod) -> Option<(bool, Blame)> {
    let has_node = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    if has_node { blame_mount(scene, pod) } else { blame_claim(scene, pod) }
}

/// A pod whose volumes are not mounted has no container that ran; its status says no more than
/// `ContainerCreating`, the reason is told by events.
fn blame_mount(scene: &Scene, pod: &Pod) -> Option<(bool, Blame)> {
    let status = pod.status.as_ref()?;
    let mut seen = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    let began = seen.any(|container| container.state.as_ref().is_some_and(|state| state.waiting.is_none()));
    if began || status.phase.as_deref() != Some("Pending") {
        return None;
    }
    let message = scene.complaints.get(&pod.uid()?).filter(|message| is_missing(message))?;
    let name = pod.name_any();
    let blame = Blame {
        reason: Reason::ContainerConfig,
        culprit: format!("pod {name:?}"),
        summary: format!("A volume of pod {name:?} cannot be mounted: {}", bounded(message, 400)),
        advice: "A ConfigMap, a Secret or a key that the chart mounts is missing. Make it in the chart, or name the Secret in secrets of .seatrial.yaml to have it copied.".to_owned(),
        objects: vec![format!("Pod/{name}")],
        log: None,
        rank: 1,
    };
    Some((true, blame))
}

fn is_missing(message: &str) -> bool {
    message.contains("not found") || message.contains("non-existent")
}

fn blame_claim(scene: &Scene, pod: &Pod) -> Option<(bool, Blame)> {
    // Claims may also wait for the node: then it is the node that is missing.
    let about_volumes = unscheduled(pod).is_none_or(|why| {
        let why = why.to_ascii_lowercase();
        ["persistentvolume", "persistent volume", "storageclass", "volume"].iter().any(|word| why.contains(word))
    });
    if !about_volumes {
        return None;
    }
    let pod_name = pod.name_any();
    let blame = |claim: &str, summary: String, advice: &str| Blame {
        reason: Reason::Unschedulable,
        culprit: format!("PersistentVolumeClaim {claim:?}"),
        summary,
        advice: advice.to_owned(),
        objects: vec![format!("PersistentVolumeClaim/{claim}"), format!("Pod/{pod_name}")],
        log: None,
        rank: 7,
    };
    claims_of(pod).into_iter().find_map(|name| {
        let Some(claim) = scene.claims.find(&name) else {
            let summary = format!("Pod {pod_name:?} needs the PersistentVolumeClaim {name:?}, which does not exist");
            return Some((true, blame(&name, summary, "Add the claim to the chart, or correct its name in the pod's volumes.")));
        };
        let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
        if phase == "Bound" {
            return None;
        }
        let said = claim.uid().and_then(|uid| scene.complaints.get(&uid));
        let decisive =
            said.is_some_and(|said| said.contains("not found") || said.contains("no storage class is set"));
        let summary = format!(
            "PersistentVolumeClaim {name:?} of pod {pod_name:?} has no volume ({}, {}){}",
            phase.to_ascii_lowercase(),
            storage_class(claim),
            said.map(|said| format!(": {}", bounded(said, 400))).unwrap_or_default(),
        );
        Some((decisive, blame(&name, summary, "Name a storage class in the chart's values that the cluster has (`kubectl get storageclass`) and that makes volumes by itself, or let the preview do without a claim (emptyDir).")))
    })
}

fn storage_class(claim: &PersistentVolumeClaim) -> String {
    match claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()) {
        None => "no storage class, and the cluster has no default one".to_owned(),
        Some("") => "no storage class".to_owned(),
        Some(class) => format!("storage class {class:?}"),
    }
}

fn claims_of(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(source), _) => Some(source.claim_name.clone()),
            (None, Some(_)) => Some(format!("{}-{}", pod.name_any(), volume.name)),
            (None, None) => None,
        })
        .collect()
}
