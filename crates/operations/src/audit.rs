//! Every write is written down: who, what, when, from where, and how it went.

use std::future::Future;

use seatrial_preview::RepositoryName;
use seatrial_preview::access::{Role, TeamName};
use seatrial_store::views::{AuditEntry, AuditFilter, Page, PageRequest};
use serde_json::Value;

use crate::access::Principal;
use crate::error::OperationError;
use crate::operations::Operations;
use crate::previews::{check, of_page};

/// What is being done, to what.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    action: &'static str,
    target: String,
    repository: Option<RepositoryName>,
    team: Option<TeamName>,
    detail: Option<Value>,
}

impl Act {
    pub(crate) fn new(action: &'static str, target: impl ToString) -> Self {
        Self { action, target: target.to_string(), repository: None, team: None, detail: None }
    }

    pub(crate) fn repository(self, repository: &RepositoryName) -> Self {
        Self { repository: Some(repository.clone()), ..self }
    }

    pub(crate) fn team(self, team: &TeamName) -> Self {
        Self { team: Some(team.clone()), ..self }
    }

    /// What was asked. No secrets.
    pub(crate) fn detail(self, detail: Value) -> Self {
        Self { detail: Some(detail), ..self }
    }
}

impl Operations {
    /// Does it, and writes down how it went.
    pub(crate) async fn audited<T>(
        &self,
        who: &Principal,
        act: Act,
        doing: impl Future<Output = Result<T, OperationError>>,
    ) -> Result<T, OperationError> {
        let outcome = doing.await;
        let entry = AuditEntry {
            seq: 0,
            at: self.now(),
            who: who.name().to_owned(),
            via: who.via().as_str().to_owned(),
            address: who.address().map(|address| address.to_string()),
            action: act.action.to_owned(),
            target: act.target,
            repository: act.repository,
            team: act.team,
            outcome: outcome.as_ref().err().map_or("done", OperationError::code).to_owned(),
            detail: act.detail.map(|detail| detail.to_string()),
        };
        tracing::info!(
            who = entry.who,
            via = entry.via,
            action = entry.action,
            target = entry.target,
            outcome = entry.outcome,
            "audit"
        );
        // What was done is done: that it could not be written down is for the log, not a reason to
        // tell the caller that it was not.
        if let Err(error) = self.store.write_audit(&entry).await {
            tracing::error!(%error, ?entry, "an entry of the audit log was lost");
        }
        outcome
    }

    /// Who did what; the newest first. For maintainers of what it was done to.
    pub async fn list_audit(
        &self,
        who: &Principal,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditEntry>, OperationError> {
        check(page)?;
        let visible = self.visible_to(who, Role::Maintainer);
        self.store.list_audit(&visible, filter, page).await.map_err(|error| of_page(error, page))
    }
}
