//! The connection, and which module answers which question.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use k8s_openapi::api::rbac::v1::Subject;
use kube::{Api, Client, Config};
use seatrial_preview::environment::ServiceTarget;
use seatrial_preview::failure::{Diagnosis, FailureSnapshot, PodStatus};
use seatrial_preview::policies::Policies;
use seatrial_preview::ports::{
    ByteStream, Cluster, LogQuery, NamespaceFound, NamespaceSpec, Owner, Ownership, ProbeAnswer, ProgressSink,
    ProjectSecret, Rollout, SecretRef,
};
use seatrial_preview::{Error, Namespace, Result};
use secrecy::SecretString;
use tokio::sync::OnceCell;

use crate::config::ClusterConfig;
use crate::{
    accounts, contents, diagnosis, errors, forward, logs, namespaces, pods, policies, rollout, secrets, sleep,
    snapshot, targets, teardown,
};

/// An API server that does not answer a plain request within this time is away.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A Kubernetes cluster, reached with Seatrial's own account. Cheap to clone.
#[derive(Clone)]
pub struct KubeCluster {
    /// For requests that are answered at once.
    pub(crate) client: Client,
    /// For what may be silent for long: watches, logs that are followed, port-forwards.
    pub(crate) streams: Client,
    pub(crate) kube: Arc<Config>,
    pub(crate) settings: Arc<ClusterConfig>,
    pub(crate) own_subject: Arc<OnceCell<Subject>>,
}

impl fmt::Debug for KubeCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeCluster").field("url", &self.kube.cluster_url).finish_non_exhaustive()
    }
}

impl KubeCluster {
    /// Reads the configuration; does not yet talk to the cluster ([`Cluster::version`] does), so
    /// that Seatrial starts also while the API server is away. A rustls provider must have been
    /// installed as the process's default before.
    pub async fn connect(settings: ClusterConfig) -> Result<Self> {
        let kube = settings.load().await?;
        let client = |config: Config| {
            Client::try_from(config).map_err(|error| errors::explain("set up the Kubernetes client", error))
        };
        let streams = client(kube.clone())?;
        let mut bounded = kube.clone();
        bounded.read_timeout = Some(READ_TIMEOUT);
        bounded.reset_reader_on_write = true;
        Ok(Self {
            client: client(bounded)?,
            streams,
            kube: Arc::new(kube),
            settings: Arc::new(settings),
            own_subject: Arc::default(),
        })
    }

    /// The API of a kind in the preview's namespace.
    pub(crate) fn api<K>(&self, namespace: &Namespace) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace.as_str())
    }

    /// Says what `error` means in this namespace. Outside its own namespaces Seatrial may do
    /// nothing, so the API server answers "forbidden" where a namespace is gone or going: people
    /// are told that instead.
    pub(crate) async fn explain_in(&self, namespace: &Namespace, doing: &str, error: kube::Error) -> Error {
        let explained = errors::explain(doing, error);
        if explained.kind != seatrial_preview::ErrorKind::Forbidden {
            return explained;
        }
        match namespaces::find(self, namespace).await {
            Ok(None) => errors::no_namespace(namespace),
            Ok(Some(found)) if found.metadata.deletion_timestamp.is_some() => {
                Error::conflict(format!("cannot {doing}: the namespace {namespace} is being deleted"))
            }
            _ => explained,
        }
    }
}

#[async_trait]
impl Cluster for KubeCluster {
    async fn ensure_namespace(&self, namespace: &NamespaceSpec) -> Result<()> {
        namespaces::ensure(self, namespace).await
    }

    async fn find_owner(&self, namespace: &Namespace, owner: &Owner) -> Result<Ownership> {
        namespaces::find_owner(self, namespace, owner).await
    }

    async fn apply_policies(&self, namespace: &Namespace, policies: &Policies) -> Result<()> {
        // Checked and rendered before anything is written.
        let rendered = policies::render(policies, &self.settings)?;
        accounts::bind(self, namespace).await?;
        policies::apply(self, namespace, &rendered).await
    }

    async fn helm_access(&self, namespace: &Namespace) -> Result<SecretString> {
        accounts::helm_access(self, namespace).await
    }

    async fn await_rollout(&self, namespace: &Namespace, progress: ProgressSink) -> Result<Rollout> {
        rollout::await_ready(self, namespace, progress).await
    }

    async fn diagnose(&self, namespace: &Namespace) -> Result<Option<Diagnosis>> {
        diagnosis::diagnose(self, namespace).await
    }

    async fn find_target(
        &self,
        namespace: &Namespace,
        service: Option<&str>,
        port: Option<u16>,
    ) -> Result<ServiceTarget> {
        targets::find(self, namespace, service, port).await
    }

    async fn probe(&self, namespace: &Namespace, target: &ServiceTarget, path: &str) -> Result<ProbeAnswer> {
        targets::probe(self, namespace, target, path).await
    }

    async fn connect(&self, namespace: &Namespace, target: &ServiceTarget) -> Result<Box<dyn ByteStream>> {
        forward::connect(self, namespace, target).await
    }

    async fn snapshot(&self, namespace: &Namespace) -> Result<FailureSnapshot> {
        snapshot::take(self, namespace).await
    }

    async fn list_pods(&self, namespace: &Namespace) -> Result<Vec<PodStatus>> {
        pods::list_statuses(self, namespace).await
    }

    async fn logs(&self, namespace: &Namespace, query: LogQuery) -> Result<BoxStream<'static, Result<Bytes>>> {
        logs::stream(self, namespace, query).await
    }

    async fn list_contents(&self, namespace: &Namespace) -> Result<Vec<String>> {
        contents::list(self, namespace).await
    }

    async fn delete_namespace(&self, namespace: &Namespace, owner: &Owner) -> Result<()> {
        teardown::delete(self, namespace, owner).await
    }

    async fn await_namespace_gone(&self, namespace: &Namespace, patience: Duration) -> Result<()> {
        teardown::await_gone(self, namespace, patience).await
    }

    async fn copy_secrets(&self, namespace: &Namespace, secrets: &[SecretRef]) -> Result<()> {
        secrets::copy(self, namespace, secrets).await
    }

    async fn put_secrets(&self, namespace: &Namespace, secrets: &[ProjectSecret]) -> Result<()> {
        secrets::put(self, namespace, secrets).await
    }

    async fn scale_to_zero(&self, namespace: &Namespace) -> Result<()> {
        sleep::scale_to_zero(self, namespace).await
    }

    async fn scale_back(&self, namespace: &Namespace) -> Result<()> {
        sleep::scale_back(self, namespace).await
    }

    async fn list_namespaces(&self) -> Result<Vec<NamespaceFound>> {
        namespaces::list(self).await
    }

    async fn version(&self) -> Result<String> {
        let version = self
            .client
            .apiserver_version()
            .await
            .map_err(|error| errors::explain(&format!("reach the cluster at {}", self.kube.cluster_url), error))?;
        Ok(version.git_version)
    }
}
