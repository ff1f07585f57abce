//! Failures that people can act on: a culprit by name, evidence, advice.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Why a preview is not ready, as one would say it to its author.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    pub reason: Reason,
    /// What is to blame: `container "web" of pod "shop-7d9f"`, `.seatrial.yaml line 4`.
    pub culprit: String,
    /// One sentence: what happened to the culprit.
    pub summary: String,
    /// One or two sentences: what to do.
    pub advice: String,
    pub evidence: Vec<Evidence>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
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

/// One piece of evidence: a heading and verbatim text (log lines, events). The text comes from
/// outside; whoever shows it escapes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub title: String,
    pub text: String,
}

/// What was to be seen when a deployment failed. Outlives the preview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureSnapshot {
    pub taken_at: DateTime<Utc>,
    pub step: String,
    pub diagnosis: Option<Diagnosis>,
    pub pods: Vec<PodStatus>,
    /// The namespace's warning events first, then the others, newest first, bounded.
    pub events: Vec<ClusterEvent>,
    pub logs: Vec<ContainerLog>,
    pub manifest: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodStatus {
    pub name: String,
    pub phase: String,
    pub ready: bool,
    pub node: Option<String>,
    pub containers: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerStatus {
    pub name: String,
    pub image: String,
    pub init: bool,
    pub ready: bool,
    pub restarts: u32,
    /// `running`, `waiting: ImagePullBackOff`, `terminated: Error (1)`.
    pub state: String,
    pub message: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterEvent {
    pub at: Option<DateTime<Utc>>,
    /// `Normal` or `Warning`.
    pub kind: String,
    pub reason: String,
    /// `Pod/shop-7d9f`.
    pub object: String,
    pub message: String,
    pub count: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerLog {
    pub pod: String,
    pub container: String,
    /// True for the log of the container's previous life.
    pub previous: bool,
    pub text: String,
}
