use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use schemars::JsonSchema;
use seatrial_operations::{RunReport, views};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A run of a workflow.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct Run {
    pub id: String,
    /// `preview_up`, `preview_down`.
    pub workflow: String,
    pub state: RunState,
    /// Its concurrency key, `owner/name#number`: runs of one key never overlap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub created_at: DateTime<Utc>,
    /// When a worker first took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<DateTime<Utc>>,
    /// The step that runs, waits for its retry, or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The worker that holds it, or held it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// How often a worker took it: more than once after a crash, a restart or a long wait.
    pub claims: i64,
    /// When a parked run goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wake_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_reason: Option<String>,
    /// Why it was asked to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_reason: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, Deserialize, JsonSchema)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Queued,
    Running,
    /// Parked until a time.
    Waiting,
    Succeeded,
    Failed,
    Cancelled,
}

/// A run with its journal.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct RunDetail {
    pub run: Run,
    /// What the present step last said about itself: `web 1/2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// In the order they began; then, while the run goes on, those still to come.
    pub steps: Vec<Step>,
    /// What the run was started with.
    pub input: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

/// One step of a run.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct Step {
    pub name: String,
    /// The step this one belongs to; absent for the run's own steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Counts steps of one name in one scope, from 0.
    pub occurrence: u32,
    pub state: StepState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<DateTime<Utc>>,
    /// Milliseconds from its first attempt to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// When the next attempt begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<DateTime<Utc>>,
    /// Oldest first.
    pub attempts: Vec<Attempt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it returned, as journaled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, Deserialize, JsonSchema)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not begun yet.
    Planned,
    /// To be run again: interrupted, or reset by a retry.
    Pending,
    Running,
    /// Failed, and waits for its next attempt.
    Retrying,
    /// Waits for a time, a signal or another run.
    Waiting,
    Succeeded,
    Failed,
}

/// One attempt at a step.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct Attempt {
    /// Counted from 1.
    pub attempt: u32,
    pub started_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<DateTime<Utc>>,
    /// Absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<AttemptOutcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, Deserialize, JsonSchema)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    Succeeded,
    Failed,
    Cancelled,
    /// Its worker stopped in the middle of it.
    Interrupted,
}

/// A page of runs, the newest first.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct RunPage {
    pub items: Vec<Run>,
    /// Give it as `after` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl From<views::RunSummary> for Run {
    fn from(run: views::RunSummary) -> Self {
        Self {
            id: run.id.to_string(),
            workflow: run.workflow,
            state: run.state.into(),
            key: run.key,
            created_at: run.created_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            step: run.current_step,
            worker: run.worker,
            claims: run.epoch,
            wake_at: run.wake_at,
            wait_reason: run.wait_reason,
            cancel_reason: run.cancel_reason,
            error: run.failure.map(|failure| failure.message),
        }
    }
}

impl From<views::RunState> for RunState {
    fn from(state: views::RunState) -> Self {
        use views::RunState as S;
        match state {
            S::Queued => Self::Queued,
            S::Running => Self::Running,
            S::Waiting => Self::Waiting,
            S::Succeeded => Self::Succeeded,
            S::Failed => Self::Failed,
            S::Cancelled => Self::Cancelled,
        }
    }
}

impl From<RunState> for views::RunState {
    fn from(state: RunState) -> Self {
        match state {
            RunState::Queued => Self::Queued,
            RunState::Running => Self::Running,
            RunState::Waiting => Self::Waiting,
            RunState::Succeeded => Self::Succeeded,
            RunState::Failed => Self::Failed,
            RunState::Cancelled => Self::Cancelled,
        }
    }
}

impl RunState {
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Waiting, Self::Succeeded, Self::Failed, Self::Cancelled];

    pub fn as_str(self) -> &'static str {
        views::RunState::from(self).as_str()
    }

    pub fn is_final(self) -> bool {
        views::RunState::from(self).is_final()
    }
}

impl From<views::Page<views::RunSummary>> for RunPage {
    fn from(page: views::Page<views::RunSummary>) -> Self {
        Self { items: page.items.into_iter().map(Run::from).collect(), next: page.next }
    }
}

impl From<RunReport> for RunDetail {
    fn from(report: RunReport) -> Self {
        let detail = report.detail;
        let mut steps: Vec<Step> = detail.steps.into_iter().map(Step::from).collect();
        if !detail.summary.state.is_final() {
            let planned = report.plan.into_iter().filter(|name| !steps.iter().any(|step| step.is_own(name)));
            steps.extend(planned.map(Step::planned).collect::<Vec<_>>());
        }
        Self {
            run: detail.summary.into(),
            progress: report.progress,
            steps,
            input: detail.input,
            output: detail.output,
        }
    }
}

impl Step {
    fn is_own(&self, name: &str) -> bool {
        self.scope.is_none() && self.name == name
    }

    fn planned(name: String) -> Self {
        Self {
            name,
            scope: None,
            occurrence: 0,
            state: StepState::Planned,
            started_at: None,
            finished_at: None,
            took_ms: None,
            retry_at: None,
            attempts: Vec::new(),
            error: None,
            output: None,
        }
    }
}

impl From<views::StepView> for Step {
    fn from(step: views::StepView) -> Self {
        use views::StepPhase as P;
        let took = step.finished_at.map(|finished| finished - step.started_at);
        Self {
            name: step.name,
            scope: Some(step.scope).filter(|scope| !scope.is_empty()),
            occurrence: step.occurrence,
            state: match step.status {
                P::Pending => StepState::Pending,
                P::Running => StepState::Running,
                P::Retrying => StepState::Retrying,
                P::Waiting => StepState::Waiting,
                P::Succeeded => StepState::Succeeded,
                P::Failed => StepState::Failed,
            },
            started_at: Some(step.started_at),
            finished_at: step.finished_at,
            took_ms: took.map(|took| u64::try_from(took.num_milliseconds()).unwrap_or(0)),
            retry_at: step.retry_at,
            attempts: step.attempts.into_iter().map(Attempt::from).collect(),
            error: step.failure.map(|failure| failure.message),
            output: step.output,
        }
    }
}

impl From<views::AttemptView> for Attempt {
    fn from(attempt: views::AttemptView) -> Self {
        use views::AttemptOutcome as O;
        Self {
            attempt: attempt.attempt,
            started_at: attempt.started_at,
            finished_at: attempt.finished_at,
            outcome: attempt.outcome.map(|outcome| match outcome {
                O::Succeeded => AttemptOutcome::Succeeded,
                O::Failed => AttemptOutcome::Failed,
                O::Cancelled => AttemptOutcome::Cancelled,
                O::Interrupted => AttemptOutcome::Interrupted,
            }),
            error: attempt.failure.map(|failure| failure.message),
        }
    }
}
