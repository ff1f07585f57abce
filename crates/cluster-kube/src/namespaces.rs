//! The namespace of a preview: made, recognised as ours, repaired.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace as KubeNamespace;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use seatrial_preview::ports::{NamespaceFound, NamespaceSpec, Owner, Ownership};
use seatrial_preview::{Error, Namespace, PullRequestRef, Result};
use serde_json::{Value, json};

use crate::cluster::KubeCluster;
use crate::{errors, teardown};

/// The name under which the API server records which fields are Seatrial's.
pub(crate) const FIELD_MANAGER: &str = "seatrial";
/// The label (and its value) of all that Seatrial makes; the admission policies go by it.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub(crate) const SEATRIAL: &str = "seatrial";
const REPOSITORY: &str = "seatrial.dev/repository";
/// As a label the number; as an annotation `owner/name#12`, exactly.
const PULL_REQUEST: &str = "seatrial.dev/pull-request";
const ENVIRONMENT: &str = "seatrial.dev/environment";

/// How long a namespace of ours that is still being deleted is waited for.
const TERMINATION_PATIENCE: Duration = Duration::from_secs(180);

pub(crate) fn all(cluster: &KubeCluster) -> Api<KubeNamespace> {
    Api::all(cluster.client.clone())
}

pub(crate) async fn find(cluster: &KubeCluster, namespace: &Namespace) -> Result<Option<KubeNamespace>> {
    all(cluster)
        .get_opt(namespace.as_str())
        .await
        .map_err(|error| errors::explain(&format!("read the namespace {namespace}"), error))
}

pub(crate) async fn ensure(cluster: &KubeCluster, spec: &NamespaceSpec) -> Result<()> {
    let name = &spec.name;
    let wanted: KubeNamespace = serde_json::from_value(render(spec))
        .map_err(|error| Error::invalid(format!("cannot render the namespace {name}: {error}")))?;
    loop {
        match all(cluster)
            .create(&PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() }, &wanted)
            .await
        {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => return Err(errors::explain(&format!("create the namespace {name}"), error)),
        }
        let Some(found) = find(cluster, name).await? else {
            continue; // deleted in the meantime
        };
        verify_ours(&found, &Owner { at: spec.at.clone(), environment: spec.environment })?;
        if found.metadata.deletion_timestamp.is_none() {
            return repair(cluster, spec).await;
        }
        teardown::await_gone(cluster, name, TERMINATION_PATIENCE).await?;
    }
}

/// Read in pieces: one page of namespaces at a time.
const PAGE: u32 = 500;

/// What bears our label and says whose it is. What does not say it, is left out and logged: nobody
/// must take it for an orphan.
pub(crate) async fn list(cluster: &KubeCluster) -> Result<Vec<NamespaceFound>> {
    let mut found = Vec::new();
    let mut params = ListParams::default().labels(&format!("{MANAGED_BY}={SEATRIAL}")).limit(PAGE);
    loop {
        let page = all(cluster)
            .list_metadata(&params)
            .await
            .map_err(|error| errors::explain("list the namespaces of the previews", error))?;
        for namespace in page.items.iter().filter(|namespace| namespace.metadata.deletion_timestamp.is_none()) {
            match recognise(namespace) {
                Ok(recognised) => found.push(recognised),
                Err(why) => {
                    tracing::warn!(namespace = namespace.name_any(), %why, "a namespace bears Seatrial's label but does not say whose it is; it is left alone");
                }
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(found),
        }
    }
}

fn recognise(namespace: &impl ResourceExt) -> Result<NamespaceFound, String> {
    let name = namespace.name_any().parse().map_err(|error: Error| error.message)?;
    let owner =
        namespace.annotations().get(PULL_REQUEST).ok_or_else(|| format!("it lacks the annotation {PULL_REQUEST}"))?;
    let id = namespace.labels().get(ENVIRONMENT).ok_or_else(|| format!("it lacks the label {ENVIRONMENT}"))?;
    let environment = serde_json::from_value(json!(id)).map_err(|error| format!("{ENVIRONMENT}: {error}"))?;
    Ok(NamespaceFound { name, at: parse_owner(owner)?, environment })
}

fn parse_owner(text: &str) -> Result<PullRequestRef, String> {
    let unreadable = || format!("{text:?} is not a pull request: owner/name#number is expected");
    let (repository, number) = text.rsplit_once('#').ok_or_else(unreadable)?;
    let repository = repository.parse().map_err(|error: Error| error.message)?;
    let number = number.parse().map_err(|_| unreadable())?;
    Ok(PullRequestRef { repository, number })
}

pub(crate) async fn find_owner(cluster: &KubeCluster, namespace: &Namespace, owner: &Owner) -> Result<Ownership> {
    Ok(match find(cluster, namespace).await? {
        None => Ownership::Absent,
        Some(found) if verify_ours(&found, owner).is_ok() => Ownership::Ours,
        Some(_) => Ownership::Foreign,
    })
}

async fn repair(cluster: &KubeCluster, spec: &NamespaceSpec) -> Result<()> {
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match all(cluster).patch(spec.name.as_str(), &params, &Patch::Apply(render(spec))).await {
        Ok(_) => Ok(()),
        Err(error) => Err(errors::explain(&format!("update the labels of the namespace {}", spec.name), error)),
    }
}

pub(crate) fn is_ours(found: &KubeNamespace) -> bool {
    label(found, MANAGED_BY) == Some(SEATRIAL)
}

/// `Conflict`, in words, unless the namespace was made by Seatrial for this environment.
pub(crate) fn verify_ours(found: &KubeNamespace, owner: &Owner) -> Result<()> {
    let name = found.name_any();
    let at = &owner.at;
    if !is_ours(found) {
        return Err(Error::conflict(format!(
            "the namespace {name} exists and was not made by Seatrial, so it is left alone. Rename or delete it, then retry {at}"
        )));
    }
    if label(found, ENVIRONMENT) == Some(owner.environment.to_string().as_str()) {
        return Ok(());
    }
    match found.annotations().get(PULL_REQUEST) {
        Some(owner) if *owner == at.to_string() => Err(Error::conflict(format!(
            "the namespace {name} belongs to another environment of {at} ({}), which this Seatrial does not know. Delete it with `kubectl delete namespace {name}` and retry",
            label(found, ENVIRONMENT).unwrap_or("without an id"),
        ))),
        Some(owner) => Err(Error::conflict(format!(
            "the namespace {name} is the preview of {owner}, not of {at}, so it is left alone. Close {owner} or delete its preview, then retry"
        ))),
        None => Err(Error::conflict(format!(
            "the namespace {name} lacks the annotation {PULL_REQUEST} that says whose preview it is, so it is left alone. Delete it, then retry {at}"
        ))),
    }
}

fn label<'a>(namespace: &'a KubeNamespace, key: &str) -> Option<&'a str> {
    namespace.labels().get(key).map(String::as_str)
}

fn render(spec: &NamespaceSpec) -> Value {
    let level = spec.pod_security.as_str();
    let mut labels = BTreeMap::from([
        (MANAGED_BY.to_owned(), SEATRIAL.to_owned()),
        (REPOSITORY.to_owned(), clean_label(&spec.at.repository.to_string())),
        (PULL_REQUEST.to_owned(), spec.at.number.to_string()),
        (ENVIRONMENT.to_owned(), spec.environment.to_string()),
    ]);
    for mode in ["enforce", "warn", "audit"] {
        labels.insert(format!("pod-security.kubernetes.io/{mode}"), level.to_owned());
    }
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": spec.name,
            "labels": labels,
            "annotations": { PULL_REQUEST: spec.at.to_string() },
        },
    })
}

/// A label's value holds at most 63 letters, digits, `-`, `_` and `.`, and begins and ends with a
/// letter or digit. For people to select by; ownership goes by the annotation.
fn clean_label(text: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '.' };
    let cleaned: String = text.chars().map(keep).take(63).collect();
    cleaned.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

#[cfg(test)]
mod tests {
    use seatrial_preview::EnvironmentId;
    use seatrial_preview::policies::PodSecurity;

    use super::*;

    fn spec() -> NamespaceSpec {
        NamespaceSpec {
            name: "pr-shop-7".parse().unwrap(),
            at: PullRequestRef { repository: "acme/shop".parse().unwrap(), number: 7 },
            environment: EnvironmentId(uuid::Uuid::nil()),
            pod_security: PodSecurity::Restricted,
        }
    }

    #[test]
    fn namespace() {
        insta::assert_json_snapshot!(render(&spec()));
    }

    #[test]
    fn ownership_is_exact() {
        let mut namespace: KubeNamespace = serde_json::from_value(render(&spec())).unwrap();
        let at = Owner { at: spec().at, environment: EnvironmentId(uuid::Uuid::max()) };
        // A second Seatrial, or one whose database was lost.
        let refused = verify_ours(&namespace, &at).unwrap_err();
        assert!(refused.message.contains("another environment of acme/shop#7"), "{refused}");
        let renamed = PullRequestRef { repository: "acme/store".parse().unwrap(), number: 7 };
        assert!(verify_ours(&namespace, &Owner { at: renamed, environment: spec().environment }).is_ok());
        let other = Owner { at: PullRequestRef { number: 77, ..spec().at }, ..at.clone() };
        let refused = verify_ours(&namespace, &other).unwrap_err();
        assert!(refused.message.contains("pr-shop-7 is the preview of acme/shop#7, not of acme/shop#77"), "{refused}");
        namespace.metadata.annotations = None;
        assert!(verify_ours(&namespace, &at).unwrap_err().message.contains("lacks the annotation"));
        namespace.metadata.labels = None;
        assert!(verify_ours(&namespace, &at).unwrap_err().message.contains("not made by Seatrial"));
    }

    #[test]
    fn what_we_made_is_recognised_and_nothing_else() {
        let made = |change: &dyn Fn(&mut Value)| {
            let mut namespace = render(&spec());
            change(&mut namespace);
            recognise(&serde_json::from_value::<KubeNamespace>(namespace).unwrap())
        };
        let expected =
            NamespaceFound { name: spec().name, at: spec().at, environment: EnvironmentId(uuid::Uuid::nil()) };
        assert_eq!(made(&|_| {}), Ok(expected));
        let annotated =
            |owner: Value| made(&|namespace| namespace["metadata"]["annotations"][PULL_REQUEST] = owner.clone());
        for owner in ["acme/shop", "acme/shop#", "acme/shop#x", "acme/shop#-1", "#7", "acme#7", "a/b/c#7", ""] {
            assert!(annotated(json!(owner)).is_err(), "{owner:?}");
        }
        assert!(
            made(&|namespace| namespace["metadata"]["annotations"] = json!({})).unwrap_err().contains(PULL_REQUEST)
        );
        for id in [json!("not-a-uuid"), json!("")] {
            assert!(made(&|namespace| namespace["metadata"]["labels"][ENVIRONMENT] = id.clone()).is_err(), "{id}");
        }
        assert!(made(&|namespace| namespace["metadata"]["labels"] = json!({})).unwrap_err().contains(ENVIRONMENT));
        assert!(made(&|namespace| namespace["metadata"]["name"] = json!("shop")).is_err());
    }

    #[test]
    fn labels_are_cleaned() {
        assert_eq!(clean_label("acme/shop"), "acme.shop");
        assert_eq!(clean_label("-acme/_"), "acme");
        let long = clean_label(&format!("{}/{}", "a".repeat(62), "b".repeat(90)));
        assert_eq!(long, "a".repeat(62));
    }
}
