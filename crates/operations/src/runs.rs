use seatrial_engine::RunId;
use seatrial_store::views::{Page, PageRequest, RunDetail, RunFilter, RunSummary};

use crate::access::Principal;
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
        _: &Principal,
        filter: &RunFilter,
        page: &PageRequest,
    ) -> Result<Page<RunSummary>, OperationError> {
        check(page)?;
        self.store.list_runs(filter, page).await.map_err(|error| of_page(error, page))
    }

    pub async fn get_run(&self, _: &Principal, run: RunId) -> Result<RunReport, OperationError> {
        let detail = self
            .store
            .find_run(run)
            .await?
            .ok_or_else(|| OperationError::not_found("run_not_found", format!("there is no run {run}")))?;
        let plan = self.registry.plan(&detail.summary.workflow).iter().map(|step| (*step).to_owned()).collect();
        Ok(RunReport { detail, plan, progress: self.store.bell().progress_of(run) })
    }

    /// Lets a failed or cancelled run go on from its first failed step, unless a newer one has
    /// taken its place.
    pub async fn retry_run(&self, who: &Principal, run: RunId) -> Result<(), OperationError> {
        let summary = self.get_run(who, run).await?.detail.summary;
        if let Some(key) = &summary.key {
            let filter = RunFilter { key: Some(key.clone()), ..RunFilter::default() };
            let newest = self.store.list_runs(&filter, &PageRequest { after: None, limit: 1 }).await?;
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
        Ok(self.store.retry(run, None).await?)
    }

    /// Asks a run to stop at its next safe point.
    pub async fn cancel_run(&self, who: &Principal, run: RunId) -> Result<(), OperationError> {
        let summary = self.get_run(who, run).await?.detail.summary;
        if summary.state.is_final() {
            return Err(OperationError::conflict(
                "run_ended",
                format!("run {run} cannot be cancelled: it has already {}", summary.state.as_str()),
            ));
        }
        Ok(self.store.cancel(run, &format!("cancelled by {}", who.name()), self.now()).await?)
    }
}
