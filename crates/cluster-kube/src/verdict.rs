//! Reads a [`Scene`]: is the release ready, is it on its way, or will waiting not help?

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;
use seatrial_preview::failure::Reason;
use seatrial_preview::ports::Rollout;
use tokio::time::Instant;

use crate::blame::{Blame, blame_container};
use crate::pods::{self, bounded};
use crate::scene::Scene;
use crate::standing::{Standing, is_hook, standing};
use crate::volumes::{self, blame_volume};
use crate::workloads::{Workload, workloads};

/// What a pod refers to may be made in the same breath, after the pod.
const SAME_BREATH: Duration = Duration::from_secs(10);

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

/// How long what may pass has been seen. Measured on our own clock: the cluster's may differ.
#[derive(Debug)]
pub(crate) struct Patience {
    since: HashMap<String, Instant>,
    /// When a pod that still uses up quota was last seen.
    leaving: Option<Instant>,
    /// How long a pod that no node takes may still be helped: by a node that an autoscaler brings
    /// up, by room that another preview gives back, by a volume that is being made.
    unschedulable: Duration,
    /// Everything that stands in the way counts at once: for a deadline that has passed.
    spent: bool,
}

impl Patience {
    pub(crate) fn new(unschedulable: Duration) -> Self {
        Self { since: HashMap::new(), leaving: None, unschedulable, spent: false }
    }

    pub(crate) fn spent() -> Self {
        Self { spent: true, ..Self::new(Duration::ZERO) }
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
            blames.extend(blame_pod(scene, pod, standing, patience, now, &mut recheck));
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

fn blame_pod(
    scene: &Scene,
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
    let uid = pod.uid().unwrap_or_default();
    let (key, limit, blame) = if let Some((decisive, blame)) = blame_volume(scene, pod) {
        (format!("volume {uid}"), if decisive { SAME_BREATH } else { patience.unschedulable }, blame)
    } else {
        (format!("unschedulable {uid}"), patience.unschedulable, blame_schedule(pod)?)
    };
    match patience.left(key, limit, now) {
        Some(left) => {
            recheck.after(left);
            None
        }
        None => Some(blame),
    }
}

fn blame_schedule(pod: &Pod) -> Option<Blame> {
    let why = volumes::unscheduled(pod)?;
    let name = pod.name_any();
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

/// True while a container does not run (its workload's status has not heard of it yet), or one
/// that has no readiness probe has only just started.
fn is_settling(scene: &Scene, patience: &mut Patience, now: Instant, recheck: &mut Recheck) -> bool {
    let mut settling = false;
    for pod in scene.pods.iter().filter(|pod| standing(scene, pod) == Standing::Current) {
        let declared: &[Container] = pod.spec.as_ref().map_or(&[], |spec| spec.containers.as_slice());
        for seen in pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten()) {
            let probed = declared.iter().any(|c| c.name == seen.name && c.readiness_probe.is_some());
            let running = seen.state.as_ref().is_some_and(|state| state.running.is_some());
            if !running {
                recheck.after(SETTLING);
                settling = true;
                continue;
            }
            if probed {
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
        .filter(|pod| pod.metadata.deletion_timestamp.is_none() && !is_hook(*pod) && !pods::is_ready(pod))
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

#[cfg(test)]
mod tests;
