//! How long a preview lives, whether it sleeps, and who vouches for a fork's commit.

use std::time::Duration;

use seatrial_engine::NewRun;
use seatrial_preview::HeadSha;
use seatrial_preview::access::Role;
use seatrial_preview::environment::{Environment, EnvironmentState};
use seatrial_preview::life::Approval;
use seatrial_preview::ports::Fact;
use seatrial_store::views::EnvironmentView;
use seatrial_workflows::{deploy, sleep, wake};
use serde_json::json;

use crate::access::Principal;
use crate::audit::Act;
use crate::error::OperationError;
use crate::name::{EnvironmentName, pull_request_ref};
use crate::operations::Operations;
use crate::previews::{Requested, trigger};

/// A preview is kept for at most so long by one request.
const LONGEST_EXTENSION: Duration = Duration::from_secs(30 * 86_400);

impl Operations {
    /// Scales the preview to zero; opening it wakes it. One that sleeps already is left alone.
    pub async fn sleep_preview(&self, who: &Principal, name: &EnvironmentName) -> Result<Requested, OperationError> {
        let environment = self.get_preview(who, name).await?;
        let act = Act::new("preview.sleep", &environment.environment.at);
        self.audited(who, act.repository(&environment.environment.at.repository), async {
            self.preview_for(who, name, "putting a preview to sleep").await?;
            match environment.state {
                EnvironmentState::Running => self.start_life(who, environment, sleep).await,
                EnvironmentState::Sleeping => already(environment),
                state => Err(wrong_state(&environment.environment, "put to sleep", state)),
            }
        })
        .await
    }

    /// Gives a sleeping preview its replicas back. One that runs already is left alone.
    pub async fn wake_preview(&self, who: &Principal, name: &EnvironmentName) -> Result<Requested, OperationError> {
        let environment = self.get_preview(who, name).await?;
        let act = Act::new("preview.wake", &environment.environment.at);
        self.audited(who, act.repository(&environment.environment.at.repository), async {
            self.preview_for(who, name, "waking a preview").await?;
            match environment.state {
                EnvironmentState::Sleeping => self.start_life(who, environment, wake).await,
                EnvironmentState::Running => already(environment),
                state => Err(wrong_state(&environment.environment, "woken", state)),
            }
        })
        .await
    }

    async fn start_life(
        &self,
        who: &Principal,
        view: EnvironmentView,
        of: impl Fn(&seatrial_preview::PullRequestRef, &str) -> Result<NewRun, seatrial_engine::Failure>,
    ) -> Result<Requested, OperationError> {
        let run = self.start(of(&view.environment.at, &trigger(who))).await?;
        let environment = self.get_preview(who, &EnvironmentName::Id(view.environment.id)).await?;
        Ok(Requested { environment, run, fresh: true })
    }

    /// [`Operations::pin_preview`] and [`Operations::extend_preview`] in the words of a program; what
    /// is `None` stays as it is.
    pub async fn keep_preview(
        &self,
        who: &Principal,
        name: &EnvironmentName,
        pinned: Option<bool>,
        for_hours: Option<u32>,
    ) -> Result<EnvironmentView, OperationError> {
        let by = for_hours.map(|hours| Duration::from_secs(u64::from(hours) * 3_600));
        if by.is_some_and(|by| by.is_zero() || by > LONGEST_EXTENSION) {
            return Err(OperationError::field("for_hours", "must be from 1 to 720"));
        }
        let mut kept = self.get_preview(who, name).await?;
        if let Some(pinned) = pinned {
            kept = self.pin_preview(who, name, pinned).await?;
        }
        if let Some(by) = by {
            kept = self.extend_preview(who, name, by).await?;
        }
        Ok(kept)
    }

    /// Keeps the preview however long nobody uses it, or lets its time count again.
    pub async fn pin_preview(
        &self,
        who: &Principal,
        name: &EnvironmentName,
        pinned: bool,
    ) -> Result<EnvironmentView, OperationError> {
        self.change_life(who, name, Fact::Pinned(pinned)).await
    }

    /// Keeps the preview for at least `by` from now: at most 30 days.
    pub async fn extend_preview(
        &self,
        who: &Principal,
        name: &EnvironmentName,
        by: Duration,
    ) -> Result<EnvironmentView, OperationError> {
        if by.is_zero() || by > LONGEST_EXTENSION {
            return Err(OperationError::field("by", "must be more than nothing and at most 30 days"));
        }
        self.change_life(who, name, Fact::KeptUntil(self.now() + by)).await
    }

    async fn change_life(
        &self,
        who: &Principal,
        name: &EnvironmentName,
        fact: Fact,
    ) -> Result<EnvironmentView, OperationError> {
        let view = self.get_preview(who, name).await?;
        let act = Act::new("preview.keep", &view.environment.at).repository(&view.environment.at.repository);
        self.audited(who, act.detail(json!(fact)), async {
            self.preview_for(who, name, "keeping a preview").await?;
            if view.state == EnvironmentState::Deleted {
                return Err(wrong_state(&view.environment, "kept", view.state));
            }
            self.remember(view.environment.id, fact).await?;
            self.get_preview(who, &EnvironmentName::Id(view.environment.id)).await
        })
        .await
    }

    /// Lets a fork's commit be deployed. It must be the newest: whoever approves has read that one.
    pub async fn approve_commit(
        &self,
        who: &Principal,
        at: &seatrial_preview::PullRequestRef,
        commit: &HeadSha,
    ) -> Result<Requested, OperationError> {
        let act = Act::new("commit.approve", at).repository(&at.repository).detail(json!({ "commit": commit }));
        self.audited(who, act, async {
            if who.operator_role().is_none()
                && self.store.find_environment_of(&who.visible(), at).await?.is_none()
                && self.store.find_project(&who.visible(), &at.repository).await?.is_none()
            {
                return Err(OperationError::not_found("preview_not_found", format!("there is no preview {at}")));
            }
            self.authorize(who, &at.repository, Role::Developer, "approving a commit").await?;
            let pull_request = self.load_pull_request(who, at).await?;
            let head = pull_request.head.sha.clone();
            if !pull_request.is_from_fork() {
                return Err(OperationError::conflict(
                    "not_a_fork",
                    format!("{at} does not come from a fork: it needs no approval"),
                ));
            }
            if *commit != head {
                return Err(OperationError::conflict(
                    "not_the_newest_commit",
                    format!("{commit} is not the newest commit of {at}: read {head} and approve that one"),
                ));
            }
            let environment = self.store.ensure(&pull_request).await.map_err(database)?;
            self.remember(environment.id, Fact::Approved(Approval { sha: head, by: who.name().to_owned() })).await?;
            let run = self.start(deploy(at, Some(pull_request), &trigger(who))).await?;
            let environment = self.get_preview(who, &EnvironmentName::Id(environment.id)).await?;
            Ok(Requested { environment, run, fresh: true })
        })
        .await
    }

    /// [`Operations::approve_commit`] in the words of a program.
    pub async fn approve_pull_request(
        &self,
        who: &Principal,
        repository: &str,
        number: u64,
        commit: &str,
    ) -> Result<Requested, OperationError> {
        let at = pull_request_ref(repository, number)?;
        let commit =
            commit.parse().map_err(|error: seatrial_preview::Error| OperationError::field("commit", error.message))?;
        self.approve_commit(who, &at, &commit).await
    }

    /// Somebody opened the preview.
    pub async fn record_visit(&self, environment: &Environment) -> Result<(), OperationError> {
        self.remember(environment.id, Fact::Used).await
    }

    /// Somebody opened a sleeping preview. Whoever can reach it may wake it. Asked again while it
    /// wakes, this does nothing.
    pub async fn wake_for_visitor(&self, environment: &Environment) -> Result<(), OperationError> {
        match self.start(wake(&environment.at, "visit")).await {
            // It is being woken, or something else is done to it: the page looks again.
            Err(OperationError::Conflict { .. }) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    async fn remember(&self, environment: seatrial_preview::EnvironmentId, fact: Fact) -> Result<(), OperationError> {
        self.store.remember(environment, fact).await.map_err(database)
    }
}

fn already(environment: EnvironmentView) -> Result<Requested, OperationError> {
    match environment.newest_run.as_ref().map(|run| run.id) {
        Some(run) => Ok(Requested { environment, run, fresh: false }),
        None => Err(OperationError::conflict(
            "nothing_to_do",
            format!("{} is as it was asked to be", environment.environment.namespace),
        )),
    }
}

fn wrong_state(environment: &Environment, what: &str, state: EnvironmentState) -> OperationError {
    OperationError::conflict(
        "preview_state",
        format!("{} cannot be {what}: it is {}", environment.namespace, state.as_str()),
    )
}

fn database(error: seatrial_preview::Error) -> OperationError {
    OperationError::Unavailable {
        code: "database_unavailable",
        sentence: error.message,
        retry_after: error.retry_after,
    }
}
