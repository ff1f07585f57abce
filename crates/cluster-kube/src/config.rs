//! Which cluster, and what has to be known of it.

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use seatrial_preview::{Error, Result};

/// How to reach a cluster, and what the network policies must let through in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// When absent: `KUBECONFIG`, `~/.kube/config`, or the pod's own account.
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's current context when absent.
    pub context: Option<String>,
    /// Where the ingress controller runs: previews accept traffic from it.
    pub ingress_namespace: String,
    /// From where the API server reaches pods (CIDRs). Needed for health checks only where the
    /// network plugin does not let the control plane pass by itself; see [`crate::policies`].
    pub api_server_cidrs: Vec<String>,
    /// How long a pod may find no node, or a claim no volume, before the rollout fails. An
    /// autoscaler that brings up a node takes about a minute.
    pub unschedulable_limit: Duration,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            ingress_namespace: "ingress-nginx".to_owned(),
            api_server_cidrs: Vec::new(),
            unschedulable_limit: Duration::from_secs(60),
        }
    }
}

impl ClusterConfig {
    pub(crate) async fn load(&self) -> Result<Config> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let mut config = match &self.kubeconfig {
            Some(path) => match Kubeconfig::read_from(path) {
                Ok(file) => Config::from_custom_kubeconfig(file, &options).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            },
            None if self.context.is_some() => {
                Config::from_kubeconfig(&options).await.map_err(|error| error.to_string())
            }
            None => Config::infer().await.map_err(|error| error.to_string()),
        }
        .map_err(|why| {
            Error::invalid(format!(
                "no usable Kubernetes configuration: {why}. Set KUBECONFIG (and the context), or run Seatrial in the cluster"
            ))
        })?;
        // The engine retries, durably and in view. kube's own retries would also take a preview's
        // 503 for the API server's, and hide it for minutes.
        config.default_retry = false;
        Ok(config)
    }
}
