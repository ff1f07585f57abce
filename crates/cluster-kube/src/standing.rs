//! Which pods and jobs speak of the release that was just deployed.

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;

use crate::scene::Scene;

/// What a pod means for the release that was just deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Current,
    /// A job tries again by itself; what counts is what becomes of the job.
    OfJob,
    /// Left from an earlier deployment, on its way out, or Helm's own (hooks are over when Helm
    /// returns): says nothing about this one.
    Other,
}

pub(crate) fn standing(scene: &Scene, pod: &Pod) -> Standing {
    let current = |is: bool| if is { Standing::Current } else { Standing::Other };
    if pod.metadata.deletion_timestamp.is_some() || is_hook(pod) {
        return Standing::Other;
    }
    let Some(owner) = controller(pod) else { return Standing::Current };
    match owner.kind.as_str() {
        // Until the watch has shown the owner, nothing can be said.
        "ReplicaSet" => current(scene.replica_sets.owner(owner).is_some_and(|set| is_newest(scene, set))),
        "StatefulSet" => current(scene.stateful_sets.owner(owner).is_some_and(|set| {
            let status = set.status.clone().unwrap_or_default();
            is_observed(set.metadata.generation, status.observed_generation)
                && status.update_revision.is_none_or(|revision| {
                    pod.labels().get("controller-revision-hash").is_none_or(|hash| *hash == revision)
                })
        })),
        "DaemonSet" => current(scene.daemon_sets.owner(owner).is_some_and(|set| {
            let status = set.status.clone().unwrap_or_default();
            let template = set.annotations().get("deprecated.daemonset.template.generation");
            let pods = pod.labels().get("pod-template-generation");
            is_observed(set.metadata.generation, status.observed_generation)
                && template.zip(pods).is_none_or(|(template, pods)| template == pods)
        })),
        "Job" => match scene.jobs.owner(owner) {
            Some(job) if is_of_release(job) => Standing::OfJob,
            _ => Standing::Other,
        },
        _ => Standing::Current,
    }
}

/// True for the ReplicaSet of the deployment's present template: the deployment's controller has
/// seen the newest spec and has numbered both alike.
fn is_newest(scene: &Scene, set: &ReplicaSet) -> bool {
    const REVISION: &str = "deployment.kubernetes.io/revision";
    let Some(owner) = controller(set) else { return true };
    if owner.kind != "Deployment" {
        return true;
    }
    scene.deployments.owner(owner).is_some_and(|deployment| {
        is_observed(deployment.metadata.generation, deployment.status.as_ref().and_then(|s| s.observed_generation))
            && deployment.annotations().get(REVISION) == set.annotations().get(REVISION)
    })
}

pub(crate) fn controller(object: &impl ResourceExt) -> Option<&OwnerReference> {
    object.owner_references().iter().find(|owner| owner.controller == Some(true))
}

pub(crate) fn is_observed(generation: Option<i64>, observed: Option<i64>) -> bool {
    observed.unwrap_or_default() >= generation.unwrap_or_default()
}

pub(crate) fn is_hook(object: &impl ResourceExt) -> bool {
    object.annotations().contains_key("helm.sh/hook")
}

/// Not a hook, and not one of a CronJob's runs.
pub(crate) fn is_of_release(job: &Job) -> bool {
    !is_hook(job) && controller(job).is_none()
}

/// The pods of a failed job, newest last, as its evidence.
pub(crate) fn pod_of_job<'a>(scene: &'a Scene, job: &str) -> Option<&'a Pod> {
    let pods =
        scene.pods.iter().filter(|pod| controller(*pod).is_some_and(|owner| owner.kind == "Job" && owner.name == job));
    pods.max_by(|a, b| a.metadata.creation_timestamp.cmp(&b.metadata.creation_timestamp))
}
