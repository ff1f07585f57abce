use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use schemars::JsonSchema;
use seatrial_operations::views;
use serde::Serialize;

/// Who is to blame for a failure, why, and what to do.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
pub struct Diagnosis {
    pub reason: FailureReason,
    /// `container "web" of pod "shop-7d9f"`, `.seatrial.yaml line 4`.
    pub culprit: String,
    /// One sentence: what happened to the culprit.
    pub summary: String,
    /// What to do.
    pub advice: String,
    pub evidence: Vec<Evidence>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, JsonSchema)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    SettingsInvalid,
    ChartInvalid,
    ReleaseFailed,
    ImagePull,
    ContainerCrash,
    ContainerConfig,
    Quota,
    Unschedulable,
    JobFailed,
    RolloutTimeout,
    HealthCheck,
    /// A check that the settings wait for has failed.
    CheckFailed,
    /// What was waited for did not come in its time.
    NeverCame,
    NamespaceConflict,
    NamespaceStuck,
    Other,
}

/// A heading and verbatim text, as log lines or events.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
pub struct Evidence {
    pub title: String,
    pub text: String,
}

/// What was to be seen when a deployment failed. Kept after the preview is gone.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct FailureSnapshot {
    /// The run that failed.
    pub run: String,
    pub taken_at: DateTime<Utc>,
    pub step: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosis>,
    pub pods: Vec<Pod>,
    /// Warnings first, each kind newest first.
    pub events: Vec<ClusterEvent>,
    pub logs: Vec<ContainerLog>,
    /// What Helm rendered, without secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
}

#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct Pod {
    pub name: String,
    pub phase: String,
    pub ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    pub containers: Vec<Container>,
}

#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct Container {
    pub name: String,
    pub image: String,
    pub init: bool,
    pub ready: bool,
    pub restarts: u32,
    /// `running`, `waiting: ImagePullBackOff`, `terminated: Error (1)`.
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct ClusterEvent {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
    /// `Normal` or `Warning`.
    pub kind: String,
    pub reason: String,
    /// `Pod/shop-7d9f`.
    pub object: String,
    pub message: String,
    pub count: u32,
}

#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
pub struct ContainerLog {
    pub pod: String,
    pub container: String,
    /// True for the log of the container's previous life.
    pub previous: bool,
    pub text: String,
}

impl From<views::Diagnosis> for Diagnosis {
    fn from(diagnosis: views::Diagnosis) -> Self {
        Self {
            reason: diagnosis.reason.into(),
            culprit: diagnosis.culprit,
            summary: diagnosis.summary,
            advice: diagnosis.advice,
            evidence: diagnosis
                .evidence
                .into_iter()
                .map(|evidence| Evidence { title: evidence.title, text: evidence.text })
                .collect(),
        }
    }
}

impl From<views::Reason> for FailureReason {
    fn from(reason: views::Reason) -> Self {
        use views::Reason as R;
        match reason {
            R::SettingsInvalid => Self::SettingsInvalid,
            R::ChartInvalid => Self::ChartInvalid,
            R::ReleaseFailed => Self::ReleaseFailed,
            R::ImagePull => Self::ImagePull,
            R::ContainerCrash => Self::ContainerCrash,
            R::ContainerConfig => Self::ContainerConfig,
            R::Quota => Self::Quota,
            R::Unschedulable => Self::Unschedulable,
            R::JobFailed => Self::JobFailed,
            R::RolloutTimeout => Self::RolloutTimeout,
            R::HealthCheck => Self::HealthCheck,
            R::CheckFailed => Self::CheckFailed,
            R::NeverCame => Self::NeverCame,
            R::NamespaceConflict => Self::NamespaceConflict,
            R::NamespaceStuck => Self::NamespaceStuck,
            R::Other => Self::Other,
        }
    }
}

impl From<(views::RunId, views::FailureSnapshot)> for FailureSnapshot {
    fn from((run, snapshot): (views::RunId, views::FailureSnapshot)) -> Self {
        Self {
            run: run.to_string(),
            taken_at: snapshot.taken_at,
            step: snapshot.step,
            diagnosis: snapshot.diagnosis.map(Diagnosis::from),
            pods: snapshot.pods.into_iter().map(Pod::from).collect(),
            events: snapshot.events.into_iter().map(ClusterEvent::from).collect(),
            logs: snapshot.logs.into_iter().map(ContainerLog::from).collect(),
            manifest: snapshot.manifest,
        }
    }
}

impl From<views::PodStatus> for Pod {
    fn from(pod: views::PodStatus) -> Self {
        Self {
            name: pod.name,
            phase: pod.phase,
            ready: pod.ready,
            node: pod.node,
            containers: pod.containers.into_iter().map(Container::from).collect(),
        }
    }
}

impl From<views::ContainerStatus> for Container {
    fn from(container: views::ContainerStatus) -> Self {
        Self {
            name: container.name,
            image: container.image,
            init: container.init,
            ready: container.ready,
            restarts: container.restarts,
            state: container.state,
            message: container.message,
        }
    }
}

impl From<views::ClusterEvent> for ClusterEvent {
    fn from(event: views::ClusterEvent) -> Self {
        Self {
            at: event.at,
            kind: event.kind,
            reason: event.reason,
            object: event.object,
            message: event.message,
            count: event.count,
        }
    }
}

impl From<views::ContainerLog> for ContainerLog {
    fn from(log: views::ContainerLog) -> Self {
        Self { pod: log.pod, container: log.container, previous: log.previous, text: log.text }
    }
}
