//! Sleep: a preview's workloads scaled to zero, and back to as many replicas as they had.
//!
//! The numbers are kept in one annotation of the namespace, written before the first workload is
//! scaled. A repetition after a crash reads there what was remembered and adds what still runs, so
//! no number is lost however often it is interrupted. Not kept with each workload, because the
//! `scale` subresource has no annotations, and it is the only thing Seatrial may write of a
//! workload: with the right to patch workloads it could run anything.
//!
//! - A HorizontalPodAutoscaler does not undo it: by Kubernetes' rules it is switched off while the
//!   replicas of its target are 0, and goes on when they are not. The exception is one whose own
//!   `minReplicas` is 0 (feature gate `HPAScaleToZero`): it may scale its target up, and puts it to
//!   sleep by itself anyway.
//! - DaemonSets, bare pods and CronJobs cannot be scaled and go on.
//! - A deployment of a sleeping preview sets the chart's own replicas again. What is left of the
//!   memory then says nothing: only what has no replicas is scaled back.

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use seatrial_preview::{Error, Namespace, Result};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::cluster::KubeCluster;
use crate::namespaces::{self, FIELD_MANAGER};
use crate::{errors, scene};

/// On the namespace: `{"Deployment/shop":2}`.
const REPLICAS: &str = "seatrial.dev/replicas-before-sleep";

/// Replicas by `Kind/name`.
type Replicas = BTreeMap<String, i32>;

pub(crate) async fn scale_to_zero(cluster: &KubeCluster, namespace: &Namespace) -> Result<()> {
    let remembered = load(cluster, namespace).await?;
    let present = present(cluster, namespace).await?;
    let wanted = to_remember(&remembered, &present);
    if wanted != remembered {
        remember(cluster, namespace, Some(&wanted)).await?;
    }
    for (workload, _) in present.iter().filter(|(_, replicas)| **replicas > 0) {
        scale(cluster, namespace, workload, 0).await?;
    }
    Ok(())
}

pub(crate) async fn scale_back(cluster: &KubeCluster, namespace: &Namespace) -> Result<()> {
    let remembered = load(cluster, namespace).await?;
    if remembered.is_empty() {
        return Ok(());
    }
    for (workload, replicas) in to_scale_back(&remembered, &present(cluster, namespace).await?) {
        scale(cluster, namespace, &workload, replicas).await?;
    }
    remember(cluster, namespace, None).await
}

/// What runs counts as it is now; what has no replicas, as it was remembered. What is there no
/// longer is forgotten.
fn to_remember(remembered: &Replicas, present: &Replicas) -> Replicas {
    let of = |(workload, replicas): (&String, &i32)| match replicas {
        0 => remembered.get(workload).map(|replicas| (workload.clone(), *replicas)),
        replicas => Some((workload.clone(), *replicas)),
    };
    present.iter().filter_map(of).collect()
}

fn to_scale_back(remembered: &Replicas, present: &Replicas) -> Replicas {
    let asleep = |workload: &String| present.get(workload) == Some(&0);
    remembered
        .iter()
        .filter(|(workload, _)| asleep(workload))
        .map(|(name, replicas)| (name.clone(), *replicas))
        .collect()
}

async fn load(cluster: &KubeCluster, namespace: &Namespace) -> Result<Replicas> {
    let found = namespaces::find(cluster, namespace).await?.ok_or_else(|| errors::no_namespace(namespace))?;
    if !namespaces::is_ours(&found) {
        return Err(Error::conflict(format!(
            "the namespace {namespace} was not made by Seatrial, so it is left alone"
        )));
    }
    match found.annotations().get(REPLICAS) {
        None => Ok(Replicas::new()),
        Some(text) => serde_json::from_str(text).map_err(|error| {
            Error::invalid(format!(
                "the annotation {REPLICAS} of the namespace {namespace} was changed by somebody and cannot be read ({error}). Remove it, and deploy the preview again"
            ))
        }),
    }
}

async fn remember(cluster: &KubeCluster, namespace: &Namespace, replicas: Option<&Replicas>) -> Result<()> {
    let value = replicas.map(|replicas| json!(replicas).to_string());
    let patch = json!({ "metadata": { "annotations": { REPLICAS: value } } });
    let all = namespaces::all(cluster);
    match all.patch(namespace.as_str(), &params(), &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        Err(error) => Err(errors::explain(&format!("remember the replicas of {namespace}"), error)),
    }
}

async fn present(cluster: &KubeCluster, namespace: &Namespace) -> Result<Replicas> {
    let (deployments, stateful_sets) = futures::try_join!(
        scene::list::<Deployment>(cluster, namespace),
        scene::list::<StatefulSet>(cluster, namespace)
    )?;
    // The API server fills in the default, 1.
    let deployments = deployments.iter().map(|found| {
        (format!("{DEPLOYMENT}{}", found.name_any()), found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1))
    });
    let stateful_sets = stateful_sets.iter().map(|found| {
        (format!("{STATEFUL_SET}{}", found.name_any()), found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1))
    });
    Ok(deployments.chain(stateful_sets).collect())
}

const DEPLOYMENT: &str = "Deployment/";
const STATEFUL_SET: &str = "StatefulSet/";

async fn scale(cluster: &KubeCluster, namespace: &Namespace, workload: &str, replicas: i32) -> Result<()> {
    match (workload.strip_prefix(DEPLOYMENT), workload.strip_prefix(STATEFUL_SET)) {
        (Some(name), _) => scale_one::<Deployment>(cluster, namespace, name, replicas).await,
        (_, Some(name)) => scale_one::<StatefulSet>(cluster, namespace, name, replicas).await,
        _ => Ok(()),
    }
}

async fn scale_one<K>(cluster: &KubeCluster, namespace: &Namespace, name: &str, replicas: i32) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
    match cluster.api::<K>(namespace).patch_scale(name, &params(), &patch).await {
        Ok(_) => Ok(()),
        // It went in the meantime.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => {
            let doing = format!("scale {}/{name} in the namespace {namespace} to {replicas}", K::kind(&()));
            Err(cluster.explain_in(namespace, &doing, error).await)
        }
    }
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replicas(list: &[(&str, i32)]) -> Replicas {
        list.iter().map(|(name, replicas)| ((*name).to_owned(), *replicas)).collect()
    }

    #[test]
    fn a_repetition_forgets_no_number() {
        let all = replicas(&[("Deployment/web", 3), ("Deployment/worker", 2), ("StatefulSet/db", 1)]);
        assert_eq!(to_remember(&Replicas::new(), &all), all);
        // Interrupted after the first of them.
        let half = replicas(&[("Deployment/web", 0), ("Deployment/worker", 2), ("StatefulSet/db", 1)]);
        assert_eq!(to_remember(&all, &half), all);
        // Asleep already.
        let none = replicas(&[("Deployment/web", 0), ("Deployment/worker", 0), ("StatefulSet/db", 0)]);
        assert_eq!(to_remember(&all, &none), all);
        assert_eq!(to_scale_back(&all, &none), all);
    }

    #[test]
    fn what_was_never_up_is_not_woken() {
        let present = replicas(&[("Deployment/off", 0), ("Deployment/web", 1)]);
        let remembered = to_remember(&Replicas::new(), &present);
        assert_eq!(remembered, replicas(&[("Deployment/web", 1)]));
        let asleep = replicas(&[("Deployment/off", 0), ("Deployment/web", 0)]);
        assert_eq!(to_scale_back(&remembered, &asleep), remembered);
    }

    #[test]
    fn what_was_deployed_anew_or_removed_meanwhile_is_left_as_it_is() {
        let remembered = replicas(&[("Deployment/gone", 4), ("Deployment/web", 3)]);
        let present = replicas(&[("Deployment/web", 1)]);
        assert_eq!(to_scale_back(&remembered, &present), Replicas::new());
        assert_eq!(to_remember(&remembered, &present), present);
    }
}
