//! Whose fault it is, read from the state of a container.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use kube::ResourceExt;
use seatrial_preview::failure::Reason;

use crate::pods::{bounded, image_of};
use crate::standing::Standing;

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
    pub rank: u8,
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

pub(crate) fn blame_container(pod: &Pod, seen: &ContainerStatus, standing: Standing) -> Option<Blame> {
    let (pod_name, name, image) = (pod.name_any(), &seen.name, image_of(pod, seen));
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
                    "Check that the image was pushed under exactly this name and tag, and that the namespace has the registry's credentials (secrets and imagePullSecrets). If your CI is still building it, retry the deployment when it has been pushed.",
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
                let (summary, advice) = crash(&image, seen, last.as_ref());
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
            let (summary, advice) = crash(&image, seen, Some(&ended));
            return blame(Reason::ContainerCrash, 2, summary, advice, true);
        }
    }
    None
}

/// What happened to a container that crashes, and what to do.
fn crash(image: &str, seen: &ContainerStatus, ended: Option<&ContainerStateTerminated>) -> (String, &'static str) {
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
    (format!("Container {:?} (image {image}) crashes: {how}{times}", seen.name), advice)
}
