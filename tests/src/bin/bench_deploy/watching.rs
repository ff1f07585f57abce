//! Whose time it was: Helm's by Seatrial's log, the pods' by a watch of the cluster.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use seatrial_tests::{Cluster, is_rolled_out, until};
use serde_json::Value;
use tokio::task::JoinHandle;

/// One helm process.
pub(crate) struct Helm {
    pub(crate) ended_at: DateTime<Utc>,
    pub(crate) seconds: f64,
}

impl Helm {
    /// Those that worked in the namespace since then.
    pub(crate) fn read(log: &Path, namespace: &str, since: DateTime<Utc>) -> Result<Vec<Self>> {
        let text = fs::read_to_string(log).with_context(|| log.display().to_string())?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ended =
            lines.filter(|line| line["fields"]["message"] == "helm ended" && line["fields"]["namespace"] == namespace);
        let all: Option<Vec<Self>> = ended
            .map(|line| {
                Some(Self {
                    ended_at: line["timestamp"].as_str()?.parse().ok()?,
                    seconds: line["fields"]["seconds"].as_f64()?,
                })
            })
            .collect();
        let all = all.with_context(|| format!("{}: a line about helm is not understood", log.display()))?;
        Ok(all.into_iter().filter(|helm| helm.ended_at >= since).collect())
    }
}

type Seen = Arc<Mutex<HashMap<String, Vec<DateTime<Utc>>>>>;

/// When the deployments of each namespace became ready, as nobody but the cluster can tell.
pub(crate) struct Pods {
    seen: Seen,
    watch: JoinHandle<Result<(), watcher::Error>>,
}

impl Pods {
    pub(crate) fn watch(cluster: &Cluster) -> Self {
        let seen = Seen::default();
        let (noted, client) = (seen.clone(), cluster.client());
        let watch = tokio::spawn(async move {
            let deployments: Api<Deployment> = Api::all(client);
            let changes = watcher(deployments, watcher::Config::default()).default_backoff().applied_objects();
            let mut changes = std::pin::pin!(changes);
            let mut ready: HashMap<String, bool> = HashMap::new();
            while let Some(deployment) = changes.try_next().await? {
                let namespace = deployment.namespace().unwrap_or_default();
                let now = is_rolled_out(&deployment);
                if now && ready.insert(namespace.clone(), now) != Some(true) {
                    noted.lock().unwrap_or_else(PoisonError::into_inner).entry(namespace).or_default().push(Utc::now());
                } else {
                    ready.insert(namespace, now);
                }
            }
            Ok(())
        });
        Self { seen, watch }
    }

    /// When they became ready for the last time before `live`. Seatrial may hear of it a moment
    /// earlier than this watch.
    pub(crate) async fn ready(
        &self,
        namespace: &str,
        live: DateTime<Utc>,
        patience: Duration,
    ) -> Result<DateTime<Utc>> {
        until(&format!("the watch of {namespace}"), patience, async || {
            if self.watch.is_finished() {
                bail!("the watch of the deployments has ended");
            }
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(seen.get(namespace).and_then(|times| times.iter().copied().rfind(|time| *time <= live)))
        })
        .await
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
