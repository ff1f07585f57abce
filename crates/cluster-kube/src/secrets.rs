//! Secrets of other namespaces, copied into a preview's.
//!
//! Seatrial reads no secret that was not granted to it by name: the operator lists them in
//! `secretSources` of charts/seatrial, which makes a Role in the source's namespace. In a preview's
//! namespace Seatrial may write secrets, but neither get nor list them.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use seatrial_preview::ports::{PROJECT_SECRETS, ProjectSecret, SecretRef};
use seatrial_preview::{Error, Namespace, Result};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::cluster::KubeCluster;
use crate::errors;
use crate::namespaces::{FIELD_MANAGER, MANAGED_BY, SEATRIAL};

/// On a copy: where it came from.
const COPIED_FROM: &str = "seatrial.dev/copied-from";
/// The control plane makes and renews them for one account of one namespace: a copy would be
/// somebody else's credentials.
const ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";

/// Everything is read before anything is written.
pub(crate) async fn copy(cluster: &KubeCluster, namespace: &Namespace, secrets: &[SecretRef]) -> Result<()> {
    check(namespace, secrets)?;
    let mut copies = Vec::new();
    for source in secrets {
        copies.push((source, render(source, read(cluster, source).await?)?));
    }
    for (source, copy) in copies {
        write(cluster, namespace, source, &copy).await?;
    }
    Ok(())
}

/// One Secret of the preview's namespace with all the project's secrets; keys that it no longer has
/// go.
pub(crate) async fn put(cluster: &KubeCluster, namespace: &Namespace, secrets: &[ProjectSecret]) -> Result<()> {
    // Not `stringData`: what an apply leaves out of that stays in the Secret.
    let data: BTreeMap<&str, ByteString> = secrets
        .iter()
        .map(|secret| (secret.name.as_str(), ByteString(secret.value.expose_secret().as_bytes().to_vec())))
        .collect();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": PROJECT_SECRETS, "labels": { MANAGED_BY: SEATRIAL } },
        "type": "Opaque",
        "data": data,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match cluster.api::<Secret>(namespace).patch(PROJECT_SECRETS, &params, &Patch::Apply(secret)).await {
        Ok(_) => Ok(()),
        Err(error) => {
            let doing = format!("write the project's secrets into the namespace {namespace}");
            Err(cluster.explain_in(namespace, &doing, error).await)
        }
    }
}

fn check(namespace: &Namespace, secrets: &[SecretRef]) -> Result<()> {
    let mut sources: BTreeMap<&str, &SecretRef> = BTreeMap::new();
    for source in secrets {
        if source.namespace == namespace.as_str() {
            return Err(Error::invalid(format!(
                "the secret {} is in the preview's own namespace: name one of another namespace, or make it in the chart",
                shown(source)
            )));
        }
        if let Some(other) = sources.insert(&source.name, source).filter(|other| *other != source) {
            return Err(Error::invalid(format!(
                "the secrets {} and {} have the same name, and the preview's namespace can hold only one of it: rename one",
                shown(other),
                shown(source)
            )));
        }
    }
    Ok(())
}

async fn read(cluster: &KubeCluster, source: &SecretRef) -> Result<Secret> {
    let (name, shown) = (&source.name, shown(source));
    let api: Api<Secret> = Api::namespaced(cluster.client.clone(), &source.namespace);
    match api.get(name).await {
        Ok(found) => Ok(found),
        Err(kube::Error::Api(status)) if status.is_not_found() => Err(Error::not_found(format!(
            "there is no secret {name} in the namespace {}: create it there, or remove {shown} from secrets in .seatrial.yaml",
            source.namespace
        ))),
        Err(kube::Error::Api(status)) if status.code == 403 => Err(Error::forbidden(format!(
            "Seatrial may not read the secret {shown}. Whoever operates the cluster grants it with the value secretSources: [{{ namespace: {}, names: [{name}] }}] of charts/seatrial; without that, remove it from secrets in .seatrial.yaml",
            source.namespace
        ))),
        Err(error) => Err(errors::explain(&format!("read the secret {shown}"), error)),
    }
}

/// Type and data as they are, names and labels of our own. Nothing else of the source: its
/// annotations speak of other objects, its owner is in another namespace.
fn render(source: &SecretRef, found: Secret) -> Result<Value> {
    let kind = found.type_.unwrap_or_else(|| "Opaque".to_owned());
    if kind == ACCOUNT_TOKEN {
        return Err(Error::invalid(format!(
            "the secret {} is the token of a service account, which is good for its own namespace only: it is not copied",
            shown(source)
        )));
    }
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": source.name,
            "labels": { MANAGED_BY: SEATRIAL },
            "annotations": { COPIED_FROM: shown(source) },
        },
        "type": kind,
        "data": found.data.unwrap_or_default(),
    }))
}

/// Server-side apply: keys that the source no longer has go, and a secret that somebody changed
/// here is as the source again.
async fn write(cluster: &KubeCluster, namespace: &Namespace, source: &SecretRef, copy: &Value) -> Result<()> {
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match cluster.api::<Secret>(namespace).patch(&source.name, &params, &Patch::Apply(copy)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 422 && status.message.contains("immutable") => {
            Err(Error::conflict(format!(
                "the secret {} of the namespace {namespace} cannot be changed to be as {}: it is immutable or has another type. Delete it there and retry",
                source.name,
                shown(source)
            )))
        }
        Err(error) => {
            let doing = format!("copy the secret {} into the namespace {namespace}", shown(source));
            Err(cluster.explain_in(namespace, &doing, error).await)
        }
    }
}

fn shown(source: &SecretRef) -> String {
    format!("{}/{}", source.namespace, source.name)
}

#[cfg(test)]
mod tests {
    use seatrial_preview::ErrorKind;

    use super::*;

    fn source(namespace: &str, name: &str) -> SecretRef {
        SecretRef { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_copy_has_type_and_data_and_nothing_else_of_its_source() {
        let found: Secret = serde_json::from_value(json!({
            "metadata": { "name": "registry", "namespace": "previews", "uid": "1", "resourceVersion": "7",
                "labels": { "team": "shop" }, "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}" },
                "ownerReferences": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "2" }] },
            "type": "kubernetes.io/dockerconfigjson",
            "immutable": true,
            "data": { ".dockerconfigjson": "e30=" },
        }))
        .unwrap();
        insta::assert_json_snapshot!(render(&source("previews", "registry"), found).unwrap());
    }

    #[test]
    fn tokens_of_accounts_are_not_copied() {
        let found: Secret = serde_json::from_value(json!({ "metadata": {}, "type": ACCOUNT_TOKEN })).unwrap();
        assert_eq!(render(&source("previews", "token"), found).unwrap_err().kind, ErrorKind::Invalid);
    }

    #[test]
    fn each_name_has_one_source() {
        let namespace: Namespace = "pr-shop-7".parse().unwrap();
        let of = |sources: &[SecretRef]| check(&namespace, sources).map_err(|error| error.message);
        assert_eq!(of(&[source("a", "x"), source("a", "y"), source("a", "x")]), Ok(()));
        let twice = of(&[source("a", "x"), source("b", "x")]).unwrap_err();
        assert!(twice.contains("a/x and b/x"), "{twice}");
        assert!(of(&[source("pr-shop-7", "x")]).is_err());
    }
}
