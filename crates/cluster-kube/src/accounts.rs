//! Who may do what in a preview's namespace: Seatrial itself, and Helm.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ResourceQuota, ServiceAccount};
use k8s_openapi::api::rbac::v1::{RoleBinding, Subject};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Config, ResourceExt};
use seatrial_preview::{Error, Namespace, Result};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::cluster::KubeCluster;
use crate::errors;
use crate::namespaces::{FIELD_MANAGER, MANAGED_BY, SEATRIAL};

/// The account in each preview's namespace under which Helm works. `charts/seatrial` names it too.
pub(crate) const HELM_ACCOUNT: &str = "helm";
const PREVIEW_ROLE: &str = "seatrial:preview";
const HELM_ROLE: &str = "seatrial:helm";

/// Longer than a `helm upgrade` with slow hooks; at least ten minutes, says Kubernetes.
const TOKEN_SECONDS: i64 = 1800;

/// Binds Seatrial's account and `helm` to their roles, and returns once the bindings are in force.
pub(crate) async fn bind(cluster: &KubeCluster, namespace: &Namespace) -> Result<()> {
    let own = own_subject(cluster).await?;
    let helm = Subject {
        kind: "ServiceAccount".to_owned(),
        name: HELM_ACCOUNT.to_owned(),
        namespace: Some(namespace.to_string()),
        api_group: None,
    };
    // Helm's first: the API server learns of bindings in the order they were made, so once ours is
    // in force, Helm's is too.
    ensure_binding(cluster, namespace, HELM_ROLE, HELM_ROLE.to_owned(), &helm).await?;
    // Named after the account: bindings cannot be changed, and Seatrial may move to another one.
    let name = binding_name(own);
    ensure_binding(cluster, namespace, PREVIEW_ROLE, name, own).await?;
    await_in_force(cluster, namespace).await
}

async fn ensure_binding(
    cluster: &KubeCluster,
    namespace: &Namespace,
    role: &str,
    name: String,
    subject: &Subject,
) -> Result<()> {
    let doing = format!("bind the role {role} in the namespace {namespace}");
    let wanted: RoleBinding = serde_json::from_value(render_binding(role, &name, subject))
        .map_err(|error| Error::invalid(format!("cannot {doing}: {error}")))?;
    let api: Api<RoleBinding> = cluster.api(namespace);
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    match api.create(&params, &wanted).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            let found = api.get(&name).await.map_err(|error| errors::explain(&doing, error))?;
            let same = found.role_ref.name == wanted.role_ref.name
                && found.subjects.unwrap_or_default() == wanted.subjects.unwrap_or_default();
            if same {
                Ok(())
            } else {
                Err(Error::conflict(format!(
                    "the RoleBinding {name} in the namespace {namespace} was changed by somebody else. Delete it and retry; Seatrial makes it anew"
                )))
            }
        }
        Err(kube::Error::Api(status)) if status.is_not_found() && status.message.contains("clusterrole") => {
            Err(Error::forbidden(format!(
                "cannot {doing}: the ClusterRole {role} does not exist. Install charts/seatrial in the cluster; `seatrial doctor` lists what is missing"
            )))
        }
        Err(error) => Err(cluster.explain_in(namespace, &doing, error).await),
    }
}

fn render_binding(role: &str, name: &str, subject: &Subject) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": { "name": name, "labels": { MANAGED_BY: SEATRIAL } },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [subject],
    })
}

/// A new binding takes the API server a moment to notice. Asks for what comes next anyway (and
/// changes nothing by it) until it is allowed; what is refused for longer is a missing permission.
async fn await_in_force(cluster: &KubeCluster, namespace: &Namespace) -> Result<()> {
    let quotas: Api<ResourceQuota> = cluster.api(namespace);
    let params = PatchParams { dry_run: true, ..PatchParams::apply(FIELD_MANAGER).force() };
    let nothing =
        Patch::Apply(json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": SEATRIAL } }));
    let attempts = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(25))
        .with_max_delay(Duration::from_secs(1))
        .with_total_delay(Some(Duration::from_secs(10)))
        .without_max_times();
    let asked = (|| quotas.patch(SEATRIAL, &params, &nothing))
        .retry(attempts)
        .when(|error| matches!(error, kube::Error::Api(status) if status.code == 403))
        .await;
    match asked {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(cluster.explain_in(namespace, &format!("set policies in the namespace {namespace}"), error).await)
        }
    }
}

/// The account that the credentials belong to, as the API server knows it.
async fn own_subject(cluster: &KubeCluster) -> Result<&Subject> {
    cluster
        .own_subject
        .get_or_try_init(|| async {
            let api: Api<SelfSubjectReview> = Api::all(cluster.client.clone());
            let review = api
                .create(&PostParams::default(), &SelfSubjectReview::default())
                .await
                .map_err(|error| errors::explain("ask the cluster which account Seatrial has", error))?;
            let name = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
            name.map(|name| subject_of(&name)).ok_or_else(|| {
                Error::forbidden("the cluster does not know Seatrial's account: check the kubeconfig's credentials")
            })
        })
        .await
}

fn subject_of(user: &str) -> Subject {
    match user.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':')) {
        Some((namespace, name)) => Subject {
            kind: "ServiceAccount".to_owned(),
            name: name.to_owned(),
            namespace: Some(namespace.to_owned()),
            api_group: None,
        },
        None => Subject {
            kind: "User".to_owned(),
            name: user.to_owned(),
            namespace: None,
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
        },
    }
}

/// `seatrial:preview:seatrial.seatrial`. Names of bindings allow all but `/` and `%`.
fn binding_name(subject: &Subject) -> String {
    let who = match &subject.namespace {
        Some(namespace) => format!("{namespace}.{}", subject.name),
        None => subject.name.clone(),
    };
    format!("{PREVIEW_ROLE}:{who}").chars().map(|c| if matches!(c, '/' | '%') { '_' } else { c }).take(200).collect()
}

/// A kubeconfig for the namespace's own Helm account. Its token ends by itself.
pub(crate) async fn helm_access(cluster: &KubeCluster, namespace: &Namespace) -> Result<SecretString> {
    let doing = format!("get a token of the account {HELM_ACCOUNT} in the namespace {namespace}");
    let api: Api<ServiceAccount> = cluster.api(namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let answer = match api.create_token_request(HELM_ACCOUNT, &PostParams::default(), &request).await {
        Ok(answer) => answer,
        Err(error) => return Err(cluster.explain_in(namespace, &doing, error).await),
    };
    let token = answer
        .status
        .map(|status| status.token)
        .ok_or_else(|| Error::transient(format!("cannot {doing}: the API server's answer holds none")))?;
    let kubeconfig = render_kubeconfig(&cluster.kube, namespace, &token);
    let text = serde_yaml_ng::to_string(&kubeconfig)
        .map_err(|error| Error::invalid(format!("cannot write the kubeconfig for {namespace}: {error}")))?;
    Ok(SecretString::from(text))
}

/// The same server, trusted for the same reasons, with another account.
fn render_kubeconfig(config: &Config, namespace: &Namespace, token: &str) -> Value {
    let mut server = json!({ "server": config.cluster_url.to_string().trim_end_matches('/') });
    if let Some(certificates) = &config.root_cert {
        server["certificate-authority-data"] = BASE64.encode(to_pem(certificates)).into();
    }
    if config.accept_invalid_certs {
        server["insecure-skip-tls-verify"] = true.into();
    }
    if let Some(name) = &config.tls_server_name {
        server["tls-server-name"] = name.as_str().into();
    }
    if let Some(proxy) = &config.proxy_url {
        server["proxy-url"] = proxy.to_string().into();
    }
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "preview",
        "contexts": [{
            "name": "preview",
            "context": { "cluster": "preview", "user": HELM_ACCOUNT, "namespace": namespace },
        }],
        "clusters": [{ "name": "preview", "cluster": server }],
        "users": [{ "name": HELM_ACCOUNT, "user": { "token": token } }],
    })
}

fn to_pem(certificates: &[Vec<u8>]) -> String {
    let mut pem = String::new();
    for certificate in certificates {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = BASE64.encode(certificate);
        for line in encoded.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

/// True for the accounts that Kubernetes or Seatrial puts into every namespace.
pub(crate) fn is_standing(account: &impl ResourceExt) -> bool {
    matches!(account.name_any().as_str(), "default" | HELM_ACCOUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects() {
        let account = subject_of("system:serviceaccount:seatrial:seatrial");
        assert_eq!((account.kind.as_str(), account.namespace.as_deref()), ("ServiceAccount", Some("seatrial")));
        assert_eq!(binding_name(&account), "seatrial:preview:seatrial.seatrial");
        let user = subject_of("https://issuer.example/#jo");
        assert_eq!(user.kind, "User");
        assert_eq!(binding_name(&user), "seatrial:preview:https:__issuer.example_#jo");
    }

    #[test]
    fn binding() {
        let own = subject_of("system:serviceaccount:seatrial:seatrial");
        insta::assert_json_snapshot!(render_binding(PREVIEW_ROLE, &binding_name(&own), &own));
    }

    #[test]
    fn kubeconfig() {
        let mut config = Config::new("https://10.0.0.1:6443/".parse().unwrap());
        config.root_cert = Some(vec![vec![7; 60]]);
        insta::assert_json_snapshot!(render_kubeconfig(&config, &"pr-shop-7".parse().unwrap(), "token"));
    }
}
