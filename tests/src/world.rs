//! A world: everything one test needs, and nothing it shares but the cluster.

use std::fs::{File, TryLockError};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures::{FutureExt, StreamExt};
use seatrial_github_standin::{
    Action, CommentView, Control, DEFAULT_LOGIN, DEFAULT_TOKEN, DeploymentView, Fault, HookChange, HookMode, NewCommit,
    NewPull, Options as StandinOptions, Standin, StatusView,
};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::pages::{self, Answer};
use crate::program::{Parts, Program, TOKEN};
use crate::registry::Registry;
use crate::rest::{Rest, Run, RunState};
use crate::sample::{self, Change};
use crate::webhook::{SECRET, Webhook};
use crate::{ASK_EVERY, Cluster, Setting, account, evidence};

/// How long anything may take on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How long a whole test may take.
const TEST: Duration = Duration::from_secs(420);

/// How a world differs from the usual one.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// More lines of `.seatrial.yaml`; a `health:` of its own takes the place of the usual one.
    pub settings: String,
    /// The base branch has no `.seatrial.yaml`.
    pub unconfigured: bool,
    /// The repository's name as it is, instead of a unique one.
    pub repository: Option<String>,
    /// Ports that people may know, taken if they are free.
    pub github_port: Option<u16>,
    pub port: Option<u16>,
    pub gateway_port: Option<u16>,
}

/// A pull request.
#[derive(Clone, Debug)]
pub struct Pull {
    pub number: u64,
    pub branch: String,
    /// The commit it was opened at.
    pub sha: String,
    /// Its page on the stand-in.
    pub html_url: String,
}

pub struct World {
    /// `acme/…`.
    pub repository: String,
    pub control: Control,
    pub cluster: Cluster,
    pub program: Program,
    pub rest: Rest,
    github: Standin,
    registry: Registry,
    http: reqwest::Client,
    /// Namespaces that the test made itself.
    foreign: Vec<String>,
    folder: TempDir,
    /// The repository's name, where it is not unique.
    _lock: Option<File>,
}

impl World {
    /// Runs a test in a world of its own. A failure leaves a folder with what is needed to
    /// understand it, and names it; a success leaves nothing.
    pub async fn tell<F>(name: &str, story: F) -> Result<()>
    where
        F: AsyncFnOnce(&mut Self) -> Result<()>,
    {
        Self::tell_with(name, Options::default(), story).await
    }

    /// As [`World::tell`], in a world that differs.
    pub async fn tell_with<F>(name: &str, options: Options, story: F) -> Result<()>
    where
        F: AsyncFnOnce(&mut Self) -> Result<()>,
    {
        let mut world = Self::start(name, options).await?;
        let told = tokio::time::timeout(TEST, AssertUnwindSafe(story(&mut world)).catch_unwind()).await;
        let failure = match told {
            Ok(Ok(Ok(()))) => return world.finish().await,
            Ok(Ok(Err(error))) => Ok(error),
            Ok(Err(panic)) => Err(panic),
            Err(_) => Ok(anyhow!("the test did not end within {TEST:?}")),
        };
        let folder = world.keep_evidence().await;
        match failure {
            Ok(error) => Err(error.context(format!("what was to be seen is in {}", folder.display()))),
            Err(panic) => {
                eprintln!("what was to be seen is in {}", folder.display());
                std::panic::resume_unwind(panic)
            }
        }
    }

    /// A world with its program running.
    pub async fn start(name: &str, options: Options) -> Result<Self> {
        let mut world = Self::prepare(name, options).await?;
        world.program.start().await?;
        Ok(world)
    }

    /// A world whose program is not started yet.
    pub async fn prepare(name: &str, options: Options) -> Result<Self> {
        let setting = Setting::from_environment()?;
        let cluster = Cluster::connect(&setting).await?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .build()?;
        let folder = tempfile::Builder::new().prefix(&format!("seatrial-{name}-")).tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, account::kubeconfig(&setting, &cluster).await?)?;

        let github = start_github(options.github_port).await?;
        let control = github.control()?;
        let mut lock = None;
        let repository = match options.repository {
            None => format!("acme/{}", unique(name)),
            Some(known) => {
                lock = Some(hold(&known)?);
                // What a world of this name left when it was killed.
                for namespace in cluster.namespaces_of(&known).await? {
                    cluster.delete_namespace(&namespace).await?;
                    cluster.wait_gone(&namespace, PATIENCE).await?;
                }
                known
            }
        };
        let registry = Registry::new(&setting.registry, http.clone());
        let settings = (!options.unconfigured).then(|| sample::settings(&registry.image(), &options.settings));
        control.repository(&repository, sample::repository(settings.as_deref())?).await?;

        let program = Program::new(Parts {
            setting: &setting,
            folder: folder.path(),
            kubeconfig: &kubeconfig,
            github_url: github.url(),
            github_token: DEFAULT_TOKEN,
            gateway_port: options.gateway_port,
            port: options.port,
            http: http.clone(),
        })?;
        control.webhook(&format!("{}/api/webhooks/github", program.url()), SECRET).await?;
        let rest = Rest::new(&program.url(), TOKEN, http.clone());
        Ok(Self {
            repository,
            control,
            cluster,
            program,
            rest,
            github,
            registry,
            http,
            foreign: Vec::new(),
            folder,
            _lock: lock,
        })
    }

    /// Leaves nothing behind.
    pub async fn finish(mut self) -> Result<()> {
        self.end_program();
        for namespace in self.namespaces().await? {
            self.cluster.delete_namespace(&namespace).await?;
        }
        self.github.stop().await
    }

    /// Ends the program and keeps all that helps to understand a failure; answers the folder.
    pub async fn keep_evidence(mut self) -> PathBuf {
        evidence::collect(&self, self.folder.path()).await;
        self.end_program();
        // The namespaces hold pods, and pods take room from other tests.
        for namespace in self.namespaces().await.unwrap_or_default() {
            if let Err(error) = self.cluster.delete_namespace(&namespace).await {
                eprintln!("{error:#}");
            }
        }
        self.folder.keep()
    }

    fn end_program(&mut self) {
        // A test may have ended it already.
        let _ = self.program.kill();
    }

    /// What this world has in the cluster.
    pub(crate) async fn namespaces(&self) -> Result<Vec<String>> {
        let mut namespaces = self.cluster.namespaces_of(&self.repository).await?;
        namespaces.extend(self.foreign.iter().cloned());
        Ok(namespaces)
    }

    // ---- names -------------------------------------------------------------------------------

    fn name(&self) -> &str {
        self.repository.split_once('/').map_or("", |(_, name)| name)
    }

    pub fn namespace(&self, number: u64) -> String {
        format!("pr-{}-{number}", self.name())
    }

    /// Where the preview is opened.
    pub fn url(&self, number: u64) -> String {
        format!("http://pr-{number}-{}.localhost:{}", self.name(), self.program.gateway_port())
    }

    pub fn key(&self, number: u64) -> String {
        format!("{}#{number}", self.repository)
    }

    pub fn github_url(&self) -> &str {
        self.github.url()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The path of the repository in GitHub's API.
    pub fn api_path(&self, below: &str) -> String {
        format!("/repos/{}{below}", self.repository)
    }

    // ---- what people do ----------------------------------------------------------------------

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

    // ---- what people see ---------------------------------------------------------------------

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
        let pending = releases.iter().find(|release| release.starts_with("pending"));
        ensure!(pending.is_none(), "a release is left behind: {releases:?}");
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

    // ---- runs --------------------------------------------------------------------------------

    pub async fn runs(&self, number: u64) -> Result<Vec<Run>> {
        self.rest.runs(&self.key(number)).await
    }

    /// The newest run of the pull request.
    pub async fn newest_run(&self, number: u64) -> Result<Run> {
        self.runs(number).await?.pop().with_context(|| format!("there is no run of {}", self.key(number)))
    }

    /// Waits until the newest run of a workflow has ended.
    pub async fn wait_run(&self, number: u64, workflow: &str) -> Result<Run> {
        let what = format!("the end of {workflow} of {}", self.key(number));
        until(&what, PATIENCE, async || {
            let newest = self.runs(number).await?.pop();
            Ok(newest.filter(|run| run.workflow == workflow && run.state.is_final()))
        })
        .await
    }

    /// Waits until the newest run has begun one of these steps, or is past it.
    pub async fn wait_step(&self, number: u64, workflow: &str, step: &str) -> Result<Run> {
        let key = self.key(number);
        let what = format!("step {step} of {workflow} of {key}");
        let waited = async {
            // Events are listened to before the journal is read, so that none is missed.
            let mut events = std::pin::pin!(self.rest.events(&key).await?);
            loop {
                let newest = self.runs(number).await?.pop().filter(|run| run.workflow == workflow);
                if let Some(run) = newest {
                    if run.step(step).is_some() {
                        return Ok(run);
                    }
                    ensure!(!run.state.is_final(), "the run ended without it: {}", run.summary());
                }
                loop {
                    let event = events.next().await.context("the stream of events ended")??;
                    if event.kind != "progress" || event.text.is_none() {
                        break;
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, waited)
            .await
            .with_context(|| format!("{what}: not within {PATIENCE:?}"))?
            .context(what)
    }
}

/// How the comment names the commit it is about.
pub fn said(sha: &str) -> String {
    format!("Commit `{}`", &sha[..7])
}

/// Asks until there is an answer, for what cannot be watched.
pub async fn until<T>(what: &str, patience: Duration, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        let seen = look().await.with_context(|| what.to_owned())?;
        if let Some(found) = seen {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "{what}: not within {patience:?}");
        sleep(ASK_EVERY).await;
    }
}

/// Two worlds of one name would remove each other's namespaces.
fn hold(repository: &str) -> Result<File> {
    let file =
        File::create(std::env::temp_dir().join(format!("seatrial-world-{}.lock", repository.replace('/', "-"))))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another demonstration with {repository} runs: end it first"),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// The stand-in at the wished port if that is free.
async fn start_github(port: Option<u16>) -> Result<Standin> {
    if let Some(port) = port.filter(|port| crate::ports::is_free(*port)) {
        return Standin::start(&format!("127.0.0.1:{port}"), StandinOptions::default()).await;
    }
    Standin::start("127.0.0.1:0", StandinOptions::default()).await
}

/// A name that no other test's repository has, and that is a plain part of a namespace's.
fn unique(name: &str) -> String {
    let id = uuid::Uuid::now_v7().simple().to_string();
    let kept: String = name.chars().take(34).collect();
    format!("{}-{}", kept.trim_end_matches('-'), &id[id.len() - 8..])
}
