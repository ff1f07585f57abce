//! Reads a [`Scene`]: is the release ready, is it on its way, or will waiting not help?

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use seatrial_preview::failure::Reason;
use seatrial_preview::ports::Rollout;
use tokio::time::Instant;

use crate::pods::bounded;
use crate::scene::Scene;

/// A pod that no node takes may still be helped: by a node that an autoscaler brings up, which
/// takes about this long, or by room that another preview gives back.
const UNSCHEDULABLE_LIMIT: Duration = Duration::from_secs(60);

/// Pods on their way out still count against the quota. After the last one is gone its room is
/// offered again within this time (the controllers' own backoff).
const QUOTA_LIMIT: Duration = Duration::from_secs(10);

/// A container without readiness probe counts as ready the moment it starts; one that crashes at
/// its start does so within this time.
const SETTLING: Duration = Duration::from_secs(2);

pub(crate) enum Verdict {
    Ready(Rollout),
    /// `recheck`: look again after this time even if nothing changes.
    Waiting {
        progress: String,
        recheck: Option<Duration>,
    },
    Failed(Box<Blame>),
}

/// What is to blame, before the evidence is gathered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Blame {
    pub reason: Reason,
    pub culprit: String,
    pub summary: String,
    pub advice: String,
    /// The objects whose events are evidence: `Pod/shop-7d9f`.
    pub objects: Vec<String>,
    /// The pod and container whose log is evidence.
    pub log: Option<(String, String)>,
    /// Which of several faults is told first: the least.
    rank: u8,
}

/// How long what may pass has been seen. Measured on our own clock: the cluster's may differ.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    since: HashMap<String, Instant>,
    /// When a pod that still uses up quota was last seen.
    leaving: Option<Instant>,
    /// Everything that stands in the way counts at once: for a deadline that has passed.
    spent: bool,
}

impl Patience {
    pub(crate) fn spent() -> Self {
        Self { spent: true, ..Self::default() }
    }

    /// What is left of `limit` for `what`; `None` when it is over.
    fn left(&mut self, what: String, limit: Duration, now: Instant) -> Option<Duration> {
        if self.spent {
            return None;
        }
        let since = *self.since.entry(what).or_insert(now);
        limit.checked_sub(now - since).filter(|left| !left.is_zero())
    }
}

pub(crate) fn judge(scene: &Scene, patience: &mut Patience, now: Instant) -> Verdict {
    let mut recheck = Recheck::default();
    if scene.pods.iter().any(|pod| pod.metadata.deletion_timestamp.is_some()) {
        patience.leaving = Some(now);
    }
    let mut blames: Vec<Blame> = Vec::new();
    for pod in scene.pods.iter() {
        let standing = standing(scene, pod);
        if matches!(standing, Standing::Current | Standing::OfJob) {
            blames.extend(blame_pod(pod, standing, patience, now, &mut recheck));
        }
    }
    let workloads = workloads(scene);
    blames.extend(workloads.iter().filter_map(|workload| workload.blame.clone()));
    for workload in &workloads {
        if let Some(message) = &workload.refusal {
            blames.extend(blame_refusal(workload, message, patience, now, &mut recheck));
        }
    }
    if let Some(first) = blames.into_iter().min_by_key(|blame| blame.rank) {
        return Verdict::Failed(Box::new(first));
    }
    let progress = workloads.iter().map(Workload::words).collect::<Vec<_>>().join(", ");
    if workloads.iter().all(|workload| workload.settled) && !is_settling(scene, patience, now, &mut recheck) {
        let seen = |workload: &Workload| (format!("{}/{}", workload.kind, workload.name), workload.share());
        return Verdict::Ready(Rollout { workloads: workloads.iter().map(seen).collect() });
    }
    Verdict::Waiting { progress, recheck: recheck.0 }
}

#[derive(Default)]
struct Recheck(Option<Duration>);

impl Recheck {
    fn after(&mut self, wait: Duration) {
        self.0 = Some(self.0.map_or(wait, |sooner| sooner.min(wait)));
    }
}

/// What a pod means for the release that was just deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Current,
    /// A job tries again by itself; what counts is what becomes of the job.
    OfJob,
    /// Left from an earlier deployment, on its way out, or Helm's own (hooks are over when Helm
    /// returns): says nothing about this one.
    Other,
}

fn standing(scene: &Scene, pod: &Pod) -> Standing {
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

fn controller(object: &impl ResourceExt) -> Option<&OwnerReference> {
    object.owner_references().iter().find(|owner| owner.controller == Some(true))
}

fn is_observed(generation: Option<i64>, observed: Option<i64>) -> bool {
    observed.unwrap_or_default() >= generation.unwrap_or_default()
}

fn is_hook(object: &impl ResourceExt) -> bool {
    object.annotations().contains_key("helm.sh/hook")
}

/// Not a hook, and not one of a CronJob's runs.
fn is_of_release(job: &Job) -> bool {
    !is_hook(job) && controller(job).is_none()
}

struct Workload {
    kind: &'static str,
    name: String,
    uid: String,
    ready: i32,
    want: i32,
    settled: bool,
    blame: Option<Blame>,
    /// Why its pods are not made.
    refusal: Option<String>,
}

impl Workload {
    fn share(&self) -> String {
        format!("{}/{}", self.ready, self.want)
    }
    fn words(&self) -> String {
        format!("{} {}", self.name, self.share())
    }
}

fn workloads(scene: &Scene) -> Vec<Workload> {
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
        let ready = done || crate::pods::is_ready(pod);
        found.push(plain("Pod", pod, i32::from(ready), 1, ready));
    }
    for workload in found.iter_mut().filter(|workload| !workload.settled && workload.refusal.is_none()) {
        workload.refusal = scene.refusals.get(&workload.uid).cloned();
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

fn blame_pod(
    pod: &Pod,
    standing: Standing,
    patience: &mut Patience,
    now: Instant,
    recheck: &mut Recheck,
) -> Option<Blame> {
    let status = pod.status.as_ref()?;
    let seen = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    let worst = seen.filter_map(|container| blame_container(pod, container, standing)).min_by_key(|blame| blame.rank);
    if worst.is_some() {
        return worst;
    }
    let conditions = status.conditions.iter().flatten();
    let unscheduled = conditions.clone().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    })?;
    let key = format!("unschedulable {}", pod.uid().unwrap_or_default());
    if let Some(left) = patience.left(key, UNSCHEDULABLE_LIMIT, now) {
        recheck.after(left);
        return None;
    }
    let name = pod.name_any();
    let why = unscheduled.message.as_deref().unwrap_or("no node takes it");
    Some(Blame {
        reason: Reason::Unschedulable,
        culprit: format!("pod {name:?}"),
        summary: format!("No node takes pod {name:?}: {}", bounded(why, 400)),
        advice: "Ask for less CPU or memory in the chart's values, remove node selectors that nothing fulfils, or make room in the cluster.".to_owned(),
        objects: vec![format!("Pod/{name}")],
        log: None,
        rank: 7,
    })
}

/// Registries have hiccups, which the kubelet outlasts; these answers are not one.
fn is_decisive(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "not found",
        "unauthorized",
        "denied",
        "forbidden",
        "manifest unknown",
        "name unknown",
        "authentication required",
        "no match for platform",
        "invalid reference",
    ]
    .iter()
    .any(|word| message.contains(word))
}

fn blame_container(pod: &Pod, seen: &ContainerStatus, standing: Standing) -> Option<Blame> {
    let (pod_name, name, image) = (pod.name_any(), &seen.name, &seen.image);
    let blame = |reason, rank, summary: String, advice: &str, log: bool| {
        Some(Blame {
            reason,
            culprit: format!("container {name:?} of pod {pod_name:?}"),
            summary,
            advice: advice.to_owned(),
            objects: vec![format!("Pod/{pod_name}")],
            log: log.then(|| (pod_name.clone(), name.clone())),
            rank,
        })
    };
    let state = seen.state.clone().unwrap_or_default();
    let last = seen.last_state.clone().unwrap_or_default().terminated;
    if let Some(waiting) = &state.waiting {
        let message = waiting.message.as_deref().unwrap_or_default();
        let said = if message.is_empty() { String::new() } else { format!(": {}", bounded(message, 400)) };
        match waiting.reason.as_deref().unwrap_or_default() {
            reason @ ("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull")
                if reason != "ErrImagePull" || is_decisive(message) =>
            {
                return blame(
                    Reason::ImagePull,
                    0,
                    format!("The image {image} of container {name:?} cannot be pulled ({reason}){said}"),
                    "Check that the image was pushed under exactly this name and tag, and that the namespace has the registry's credentials (secrets and imagePullSecrets). If the build is still running, set image.wait in .seatrial.yaml.",
                    false,
                );
            }
            reason @ "CreateContainerConfigError" => {
                return blame(
                    Reason::ContainerConfig,
                    1,
                    format!("Container {name:?} cannot be set up ({reason}){said}"),
                    "A ConfigMap, a Secret or a key that the chart refers to is missing, or the image's user is not allowed here. Correct the chart or its values.",
                    false,
                );
            }
            reason @ ("CreateContainerError" | "RunContainerError" | "PostStartHookError")
                if !message.contains("deadline exceeded") && !message.contains("is reserved") =>
            {
                return blame(
                    Reason::ContainerConfig,
                    1,
                    format!("Container {name:?} cannot be started ({reason}){said}"),
                    "Check the command, arguments, mounts and user that the chart gives the container.",
                    true,
                );
            }
            "CrashLoopBackOff" if standing != Standing::OfJob => {
                let (summary, advice) = crash(seen, last.as_ref());
                return blame(Reason::ContainerCrash, 2, summary, advice, true);
            }
            _ => {}
        }
    }
    if let Some(ended) = state.terminated.filter(|ended| ended.exit_code != 0)
        && standing != Standing::OfJob
    {
        let never_restarts = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) == Some("Never");
        // Once is forgiven: an application may start before its database does.
        if seen.restart_count >= 1 || never_restarts {
            let (summary, advice) = crash(seen, Some(&ended));
            return blame(Reason::ContainerCrash, 2, summary, advice, true);
        }
    }
    None
}

/// What happened to a container that crashes, and what to do.
fn crash(seen: &ContainerStatus, ended: Option<&ContainerStateTerminated>) -> (String, &'static str) {
    let reason = ended.and_then(|ended| ended.reason.as_deref()).unwrap_or_default();
    let code = ended.map(|ended| ended.exit_code);
    let how = match (reason, code) {
        ("OOMKilled", _) => "it used more memory than its limit (OOMKilled)".to_owned(),
        ("StartError", _) => {
            let why = ended.and_then(|ended| ended.message.as_deref()).unwrap_or("bad command");
            format!("it cannot be started: {}", bounded(why, 300))
        }
        (_, Some(0)) => "it ends by itself, with exit code 0".to_owned(),
        (_, Some(code)) => format!("it ends with exit code {code}"),
        (_, None) => "it ends".to_owned(),
    };
    let advice = match (reason, code) {
        ("OOMKilled", _) => {
            "Raise the container's memory limit in the chart's values (within the preview's quota), or make it use less."
        }
        ("StartError", _) => "Check the container's command: the program must exist in the image and be executable.",
        (_, Some(0)) => "A container of a workload must go on running. Check its command, or make it a Job.",
        (_, Some(137 | 143)) => {
            "It was killed, perhaps by its liveness probe: see the events. Otherwise read its last log lines."
        }
        _ => "Read the container's last log lines, fix what they say, and push.",
    };
    let times = match seen.restart_count {
        0 => String::new(),
        1 => ", restarted once".to_owned(),
        count => format!(", restarted {count} times"),
    };
    (format!("Container {:?} (image {}) crashes: {how}{times}", seen.name, seen.image), advice)
}

fn blame_refusal(
    workload: &Workload,
    message: &str,
    patience: &mut Patience,
    now: Instant,
    recheck: &mut Recheck,
) -> Option<Blame> {
    let name = &workload.name;
    let kind = workload.kind;
    let mut blame = Blame {
        reason: Reason::Other,
        culprit: format!("{kind} {name:?}"),
        summary: format!("The cluster refuses the pods of {kind} {name:?}: {}", bounded(message, 500)),
        advice: "Correct the chart or its values, and push.".to_owned(),
        objects: vec![format!("{kind}/{name}")],
        log: None,
        rank: 6,
    };
    if message.contains("exceeded quota") || message.contains("maximum") && message.contains("usage per") {
        let gone = patience.leaving.map(|last| now - last);
        if let Some(left) =
            gone.and_then(|gone| QUOTA_LIMIT.checked_sub(gone)).filter(|left| !left.is_zero() && !patience.spent)
        {
            recheck.after(left);
            return None;
        }
        blame.reason = Reason::Quota;
        blame.rank = 5;
        blame.summary =
            format!("The preview's quota is used up, so {kind} {name:?} gets no more pods: {}", bounded(message, 500));
        blame.advice = "Ask for less CPU and memory, or for fewer replicas, in the chart's values; or raise quota in .seatrial.yaml. A rolling update needs room for the new pods beside the old ones.".to_owned();
    } else if message.contains("violates PodSecurity") {
        blame.reason = Reason::ContainerConfig;
        blame.rank = 3;
        blame.advice = "Set the security context that the message names in the chart (runAsNonRoot, a numeric runAsUser, seccompProfile RuntimeDefault, allowPrivilegeEscalation false, capabilities drop ALL), or podSecurity: baseline in .seatrial.yaml.".to_owned();
    } else if message.contains("serviceaccount") && message.contains("not found")
        || message.contains("internal error")
        || message.contains("etcdserver")
    {
        // Made in the same breath, or the control plane's own trouble: passes.
        return None;
    }
    Some(blame)
}

/// True while a container that has no readiness probe has only just started.
fn is_settling(scene: &Scene, patience: &mut Patience, now: Instant, recheck: &mut Recheck) -> bool {
    let mut settling = false;
    for pod in scene.pods.iter().filter(|pod| standing(scene, pod) == Standing::Current) {
        let declared: &[Container] = pod.spec.as_ref().map_or(&[], |spec| spec.containers.as_slice());
        for seen in pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten()) {
            let probed = declared.iter().any(|c| c.name == seen.name && c.readiness_probe.is_some());
            let running = seen.state.as_ref().is_some_and(|state| state.running.is_some());
            if probed || !running {
                continue;
            }
            let key = format!("running {}", seen.container_id.as_deref().unwrap_or(&seen.name));
            if let Some(left) = patience.left(key, SETTLING, now) {
                recheck.after(left);
                settling = true;
            }
        }
    }
    settling
}

/// What keeps the release from being ready though nothing failed: for a deadline that has passed.
pub(crate) fn blame_waiting(scene: &Scene) -> Option<Blame> {
    let waiting = workloads(scene).into_iter().find(|workload| !workload.settled)?;
    let unready = scene
        .pods
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none() && !is_hook(*pod) && !crate::pods::is_ready(pod))
        // Pods of the newest template explain more than what an older one left behind.
        .min_by_key(|pod| standing(scene, pod) == Standing::Other);
    let Some(pod) = unready else {
        return Some(Blame {
            reason: Reason::RolloutTimeout,
            culprit: format!("{} {:?}", waiting.kind, waiting.name),
            summary: format!("{} {:?} is not ready: {} of {}", waiting.kind, waiting.name, waiting.ready, waiting.want),
            advice: "Look at the events; raise rollout.timeout in .seatrial.yaml if it only needs longer.".to_owned(),
            objects: vec![format!("{}/{}", waiting.kind, waiting.name)],
            log: None,
            rank: 9,
        });
    };
    // An old pod that blocks the update (a StatefulSet does not replace a broken one).
    let pod_name = pod.name_any();
    let statuses = pod.status.iter();
    let mut containers = statuses.flat_map(|status| {
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
    });
    if let Some(blame) = containers.clone().find_map(|seen| blame_container(pod, seen, Standing::Current)) {
        return Some(blame);
    }
    let seen = containers.find(|seen| !seen.ready);
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    let (culprit, summary) = match seen {
        Some(seen) if seen.state.as_ref().is_some_and(|state| state.running.is_some()) => (
            format!("container {:?} of pod {pod_name:?}", seen.name),
            format!(
                "Container {:?} runs but does not become ready: its readiness or startup probe does not succeed",
                seen.name
            ),
        ),
        Some(seen) => (
            format!("container {:?} of pod {pod_name:?}", seen.name),
            format!(
                "Container {:?} has not started: {}",
                seen.name,
                seen.state.as_ref().and_then(|s| s.waiting.as_ref()).and_then(|w| w.reason.as_deref()).unwrap_or(phase)
            ),
        ),
        None => (format!("pod {pod_name:?}"), format!("Pod {pod_name:?} has not started: it is {phase}")),
    };
    Some(Blame {
        reason: Reason::RolloutTimeout,
        culprit,
        summary,
        advice: "See the events and the last log lines. If the application only needs longer to start, raise rollout.timeout in .seatrial.yaml.".to_owned(),
        objects: vec![format!("Pod/{pod_name}")],
        log: seen.map(|seen| (pod_name.clone(), seen.name.clone())),
        rank: 9,
    })
}

/// The pods of a failed job, newest last, as its evidence.
pub(crate) fn pod_of_job<'a>(scene: &'a Scene, job: &str) -> Option<&'a Pod> {
    let pods =
        scene.pods.iter().filter(|pod| controller(*pod).is_some_and(|owner| owner.kind == "Job" && owner.name == job));
    pods.max_by(|a, b| a.metadata.creation_timestamp.cmp(&b.metadata.creation_timestamp))
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;
    use crate::scene::Shelf;

    fn shelf<K: DeserializeOwned + ResourceExt>(objects: &[Value]) -> Shelf<K> {
        Shelf::of(objects.iter().map(|object| serde_json::from_value(object.clone()).unwrap()).collect())
    }

    fn owned(kind: &str, name: &str) -> Value {
        json!([{ "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": format!("uid-{name}"), "controller": true }])
    }

    fn deployment(generation: i64, observed: i64, revision: &str, ready: i32) -> Value {
        json!({
            "metadata": { "name": "shop", "uid": "uid-shop", "generation": generation,
                "annotations": { "deployment.kubernetes.io/revision": revision } },
            "spec": { "replicas": 1, "selector": {}, "template": {} },
            "status": { "observedGeneration": observed, "replicas": 1, "updatedReplicas": 1,
                "readyReplicas": ready, "availableReplicas": ready },
        })
    }

    fn replica_set(name: &str, revision: &str) -> Value {
        json!({ "metadata": { "name": name, "uid": format!("uid-{name}"), "ownerReferences": owned("Deployment", "shop"),
            "annotations": { "deployment.kubernetes.io/revision": revision } } })
    }

    fn pod(name: &str, set: &str, status: Value) -> Value {
        json!({
            "metadata": { "name": name, "uid": format!("uid-{name}"), "ownerReferences": owned("ReplicaSet", set) },
            "spec": { "containers": [{ "name": "shop", "image": "registry.example/shop:1", "readinessProbe": {} }] },
            "status": status,
        })
    }

    fn container(restarts: i32, state: Value) -> Value {
        json!({ "containerStatuses": [{ "name": "shop", "image": "registry.example/shop:1", "imageID": "", "ready": false,
            "restartCount": restarts, "state": state }] })
    }

    fn waiting(reason: &str, message: &str) -> Value {
        json!({ "waiting": { "reason": reason, "message": message } })
    }

    fn scene(deployment: Value, sets: &[Value], pods: &[Value]) -> Scene {
        Scene { deployments: shelf(&[deployment]), replica_sets: shelf(sets), pods: shelf(pods), ..Scene::default() }
    }

    fn one_pod(status: Value) -> Scene {
        scene(deployment(1, 1, "1", 0), &[replica_set("shop-a", "1")], &[pod("shop-a-1", "shop-a", status)])
    }

    fn judged(scene: &Scene) -> Verdict {
        judge(scene, &mut Patience::default(), Instant::now())
    }

    fn blamed(scene: &Scene) -> Option<Blame> {
        match judged(scene) {
            Verdict::Failed(blame) => Some(*blame),
            _ => None,
        }
    }

    fn words(verdict: Verdict) -> String {
        match verdict {
            Verdict::Ready(rollout) => format!("ready {:?}", rollout.workloads),
            Verdict::Waiting { progress, .. } => format!("waiting {progress}"),
            Verdict::Failed(blame) => format!("failed {}", blame.summary),
        }
    }

    #[test]
    fn nothing_to_wait_for_is_ready() {
        assert_eq!(words(judged(&Scene::default())), "ready []");
    }

    #[test]
    fn a_deployment_is_ready_by_its_newest_generation() {
        let ready = scene(deployment(2, 2, "1", 1), &[], &[]);
        assert_eq!(words(judged(&ready)), r#"ready [("Deployment/shop", "1/1")]"#);
        assert_eq!(words(judged(&scene(deployment(2, 1, "1", 1), &[], &[]))), "waiting shop 1/1");
        assert_eq!(words(judged(&scene(deployment(2, 2, "1", 0), &[], &[]))), "waiting shop 0/1");
        let mut rolling = deployment(2, 2, "2", 1);
        rolling["status"]["replicas"] = json!(2);
        assert_eq!(words(judged(&scene(rolling, &[], &[]))), "waiting shop 0/1");
    }

    #[test]
    fn what_waiting_cannot_cure_is_named() {
        for (state, restarts, reason) in [
            (waiting("ImagePullBackOff", "Back-off pulling image"), 0, Some(Reason::ImagePull)),
            (waiting("ErrImagePull", "failed to resolve: not found"), 0, Some(Reason::ImagePull)),
            (waiting("ErrImagePull", "dial tcp: i/o timeout"), 0, None),
            (waiting("InvalidImageName", "couldn't parse"), 0, Some(Reason::ImagePull)),
            (waiting("CrashLoopBackOff", "back-off 10s"), 1, Some(Reason::ContainerCrash)),
            (waiting("CreateContainerConfigError", "secret \"x\" not found"), 0, Some(Reason::ContainerConfig)),
            (waiting("ContainerCreating", ""), 0, None),
            (json!({ "terminated": { "exitCode": 3, "reason": "Error" } }), 0, None),
            (json!({ "terminated": { "exitCode": 3, "reason": "Error" } }), 1, Some(Reason::ContainerCrash)),
            (json!({ "running": {} }), 4, None),
        ] {
            let blame = blamed(&one_pod(container(restarts, state.clone())));
            assert_eq!(blame.as_ref().map(|blame| blame.reason), reason, "{state}");
            if let Some(blame) = blame {
                assert_eq!(blame.culprit, r#"container "shop" of pod "shop-a-1""#);
            }
        }
        let crash = blamed(&one_pod(container(2, json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } }))));
        assert_eq!(
            crash.unwrap().summary,
            r#"Container "shop" (image registry.example/shop:1) crashes: it used more memory than its limit (OOMKilled), restarted 2 times"#
        );
    }

    #[test]
    fn what_an_earlier_deployment_left_does_not_count() {
        let crashing = pod("shop-a-1", "shop-a", container(5, waiting("CrashLoopBackOff", "")));
        let starting = pod("shop-b-1", "shop-b", container(0, waiting("ContainerCreating", "")));
        let sets = [replica_set("shop-a", "1"), replica_set("shop-b", "2")];
        let seen = scene(deployment(2, 2, "2", 0), &sets, &[crashing.clone(), starting]);
        assert_eq!(words(judged(&seen)), "waiting shop 0/1");
        // The controller has not yet seen the new generation: its old ReplicaSet looks newest.
        let unseen = scene(deployment(2, 1, "1", 0), &sets[..1], std::slice::from_ref(&crashing));
        assert_eq!(words(judged(&unseen)), "waiting shop 0/1");
        // Its own is named, though.
        let own = scene(deployment(1, 1, "1", 0), &sets[..1], &[crashing]);
        assert!(words(judged(&own)).starts_with("failed"));
    }

    #[test]
    fn unschedulable_pods_get_a_minute() {
        let stuck = one_pod(json!({ "conditions": [{ "type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu." }] }));
        let mut patience = Patience::default();
        let start = Instant::now();
        match judge(&stuck, &mut patience, start) {
            Verdict::Waiting { recheck, .. } => assert_eq!(recheck, Some(UNSCHEDULABLE_LIMIT)),
            other => panic!("{}", words(other)),
        }
        let later = words(judge(&stuck, &mut patience, start + UNSCHEDULABLE_LIMIT));
        assert_eq!(later, r#"failed No node takes pod "shop-a-1": 0/1 nodes are available: 1 Insufficient cpu."#);
        assert!(words(judge(&stuck, &mut Patience::spent(), start)).starts_with("failed"));
    }

    #[test]
    fn quota_refusals_wait_for_pods_that_are_leaving() {
        let mut refused = deployment(2, 2, "2", 0);
        refused["status"]["conditions"] = json!([{ "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
            "message": "pods \"shop-b-1\" is forbidden: exceeded quota: seatrial, requested: pods=1, used: pods=1, limited: pods=1" }]);
        let blame = blamed(&scene(refused.clone(), &[], &[])).unwrap();
        assert_eq!((blame.reason, blame.culprit.as_str()), (Reason::Quota, r#"Deployment "shop""#));
        let mut leaving = pod("shop-a-1", "shop-a", json!({}));
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let mut patience = Patience::default();
        let start = Instant::now();
        let with = scene(refused.clone(), &[], &[leaving]);
        assert_eq!(words(judge(&with, &mut patience, start)), "waiting shop 0/1");
        let without = scene(refused, &[], &[]);
        assert_eq!(words(judge(&without, &mut patience, start + QUOTA_LIMIT / 2)), "waiting shop 0/1");
        assert!(words(judge(&without, &mut patience, start + QUOTA_LIMIT)).starts_with("failed The preview's quota"));
    }

    #[test]
    fn pod_security_refusals_say_what_to_set() {
        let sets = shelf(&[json!({ "metadata": { "name": "db", "uid": "uid-db", "generation": 1 },
            "spec": { "replicas": 1, "selector": {}, "template": {}, "serviceName": "db" }, "status": { "replicas": 0, "observedGeneration": 1 } })]);
        let mut scene = Scene { stateful_sets: sets, ..Scene::default() };
        assert_eq!(words(judged(&scene)), "waiting db 0/1");
        let message = "create Pod db-0 failed: pods \"db-0\" is forbidden: violates PodSecurity \"restricted:latest\"";
        scene.refusals.insert("uid-db".to_owned(), message.to_owned());
        let blame = blamed(&scene).unwrap();
        assert_eq!((blame.reason, blame.culprit.as_str()), (Reason::ContainerConfig, r#"StatefulSet "db""#));
        assert!(blame.advice.contains("podSecurity: baseline"));
    }

    #[test]
    fn jobs_count_by_their_end() {
        let job = |conditions: Value| {
            json!({ "metadata": { "name": "migrate", "uid": "uid-migrate" }, "spec": { "template": {} },
                "status": { "conditions": conditions } })
        };
        let of = |jobs: &[Value]| Scene { jobs: shelf(jobs), ..Scene::default() };
        assert_eq!(words(judged(&of(&[job(json!([]))]))), "waiting migrate 0/1");
        let done = job(json!([{ "type": "Complete", "status": "True" }]));
        assert_eq!(words(judged(&of(&[done]))), r#"ready [("Job/migrate", "1/1")]"#);
        let failed = job(
            json!([{ "type": "Failed", "status": "True", "message": "Job has reached the specified backoff limit" }]),
        );
        let blame = blamed(&of(std::slice::from_ref(&failed))).unwrap();
        assert_eq!((blame.reason, blame.culprit.as_str()), (Reason::JobFailed, r#"Job "migrate""#));
        let mut hook = failed;
        hook["metadata"]["annotations"] = json!({ "helm.sh/hook": "pre-install" });
        assert_eq!(words(judged(&of(&[hook]))), "ready []");
    }

    #[test]
    fn containers_without_probe_must_last_a_moment() {
        let mut running = pod("shop-a-1", "shop-a", container(0, json!({ "running": {} })));
        running["spec"]["containers"][0].as_object_mut().unwrap().remove("readinessProbe");
        let scene = scene(deployment(1, 1, "1", 1), &[replica_set("shop-a", "1")], &[running]);
        let mut patience = Patience::default();
        let start = Instant::now();
        assert_eq!(words(judge(&scene, &mut patience, start)), "waiting shop 1/1");
        assert!(words(judge(&scene, &mut patience, start + SETTLING)).starts_with("ready"));
    }

    #[test]
    fn an_unready_pod_is_named_after_the_deadline() {
        let scene = one_pod(container(0, json!({ "running": {} })));
        let blame = blame_waiting(&scene).unwrap();
        assert_eq!(blame.reason, Reason::RolloutTimeout);
        assert_eq!(blame.culprit, r#"container "shop" of pod "shop-a-1""#);
        assert!(blame.summary.contains("readiness"), "{}", blame.summary);
        assert!(blame_waiting(&Scene::default()).is_none());
    }
}
