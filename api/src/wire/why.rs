use chrono::{DateTime, Utc};
use poem_openapi::Object;
use schemars::JsonSchema;
use seatrial_operations::PodsAnswer;
use serde::Serialize;

use super::failure::{Diagnosis, Pod};
use super::preview::Preview;

/// Why a preview is not ready: the answer first, then its evidence.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct WhyNotReady {
    /// The answer in a sentence or two.
    pub summary: String,
    /// What to do, or that there is nothing to do but wait.
    pub advice: String,
    pub ready: bool,
    pub preview: Preview,
    /// The step that runs, waits or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// When that step first began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Attempts at that step so far.
    pub attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// What the running step last said about itself: `web 1/2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// As the cluster has them now; absent when it could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<Vec<Pod>>,
    /// Why the pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods_unknown: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosis>,
    /// The record of the failure, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotSummary>,
}

#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
pub struct SnapshotSummary {
    /// The run that failed.
    pub run: String,
    pub taken_at: DateTime<Utc>,
    pub step: String,
    /// How many events and logs it holds.
    pub events: u64,
    pub logs: u64,
    /// Where it can be read.
    pub url: String,
}

impl From<seatrial_operations::WhyNotReady> for WhyNotReady {
    fn from(why: seatrial_operations::WhyNotReady) -> Self {
        let url = format!("/api/v1/previews/{}/failure", why.environment.environment.id);
        let (pods, pods_unknown) = match why.pods {
            PodsAnswer::Seen(pods) => (Some(pods.into_iter().map(Pod::from).collect()), None),
            PodsAnswer::Unknown(reason) => (None, Some(reason)),
        };
        Self {
            summary: why.summary,
            advice: why.advice,
            ready: why.ready,
            preview: why.environment.into(),
            step: why.step,
            since: why.since,
            attempts: why.attempts,
            last_error: why.last_error,
            next_attempt_at: why.next_attempt_at,
            progress: why.progress,
            pods,
            pods_unknown,
            diagnosis: why.diagnosis.map(Diagnosis::from),
            snapshot: why.snapshot.map(|snapshot| SnapshotSummary {
                run: snapshot.run.to_string(),
                taken_at: snapshot.taken_at,
                step: snapshot.step,
                events: snapshot.events as u64,
                logs: snapshot.logs as u64,
                url,
            }),
        }
    }
}
