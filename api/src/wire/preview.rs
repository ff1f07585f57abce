use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use schemars::JsonSchema;
use seatrial_operations::views;
use serde::{Deserialize, Serialize};

use super::failure::Diagnosis;
use super::run::Run;

/// The preview of one pull request.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct Preview {
    /// Its id; stays the same for the pull request's whole life.
    pub id: String,
    /// The Kubernetes namespace it has for itself.
    pub namespace: String,
    /// `owner/name`.
    pub repository: String,
    /// The pull request's number.
    pub number: u64,
    pub title: String,
    pub author: String,
    pub branch: String,
    /// The pull request's page.
    pub pull_request_url: String,
    /// Where the preview is opened.
    pub url: String,
    pub state: PreviewState,
    /// The step that runs, waits for its retry, or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The newest commit that was asked for.
    pub head_sha: String,
    /// The commit that answers at the URL, once one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_sha: Option<String>,
    /// Why the pull request gets no preview.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Who is to blame, when the newest deployment failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Diagnosis>,
    /// When it was last deployed, visited or spoken to.
    pub active_at: DateTime<Utc>,
    /// When it is deleted if nobody uses it until then; absent while it is pinned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// Kept however long nobody uses it.
    pub pinned: bool,
    /// What was removed, once the preview is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<TeardownReceipt>,
    /// The newest run for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Where a preview stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, Deserialize, JsonSchema)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum PreviewState {
    /// Waits for a worker, or for the run before it to stop.
    Queued,
    Deploying,
    /// Answers at its URL.
    Running,
    /// Scaled to zero; opening it wakes it.
    Sleeping,
    Failed,
    /// Admission said no: a draft, a fork, a filter, no settings.
    Refused,
    Deleting,
    Deleted,
}

/// What was removed with a preview, and the proof that it is gone.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
pub struct TeardownReceipt {
    /// `Kind/name` of what the namespace held.
    pub removed: Vec<String>,
    pub release_uninstalled: bool,
    /// When the API server answered that the namespace does not exist.
    pub verified_gone_at: DateTime<Utc>,
    /// Milliseconds from the start of the teardown until then.
    pub took_ms: u64,
}

/// A page of previews, the newest first.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct PreviewPage {
    pub items: Vec<Preview>,
    /// Give it as `after` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Long work was asked for; its run says how it goes.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
pub struct Requested {
    pub preview: Preview,
    /// The run that does it.
    pub run: String,
    /// Where the run can be looked at.
    pub run_url: String,
    /// False when it was already being done, or had been done.
    pub fresh: bool,
}

impl From<views::EnvironmentView> for Preview {
    fn from(view: views::EnvironmentView) -> Self {
        let environment = view.environment;
        let failed = view.state == views::EnvironmentState::Failed;
        let step = view.newest_run.as_ref().and_then(|run| run.current_step.clone());
        Self {
            id: environment.id.to_string(),
            namespace: environment.namespace.to_string(),
            repository: environment.at.repository.to_string(),
            number: environment.at.number,
            title: environment.title,
            author: environment.author,
            branch: environment.branch,
            pull_request_url: environment.html_url,
            url: environment.url,
            state: view.state.into(),
            step,
            head_sha: environment.head_sha.to_string(),
            live_sha: environment.live_sha.map(String::from),
            refusal: environment.refusal,
            failure: environment.failure.filter(|_| failed).map(Diagnosis::from),
            active_at: environment.life.active_at,
            expires_at: environment.life.ends_at(),
            pinned: environment.life.pinned,
            receipt: environment.receipt.map(TeardownReceipt::from),
            run: view.newest_run.map(Run::from),
            created_at: environment.created_at,
            updated_at: environment.updated_at,
        }
    }
}

impl From<views::EnvironmentState> for PreviewState {
    fn from(state: views::EnvironmentState) -> Self {
        use views::EnvironmentState as S;
        match state {
            S::Queued => Self::Queued,
            S::Deploying => Self::Deploying,
            S::Running => Self::Running,
            S::Sleeping => Self::Sleeping,
            S::Failed => Self::Failed,
            S::Refused => Self::Refused,
            S::Deleting => Self::Deleting,
            S::Deleted => Self::Deleted,
        }
    }
}

impl PreviewState {
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Deploying,
        Self::Running,
        Self::Sleeping,
        Self::Failed,
        Self::Refused,
        Self::Deleting,
        Self::Deleted,
    ];

    pub fn as_str(self) -> &'static str {
        views::EnvironmentState::from(self).as_str()
    }

    /// A run is at work on it.
    pub fn is_moving(self) -> bool {
        matches!(self, Self::Queued | Self::Deploying | Self::Deleting)
    }
}

impl From<PreviewState> for views::EnvironmentState {
    fn from(state: PreviewState) -> Self {
        match state {
            PreviewState::Queued => Self::Queued,
            PreviewState::Deploying => Self::Deploying,
            PreviewState::Running => Self::Running,
            PreviewState::Sleeping => Self::Sleeping,
            PreviewState::Failed => Self::Failed,
            PreviewState::Refused => Self::Refused,
            PreviewState::Deleting => Self::Deleting,
            PreviewState::Deleted => Self::Deleted,
        }
    }
}

impl From<views::Receipt> for TeardownReceipt {
    fn from(receipt: views::Receipt) -> Self {
        Self {
            removed: receipt.removed,
            release_uninstalled: receipt.release_uninstalled,
            verified_gone_at: receipt.verified_gone_at,
            took_ms: receipt.took_ms,
        }
    }
}

impl From<views::Page<views::EnvironmentView>> for PreviewPage {
    fn from(page: views::Page<views::EnvironmentView>) -> Self {
        Self { items: page.items.into_iter().map(Preview::from).collect(), next: page.next }
    }
}

impl From<seatrial_operations::Requested> for Requested {
    fn from(requested: seatrial_operations::Requested) -> Self {
        Self {
            preview: requested.environment.into(),
            run: requested.run.to_string(),
            run_url: format!("/api/v1/runs/{}", requested.run),
            fresh: requested.fresh,
        }
    }
}
