//! What the domain needs of the world. Every operation may be repeated: the engine runs a step
//! again after a crash, so `ensure_`, `apply_`, `delete_` and `set_` are idempotent.
//!
//! Futures may be dropped at any await (a newer push cancels the step); nothing may be left
//! running behind them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;

use crate::access::{Account, SecretName};
use crate::environment::{Environment, Receipt, Said, ServiceTarget, Standing};
use crate::error::Result;
use crate::failure::{Diagnosis, FailureSnapshot, PodStatus};
use crate::ids::{CommentId, DeploymentId, EnvironmentId, HeadSha, Namespace, PullRequestRef, RepositoryName};
use crate::life::{Approval, Capacity, Place};
use crate::policies::{PodSecurity, Policies};
use crate::pull_request::PullRequest;
use crate::release::{ChartSource, Release, ReleaseSpec};

/// A Kubernetes cluster.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// Creates the namespace with its labels, or repairs ours. Waits for one of ours that is
    /// still being deleted. A namespace that exists and is not this pull request's is
    /// `Conflict`, and is left untouched.
    async fn ensure_namespace(&self, namespace: &NamespaceSpec) -> Result<()>;

    /// Whether the namespace is there, and whose it is. Writes nothing.
    async fn find_owner(&self, namespace: &Namespace, owner: &Owner) -> Result<Ownership>;

    /// Binds the accounts, then applies quota, limits and network policies with our field
    /// manager. What others own in these objects is left alone.
    async fn apply_policies(&self, namespace: &Namespace, policies: &Policies) -> Result<()>;

    /// A kubeconfig with a short-lived token of the namespace's own `helm` account.
    async fn helm_access(&self, namespace: &Namespace) -> Result<SecretString>;

    /// Waits, by watch, until every workload of the namespace is ready; it holds one release. What waiting cannot cure
    /// ends it at once with a diagnosis. Calls `progress` with words like `web 1/2` whenever
    /// they change. The caller sets the deadline.
    async fn await_rollout(&self, namespace: &Namespace, progress: ProgressSink) -> Result<Rollout>;

    /// Why the release is not ready right now, with evidence; for a deadline that has passed.
    async fn diagnose(&self, namespace: &Namespace) -> Result<Option<Diagnosis>>;

    /// The service people mean: the named one, or the release's only one with an HTTP port.
    /// `Invalid`, naming the candidates, when that is not clear; `NotFound` when there is none.
    async fn find_target(
        &self,
        namespace: &Namespace,
        service: Option<&str>,
        port: Option<u16>,
    ) -> Result<ServiceTarget>;

    /// One HTTP GET of the target through the API server's service proxy.
    async fn probe(&self, namespace: &Namespace, target: &ServiceTarget, path: &str) -> Result<ProbeAnswer>;

    /// A byte stream to a ready pod behind the target (port-forward). The gateway speaks HTTP
    /// over it. `Transient` when no pod is ready.
    async fn connect(&self, namespace: &Namespace, target: &ServiceTarget) -> Result<Box<dyn ByteStream>>;

    /// Pods, events, current and previous logs; bounded in size.
    async fn snapshot(&self, namespace: &Namespace) -> Result<FailureSnapshot>;

    async fn list_pods(&self, namespace: &Namespace) -> Result<Vec<PodStatus>>;

    /// Log lines, oldest first; goes on for ever with `follow`. `NotFound` names the containers
    /// there are.
    async fn logs(&self, namespace: &Namespace, query: LogQuery) -> Result<BoxStream<'static, Result<Bytes>>>;

    /// `Kind/name` of what the namespace holds, without what Kubernetes makes by itself.
    async fn list_contents(&self, namespace: &Namespace) -> Result<Vec<String>>;

    /// Asks for the namespace's deletion, if it is this pull request's. `NotFound` when there is
    /// none, `Conflict` when it is not ours.
    async fn delete_namespace(&self, namespace: &Namespace, owner: &Owner) -> Result<()>;

    /// Waits, by watch, until the API server says the namespace does not exist. After `patience`
    /// it fails with a diagnosis that names what holds it.
    async fn await_namespace_gone(&self, namespace: &Namespace, patience: Duration) -> Result<()>;

    /// The server's version, or why it cannot be reached.
    async fn version(&self) -> Result<String>;

    /// Copies secrets of other namespaces into the preview's, by server-side apply. `NotFound`
    /// names the one that is not there, `Forbidden` what must be granted.
    async fn copy_secrets(&self, namespace: &Namespace, secrets: &[SecretRef]) -> Result<()>;

    /// Makes the secrets of the project one Secret of the preview's namespace,
    /// [`PROJECT_SECRETS`], by server-side apply. What is not among them any more is taken out.
    async fn put_secrets(&self, namespace: &Namespace, secrets: &[ProjectSecret]) -> Result<()>;

    /// Scales every Deployment and StatefulSet of the namespace to zero and keeps the number of
    /// replicas with it. What sleeps already is left as it is.
    async fn scale_to_zero(&self, namespace: &Namespace) -> Result<()>;

    /// Undoes [`Cluster::scale_to_zero`]. What is not asleep is left as it is.
    async fn scale_back(&self, namespace: &Namespace) -> Result<()>;

    /// All namespaces that bear our labels, those being deleted left out.
    async fn list_namespaces(&self) -> Result<Vec<NamespaceFound>>;
}

/// A namespace that bears our labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamespaceFound {
    pub name: Namespace,
    pub at: PullRequestRef,
    pub environment: EnvironmentId,
}

/// A secret of another namespace: `previews/registry-credentials`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRef {
    pub namespace: String,
    pub name: String,
}

/// The name of the Secret that holds a project's secrets in each of its previews' namespaces.
pub const PROJECT_SECRETS: &str = "project-secrets";

/// A secret of a project.
#[derive(Debug, Clone)]
pub struct ProjectSecret {
    pub name: SecretName,
    pub value: SecretString,
}

/// Where the secrets of projects are.
#[async_trait]
pub trait ProjectSecrets: Send + Sync + 'static {
    /// By name; `None` when the repository is no project.
    async fn load(&self, repository: &RepositoryName) -> Result<Option<Vec<ProjectSecret>>>;
}

/// Whose a namespace is to be. The environment decides: the pull request has another name after its
/// repository was renamed, and another Seatrial may serve it, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub at: PullRequestRef,
    pub environment: EnvironmentId,
}

/// Whose a namespace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ownership {
    /// This pull request's.
    Ours,
    /// Somebody else's: to be left untouched.
    Foreign,
    /// There is none.
    Absent,
}

/// A namespace to be made, and whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamespaceSpec {
    pub name: Namespace,
    pub at: PullRequestRef,
    pub environment: EnvironmentId,
    pub pod_security: PodSecurity,
}

/// What [`Cluster::await_rollout`] saw in the end: `("Deployment/shop", "2/2")`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    pub workloads: Vec<(String, String)>,
}

/// Receives progress in words.
pub type ProgressSink = Arc<dyn Fn(String) + Send + Sync>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeAnswer {
    pub status: u16,
    /// The first 2 KiB of the body, as text.
    pub body: String,
}

/// A two-way byte stream.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for T {}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogQuery {
    /// The newest pod when absent.
    pub pod: Option<String>,
    /// The pod's first container when absent.
    pub container: Option<String>,
    /// The container's previous life.
    pub previous: bool,
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<i64>,
}

/// Helm.
#[async_trait]
pub trait Releases: Send + Sync + 'static {
    /// Pins what may change under the same name: charts of registries and chart repositories by
    /// their digest. The others are pinned by the commit, or by the program, and come back as they
    /// are. `NotFound`, with the newest versions, when there is no such chart or version;
    /// `Forbidden`, with what to do, when it may not be read.
    async fn resolve(&self, chart: &ChartSource) -> Result<ChartSource>;

    /// The version of the program; `Invalid`, with what to install, when it is missing or too old.
    async fn version(&self) -> Result<String>;

    /// `helm upgrade --install` under `access` (a kubeconfig). A release found `pending-*` is
    /// recovered first. A remote chart that is pinned is installed as it was then, or not at all.
    /// `source` is the repository at the head commit as `tar.gz`; needed when
    /// the chart or a values file comes from a path.
    async fn install(
        &self,
        namespace: &Namespace,
        access: &SecretString,
        spec: &ReleaseSpec,
        source: Option<Bytes>,
    ) -> Result<Release>;

    /// `helm uninstall`, hooks included. `false` when there was no such release.
    async fn uninstall(&self, namespace: &Namespace, access: &SecretString, release: &str) -> Result<bool>;
}

/// Container registries.
#[async_trait]
pub trait Images: Send + Sync + 'static {
    /// The digest behind a tag; `None` when the registry says that it is not there.
    async fn find_digest(&self, repository: &str, tag: &str) -> Result<Option<String>>;
}

/// GitHub.
#[async_trait]
pub trait Forge: Send + Sync + 'static {
    async fn load_pull_request(&self, at: &PullRequestRef) -> Result<PullRequest>;

    /// The repositories that Seatrial was given access to, sorted: of an App's installations, or
    /// those a token may push to. `Invalid`, with the advice, when there are more than 1000.
    async fn list_repositories(&self) -> Result<Vec<RepositoryName>>;

    /// Oldest first. One that is closed while the list is read can hide another: before a preview
    /// is removed because its pull request is not here, ask for that pull request.
    async fn list_open_pull_requests(&self, repository: &RepositoryName) -> Result<Vec<PullRequest>>;

    /// Paths that the pull request changes, old names of renamed files among them; at most 3000
    /// files, as many as GitHub lists.
    async fn list_changed_files(&self, at: &PullRequestRef) -> Result<Vec<String>>;

    /// How the newest check run or commit status of that name stands on the commit; `None` when
    /// there is none.
    async fn find_check(&self, repository: &RepositoryName, sha: &HeadSha, name: &str) -> Result<Option<Check>>;

    /// Whether the account may push to the repository, as GitHub sees it now. `false` for logins
    /// that nobody has.
    async fn can_write(&self, repository: &RepositoryName, login: &str) -> Result<bool>;

    /// The account of a login; `None` when nobody has it.
    async fn find_account(&self, login: &str) -> Result<Option<Account>>;

    /// Puts a reaction on a comment; one that is there already is fine. `NotFound` when the
    /// comment is gone.
    async fn react(&self, repository: &RepositoryName, comment: CommentId, reaction: Reaction) -> Result<()>;

    /// A text file of the repository at a branch or commit; at most 1 MiB.
    async fn find_file(&self, repository: &RepositoryName, git_ref: &str, path: &str) -> Result<Option<String>>;

    /// The repository at a commit as `tar.gz`; at most 64 MiB.
    async fn download_source(&self, repository: &RepositoryName, sha: &HeadSha) -> Result<Bytes>;

    /// Our comments on the pull request that contain the marker, oldest first. Only comments by
    /// our own account count. More than one are there when the answer to a creation was lost, and
    /// GitHub's list did not show it yet when it was repeated.
    async fn find_comments(&self, at: &PullRequestRef, marker: &str) -> Result<Vec<CommentId>>;

    /// `Transient` says that it may have been made all the same: look for it before trying again,
    /// not before [`Error::retry_after`].
    async fn create_comment(&self, at: &PullRequestRef, body: &str) -> Result<CommentId>;

    /// `NotFound` when somebody deleted it.
    async fn update_comment(&self, repository: &RepositoryName, comment: CommentId, body: &str) -> Result<()>;

    /// One that is gone already is fine.
    async fn delete_comment(&self, repository: &RepositoryName, comment: CommentId) -> Result<()>;

    /// A deployment of the commit in the environment; one that exists for the same commit and
    /// environment is returned again.
    async fn ensure_deployment(&self, deployment: &NewDeployment) -> Result<DeploymentId>;

    async fn set_deployment_status(
        &self,
        repository: &RepositoryName,
        deployment: DeploymentId,
        status: &DeploymentStatus,
    ) -> Result<()>;

    /// Gives this last status to every deployment of the environment that has not ended: each
    /// push made one.
    async fn end_deployments(
        &self,
        repository: &RepositoryName,
        environment: &str,
        status: &DeploymentStatus,
    ) -> Result<()>;

    async fn set_commit_status(&self, repository: &RepositoryName, sha: &HeadSha, status: &CommitStatus) -> Result<()>;
}

/// Says who somebody is, by the OAuth authorization code flow with PKCE (RFC 6749, RFC 7636).
#[async_trait]
pub trait Identities: Send + Sync + 'static {
    /// Where a browser is sent. `challenge` is the S256 of the verifier.
    fn authorize_url(&self, state: &str, challenge: &str, redirect: &Url) -> Url;

    /// Whose the code is that came back. `Forbidden` when it is not valid (any more), or not for
    /// this verifier.
    async fn identify(&self, code: &str, verifier: &str, redirect: &Url) -> Result<Account>;
}

/// A check run or commit status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub outcome: CheckOutcome,
    /// Its page: `http://…` or `https://…`. Hostile otherwise.
    pub url: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// Not ended, or waiting for somebody to act.
    Pending,
    /// Neutral and skipped checks too.
    Succeeded,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reaction {
    /// It is being done.
    ThumbsUp,
    /// It is not.
    Confused,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewDeployment {
    pub repository: RepositoryName,
    pub sha: HeadSha,
    /// The environment's name on GitHub: the namespace.
    pub environment: String,
    pub description: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeploymentStatus {
    pub state: DeploymentState,
    /// At most 140 characters.
    pub description: String,
    pub environment_url: Option<String>,
    pub log_url: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentState {
    InProgress,
    Success,
    Failure,
    Inactive,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommitStatus {
    pub state: CommitState,
    /// At most 140 characters.
    pub description: String,
    pub target_url: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitState {
    Pending,
    Success,
    Failure,
    Error,
}

/// What Seatrial remembers of its environments.
#[async_trait]
pub trait Environments: Send + Sync + 'static {
    /// The pull request's environment, made on first sight. Its namespace and host are chosen
    /// here, once, and never change; see [`crate::naming`].
    async fn ensure(&self, pull_request: &PullRequest) -> Result<Environment>;

    async fn find(&self, at: &PullRequestRef) -> Result<Option<Environment>>;

    async fn remember(&self, environment: EnvironmentId, fact: Fact) -> Result<()>;

    /// Takes a place for the environment, or one in the queue for it: the first come, the first
    /// served, but who waits for their own repository's limit holds up nobody else. Who waits gets
    /// the signal [`ROOM`] when a place may have come free, and asks again.
    async fn reserve(&self, environment: EnvironmentId, capacity: Capacity) -> Result<Place>;

    /// All environments that are not deleted.
    async fn list_standing(&self) -> Result<Vec<Standing>>;

    /// Keeps what was to be seen when the run failed.
    async fn keep_snapshot(
        &self,
        environment: EnvironmentId,
        run: uuid::Uuid,
        snapshot: &FailureSnapshot,
    ) -> Result<()>;
}

/// The signal that something has come which a run may be waiting for: an image, a check.
pub const ARRIVED: &str = "arrived";

/// See [`Environments::reserve`].
pub const ROOM: &str = "room";

/// One thing learnt about an environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Fact {
    /// The comment's id; `None` when it turned out to be gone.
    Comment(Option<CommentId>),
    Deployment(DeploymentId),
    /// A run began for this commit: earlier refusals, failures and receipts are history.
    Requested(HeadSha),
    Target(ServiceTarget),
    Live(HeadSha),
    /// How long the deployed commit's settings let it live. Counts as use.
    Life {
        ttl: Duration,
        sleep_after: Option<Duration>,
    },
    /// Somebody visited it or asked something of it.
    Used,
    /// Scaled to zero, or back.
    Asleep(bool),
    Pinned(bool),
    KeptUntil(DateTime<Utc>),
    /// People were told that it will be deleted.
    Warned,
    Approved(Approval),
    /// What the comment says now.
    Said(Box<Said>),
    Refused(String),
    /// Whoever waits for a place does so no longer.
    Failed(Diagnosis),
    /// It was cancelled, and waits for a place no longer.
    LeftLine,
    Deleted(Receipt),
    /// What has its name in the cluster is somebody else's.
    NotOurs(Diagnosis),
}
