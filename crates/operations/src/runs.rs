use seatrial_engine::{RunId, StepKey};
use seatrial_preview::RepositoryName;
use seatrial_preview::access::{Role, Visible};
use seatrial_store::views::{Page, PageRequest, RunDetail, RunFilter, RunSummary, StepView};
use serde_json::json;

use crate::access::Principal;
use crate::audit::Act;
use crate::error::OperationError;
use crate::operations::Operations;
use crate::previews::{check, of_page};

/// A run, its journal, and what is still to come.
#[derive(Debug, Clone, PartialEq)]
pub struct RunReport {
    pub detail: RunDetail,
    /// The steps of a run in which nothing goes wrong, in order; empty for a workflow that this
    /// version of the program does not know.
    pub plan: Vec<String>,
    /// What the present step last said about itself.
    pub progress: Option<String>,
}

impl Operations {
    pub async fn list_runs(
        &self,
        who: &Principal,
        filter: &RunFilter,
        page: &PageRequest,
    ) -> Result<Page<RunSummary>, OperationError> {
        check(page)?;
        self.store.list_runs(&who.visible(), filter, page).await.map_err(|error| of_page(error, page))
    }

    pub async fn get_run(&self, who: &Principal, run: RunId) -> Result<RunReport, OperationError> {
        let detail = self
            .store
            .find_visible_run(&who.visible(), run)
            .await?
            .ok_or_else(|| OperationError::not_found("run_not_found", format!("there is no run {run}")))?;
        let plan = self.registry.plan(&detail.summary.workflow).iter().map(|step| (*step).to_owned()).collect();
        Ok(RunReport { detail, plan, progress: self.store.bell().progress_of(run) })
    }

    /// Lets a failed or cancelled run go on from its first failed step, or from the named one, unless
    /// a newer one has taken its place. Steps are named as the journal shows them: `release`,
    /// `scope/step`, `step[1]`.
    pub async fn retry_run(&self, who: &Principal, run: RunId, from: Option<&str>) -> Result<(), OperationError> {
        let detail = self.get_run(who, run).await?.detail;
        self.audited(who, act("run.retry", &detail.summary).detail(json!({ "from": from })), async {
            self.authorize_run(who, &detail.summary, "retrying a run").await?;
            let from = from.map(|name| step(&detail, name)).transpose()?;
            if let Some(key) = &detail.summary.key {
                let filter = RunFilter { key: Some(key.clone()), ..RunFilter::default() };
                let first = PageRequest { after: None, limit: 1 };
                let newest = self.store.list_runs(&Visible::All, &filter, &first).await?;
                if let Some(newer) = newest.items.first().filter(|newest| newest.id != run) {
                    return Err(OperationError::conflict(
                        "run_superseded",
                        format!(
                            "run {run} cannot be retried: run {} of {key} is newer; retry or deploy that one",
                            newer.id
                        ),
                    ));
                }
            }
            Ok(self.store.retry(run, from.as_ref()).await?)
        })
        .await
    }

    /// Asks a run to stop at its next safe point.
    pub async fn cancel_run(&self, who: &Principal, run: RunId) -> Result<(), OperationError> {
        let summary = self.get_run(who, run).await?.detail.summary;
        self.audited(who, act("run.cancel", &summary), async {
            self.authorize_run(who, &summary, "cancelling a run").await?;
            if summary.state.is_final() {
                return Err(OperationError::conflict(
                    "run_ended",
                    format!("run {run} cannot be cancelled: it has already {}", summary.state.as_str()),
                ));
            }
            Ok(self.store.cancel(run, &format!("cancelled by {}", who.name()), self.now()).await?)
        })
        .await
    }

    /// A run of a pull request is its team's; the others are the operators'.
    async fn authorize_run(&self, who: &Principal, run: &RunSummary, what: &str) -> Result<(), OperationError> {
        match repository(run) {
            Some(repository) => self.authorize(who, &repository, Role::Developer, what).await,
            None => who.check(Role::Developer, None, what),
        }
    }
}

fn act(action: &'static str, run: &RunSummary) -> Act {
    let act = Act::new(action, run.id);
    match repository(run) {
        Some(repository) => act.repository(&repository),
        None => act,
    }
}

fn repository(run: &RunSummary) -> Option<RepositoryName> {
    run.key.as_ref()?.split_once('#')?.0.parse().ok()
}

fn step(detail: &RunDetail, name: &str) -> Result<StepKey, OperationError> {
    let key =
        |step: &StepView| StepKey { scope: step.scope.clone(), name: step.name.clone(), occurrence: step.occurrence };
    let keys: Vec<_> = detail.steps.iter().map(key).collect();
    keys.iter().find(|key| key.to_string() == name).cloned().ok_or_else(|| {
        let known: Vec<_> = keys.iter().map(ToString::to_string).collect();
        OperationError::field("from", format!("the run has no step {name:?}; it has {}", known.join(", ")))
    })
}
