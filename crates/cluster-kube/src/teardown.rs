//! The end of a namespace, and what holds it when it does not end.

use std::time::Duration;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Namespace as KubeNamespace;
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use seatrial_preview::failure::{Diagnosis, Evidence, Reason};
use seatrial_preview::ports::Owner;
use seatrial_preview::{Error, Namespace, Result};

use crate::cluster::KubeCluster;
use crate::{errors, namespaces};

pub(crate) async fn delete(cluster: &KubeCluster, namespace: &Namespace, owner: &Owner) -> Result<()> {
    let found = namespaces::find(cluster, namespace).await?.ok_or_else(|| errors::no_namespace(namespace))?;
    namespaces::verify_ours(&found, owner)?;
    if found.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    // Exactly the one that was looked at: not one that somebody made under its name since.
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: found.uid(), resource_version: None }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    match namespaces::all(cluster).delete(namespace.as_str(), &params).await {
        Ok(_) => Ok(()),
        // It went in the meantime, or its deletion began: both are what was asked for.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(errors::explain(&format!("delete the namespace {namespace}"), error)),
    }
}

pub(crate) async fn await_gone(cluster: &KubeCluster, namespace: &Namespace, patience: Duration) -> Result<()> {
    match tokio::time::timeout(patience, watch_until_gone(cluster, namespace)).await {
        Ok(outcome) => outcome,
        Err(_) => match namespaces::find(cluster, namespace).await? {
            None => Ok(()),
            Some(found) => Err(Error::diagnosed(diagnose_stuck(&found, patience))),
        },
    }
}

async fn watch_until_gone(cluster: &KubeCluster, namespace: &Namespace) -> Result<()> {
    let doing = format!("watch the namespace {namespace}");
    let api: Api<KubeNamespace> = Api::all(cluster.streams.clone());
    let only = watcher::Config::default().fields(&format!("metadata.name={namespace}"));
    let events = watcher(api, only).default_backoff();
    pin_mut!(events);
    loop {
        // What counts is the API server's own answer; the watch only says when to ask.
        if namespaces::find(cluster, namespace).await?.is_none() {
            return Ok(());
        }
        loop {
            match events.next().await {
                Some(Ok(watcher::Event::Delete(_) | watcher::Event::InitDone)) => break,
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    let explained = errors::explain_watch(&doing, error);
                    if !explained.is_transient() {
                        return Err(explained);
                    }
                }
                None => return Err(Error::transient(format!("cannot {doing}: the watch broke off"))),
            }
        }
    }
}

/// What the namespace's own conditions say about what is left in it. Its contents cannot be
/// listed: the RoleBinding that allowed it is usually gone by then.
fn diagnose_stuck(found: &KubeNamespace, patience: Duration) -> Diagnosis {
    let name = found.name_any();
    let status = found.status.clone().unwrap_or_default();
    let mut held: Vec<String> = status
        .conditions
        .unwrap_or_default()
        .into_iter()
        .filter(|condition| condition.status == "True")
        .filter_map(|condition| condition.message.map(|message| format!("{}: {message}", condition.type_)))
        .collect();
    let kubernetes = found.spec.iter().flat_map(|spec| spec.finalizers.iter().flatten());
    let own = found.finalizers().iter().chain(kubernetes.filter(|finalizer| *finalizer != "kubernetes"));
    held.extend(own.map(|finalizer| format!("finalizer of the namespace: {finalizer}")));
    let summary = if found.metadata.deletion_timestamp.is_none() {
        format!("The namespace {name} exists and is not being deleted.")
    } else {
        match held.iter().find(|line| line.starts_with("NamespaceFinalizersRemaining")).or(held.first()) {
            Some(line) => {
                format!("The namespace {name} is still not gone after {} s: {line}", patience.as_secs())
            }
            None => format!("The namespace {name} is still not gone after {} s.", patience.as_secs()),
        }
    };
    Diagnosis {
        reason: Reason::NamespaceStuck,
        culprit: format!("namespace {name}"),
        summary,
        advice: format!(
            "See what is left with `kubectl get all --namespace {name}`. Start the controller that owns the finalizer, or remove the finalizer from the object by hand; then retry the teardown."
        ),
        evidence: vec![Evidence {
            title: format!("What holds the namespace {name}"),
            text: if held.is_empty() { "The API server names nothing.".to_owned() } else { held.join("\n") },
        }],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stuck_namespaces_name_the_finalizer() {
        let found: KubeNamespace = serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "name": "pr-shop-7", "deletionTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "finalizers": ["kubernetes"] },
            "status": { "phase": "Terminating", "conditions": [
                { "type": "NamespaceDeletionDiscoveryFailure", "status": "False", "reason": "ResourcesDiscovered", "message": "All resources successfully discovered" },
                { "type": "NamespaceContentRemaining", "status": "True", "reason": "SomeResourcesRemain", "message": "Some resources are remaining: configmaps. has 1 resource instances" },
                { "type": "NamespaceFinalizersRemaining", "status": "True", "reason": "SomeFinalizersRemain", "message": "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances" },
            ] },
        }))
        .unwrap();
        insta::assert_json_snapshot!(diagnose_stuck(&found, Duration::from_secs(30)));
    }
}
