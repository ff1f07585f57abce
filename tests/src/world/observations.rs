//! What people see of a world, and what must be true of it.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use seatrial_github_standin::{CommentView, Control, DEFAULT_LOGIN, DeploymentView, StatusView};

use super::{PATIENCE, World, said};
use crate::pages::{self, Answer};
use crate::rest::RunState;

impl World {
    /// Seatrial's comments on the page.
    pub async fn comments(&self, number: u64) -> Result<Vec<CommentView>> {
        let mut all = self.all_comments(number).await?;
        all.retain(|comment| comment.deleted_at.is_none());
        Ok(all)
    }

    /// All comments that Seatrial ever made, deleted ones too.
    pub async fn all_comments(&self, number: u64) -> Result<Vec<CommentView>> {
        let all = self.control.comments(&self.repository, number).await?;
        Ok(all.into_iter().filter(|comment| comment.author == DEFAULT_LOGIN).collect())
    }

    /// Reactions of Seatrial to a comment: `+1`, `confused`.
    pub async fn reactions(&self, number: u64, comment: u64) -> Result<Vec<String>> {
        let all = self.control.comments(&self.repository, number).await?;
        let found = all.into_iter().find(|one| one.id == comment).context("there is no such comment")?;
        let ours = format!("{DEFAULT_LOGIN}: ");
        Ok(found.reactions.iter().filter_map(|one| Some(one.strip_prefix(&ours)?.to_owned())).collect())
    }

    /// There never was another comment than the one that is there.
    pub async fn check_never_two(&self, number: u64) -> Result<()> {
        let all = self.all_comments(number).await?;
        ensure!(all.len() == 1, "there was more than one comment: {all:#?}");
        Ok(())
    }

    /// The one comment; an error if there are more or none.
    pub async fn the_comment(&self, number: u64) -> Result<CommentView> {
        let mut comments = self.comments(number).await?;
        ensure!(comments.len() == 1, "there must be one comment; there are {comments:#?}");
        comments.pop().context("one comment")
    }

    /// Waits until the comment has all these texts.
    pub async fn wait_comment(&self, number: u64, texts: &[&str], patience: Duration) -> Result<CommentView> {
        let found = self
            .control
            .wait_for(patience, async |_: &Control| {
                let comments = self.comments(number).await?;
                Ok(comments.into_iter().find(|comment| texts.iter().all(|text| comment.body.contains(text))))
            })
            .await;
        match found {
            Ok(comment) => Ok(comment),
            Err(error) => {
                let now = self.comments(number).await?.pop().map(|comment| comment.body);
                let now = now.unwrap_or_else(|| "there is none".to_owned());
                Err(error.context(format!("the comment of #{number} does not say {texts:?}; it says:\n{now}")))
            }
        }
    }

    /// Waits until the comment says that this commit is ready.
    pub async fn wait_ready(&self, number: u64, sha: &str) -> Result<CommentView> {
        self.wait_comment(number, &["Preview ready", &said(sha)], PATIENCE).await
    }

    /// Waits until the comment has the receipt of the teardown.
    pub async fn wait_receipt(&self, number: u64) -> Result<CommentView> {
        self.wait_comment(number, &["Preview removed", "is gone"], PATIENCE).await
    }

    /// The newest status of a commit.
    pub async fn status(&self, sha: &str) -> Result<Option<StatusView>> {
        let all = self.control.statuses(&self.repository).await?;
        Ok(all.into_iter().rfind(|status| status.sha == sha))
    }

    pub async fn deployments(&self) -> Result<Vec<DeploymentView>> {
        self.control.deployments(&self.repository).await
    }

    /// Deployments of the preview that GitHub shows as there, or on their way.
    pub async fn active_deployments(&self, number: u64) -> Result<Vec<DeploymentView>> {
        let mut deployments = self.deployments().await?;
        let ended = ["inactive", "failure", "error"];
        deployments.retain(|one| one.environment == self.namespace(number) && !ended.contains(&one.state.as_str()));
        Ok(deployments)
    }

    /// Opens a path of the preview as a browser does.
    pub async fn visit(&self, number: u64, path: &str) -> Result<Answer> {
        self.open_url(&format!("{}{path}", self.url(number))).await
    }

    pub async fn open_url(&self, url: &str) -> Result<Answer> {
        pages::open(&self.http, url).await
    }

    /// Everything that says that this commit is live: checked at once, because it must all be
    /// true as soon as the comment says so.
    pub async fn check_live(&self, number: u64, sha: &str) -> Result<()> {
        let comment = self.the_comment(number).await?;
        ensure!(comment.body.contains("Preview ready"), "the comment says {}", comment.body);
        ensure!(comment.body.contains(&said(sha)), "the comment is not about {sha}: {}", comment.body);
        ensure!(comment.body.contains(&self.url(number)), "the comment lacks the URL: {}", comment.body);

        let answer = self.visit(number, "/version").await?;
        ensure!(answer.sha().as_deref() == Some(sha), "{} answers {answer:?} instead of {sha}", self.url(number));
        let releases = self.cluster.releases(&self.namespace(number)).await?;
        ensure!(releases.last().is_some_and(|last| last == "deployed"), "the releases are {releases:?}");
        self.check_said_live(number, sha).await?;
        let active: Vec<_> = self.active_deployments(number).await?.into_iter().map(|one| one.sha).collect();
        ensure!(active == [sha], "GitHub shows other deployments as well: {active:?}");
        Ok(())
    }

    /// Commit status and deployment; said at the same time as the comment, so waited for.
    async fn check_said_live(&self, number: u64, sha: &str) -> Result<()> {
        let url = self.url(number);
        let told = self.control.wait_for(Duration::from_secs(10), async |_: &Control| {
            let status = self.status(sha).await?;
            let success = status.is_some_and(|s| s.state == "success" && s.target_url.as_deref() == Some(&*url));
            let deployments = self.deployments().await?;
            let deployed = deployments.iter().find(|one| one.sha == sha && one.environment == self.namespace(number));
            let live =
                deployed.is_some_and(|one| one.state == "success" && one.environment_url.as_deref() == Some(&*url));
            Ok((success && live).then_some(()))
        });
        if told.await.is_err() {
            bail!(
                "GitHub was not told that {sha} is live: {:#?} {:#?}",
                self.status(sha).await?,
                self.deployments().await?
            );
        }
        Ok(())
    }

    /// Everything that says that nothing is left.
    pub async fn check_gone(&self, number: u64) -> Result<()> {
        let run = self.wait_run(number, "preview_down").await?;
        ensure!(run.state == RunState::Succeeded, "{}", run.summary());
        let namespace = self.namespace(number);
        let found = self.cluster.namespace(&namespace).await?;
        ensure!(found.is_none(), "the receipt is there, and so is the namespace {namespace}");
        let comment = self.the_comment(number).await?;
        ensure!(comment.body.contains(&namespace), "the receipt does not name {namespace}: {}", comment.body);
        let answer = self.visit(number, "/version").await?;
        ensure!(answer.sha().is_none(), "the URL still answers {answer:?}");
        let active = self.active_deployments(number).await?;
        ensure!(active.is_empty(), "deployments are still active: {active:#?}");
        let url = self.url(number);
        let head = self.control.pull(&self.repository, number).await?.head_sha;
        let status = self.status(&head).await?;
        let told = status.as_ref().is_some_and(|one| one.state == "success" && one.target_url.as_ref() != Some(&url));
        ensure!(told, "the commit's status does not say that the preview is gone: {status:?}");
        Ok(())
    }
}
