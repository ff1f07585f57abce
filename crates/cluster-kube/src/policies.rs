//! Quota, limits, network policies and accounts of a preview's namespace (FR-010, FR-013).
//!
//! All objects are always applied, with the same names: a setting that is taken back empties its
//! object's rules. Nothing has to be deleted, so Seatrial needs no right to delete.
//!
//! # Health checks and the default deny
//! A probe goes through the API server's service proxy, so its packets come from the control
//! plane. Network plugins let a node reach its own pods, whatever the policies say (the kubelet's
//! probes need it), so on one node, and where the API server runs on the pod's node, nothing has
//! to be allowed. Elsewhere it depends on the cluster: with konnectivity the traffic comes from its
//! agents in kube-system, which are allowed here; otherwise the operator names the control plane's
//! addresses ([`crate::ClusterConfig::api_server_cidrs`]). The gateway's port-forward enters the
//! pod through the kubelet, on the pod's own loopback, and is subject to no policy.

use std::fmt::Debug;

use futures::future::try_join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use futures::try_join;
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource};
use seatrial_preview::policies::{Egress, Network, Policies, Quota};
use seatrial_preview::{Error, Namespace, Result};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::accounts::HELM_ACCOUNT;
use crate::cluster::KubeCluster;
use crate::config::ClusterConfig;
use crate::namespaces::{FIELD_MANAGER, MANAGED_BY, SEATRIAL};
use crate::quantity::parse_thousandths;

/// IPv4 that is not the internet: this network, private, shared, loopback, link-local (with the
/// clouds' metadata services), benchmarks, multicast and reserved.
const NOT_INTERNET_4: [&str; 11] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
];
/// The same for IPv6, with the addresses that only wrap an IPv4 address (NAT64).
const NOT_INTERNET_6: [&str; 5] = ["::1/128", "64:ff9b::/96", "fc00::/7", "fe80::/10", "ff00::/8"];

/// Where NodeLocal DNSCache listens; it runs in the host's network, which no selector reaches.
const NODE_LOCAL_DNS: &str = "169.254.20.10/32";

/// Storage is not among the settings, and must not be without bounds either.
const STORAGE: &str = "20Gi";
const CLAIMS: &str = "10";

/// Requests side by side: each needs a connection of its own.
const AT_ONCE: usize = 4;

pub(crate) struct Rendered {
    accounts: Vec<Value>,
    quota: Value,
    limits: Value,
    network: Vec<Value>,
}

/// `Invalid` when a quantity cannot be read.
pub(crate) fn render(policies: &Policies, settings: &ClusterConfig) -> Result<Rendered> {
    Ok(Rendered {
        // Pods get no token of the API server unless a chart asks for one.
        accounts: ["default", HELM_ACCOUNT]
            .map(|name| object("v1", "ServiceAccount", name, "automountServiceAccountToken", json!(false)))
            .into(),
        quota: render_quota(&policies.quota)?,
        limits: render_limits(&policies.quota)?,
        network: render_network(&policies.network, settings),
    })
}

pub(crate) async fn apply(cluster: &KubeCluster, namespace: &Namespace, rendered: &Rendered) -> Result<()> {
    let bounds = async {
        // The limits before the quota: under a quota, a pod without requests and limits is refused.
        apply_one::<LimitRange>(cluster, namespace, &rendered.limits).await?;
        apply_one::<ResourceQuota>(cluster, namespace, &rendered.quota).await
    };
    let network: Vec<_> =
        rendered.network.iter().map(|policy| apply_one::<NetworkPolicy>(cluster, namespace, policy)).collect();
    let network = stream::iter(network).buffer_unordered(AT_ONCE).try_collect::<()>();
    let accounts =
        try_join_all(rendered.accounts.iter().map(|account| apply_one::<ServiceAccount>(cluster, namespace, account)));
    try_join!(bounds, network, accounts)?;
    Ok(())
}

/// Server-side apply. Forced: the fields named here are Seatrial's, whoever changed them last; all
/// other fields keep their owners.
async fn apply_one<K>(cluster: &KubeCluster, namespace: &Namespace, object: &Value) -> Result<()>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    K::DynamicType: Default,
{
    let api: Api<K> = cluster.api(namespace);
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match api.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(object)).await {
        Ok(_) => Ok(()),
        Err(error) => {
            let kind = object["kind"].as_str().unwrap_or_default();
            Err(cluster
                .explain_in(namespace, &format!("apply {kind}/{name} in the namespace {namespace}"), error)
                .await)
        }
    }
}

fn object(api_version: &str, kind: &str, name: &str, field: &str, content: Value) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": { "name": name, "labels": { MANAGED_BY: SEATRIAL } },
        field: content,
    })
}

fn render_quota(quota: &Quota) -> Result<Value> {
    parse_thousandths("quota.cpu", &quota.cpu)?;
    parse_thousandths("quota.memory", &quota.memory)?;
    if quota.pods == 0 {
        return Err(Error::invalid("quota.pods: 0 leaves no room for the preview; it must be at least 1"));
    }
    let hard = json!({
        "requests.cpu": quota.cpu,
        "limits.cpu": quota.cpu,
        "requests.memory": quota.memory,
        "limits.memory": quota.memory,
        "pods": quota.pods.to_string(),
        "persistentvolumeclaims": CLAIMS,
        "requests.storage": STORAGE,
        // Ways into the cluster around ingress and gateway, and load balancers cost money.
        "services.nodeports": "0",
        "services.loadbalancers": "0",
    });
    Ok(object("v1", "ResourceQuota", SEATRIAL, "spec", json!({ "hard": hard })))
}

/// What a container without requests and limits gets: as much as lets the quota's number of pods
/// run side by side, and a quarter of it for sure.
fn render_limits(quota: &Quota) -> Result<Value> {
    const SMALLEST_CPU: i128 = 100;
    const SMALLEST_MEMORY: i128 = 64 << 20;
    let pods = i128::from(quota.pods.max(1));
    let cpu_quota = parse_thousandths("quota.cpu", &quota.cpu)?;
    let memory_quota = parse_thousandths("quota.memory", &quota.memory)? / 1_000;
    let cpu = (cpu_quota / pods).max(SMALLEST_CPU).min(cpu_quota);
    let memory = (memory_quota / pods).max(SMALLEST_MEMORY).min(memory_quota);
    let limit = json!({
        "type": "Container",
        "default": { "cpu": format!("{cpu}m"), "memory": memory.to_string() },
        "defaultRequest": { "cpu": format!("{}m", (cpu / 4).max(1)), "memory": (memory / 4).max(1).to_string() },
    });
    Ok(object("v1", "LimitRange", SEATRIAL, "spec", json!({ "limits": [limit] })))
}

fn render_network(network: &Network, settings: &ClusterConfig) -> Vec<Value> {
    let policy = |name: &str, spec: Value| {
        object("networking.k8s.io/v1", "NetworkPolicy", &format!("seatrial-{name}"), "spec", with_all_pods(spec))
    };
    let namespaces = |names: &[String]| -> Vec<Value> { names.iter().map(|name| namespace_peer(name)).collect() };
    let dns = json!([{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }]);
    let internet = match network.egress {
        Egress::Internet => json!([{ "to": [
            { "ipBlock": { "cidr": "0.0.0.0/0", "except": NOT_INTERNET_4 } },
            { "ipBlock": { "cidr": "::/0", "except": NOT_INTERNET_6 } },
        ] }]),
        Egress::None => json!([]),
    };
    // A rule with an empty list of peers would allow everybody: without peers there is no rule.
    let rule = |direction: &str, peers: Vec<Value>| {
        if peers.is_empty() { json!([]) } else { json!([{ direction: peers }]) }
    };
    let mut control_plane = vec![json!({
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "kube-system" } },
        "podSelector": { "matchLabels": { "k8s-app": "konnectivity-agent" } },
    })];
    control_plane.extend(settings.api_server_cidrs.iter().map(|cidr| json!({ "ipBlock": { "cidr": cidr } })));
    vec![
        policy("default-deny", json!({ "policyTypes": ["Ingress", "Egress"] })),
        policy(
            "same-namespace",
            json!({
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{ "from": [{ "podSelector": {} }] }],
                "egress": [{ "to": [{ "podSelector": {} }] }],
            }),
        ),
        policy(
            "dns",
            json!({
                "policyTypes": ["Egress"],
                "egress": [{
                    "to": [namespace_peer("kube-system"), { "ipBlock": { "cidr": NODE_LOCAL_DNS } }],
                    "ports": dns,
                }],
            }),
        ),
        policy(
            "ingress-controller",
            json!({
                "policyTypes": ["Ingress"],
                "ingress": [{ "from": [namespace_peer(&settings.ingress_namespace)] }],
            }),
        ),
        policy("api-server", json!({ "policyTypes": ["Ingress"], "ingress": rule("from", control_plane) })),
        policy(
            "auxiliary",
            json!({
                "policyTypes": ["Ingress", "Egress"],
                "ingress": rule("from", namespaces(&network.allow_namespaces)),
                "egress": rule("to", namespaces(&network.allow_namespaces)),
            }),
        ),
        policy("internet", json!({ "policyTypes": ["Egress"], "egress": internet })),
    ]
}

fn namespace_peer(name: &str) -> Value {
    // Set by the API server on every namespace; nobody can give it another value.
    json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } } })
}

fn with_all_pods(mut spec: Value) -> Value {
    spec["podSelector"] = json!({});
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(egress: Egress, allow: &[&str]) -> Policies {
        let allow_namespaces = allow.iter().map(|name| (*name).to_owned()).collect();
        Policies { quota: Quota::default(), network: Network { egress, allow_namespaces } }
    }

    #[test]
    fn quota_and_limits() {
        let quota = Quota::default();
        insta::assert_json_snapshot!([render_quota(&quota).unwrap(), render_limits(&quota).unwrap()]);
    }

    #[test]
    fn small_quotas_still_admit_a_pod() {
        let quota = Quota { cpu: "50m".to_owned(), memory: "32Mi".to_owned(), pods: 10 };
        let limits = render_limits(&quota).unwrap();
        assert_eq!(limits["spec"]["limits"][0]["default"], json!({ "cpu": "50m", "memory": (32 << 20).to_string() }));
    }

    #[test]
    fn wrong_quotas_are_named() {
        let quota = Quota { memory: "lots".to_owned(), ..Quota::default() };
        assert!(render_quota(&quota).unwrap_err().message.starts_with("quota.memory: \"lots\""));
        assert!(render_quota(&Quota { pods: 0, ..Quota::default() }).is_err());
    }

    #[test]
    fn network_open() {
        let settings = ClusterConfig { api_server_cidrs: vec!["10.1.0.0/24".to_owned()], ..ClusterConfig::default() };
        insta::assert_json_snapshot!(render_network(&policies(Egress::Internet, &["databases"]).network, &settings));
    }

    #[test]
    fn network_closed() {
        insta::assert_json_snapshot!(render_network(&policies(Egress::None, &[]).network, &ClusterConfig::default()));
    }

    #[test]
    fn accounts_have_no_tokens() {
        let rendered = render(&policies(Egress::None, &[]), &ClusterConfig::default()).unwrap();
        insta::assert_json_snapshot!(rendered.accounts);
    }
}
