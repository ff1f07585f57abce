//! From a culprit to a diagnosis: what the events and logs say about it.

use kube::ResourceExt;
use seatrial_preview::failure::{ClusterEvent, Diagnosis, Evidence};
use seatrial_preview::{Namespace, Result};
use tokio::time::Instant;

use crate::blame::Blame;
use crate::cluster::KubeCluster;
use crate::logs::{self, last_lines};
use crate::pods;
use crate::scene::Scene;
use crate::snapshot::list_events;
use crate::standing::pod_of_job;
use crate::verdict::{Patience, Verdict, blame_waiting, judge};

/// A comment on the pull request shows it: enough to recognise the fault. The failure snapshot
/// keeps more.
const EVIDENCE_LINES: usize = 40;
const EVIDENCE_BYTES: usize = 8 << 10;
const EVIDENCE_EVENTS: usize = 10;

/// Everything that stands in the way counts now; `None` when the release is ready.
pub(crate) async fn diagnose(cluster: &KubeCluster, namespace: &Namespace) -> Result<Option<Diagnosis>> {
    let scene = Scene::load(cluster, namespace).await?;
    let blame = match judge(&scene, &mut Patience::spent(), Instant::now()) {
        Verdict::Ready(_) => None,
        Verdict::Failed(blame) => Some(*blame),
        Verdict::Waiting { .. } => blame_waiting(&scene),
    };
    Ok(match blame {
        Some(blame) => Some(with_evidence(cluster, namespace, &scene, blame).await),
        None => None,
    })
}

/// Evidence is best effort: the culprit is told also when its log cannot be read.
pub(crate) async fn with_evidence(
    cluster: &KubeCluster,
    namespace: &Namespace,
    scene: &Scene,
    mut blame: Blame,
) -> Diagnosis {
    for job in blame.objects.clone().iter().filter_map(|object| object.strip_prefix("Job/")) {
        if let Some(pod) = pod_of_job(scene, job) {
            blame.objects.push(format!("Pod/{}", pod.name_any()));
            blame.log = pods::container_names(pod).first().map(|container| (pod.name_any(), container.clone()));
        }
    }
    let mut evidence = Vec::new();
    if let Some((pod, container)) = &blame.log
        && let Some(text) = last_words(cluster, namespace, scene, pod, container).await
    {
        evidence.push(Evidence {
            title: format!("Last log lines of container {container:?}"),
            text: last_lines(&text, EVIDENCE_LINES, EVIDENCE_BYTES),
        });
    }
    if let Ok(events) = list_events(cluster, namespace).await {
        let about: Vec<String> = events
            .iter()
            .filter(|event| blame.objects.contains(&event.object) || is_child(&blame.objects, &event.object))
            .take(EVIDENCE_EVENTS)
            .map(line)
            .collect();
        if !about.is_empty() {
            evidence.push(Evidence { title: "Events".to_owned(), text: about.join("\n") });
        }
    }
    Diagnosis { reason: blame.reason, culprit: blame.culprit, summary: blame.summary, advice: blame.advice, evidence }
}

/// The log of the life that ended: the container may run again by now.
async fn last_words(
    cluster: &KubeCluster,
    namespace: &Namespace,
    scene: &Scene,
    pod: &str,
    container: &str,
) -> Option<String> {
    let restarted_and_running = scene
        .pods
        .iter()
        .filter(|found| found.name_any() == pod)
        .flat_map(|found| pods::status_of(found).containers)
        .any(|seen| seen.name == container && seen.restarts > 0 && seen.state == "running");
    for previous in [restarted_and_running, !restarted_and_running] {
        if let Some(text) = logs::tail(cluster, namespace, pod, container, previous).await {
            return Some(text);
        }
    }
    None
}

/// A deployment's refusals are told of its ReplicaSets: `ReplicaSet/shop-7d9f` of
/// `Deployment/shop`.
fn is_child(objects: &[String], object: &str) -> bool {
    let Some(name) = object.strip_prefix("ReplicaSet/") else { return false };
    let parents = objects.iter().filter_map(|object| object.strip_prefix("Deployment/"));
    parents.into_iter().any(|parent| name.rsplit_once('-').is_some_and(|(stem, _)| stem == parent))
}

fn line(event: &ClusterEvent) -> String {
    let times = if event.count > 1 { format!(" (×{})", event.count) } else { String::new() };
    format!("{} {} {}: {}{times}", event.kind, event.reason, event.object, event.message)
}
