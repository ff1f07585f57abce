//! A world: everything one test needs, and nothing it shares but the cluster.

use std::fs::{File, TryLockError};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures::FutureExt;
use seatrial_github_standin::{Control, DEFAULT_TOKEN, Options as StandinOptions, Standin};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::program::{Parts, Program, TOKEN};
use crate::registry::Registry;
use crate::rest::Rest;
use crate::sample;
use crate::webhook::SECRET;
use crate::wire::Wire;
use crate::{ASK_EVERY, Cluster, Setting, account, evidence};

mod actions;
mod observations;
mod runs;

/// How long anything may take on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How long a whole test may take.
const TEST: Duration = Duration::from_secs(420);

/// How a world differs from the usual one.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// More lines of `.seatrial.yaml`; an `image:` or a `health:` of its own takes the place of the
    /// usual one. `{image}` stands for the sample application's image.
    pub settings: String,
    /// Settings of the program.
    pub environment: Vec<(&'static str, &'static str)>,
    /// The base branch has no `.seatrial.yaml`.
    pub unconfigured: bool,
    /// The program reaches the cluster over a line that can be cut.
    pub cuttable: bool,
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
    /// The line between the program and the cluster, if it can be cut.
    wire: Option<Wire>,
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
        world.begin().await?;
        Ok(world)
    }

    /// Starts the program of a prepared world.
    pub async fn begin(&mut self) -> Result<()> {
        self.program.start().await?;
        // A pull request that is opened meanwhile would be found by it and told of by its event: the
        // later one supersedes the other, which is right, and one run more than a test counts on.
        until("the first reconciliation", PATIENCE, async || {
            let runs = self.rest.runs("reconcile").await?;
            Ok((!runs.is_empty() && runs.iter().all(|run| run.state.is_final())).then_some(()))
        })
        .await
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
        let (wire, address) = if options.cuttable {
            let (wire, address) = Wire::to(cluster.address()).await?;
            (Some(wire), address)
        } else {
            (None, cluster.address().clone())
        };
        std::fs::write(&kubeconfig, account::kubeconfig(&setting, &cluster, &address).await?)?;

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
        let registry = Registry::new(&setting, http.clone());
        let settings = (!options.unconfigured).then(|| sample::settings(&registry.image(), &options.settings));
        control.repository(&repository, sample::repository(settings.as_deref())?).await?;

        let mut program = Program::new(Parts {
            setting: &setting,
            folder: folder.path(),
            kubeconfig: &kubeconfig,
            github_url: github.url(),
            github_token: DEFAULT_TOKEN,
            gateway_port: options.gateway_port,
            port: options.port,
            http: http.clone(),
        })?;
        for (name, value) in options.environment {
            program.set(name, value);
        }
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
            wire,
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
