//! What people, GitHub and bad luck do to a world.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use seatrial_engine::{Clock, ManualClock, SystemClock};
use seatrial_github_standin::{Action, Control, DEFAULT_TOKEN, Fault, HookChange, HookMode, NewCommit, NewPull};

use seatrial_preview::PullRequestRef;
use seatrial_preview::naming::UrlTemplate;
use seatrial_preview::ports::Fact;
use seatrial_store::{Store, StoreOptions};

use super::{Pull, World};
use crate::sample::Change;
use crate::webhook::Webhook;

impl World {
    /// A branch with one commit, whose image is there.
    pub async fn branch(&self, branch: &str, change: Change) -> Result<String> {
        let commit = NewCommit { branch: branch.to_owned(), files: change.files, ..NewCommit::default() };
        let sha = self.control.commit(&self.repository, &commit).await?;
        if change.has_image {
            self.registry.tag(&sha).await?;
        }
        Ok(sha)
    }

    pub async fn open_pull(&self, branch: &str, change: Change) -> Result<Pull> {
        self.open(NewPull { title: format!("Add {branch}"), head: branch.to_owned(), ..NewPull::default() }, change)
            .await
    }

    /// Opens a pull request of one commit on its own branch.
    pub async fn open(&self, new: NewPull, change: Change) -> Result<Pull> {
        self.branch(&new.head, change).await?;
        let made = self.control.open_pull(&self.repository, &new).await?;
        self.check_accepted().await?;
        Ok(Pull { number: made.number, branch: made.head_branch, sha: made.head_sha, html_url: made.html_url })
    }

    /// Pushes a commit; Seatrial hears of it when its image is there.
    pub async fn push(&self, pull: &Pull, change: Change) -> Result<String> {
        let has_image = change.has_image;
        self.hooks(HookMode::Hold).await?;
        let commit = NewCommit { files: change.files, ..NewCommit::default() };
        let sha = self.control.push(&self.repository, pull.number, &commit).await?;
        if has_image {
            self.registry.tag(&sha).await?;
        }
        self.control.release(&[]).await?;
        self.check_accepted().await?;
        Ok(sha)
    }

    /// Pushes a commit that no event tells of.
    pub async fn push_unheard(&self, pull: &Pull, change: Change) -> Result<String> {
        let commit = NewCommit { files: change.files, ..NewCommit::default() };
        let sha = self.control.push(&self.repository, pull.number, &commit).await?;
        self.publish_image(&sha).await?;
        Ok(sha)
    }

    /// Commits another `.seatrial.yaml` to the base branch. `{image}` stands for the sample
    /// application's image.
    pub async fn set_settings(&self, settings: &str) -> Result<()> {
        let settings = settings.replace("{image}", &self.registry.image());
        let files = seatrial_github_standin::files([(".seatrial.yaml", settings.as_str())]);
        let commit = NewCommit { branch: "main".to_owned(), files, ..NewCommit::default() };
        self.control.commit(&self.repository, &commit).await.map(drop)
    }

    /// The commit's image was built.
    pub async fn publish_image(&self, sha: &str) -> Result<()> {
        self.registry.tag(sha).await
    }

    /// The preview was used last so many seconds ago, as far as the program remembers.
    pub async fn use_long_ago(&self, number: u64, seconds: u64) -> Result<()> {
        self.remember_long_ago(number, seconds, Fact::Used).await
    }

    /// People were warned so many seconds ago that it will be deleted.
    pub async fn warned_long_ago(&self, number: u64, seconds: u64) -> Result<()> {
        self.remember_long_ago(number, seconds, Fact::Warned).await
    }

    /// Writes beside the running program, with a clock that is late.
    async fn remember_long_ago(&self, number: u64, seconds: u64, fact: Fact) -> Result<()> {
        let past = SystemClock.now() - Duration::from_secs(seconds);
        let store = Store::open(StoreOptions {
            url: self.program.database_url(),
            preview_url: UrlTemplate::parse(&self.program.preview_url())?,
            clock: Arc::new(ManualClock::at(past)),
        });
        let store = store.await?;
        let at = PullRequestRef { repository: self.repository.parse()?, number };
        let environment = store.find(&at).await?.context("there is no such environment")?;
        Ok(store.remember(environment.id, fact).await?)
    }

    pub async fn close(&self, pull: &Pull) -> Result<()> {
        self.control.close(&self.repository, pull.number).await?;
        self.check_accepted().await
    }

    pub async fn reopen(&self, pull: &Pull) -> Result<()> {
        self.control.reopen(&self.repository, pull.number).await?;
        self.check_accepted().await
    }

    /// The newest event was taken: otherwise there is nothing to wait for.
    async fn check_accepted(&self) -> Result<()> {
        let newest = self.control.wait_for(Duration::from_secs(30), async |control: &Control| {
            let deliveries = control.deliveries().await?;
            let newest = deliveries.into_iter().rfind(|delivery| delivery.event == "pull_request");
            Ok(newest.filter(|delivery| delivery.status_code.is_some()))
        });
        let newest = newest.await.context("the event was not answered")?;
        let (action, status) = (newest.action.unwrap_or_default(), newest.status_code);
        ensure!(status == Some(202), "the event {action:?} was answered with {status:?}");
        Ok(())
    }

    /// What becomes of events from now on.
    pub async fn hooks(&self, mode: HookMode) -> Result<()> {
        self.control.set_webhook(&HookChange { mode: Some(mode), ..HookChange::default() }).await
    }

    /// Makes GitHub misbehave.
    pub async fn fault(&self, fault: Fault) -> Result<()> {
        self.control.fault(&fault).await
    }

    /// GitHub takes this long for the next request of this kind.
    pub async fn slow(&self, method: &str, path: &str, skip: u32) -> Result<()> {
        self.fault(Fault::new(Action::Delay { ms: 3_000 }).on(method, &self.api_path(path)).after(skip)).await
    }

    /// The Kubernetes API is away, as far as the program can see.
    pub fn cut_off_cluster(&self) -> Result<()> {
        self.wire.as_ref().context("the world was not made with `cuttable`").map(|wire| wire.cut())
    }

    /// The Kubernetes API is back.
    pub fn reach_cluster_again(&self) -> Result<()> {
        self.wire.as_ref().context("the world was not made with `cuttable`").map(|wire| wire.mend())
    }

    /// Publishes the sample's chart as `oci://REGISTRY/charts/NAME`, with other values; answers the reference without a version.
    pub async fn publish_chart(&self, name: &str, version: &str, values: &[(&str, &str)]) -> Result<String> {
        self.registry.publish_chart(self.folder.path(), name, version, values).await
    }

    /// Sends a delivery to the webhook; answers the status code.
    pub async fn deliver(&self, webhook: &Webhook, signature: Option<&str>) -> Result<u16> {
        webhook.send(&self.http, &format!("{}/api/webhooks/github", self.program.url()), signature).await
    }

    /// Makes a namespace that is not Seatrial's; it goes away with the world.
    pub async fn make_foreign_namespace(&mut self, name: &str, labels: &[(&str, &str)]) -> Result<()> {
        self.foreign.push(name.to_owned());
        self.cluster.make_namespace(name, labels).await.map(drop)
    }

    /// Deletes a comment, as its author may.
    pub async fn delete_comment(&self, id: u64) -> Result<()> {
        let url = format!("{}{}", self.github.url(), self.api_path(&format!("/issues/comments/{id}")));
        let deleted = self.http.delete(url).header("user-agent", "tests").bearer_auth(DEFAULT_TOKEN).send().await?;
        ensure!(deleted.status().is_success(), "the comment could not be deleted: {}", deleted.status());
        Ok(())
    }

    pub async fn restart(&mut self) -> Result<()> {
        self.program.start().await
    }
}
