//! The workloads of a namespace: how many of their pods are ready, of how many.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use seatrial_preview::failure::Reason;

use crate::blame::Blame;
use crate::pods;
use crate::scene::Scene;
use crate::standing::{Standing, controller, is_observed, is_of_release, standing};

pub(crate) struct Workload {
    pub kind: &'static str,
    pub name: String,
    pub uid: String,
    pub ready: i32,
    pub want: i32,
    pub settled: bool,
    pub blame: Option<Blame>,
    /// Why its pods are not made.
    pub refusal: Option<String>,
}

impl Workload {
    pub(crate) fn share(&self) -> String {
        format!("{}/{}", self.ready, self.want)
    }
    pub(crate) fn words(&self) -> String {
        format!("{} {}", self.name, self.share())
    }
}

pub(crate) fn workloads(scene: &Scene) -> Vec<Workload> {
    let mut found: Vec<Workload> = scene.deployments.iter().map(deployment).collect();
    for set in scene.replica_sets.iter().filter(|set| controller(*set).is_none()) {
        let status = set.status.clone().unwrap_or_default();
        let want = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let ready = status.available_replicas.unwrap_or_default();
        let seen = is_observed(set.metadata.generation, status.observed_generation);
        let refusal = status
            .conditions
            .unwrap_or_default()
            .into_iter()
            .find(|c| c.type_ == "ReplicaFailure" && c.status == "True");
        let refusal = refusal.and_then(|condition| condition.message).filter(|_| seen);
        let workload = plain("ReplicaSet", set, ready, want, seen && ready >= want);
        found.push(Workload { refusal, ..workload });
    }
    for set in scene.stateful_sets.iter() {
        let spec = set.spec.clone().unwrap_or_default();
        let status = set.status.clone().unwrap_or_default();
        let want = spec.replicas.unwrap_or(1);
        let ready = status.ready_replicas.unwrap_or_default();
        let strategy = spec.update_strategy.unwrap_or_default();
        // Pods below the partition, or all with OnDelete, keep the old revision on purpose.
        let kept = if strategy.type_.as_deref() == Some("OnDelete") {
            want
        } else {
            strategy.rolling_update.and_then(|rolling| rolling.partition).unwrap_or_default().min(want)
        };
        let updated = status.current_revision == status.update_revision
            || status.updated_replicas.unwrap_or_default() >= want - kept;
        let seen = is_observed(set.metadata.generation, status.observed_generation);
        found.push(plain("StatefulSet", set, ready, want, seen && updated && ready >= want));
    }
    for set in scene.daemon_sets.iter() {
        let status = set.status.clone().unwrap_or_default();
        let want = status.desired_number_scheduled;
        let ready = status.number_available.unwrap_or_default();
        let updated = status.updated_number_scheduled.unwrap_or_default() >= want;
        let seen = is_observed(set.metadata.generation, status.observed_generation);
        found.push(plain("DaemonSet", set, ready, want, seen && updated && ready >= want));
    }
    found.extend(scene.jobs.iter().filter(|job| is_of_release(job)).map(job_workload));
    for pod in scene.pods.iter().filter(|pod| controller(*pod).is_none() && standing(scene, pod) == Standing::Current) {
        let done = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Succeeded");
        let ready = done || pods::is_ready(pod);
        found.push(plain("Pod", pod, i32::from(ready), 1, ready));
    }
    for workload in found.iter_mut().filter(|workload| !workload.settled && workload.refusal.is_none()) {
        workload.refusal = scene.complaints.get(&workload.uid).cloned();
    }
    found
}

fn plain(kind: &'static str, object: &impl ResourceExt, ready: i32, want: i32, settled: bool) -> Workload {
    let uid = object.uid().unwrap_or_default();
    Workload { kind, name: object.name_any(), uid, ready, want, settled, blame: None, refusal: None }
}

fn deployment(deployment: &Deployment) -> Workload {
    let status = deployment.status.clone().unwrap_or_default();
    let want = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let updated = status.updated_replicas.unwrap_or_default();
    // Pods of the old template are counted among the available ones: they do not count here, and
    // are waited for to go.
    let old = (status.replicas.unwrap_or_default() - updated).max(0);
    let ready = (status.available_replicas.unwrap_or_default() - old).max(0);
    let seen = is_observed(deployment.metadata.generation, status.observed_generation);
    let settled = seen && updated >= want && ready >= want && old == 0;
    let mut workload = plain("Deployment", deployment, ready.min(want), want, settled);
    for condition in status.conditions.unwrap_or_default() {
        let message = condition.message.unwrap_or_default();
        match (condition.type_.as_str(), condition.status.as_str()) {
            ("ReplicaFailure", "True") if seen && !settled => workload.refusal = Some(message),
            ("Progressing", "False")
                if seen && !settled && condition.reason.as_deref() == Some("ProgressDeadlineExceeded") =>
            {
                workload.blame = Some(Blame {
                    reason: Reason::RolloutTimeout,
                    culprit: format!("Deployment {:?}", workload.name),
                    summary: format!("Deployment {:?} made no progress within the chart's own progressDeadlineSeconds: {message}", workload.name),
                    advice: "Look at the pods' events and logs; raise progressDeadlineSeconds in the chart if the application needs longer to start.".to_owned(),
                    objects: vec![format!("Deployment/{}", workload.name)],
                    log: None,
                    rank: 9,
                });
            }
            _ => {}
        }
    }
    workload
}

fn job_workload(job: &Job) -> Workload {
    let spec = job.spec.clone().unwrap_or_default();
    let status = job.status.clone().unwrap_or_default();
    let want = spec.completions.unwrap_or(1);
    let ready = status.succeeded.unwrap_or_default();
    let mut workload = plain("Job", job, ready, want, spec.suspend == Some(true));
    for condition in status.conditions.unwrap_or_default().into_iter().filter(|condition| condition.status == "True") {
        match condition.type_.as_str() {
            "Complete" => {
                workload.settled = true;
                workload.ready = want;
            }
            "Failed" => {
                let name = &workload.name;
                let why = condition.message.or(condition.reason).unwrap_or_else(|| "it failed".to_owned());
                workload.blame = Some(Blame {
                    reason: Reason::JobFailed,
                    culprit: format!("Job {name:?}"),
                    summary: format!("Job {name:?} failed: {why}"),
                    advice: "Read the job's log below, fix what it runs, and push.".to_owned(),
                    objects: vec![format!("Job/{name}")],
                    log: None,
                    rank: 4,
                });
            }
            _ => {}
        }
    }
    workload
}
