//! Why a preview is not ready: a sentence first, then what the journal and the cluster say.

use std::time::Duration;

use chrono::{DateTime, Utc};
use seatrial_engine::{Failure, RunId};
use seatrial_preview::environment::EnvironmentState;
use seatrial_preview::failure::{Diagnosis, FailureSnapshot, PodStatus};
use seatrial_store::views::{EnvironmentView, StepPhase, StepView};

use crate::access::Principal;
use crate::error::{OperationError, Port};
use crate::name::EnvironmentName;
use crate::operations::Operations;
use crate::runs::RunReport;

/// The question is asked by somebody who waits; the cluster's part of the answer may be missing.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, PartialEq)]
pub struct WhyNotReady {
    pub environment: EnvironmentView,
    pub ready: bool,
    /// The answer in a sentence or two.
    pub summary: String,
    /// What to do, or that there is nothing to do but wait.
    pub advice: String,
    pub run: Option<RunId>,
    /// The step that runs, waits or failed.
    pub step: Option<String>,
    /// When that step first began; when the run was made, if no step has.
    pub since: Option<DateTime<Utc>>,
    pub attempts: u32,
    pub last_error: Option<String>,
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// What the running step last said about itself.
    pub progress: Option<String>,
    pub pods: PodsAnswer,
    pub diagnosis: Option<Diagnosis>,
    pub snapshot: Option<SnapshotSummary>,
}

/// What the cluster said about the preview's pods.
#[derive(Debug, Clone, PartialEq)]
pub enum PodsAnswer {
    Seen(Vec<PodStatus>),
    /// It was not asked, or could not be; says why.
    Unknown(String),
}

/// That there is a record of the failure, and how much is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotSummary {
    pub run: RunId,
    pub taken_at: DateTime<Utc>,
    pub step: String,
    pub events: usize,
    pub logs: usize,
}

impl Operations {
    pub async fn why_not_ready(&self, who: &Principal, name: &EnvironmentName) -> Result<WhyNotReady, OperationError> {
        let view = self.get_preview(who, name).await?;
        let report = match &view.newest_run {
            Some(run) => Some(self.get_run(who, run.id).await?),
            None => None,
        };
        let pods = self.pods_of(&view).await;
        let failed = view.state == EnvironmentState::Failed;
        let snapshot = if failed { self.store.find_snapshot(view.environment.id).await? } else { None };
        Ok(explain(view, report, pods, snapshot))
    }

    async fn pods_of(&self, view: &EnvironmentView) -> PodsAnswer {
        if matches!(view.state, EnvironmentState::Deleted | EnvironmentState::Refused) {
            return PodsAnswer::Unknown(format!("not asked: the preview is {}", view.state.as_str()));
        }
        match self.ask(Port::Cluster, PATIENCE, self.cluster.list_pods(&view.environment.namespace)).await {
            Ok(pods) => PodsAnswer::Seen(pods),
            Err(OperationError::NotFound { .. }) => PodsAnswer::Seen(Vec::new()),
            Err(error) => PodsAnswer::Unknown(error.to_string()),
        }
    }
}

fn explain(
    view: EnvironmentView,
    report: Option<RunReport>,
    pods: PodsAnswer,
    snapshot: Option<(RunId, FailureSnapshot)>,
) -> WhyNotReady {
    let step = report.as_ref().and_then(|report| present_step(&report.detail.steps));
    let diagnosis = view.environment.failure.clone().filter(|_| view.state == EnvironmentState::Failed);
    let failure = last_failure(report.as_ref(), step);
    let (summary, advice) = words(&view, report.as_ref(), step, diagnosis.as_ref(), failure);
    WhyNotReady {
        ready: view.state == EnvironmentState::Running,
        summary,
        advice,
        run: report.as_ref().map(|report| report.detail.summary.id),
        step: step.map(|step| step.name.clone()),
        since: step
            .map(|step| step.started_at)
            .or_else(|| report.as_ref().map(|report| report.detail.summary.created_at)),
        attempts: step.map_or(0, |step| u32::try_from(step.attempts.len()).unwrap_or(u32::MAX)),
        last_error: failure.map(|failure| failure.message.clone()),
        next_attempt_at: step
            .and_then(|step| step.retry_at)
            .or_else(|| report.as_ref().and_then(|report| report.detail.summary.wake_at)),
        progress: report.as_ref().and_then(|report| report.progress.clone()),
        pods,
        diagnosis,
        snapshot: snapshot.map(|(run, snapshot)| SnapshotSummary {
            run,
            taken_at: snapshot.taken_at,
            step: snapshot.step,
            events: snapshot.events.len(),
            logs: snapshot.logs.len(),
        }),
        environment: view,
    }
}

/// The step the run is at: the one that has not succeeded; steps within it are more precise.
fn present_step(steps: &[StepView]) -> Option<&StepView> {
    steps.iter().rev().find(|step| step.status != StepPhase::Succeeded)
}

fn last_failure<'a>(report: Option<&'a RunReport>, step: Option<&'a StepView>) -> Option<&'a Failure> {
    let of_step = step.and_then(|step| {
        step.failure.as_ref().or_else(|| step.attempts.iter().rev().find_map(|attempt| attempt.failure.as_ref()))
    });
    of_step.or_else(|| report.and_then(|report| report.detail.summary.failure.as_ref()))
}

fn words(
    view: &EnvironmentView,
    report: Option<&RunReport>,
    step: Option<&StepView>,
    diagnosis: Option<&Diagnosis>,
    failure: Option<&Failure>,
) -> (String, String) {
    use EnvironmentState as S;
    let environment = &view.environment;
    let commit = environment.head_sha.short();
    let wait = "Nothing needs to be done: it goes on by itself.";
    match view.state {
        S::Running => (
            format!("The preview is ready: commit {commit} answers at {}.", environment.url),
            "Open the URL.".to_owned(),
        ),
        S::Sleeping => (
            "The preview sleeps: it was scaled to zero.".to_owned(),
            format!("Open {} or wake it; it is back within a minute.", environment.url),
        ),
        S::Queued if environment.waits_for_place => (
            format!("Commit {commit} waits for a place: as many previews as there may be are up."),
            format!("{wait} Deleting a preview, or putting one to sleep, makes room sooner."),
        ),
        S::Queued => (
            format!("Commit {commit} is queued: it waits for a worker, or for the run before it to stop."),
            format!("{wait} If it stays so for minutes, check /readyz and that `seatrial serve` or a worker runs."),
        ),
        S::Deploying | S::Deleting => {
            let (doing, what) = match view.state {
                S::Deploying => ("being deployed", format!("Commit {commit}")),
                _ => ("being removed", "The preview".to_owned()),
            };
            let at = match (step, failure) {
                (Some(step), Some(failure)) if step.status == StepPhase::Retrying => format!(
                    "step {} failed {} so far and will be tried again: {}",
                    step.name,
                    times(step.attempts.len()),
                    failure.message
                ),
                (Some(step), _) => format!("step {} runs", step.name),
                (None, _) => "between two steps".to_owned(),
            };
            let progress = report.and_then(|report| report.progress.as_ref());
            let progress = progress.map(|text| format!(" ({text})")).unwrap_or_default();
            (format!("{what} is {doing}: {at}{progress}."), wait.to_owned())
        }
        S::Failed => match (diagnosis, failure) {
            (Some(diagnosis), _) => (
                format!("{} {}", sentence(&diagnosis.summary), culprit(&diagnosis.culprit)),
                if diagnosis.advice.is_empty() { retry_advice() } else { diagnosis.advice.clone() },
            ),
            (None, Some(failure)) => {
                let at = step.map(|step| format!(" at step {}", step.name)).unwrap_or_default();
                (format!("The run failed{at}: {}", sentence(&failure.message)), retry_advice())
            }
            (None, None) => ("The run was cancelled and nothing is live.".to_owned(), retry_advice()),
        },
        S::Refused => (
            format!(
                "The pull request gets no preview: {}",
                sentence(environment.refusal.as_deref().unwrap_or("admission refused it"))
            ),
            "Change what the reason names; the next event of the pull request asks again.".to_owned(),
        ),
        S::Deleted => (
            "The preview was deleted.".to_owned(),
            "Reopen the pull request, or deploy it again, to get a new one.".to_owned(),
        ),
    }
}

fn culprit(culprit: &str) -> String {
    if culprit.is_empty() { String::new() } else { format!("Culprit: {culprit}.") }
}

fn retry_advice() -> String {
    "Look at the failed step; when its cause is gone, retry: the run goes on at that step.".to_owned()
}

fn times(count: usize) -> String {
    match count {
        1 => "once".to_owned(),
        many => format!("{many} times"),
    }
}

/// With a full stop.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}
