//! What a namespace holds, for the teardown's receipt.

use std::fmt::Debug;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{ListParams, PartialObjectMeta};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use seatrial_preview::{Namespace, Result};
use serde::de::DeserializeOwned;

use crate::accounts;
use crate::cluster::KubeCluster;
use crate::namespaces::{MANAGED_BY, SEATRIAL};

/// A receipt names things for people; a chart with more objects of one kind is not read on.
const MOST_OF_A_KIND: u32 = 200;

/// Sorted `Kind/name` of what the chart made. Left out: what has an owner or exists everywhere
/// (Kubernetes makes it by itself), what fences the preview in (Seatrial makes it), and Secrets
/// (Seatrial may not read them; Helm's own records are such).
pub(crate) async fn list(cluster: &KubeCluster, namespace: &Namespace) -> Result<Vec<String>> {
    let parts = futures::try_join!(
        kind::<Deployment>(cluster, namespace),
        kind::<StatefulSet>(cluster, namespace),
        kind::<DaemonSet>(cluster, namespace),
        kind::<Job>(cluster, namespace),
        kind::<CronJob>(cluster, namespace),
        kind::<Service>(cluster, namespace),
        kind::<Ingress>(cluster, namespace),
        kind::<ConfigMap>(cluster, namespace),
        kind::<PersistentVolumeClaim>(cluster, namespace),
        kind::<ServiceAccount>(cluster, namespace),
        kind::<HorizontalPodAutoscaler>(cluster, namespace),
        kind::<PodDisruptionBudget>(cluster, namespace),
    )?;
    let bare = futures::try_join!(kind::<ReplicaSet>(cluster, namespace), kind::<Pod>(cluster, namespace))?;
    let (a, b, c, d, e, f, g, h, i, j, k, l) = parts;
    let mut all = [a, b, c, d, e, f, g, h, i, j, k, l, bare.0, bare.1].concat();
    all.sort();
    Ok(all)
}

async fn kind<K>(cluster: &KubeCluster, namespace: &Namespace) -> Result<Vec<String>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let name = K::kind(&());
    match cluster.api::<K>(namespace).list_metadata(&ListParams::default().limit(MOST_OF_A_KIND)).await {
        Ok(found) => Ok(found
            .items
            .iter()
            .filter(|object| is_charts(&name, object))
            .map(|object| format!("{name}/{}", object.name_any()))
            .collect()),
        Err(error) => Err(cluster.explain_in(namespace, &format!("list what {namespace} holds ({name})"), error).await),
    }
}

fn is_charts<K>(kind: &str, object: &PartialObjectMeta<K>) -> bool
where
    PartialObjectMeta<K>: ResourceExt,
{
    object.owner_references().is_empty()
        && object.labels().get(MANAGED_BY).map(String::as_str) != Some(SEATRIAL)
        && !(kind == "ServiceAccount" && accounts::is_standing(object))
        && !(kind == "ConfigMap" && object.name_any() == "kube-root-ca.crt")
}
