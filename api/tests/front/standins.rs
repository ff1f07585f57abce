//! A cluster and a forge that answer what the front asks.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, iter};
use seatrial_preview::access::{Account, PersonId};
use seatrial_preview::environment::ServiceTarget;
use seatrial_preview::failure::{ContainerStatus, Diagnosis, FailureSnapshot, PodStatus};
use seatrial_preview::policies::Policies;
use seatrial_preview::ports::*;
use seatrial_preview::pull_request::PullRequest;
use seatrial_preview::{CommentId, DeploymentId, Error, HeadSha, Namespace, PullRequestRef, RepositoryName, Result};
use secrecy::SecretString;
use tokio::net::TcpStream;

/// Has the pods and logs it is given; previews answer at `application`.
#[derive(Default)]
pub struct StandInCluster {
    pub application: Mutex<Option<SocketAddr>>,
    /// The namespaces that were connected to.
    pub connected: Mutex<Vec<String>>,
    pub pods: Mutex<Vec<PodStatus>>,
    pub log: Mutex<Vec<String>>,
}

pub fn pod(name: &str, state: &str, ready: bool) -> PodStatus {
    PodStatus {
        name: name.to_owned(),
        phase: "Running".to_owned(),
        ready,
        node: Some("node-1".to_owned()),
        containers: vec![ContainerStatus {
            name: "web".to_owned(),
            image: "registry.example/shop:3f2c1ab".to_owned(),
            init: false,
            ready,
            restarts: if ready { 0 } else { 4 },
            state: state.to_owned(),
            message: None,
        }],
    }
}

fn not_asked<T>(what: &str) -> Result<T> {
    Err(Error::invalid(format!("the front does not ask the cluster for {what}")))
}

#[async_trait]
impl Cluster for StandInCluster {
    async fn ensure_namespace(&self, _: &NamespaceSpec) -> Result<()> {
        not_asked("a namespace")
    }
    async fn find_owner(&self, _: &Namespace, _: &Owner) -> Result<Ownership> {
        not_asked("an owner")
    }
    async fn apply_policies(&self, _: &Namespace, _: &Policies) -> Result<()> {
        not_asked("policies")
    }
    async fn helm_access(&self, _: &Namespace) -> Result<SecretString> {
        not_asked("access")
    }
    async fn await_rollout(&self, _: &Namespace, _: ProgressSink) -> Result<Rollout> {
        not_asked("a rollout")
    }
    async fn diagnose(&self, _: &Namespace) -> Result<Option<Diagnosis>> {
        not_asked("a diagnosis")
    }
    async fn find_target(&self, _: &Namespace, _: Option<&str>, _: Option<u16>) -> Result<ServiceTarget> {
        not_asked("a target")
    }
    async fn probe(&self, _: &Namespace, _: &ServiceTarget, _: &str) -> Result<ProbeAnswer> {
        not_asked("a probe")
    }
    async fn connect(&self, namespace: &Namespace, _: &ServiceTarget) -> Result<Box<dyn ByteStream>> {
        self.connected.lock().unwrap().push(namespace.to_string());
        let address = *self.application.lock().unwrap();
        let address = address.ok_or_else(|| Error::transient("no pod of the service is ready"))?;
        let stream = TcpStream::connect(address).await.map_err(|error| Error::transient(error.to_string()))?;
        Ok(Box::new(stream))
    }
    async fn snapshot(&self, _: &Namespace) -> Result<FailureSnapshot> {
        not_asked("a snapshot")
    }
    async fn list_pods(&self, _: &Namespace) -> Result<Vec<PodStatus>> {
        Ok(self.pods.lock().unwrap().clone())
    }
    async fn logs(&self, _: &Namespace, query: LogQuery) -> Result<BoxStream<'static, Result<Bytes>>> {
        if query.pod.as_deref() == Some("nobody") {
            return Err(Error::not_found("there is no pod \"nobody\"; there are: shop-1"));
        }
        let lines = self.log.lock().unwrap().clone();
        let skip = query.tail.map_or(0, |tail| lines.len().saturating_sub(usize::try_from(tail).unwrap_or(0)));
        Ok(iter(lines.into_iter().skip(skip).map(|line| Ok(Bytes::from(format!("{line}\n"))))).boxed())
    }
    async fn list_contents(&self, _: &Namespace) -> Result<Vec<String>> {
        not_asked("contents")
    }
    async fn delete_namespace(&self, _: &Namespace, _: &Owner) -> Result<()> {
        not_asked("a deletion")
    }
    async fn await_namespace_gone(&self, _: &Namespace, _: Duration) -> Result<()> {
        not_asked("a deletion")
    }
    async fn version(&self) -> Result<String> {
        Ok("v1.34.1".to_owned())
    }
    async fn put_secrets(&self, _: &Namespace, _: &[ProjectSecret]) -> Result<()> {
        not_asked("project secrets")
    }
    async fn copy_secrets(&self, _: &Namespace, _: &[SecretRef]) -> Result<()> {
        not_asked("a secret's copy")
    }
    async fn scale_to_zero(&self, _: &Namespace) -> Result<()> {
        not_asked("sleep")
    }
    async fn scale_back(&self, _: &Namespace) -> Result<()> {
        not_asked("waking")
    }
    async fn list_namespaces(&self) -> Result<Vec<NamespaceFound>> {
        not_asked("namespaces")
    }
}

/// Has the pull requests it is given.
#[derive(Default)]
pub struct StandInForge {
    pub pull_requests: Mutex<Vec<PullRequest>>,
    /// What is answered to who asks for something by another name.
    pub answers: Mutex<Vec<(PullRequestRef, PullRequest)>>,
}

fn not_asked_of_forge<T>() -> Result<T> {
    Err(Error::invalid("the front asks GitHub for pull requests only"))
}

#[async_trait]
impl Forge for StandInForge {
    async fn load_pull_request(&self, at: &PullRequestRef) -> Result<PullRequest> {
        let renamed = self.answers.lock().unwrap().iter().find(|(asked, _)| asked == at).cloned();
        if let Some((_, answer)) = renamed {
            return Ok(answer);
        }
        let known = self.pull_requests.lock().unwrap();
        let found = known.iter().find(|pull_request| pull_request.at == *at).cloned();
        found.ok_or_else(|| Error::not_found(format!("there is no pull request {at}")))
    }
    async fn list_repositories(&self) -> Result<Vec<RepositoryName>> {
        not_asked_of_forge()
    }
    async fn find_account(&self, login: &str) -> Result<Option<Account>> {
        let number = ["mia", "ada", "bob"].iter().position(|known| *known == login);
        Ok(number.map(|number| Account { id: PersonId(number as u64 + 1), login: login.to_owned() }))
    }
    async fn list_open_pull_requests(&self, _: &RepositoryName) -> Result<Vec<PullRequest>> {
        not_asked_of_forge()
    }
    async fn list_changed_files(&self, _: &PullRequestRef) -> Result<Vec<String>> {
        not_asked_of_forge()
    }
    async fn find_check(&self, _: &RepositoryName, _: &HeadSha, _: &str) -> Result<Option<Check>> {
        not_asked_of_forge()
    }
    async fn can_write(&self, _: &RepositoryName, _: &str) -> Result<bool> {
        not_asked_of_forge()
    }
    async fn react(&self, _: &RepositoryName, _: CommentId, _: Reaction) -> Result<()> {
        not_asked_of_forge()
    }
    async fn find_file(&self, _: &RepositoryName, _: &str, _: &str) -> Result<Option<String>> {
        not_asked_of_forge()
    }
    async fn download_source(&self, _: &RepositoryName, _: &HeadSha) -> Result<Bytes> {
        not_asked_of_forge()
    }
    async fn end_deployments(&self, _: &RepositoryName, _: &str, _: &DeploymentStatus) -> Result<()> {
        not_asked_of_forge()
    }
    async fn delete_comment(&self, _: &RepositoryName, _: CommentId) -> Result<()> {
        not_asked_of_forge()
    }

    async fn find_comments(&self, _: &PullRequestRef, _: &str) -> Result<Vec<CommentId>> {
        not_asked_of_forge()
    }
    async fn create_comment(&self, _: &PullRequestRef, _: &str) -> Result<CommentId> {
        not_asked_of_forge()
    }
    async fn update_comment(&self, _: &RepositoryName, _: CommentId, _: &str) -> Result<()> {
        not_asked_of_forge()
    }
    async fn ensure_deployment(&self, _: &NewDeployment) -> Result<DeploymentId> {
        not_asked_of_forge()
    }
    async fn set_deployment_status(&self, _: &RepositoryName, _: DeploymentId, _: &DeploymentStatus) -> Result<()> {
        not_asked_of_forge()
    }
    async fn set_commit_status(&self, _: &RepositoryName, _: &HeadSha, _: &CommitStatus) -> Result<()> {
        not_asked_of_forge()
    }
}
