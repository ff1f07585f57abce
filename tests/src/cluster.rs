//! The cluster as its administrator sees it: what tests look at, and put in Seatrial's way.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, LimitRange, Namespace, Pod, ResourceQuota, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::{Value, json};

use crate::setting::Setting;

/// An administrator's access.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    address: Value,
}

/// A container in a state that waiting does not cure.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub pod: String,
    pub container: String,
    /// `ErrImagePull`, `CrashLoopBackOff`, …
    pub reason: String,
    /// When it was first seen.
    pub seen: Instant,
}

impl Cluster {
    pub async fn connect(setting: &Setting) -> Result<Self> {
        // Somebody else may have installed one, which serves as well.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(&setting.kubeconfig)
            .with_context(|| format!("reading {}", setting.kubeconfig.display()))?;
        let address = address(&kubeconfig, setting.context.as_deref())?;
        let options = KubeConfigOptions { context: setting.context.clone(), ..KubeConfigOptions::default() };
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.context("the test kubeconfig")?;
        config.proxy_url = None;
        Ok(Self { client: Client::try_from(config)?, address })
    }

    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Where it is and how it proves who it is, as a kubeconfig has it.
    pub(crate) fn address(&self) -> &Value {
        &self.address
    }

    fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.client())
    }

    pub async fn namespace(&self, name: &str) -> Result<Option<Namespace>> {
        Ok(self.namespaces().get_opt(name).await?)
    }

    /// Names of the namespaces that Seatrial made for `owner/name`.
    pub async fn namespaces_of(&self, repository: &str) -> Result<Vec<String>> {
        let label = format!("seatrial.dev/repository={}", repository.replace('/', "."));
        let found = self.namespaces().list(&ListParams::default().labels(&label)).await?;
        Ok(found.iter().map(ResourceExt::name_any).collect())
    }

    /// Makes a namespace that is not Seatrial's.
    pub async fn make_namespace(&self, name: &str, labels: &[(&str, &str)]) -> Result<Namespace> {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let namespace = serde_json::from_value(json!({ "metadata": { "name": name, "labels": labels } }))?;
        Ok(self.namespaces().create(&PostParams::default(), &namespace).await?)
    }

    /// Asks for a namespace's deletion; one that is gone is fine.
    pub async fn delete_namespace(&self, name: &str) -> Result<()> {
        match self.namespaces().delete(name, &DeleteParams::background()).await {
            Err(kube::Error::Api(status)) if !status.is_not_found() && !status.is_conflict() => {
                bail!("deleting the namespace {name}: {status}")
            }
            _ => Ok(()),
        }
    }

    /// Waits, by watch, until there is no such namespace.
    pub async fn wait_gone(&self, name: &str, patience: Duration) -> Result<()> {
        let gone = await_condition(self.namespaces(), name, |found: Option<&Namespace>| found.is_none());
        match tokio::time::timeout(patience, gone).await {
            Ok(gone) => gone.map(drop).with_context(|| format!("watching the namespace {name}")),
            Err(_) => bail!("the namespace {name} was not gone within {patience:?}"),
        }
    }

    /// What fences a preview in: names of quotas, limit ranges and network policies.
    pub async fn fences(&self, namespace: &str) -> Result<(Vec<String>, Vec<String>, Vec<String>)> {
        let all = ListParams::default();
        let quotas: Api<ResourceQuota> = Api::namespaced(self.client(), namespace);
        let limits: Api<LimitRange> = Api::namespaced(self.client(), namespace);
        let policies: Api<NetworkPolicy> = Api::namespaced(self.client(), namespace);
        let (quotas, limits, policies) = tokio::try_join!(quotas.list(&all), limits.list(&all), policies.list(&all))?;
        Ok((names(quotas), names(limits), names(policies)))
    }

    /// The states of Helm's records in a namespace, such as `deployed`, oldest first.
    pub async fn releases(&self, namespace: &str) -> Result<Vec<String>> {
        let secrets: Api<Secret> = Api::namespaced(self.client(), namespace);
        let mut records = secrets.list(&ListParams::default().labels("owner=helm")).await?.items;
        let label = |record: &Secret, key: &str| record.labels().get(key).cloned().unwrap_or_default();
        records.sort_by_key(|record| label(record, "version").parse::<u64>().unwrap_or_default());
        Ok(records.iter().map(|record| label(record, "status")).collect())
    }

    pub async fn pods(&self, namespace: &str) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client(), namespace);
        Ok(pods.list(&ListParams::default()).await?.items)
    }

    pub async fn events(&self, namespace: &str) -> Result<Vec<Event>> {
        let events: Api<Event> = Api::namespaced(self.client(), namespace);
        Ok(events.list(&ListParams::default()).await?.items)
    }

    /// Waits, by watch, until a container of the namespace waits for one of these reasons.
    pub async fn wait_trouble(&self, namespace: &str, reasons: &[&str], patience: Duration) -> Result<Trouble> {
        let pods: Api<Pod> = Api::namespaced(self.client(), namespace);
        let watch = async {
            let changes = watcher(pods, watcher::Config::default()).default_backoff().applied_objects();
            let mut changes = std::pin::pin!(changes);
            while let Some(pod) = changes.try_next().await? {
                if let Some(trouble) = trouble(&pod, reasons) {
                    return Ok(trouble);
                }
            }
            bail!("the watch of the pods in {namespace} ended")
        };
        match tokio::time::timeout(patience, watch).await {
            Ok(found) => found,
            Err(_) => bail!("no container in {namespace} waited with one of {reasons:?} within {patience:?}"),
        }
    }

    /// Sets an environment variable of a deployment's first container, as `kubectl set env` does,
    /// and waits until all its pods have it.
    pub async fn set_env(&self, namespace: &str, deployment: &str, name: &str, value: &str) -> Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(self.client(), namespace);
        let container = deployments
            .get(deployment)
            .await?
            .spec
            .and_then(|spec| Some(spec.template.spec?.containers.first()?.name.clone()))
            .with_context(|| format!("{deployment} has no container"))?;
        let env = json!([{ "name": name, "value": value }]);
        let spec = json!({ "containers": [{ "name": container, "env": env }] });
        let patch = json!({ "spec": { "template": { "spec": spec } } });
        deployments.patch(deployment, &PatchParams::default(), &Patch::Strategic(patch)).await?;
        let done =
            await_condition(deployments, deployment, |found: Option<&Deployment>| found.is_some_and(is_rolled_out));
        let patience = crate::PATIENCE;
        match tokio::time::timeout(patience, done).await {
            Ok(done) => Ok(done.map(drop)?),
            Err(_) => bail!("{deployment} was not rolled out again within {patience:?}"),
        }
    }
}

fn address(kubeconfig: &Kubeconfig, context: Option<&str>) -> Result<Value> {
    let wanted = context.or(kubeconfig.current_context.as_deref()).context("the kubeconfig has no current context")?;
    let named = kubeconfig.contexts.iter().find(|named| named.name == wanted);
    let cluster = named.and_then(|named| Some(named.context.as_ref()?.cluster.clone()));
    let cluster = cluster.with_context(|| format!("the kubeconfig has no context {wanted}"))?;
    let named = kubeconfig.clusters.iter().find(|named| named.name == cluster);
    let found = named.and_then(|named| named.cluster.as_ref());
    Ok(serde_json::to_value(found.with_context(|| format!("the kubeconfig has no cluster {cluster}"))?)?)
}

fn names<K: ResourceExt + Clone>(list: kube::core::ObjectList<K>) -> Vec<String> {
    list.iter().map(ResourceExt::name_any).collect()
}

fn trouble(pod: &Pod, reasons: &[&str]) -> Option<Trouble> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find_map(|status| {
        let reason = status.state.as_ref()?.waiting.as_ref()?.reason.clone()?;
        reasons.contains(&reason.as_str()).then(|| Trouble {
            pod: pod.name_any(),
            container: status.name.clone(),
            reason,
            seen: Instant::now(),
        })
    })
}

/// Whether all of its pods are of the newest template and ready.
pub fn is_rolled_out(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    deployment.status.as_ref().is_some_and(|status| {
        status.observed_generation == deployment.metadata.generation
            && status.updated_replicas == Some(wanted)
            && status.ready_replicas == Some(wanted)
            && status.replicas == Some(wanted)
    })
}
