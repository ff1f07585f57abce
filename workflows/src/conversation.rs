//! What a run says on the pull request: the one comment, the deployment and the commit status.

use std::sync::Arc;
use std::time::Duration;

use seatrial_engine::{Context, StepTime};
use seatrial_preview::comment::{self, CommentState, CommentView, Notice, StepLine, StepLineState};
use seatrial_preview::environment::{Environment, Said};
use seatrial_preview::ports::{CommitState, CommitStatus, DeploymentState, DeploymentStatus, Fact, NewDeployment};
use seatrial_preview::{CommentId, DeploymentId, Error, HeadSha, RepositoryName, Result};
use tokio::task::JoinHandle;
use tracing::warn;

use crate::World;

/// The comment is edited at most this often while steps run; GitHub limits how much is written.
const EDIT_EVERY: Duration = Duration::from_secs(2);
/// GitHub may be slow; a run that only wants to show its progress does not wait longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// One environment's talk about one commit.
#[derive(Clone)]
pub(crate) struct Conversation {
    world: World,
    environment: Environment,
    sha: HeadSha,
}

impl Conversation {
    pub(crate) fn new(world: &World, environment: &Environment, sha: &HeadSha) -> Self {
        Self { world: world.clone(), environment: environment.clone(), sha: sha.clone() }
    }

    fn admin_url(&self) -> Option<String> {
        let base = self.world.links.public_url.as_ref()?;
        Some(format!("{base}/previews/{}", self.environment.id))
    }

    pub(crate) fn repository(&self) -> &RepositoryName {
        &self.environment.at.repository
    }

    fn text(&self, cx: &Context, state: &CommentState, notices: Vec<Notice>) -> String {
        comment::render(&CommentView {
            at: self.environment.at.clone(),
            sha: Some(self.sha.clone()),
            admin_url: self.admin_url(),
            updated_at: cx.now(),
            state: state.clone(),
            notices,
        })
    }

    /// Says `state` in the one comment: the one remembered, else the one that bears our marker
    /// (its creation's answer may have been lost), else a new one.
    pub(crate) async fn comment(&self, cx: &Context, state: &CommentState) -> Result<CommentId> {
        let comment = self.write(self.text(cx, state, Vec::new())).await?;
        self.remember(Said { sha: self.sha.clone(), state: state.clone(), warns: false }).await?;
        Ok(comment)
    }

    async fn remember(&self, said: Said) -> Result<()> {
        self.world.environments.remember(self.environment.id, Fact::Said(Box::new(said))).await
    }

    async fn write(&self, body: String) -> Result<CommentId> {
        let World { forge, environments, .. } = &self.world;
        let (at, id) = (&self.environment.at, self.environment.id);
        let known = environments.find(at).await?.and_then(|environment| environment.comment);
        if let Some(known) = known {
            match forge.update_comment(&at.repository, known, &body).await {
                Ok(()) => return Ok(known),
                Err(e) if e.is_not_found() => environments.remember(id, Fact::Comment(None)).await?,
                Err(e) => return Err(e),
            }
        }
        let comment = match forge.find_comments(at, &comment::marker(at)).await?.first() {
            Some(found) => {
                forge.update_comment(&at.repository, *found, &body).await?;
                *found
            }
            None => forge.create_comment(at, &body).await?,
        };
        environments.remember(id, Fact::Comment(Some(comment))).await?;
        Ok(comment)
    }

    /// As [`Conversation::comment`], for a run's last word: afterwards it is the only one. A
    /// creation that was on its way when the process was killed may have made a twin.
    pub(crate) async fn last_comment(&self, cx: &Context, state: &CommentState) -> Result<()> {
        let World { forge, .. } = &self.world;
        let at = &self.environment.at;
        let comment = self.comment(cx, state).await?;
        for twin in forge.find_comments(at, &comment::marker(at)).await? {
            if twin != comment {
                forge.delete_comment(&at.repository, twin).await?;
            }
        }
        Ok(())
    }

    /// Adds a notice to what the comment says, in the place of an earlier one; or takes that away. The
    /// next word does so, too.
    pub(crate) async fn notice(&self, cx: &Context, notice: Option<Notice>) -> Result<()> {
        // As it is now: a run may have said something since the environment was looked at.
        let known = self.world.environments.find(&self.environment.at).await?;
        let (about, state) = match known.and_then(|known| known.said) {
            Some(said) => (Self { sha: said.sha, ..self.clone() }, said.state),
            None => (self.clone(), CommentState::Nothing),
        };
        let warns = matches!(notice, Some(Notice::WillBeDeleted { .. }));
        let written = self.write(about.text(cx, &state, notice.into_iter().collect())).await;
        // What GitHub refuses it would refuse again.
        if !written.as_ref().is_err_and(Error::is_transient) {
            self.remember(Said { sha: about.sha, state, warns }).await?;
        }
        written.map(drop)
    }

    /// The commit status that goes with `state`.
    pub(crate) async fn commit_status(&self, state: &CommentState) -> Result<()> {
        let mut status = comment::commit_status(state);
        status.target_url = match state {
            CommentState::Ready { url, .. } => Some(url.clone()),
            _ => self.admin_url(),
        };
        self.world.forge.set_commit_status(&self.environment.at.repository, &self.sha, &status).await
    }

    /// The GitHub deployment of this commit, made if it is not there.
    pub(crate) async fn ensure_deployment(&self) -> Result<DeploymentId> {
        let deployment = NewDeployment {
            repository: self.environment.at.repository.clone(),
            sha: self.sha.clone(),
            environment: self.environment.namespace.to_string(),
            description: format!("Preview of pull request {}", self.environment.at.number),
        };
        let id = self.world.forge.ensure_deployment(&deployment).await?;
        self.world.environments.remember(self.environment.id, Fact::Deployment(id)).await?;
        Ok(id)
    }

    /// The deployment's status that goes with `state`.
    pub(crate) async fn deployment_status(&self, state: &CommentState) -> Result<()> {
        let url = Some(self.environment.url.as_str());
        let Some(status) = comment::deployment_status(state, url, self.admin_url().as_deref()) else {
            return Ok(());
        };
        let deployment = self.ensure_deployment().await?;
        self.world.forge.set_deployment_status(&self.environment.at.repository, deployment, &status).await
    }

    /// A run's last word: comment, deployment and commit status, at the same time. Repeatable; an
    /// error names the first thing that could not be said.
    pub(crate) async fn say(&self, cx: &Context, state: &CommentState) -> Result<()> {
        let (comment, deployment, status) =
            tokio::join!(self.last_comment(cx, state), self.deployment_status(state), self.commit_status(state));
        comment?;
        deployment?;
        status
    }

    /// A word on the way. GitHub's trouble is only noted: the work goes on, and a later word
    /// catches up.
    pub(crate) async fn try_say(&self, cx: &Context, state: &CommentState) {
        let said = tokio::time::timeout(PATIENCE, async {
            let (comment, deployment, status) =
                tokio::join!(self.comment(cx, state), self.deployment_status(state), self.commit_status(state));
            comment?;
            deployment?;
            status
        })
        .await;
        note("said on the pull request", said);
    }

    /// Ends every deployment of the environment on GitHub.
    pub(crate) async fn end_deployments(&self, description: &str) -> Result<()> {
        let Environment { at, namespace, .. } = &self.environment;
        let status = self.inactive(description);
        self.world.forge.end_deployments(&at.repository, namespace.as_str(), &status).await
    }

    /// Takes back what was said about this commit alone: its deployment, and the status that
    /// would stay pending. Nothing is wrong with the commit.
    pub(crate) async fn withdraw(&self, description: &str) -> Result<()> {
        let World { forge, .. } = &self.world;
        let repository = &self.environment.at.repository;
        let deployment = async {
            let deployment = self.ensure_deployment().await?;
            forge.set_deployment_status(repository, deployment, &self.inactive(description)).await
        };
        let status = CommitStatus {
            state: CommitState::Success,
            description: description.to_owned(),
            target_url: self.admin_url(),
        };
        let (deployment, status) = tokio::join!(deployment, forge.set_commit_status(repository, &self.sha, &status));
        deployment?;
        status
    }

    fn inactive(&self, description: &str) -> DeploymentStatus {
        DeploymentStatus {
            state: DeploymentState::Inactive,
            description: description.to_owned(),
            environment_url: None,
            log_url: self.admin_url(),
        }
    }

    /// Keeps the comment current while the run's steps go on, until [`Live::stop`].
    pub(crate) fn keep_current<F>(&self, cx: &Context, state: F) -> Live
    where
        F: Fn(&[StepTime], Option<String>) -> CommentState + Send + 'static,
    {
        let (conversation, cx) = (self.clone(), cx.clone());
        let stop = Arc::new(tokio::sync::Notify::new());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut changes = cx.changes();
            loop {
                tokio::select! {
                    () = stopped.notified() => return,
                    changed = changes.changed() => if changed.is_err() { return },
                }
                let state = state(&cx.timeline(), changes.borrow_and_update().clone());
                // Not interrupted by the stop: an edit on its way must not overtake the next.
                let edited = tokio::time::timeout(PATIENCE, conversation.comment(&cx, &state)).await;
                note("shown in the comment", edited.map(|edited| edited.map(|_| ())));
                tokio::select! {
                    () = stopped.notified() => return,
                    () = tokio::time::sleep(EDIT_EVERY) => {}
                }
            }
        });
        Live { stop, task: Some(task) }
    }
}

fn note(what: &str, outcome: std::result::Result<Result<(), Error>, tokio::time::error::Elapsed>) {
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(e)) => warn!(error = %e, "could not be {what}; the work goes on"),
        Err(_) => warn!("could not be {what} in time; the work goes on"),
    }
}

/// The comment's upkeep in the background; dropped, it ends where it is.
pub(crate) struct Live {
    stop: Arc<tokio::sync::Notify>,
    task: Option<JoinHandle<()>>,
}

impl Live {
    /// Returns when no edit is on its way any more.
    pub(crate) async fn stop(mut self) {
        self.stop.notify_one();
        if let Some(task) = self.task.take()
            && let Err(e) = task.await
        {
            warn!(error = %e, "the comment's upkeep ended in a mistake of the program");
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// The steps of `plan` as the comment's table shows them.
pub(crate) fn step_lines(plan: &[&str], timeline: &[StepTime]) -> Vec<StepLine> {
    plan.iter()
        .map(|name| {
            let time = timeline.iter().find(|step| step.key.scope.is_empty() && step.key.name == *name);
            let state = match time {
                None => StepLineState::Pending,
                Some(step) if step.failed => StepLineState::Failed,
                Some(step) if step.finished_at.is_some() => StepLineState::Done,
                Some(_) => StepLineState::Running,
            };
            let took = time.and_then(|step| (step.finished_at? - step.started_at).to_std().ok());
            StepLine { name: (*name).to_owned(), state, took }
        })
        .collect()
}
