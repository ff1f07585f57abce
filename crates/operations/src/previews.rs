use seatrial_engine::{NewRun, RunId};
use seatrial_preview::PullRequestRef;
use seatrial_preview::access::Role;
use seatrial_preview::environment::EnvironmentState;
use seatrial_preview::failure::{FailureSnapshot, PodStatus};
use seatrial_preview::pull_request::PullRequest;
use seatrial_store::views::{EnvironmentFilter, EnvironmentView, Page, PageRequest};
use seatrial_workflows::{deploy, remove};

use crate::access::Principal;
use crate::audit::Act;
use crate::error::{OperationError, Port};
use crate::name::{EnvironmentName, pull_request_ref};
use crate::operations::{Operations, PATIENCE};

/// What asking for long work started.
#[derive(Debug, Clone, PartialEq)]
pub struct Requested {
    pub environment: EnvironmentView,
    /// The run that does it.
    pub run: RunId,
    /// False when it was already being done, or had been done.
    pub fresh: bool,
}

impl Operations {
    pub async fn list_previews(
        &self,
        who: &Principal,
        filter: &EnvironmentFilter,
        page: &PageRequest,
    ) -> Result<Page<EnvironmentView>, OperationError> {
        check(page)?;
        self.store.list_environments(&who.visible(), filter, page).await.map_err(|error| of_page(error, page))
    }

    pub async fn get_preview(
        &self,
        who: &Principal,
        name: &EnvironmentName,
    ) -> Result<EnvironmentView, OperationError> {
        let visible = &who.visible();
        let found = match name {
            EnvironmentName::Id(id) => self.store.find_environment(visible, *id).await?,
            EnvironmentName::Namespace(namespace) => {
                self.store.find_environment_by_namespace(visible, namespace).await?
            }
            EnvironmentName::PullRequest(at) => self.store.find_environment_of(visible, at).await?,
        };
        found.ok_or_else(|| OperationError::not_found("preview_not_found", format!("there is no preview {name}")))
    }

    /// A preview that somebody wants to change: they see it, and have the role.
    pub(crate) async fn preview_for(
        &self,
        who: &Principal,
        name: &EnvironmentName,
        what: &str,
    ) -> Result<EnvironmentView, OperationError> {
        let view = self.get_preview(who, name).await?;
        self.authorize(who, &view.environment.at.repository, Role::Developer, what).await?;
        Ok(view)
    }

    /// Deploys the newest commit of a pull request, known or new; supersedes what runs for it.
    pub async fn deploy_pull_request(
        &self,
        who: &Principal,
        repository: &str,
        number: u64,
    ) -> Result<Requested, OperationError> {
        let at = pull_request_ref(repository, number)?;
        let act = Act::new("preview.deploy", &at).repository(&at.repository);
        self.audited(who, act, async {
            // Others' repositories do not exist for them.
            if who.operator_role().is_none() && self.store.find_project(&who.visible(), &at.repository).await?.is_none()
            {
                return Err(OperationError::not_found(
                    "project_not_found",
                    format!("{} is no project of yours: an operator adds it", at.repository),
                ));
            }
            self.authorize(who, &at.repository, Role::Developer, "deploying a pull request").await?;
            let pull_request = self.load_pull_request(who, &at).await?;
            if !pull_request.is_open() {
                return Err(not_open(&at));
            }
            let environment = self.store.ensure(&pull_request).await.map_err(|error| OperationError::Unavailable {
                code: "database_unavailable",
                sentence: error.message,
                retry_after: error.retry_after,
            })?;
            let run = self.start(deploy(&at, Some(pull_request), &trigger(who))).await?;
            let environment = self.get_preview(who, &EnvironmentName::Id(environment.id)).await?;
            Ok(Requested { environment, run, fresh: true })
        })
        .await
    }

    /// The pull request, under the very name that the caller was checked for: GitHub also answers to
    /// a repository's former names and to other spellings, and those may be another team's. Operators
    /// are checked for nothing of the kind.
    pub(crate) async fn load_pull_request(
        &self,
        who: &Principal,
        at: &PullRequestRef,
    ) -> Result<PullRequest, OperationError> {
        let found = self.ask(Port::Forge, PATIENCE, self.forge.load_pull_request(at)).await?;
        if found.at.repository == at.repository || who.operator_role().is_some() {
            return Ok(found);
        }
        Err(OperationError::field(
            "repository",
            format!("{} is not what GitHub calls it now: give its present name", at.repository),
        ))
    }

    /// [`Operations::deploy_pull_request`] for a preview there is.
    pub async fn deploy_preview(&self, who: &Principal, name: &EnvironmentName) -> Result<Requested, OperationError> {
        let at = self.get_preview(who, name).await?.environment.at;
        self.deploy_pull_request(who, &at.repository.to_string(), at.number).await
    }

    /// Lets the preview's failed or cancelled run go on from its first failed step.
    pub async fn retry_preview(&self, who: &Principal, name: &EnvironmentName) -> Result<Requested, OperationError> {
        let environment = self.preview_for(who, name, "retrying a deployment").await?;
        let Some(run) = environment.newest_run.as_ref().map(|run| run.id) else {
            return Err(OperationError::conflict(
                "nothing_to_retry",
                format!("{} has no run to retry: deploy it instead", environment.environment.namespace),
            ));
        };
        self.retry_run(who, run, None).await?;
        let environment = self.get_preview(who, name).await?;
        Ok(Requested { environment, run, fresh: true })
    }

    /// Starts the preview's teardown. One that runs, or has run, is returned again.
    pub async fn delete_preview(&self, who: &Principal, name: &EnvironmentName) -> Result<Requested, OperationError> {
        let environment = self.get_preview(who, name).await?;
        let at = environment.environment.at.clone();
        self.audited(who, Act::new("preview.delete", &at).repository(&at.repository), async {
            self.authorize(who, &at.repository, Role::Developer, "deleting a preview").await?;
            if matches!(environment.state, EnvironmentState::Deleting | EnvironmentState::Deleted)
                && let Some(run) = environment.newest_run.as_ref().map(|run| run.id)
            {
                return Ok(Requested { environment, run, fresh: false });
            }
            let run = self.start(remove(&at, &trigger(who))).await?;
            let environment = self.get_preview(who, name).await?;
            Ok(Requested { environment, run, fresh: true })
        })
        .await
    }

    /// The pods of the preview, as the cluster has them now.
    pub async fn list_pods(&self, who: &Principal, name: &EnvironmentName) -> Result<Vec<PodStatus>, OperationError> {
        let environment = self.get_preview(who, name).await?.environment;
        self.ask(Port::Cluster, PATIENCE, self.cluster.list_pods(&environment.namespace)).await
    }

    /// What was to be seen when the preview last failed; kept after the preview is gone.
    pub async fn get_failure(
        &self,
        who: &Principal,
        name: &EnvironmentName,
    ) -> Result<(RunId, FailureSnapshot), OperationError> {
        let environment = self.get_preview(who, name).await?.environment;
        self.store.find_snapshot(environment.id).await?.ok_or_else(|| {
            OperationError::not_found("no_failure", format!("{} has no recorded failure", environment.namespace))
        })
    }

    pub(crate) async fn start(&self, run: Result<NewRun, seatrial_engine::Failure>) -> Result<RunId, OperationError> {
        let run = run.map_err(|failure| OperationError::Broken(failure.message))?;
        Ok(self.store.start(run).await?.id)
    }
}

pub(crate) fn not_open(at: &PullRequestRef) -> OperationError {
    OperationError::conflict("pull_request_closed", format!("{at} is not open: reopen it to get a preview"))
}

pub(crate) fn trigger(who: &Principal) -> String {
    format!("manual: {}", who.name())
}

pub(crate) fn check(page: &PageRequest) -> Result<(), OperationError> {
    if (1..=200).contains(&page.limit) {
        Ok(())
    } else {
        Err(OperationError::field("limit", "must be a number from 1 to 200"))
    }
}

/// The cursor is the only thing about a list that the store can find invalid.
pub(crate) fn of_page(error: seatrial_store::StoreError, page: &PageRequest) -> OperationError {
    match error {
        seatrial_store::StoreError::Invalid(reason) if page.after.is_some() => OperationError::field("after", reason),
        other => other.into(),
    }
}
