//! The programs that make a cluster, with their arguments.

use std::path::{Path, PathBuf};

use super::layout::{self, Layout};

/// A program that runs as long as the cluster.
#[derive(Debug)]
pub struct Part {
    pub name: &'static str,
    /// The cluster's own program, except for containerd.
    pub program: PathBuf,
    pub arguments: Vec<String>,
}

/// All names, in the order of their start.
pub const NAMES: [&str; 9] = [
    "etcd",
    "registry",
    "containerd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "coredns",
];

/// What needs nobody, and the API server, which waits for etcd by itself.
pub fn foundation(layout: &Layout, program: &Path, containerd: PathBuf) -> Vec<Part> {
    let path = |relative: &str| layout.path(relative);
    let etcd = format!("http://{}", layout::ETCD_ADDRESS);
    let peer = format!("http://{}", layout::ETCD_PEER_ADDRESS);
    vec![
        part(
            program,
            "etcd",
            [
                ("--data-dir", path("etcd")),
                ("--listen-client-urls", etcd.clone()),
                ("--advertise-client-urls", etcd.clone()),
                ("--listen-peer-urls", peer.clone()),
                ("--initial-advertise-peer-urls", peer.clone()),
                ("--initial-cluster", format!("default={peer}")),
                // The cluster never outlives the machine.
                ("--unsafe-no-fsync", "true".into()),
            ],
        ),
        part(program, "registry", [("--address", layout::REGISTRY_ADDRESS.into()), ("--dir", path("registry"))]),
        Part {
            name: "containerd",
            program: containerd,
            arguments: vec![format!("--config={}", path("containerd.toml"))],
        },
        part(program, "kube-apiserver", api_server(layout, etcd)),
    ]
}

fn api_server(layout: &Layout, etcd: String) -> Vec<(&'static str, String)> {
    let pki = |file: &str| layout.path(&format!("pki/{file}"));
    vec![
        ("--etcd-servers", etcd),
        // Not on all addresses: who is not on this machine has no business here.
        ("--bind-address", layout::ADDRESS.into()),
        ("--advertise-address", layout::ADDRESS.into()),
        ("--secure-port", layout::API_PORT.into()),
        ("--cert-dir", layout.path("pki")),
        ("--tls-cert-file", pki("kube-apiserver.crt")),
        ("--tls-private-key-file", pki("kube-apiserver.key")),
        ("--client-ca-file", pki("ca.crt")),
        ("--service-cluster-ip-range", layout::SERVICES.into()),
        ("--service-account-issuer", "https://kubernetes.default.svc.cluster.local".into()),
        ("--service-account-key-file", pki("service-accounts.crt")),
        ("--service-account-signing-key-file", pki("service-accounts.key")),
        ("--authorization-mode", "Node,RBAC".into()),
        ("--enable-admission-plugins", "NodeRestriction".into()),
        // Logs, port-forward and exec go through the API server to the kubelet.
        ("--kubelet-client-certificate", pki("kubelet-client.crt")),
        ("--kubelet-client-key", pki("kubelet-client.key")),
        ("--kubelet-certificate-authority", pki("ca.crt")),
        ("--kubelet-preferred-address-types", "InternalIP".into()),
        // For APIs that others serve, such as metrics.
        ("--requestheader-client-ca-file", pki("front-proxy-ca.crt")),
        ("--requestheader-allowed-names", "front-proxy".into()),
        ("--requestheader-username-headers", "X-Remote-User".into()),
        ("--requestheader-group-headers", "X-Remote-Group".into()),
        ("--requestheader-extra-headers-prefix", "X-Remote-Extra-".into()),
        ("--proxy-client-cert-file", pki("front-proxy.crt")),
        ("--proxy-client-key-file", pki("front-proxy.key")),
        ("--enable-aggregator-routing", "true".into()),
    ]
}

/// What gives up without an API server.
pub fn rest(layout: &Layout, program: &Path) -> Vec<Part> {
    let path = |relative: &str| layout.path(relative);
    let no = || String::from("false");
    vec![
        part(
            program,
            "kube-controller-manager",
            [
                ("--kubeconfig", path("kubeconfigs/kube-controller-manager")),
                ("--service-account-private-key-file", path("pki/service-accounts.key")),
                ("--root-ca-file", path("pki/ca.crt")),
                ("--use-service-account-credentials", "true".into()),
                ("--leader-elect", no()),
                ("--secure-port", "0".into()),
                // It makes the folder, by default where it would stay.
                ("--flex-volume-plugin-dir", path("volume-plugins")),
                // Tests end many namespaces at once.
                ("--kube-api-qps", "200".into()),
                ("--kube-api-burst", "400".into()),
            ],
        ),
        part(
            program,
            "kube-scheduler",
            [
                ("--kubeconfig", path("kubeconfigs/kube-scheduler")),
                ("--leader-elect", no()),
                ("--secure-port", "0".into()),
            ],
        ),
        part(program, "kube-proxy", [("--config", path("kube-proxy.json"))]),
        part(
            program,
            "kubelet",
            [
                ("--config", path("kubelet.json")),
                ("--kubeconfig", path("kubeconfigs/kubelet")),
                ("--root-dir", path("kubelet")),
                ("--cert-dir", path("kubelet/pki")),
                ("--hostname-override", layout::NODE.into()),
                ("--node-ip", layout::ADDRESS.into()),
            ],
        ),
        part(program, "coredns", [("-conf", path("Corefile"))]),
    ]
}

fn part(program: &Path, name: &'static str, options: impl IntoIterator<Item = (&'static str, String)>) -> Part {
    let options = options.into_iter().map(|(option, value)| format!("{option}={value}"));
    Part { name, program: program.to_owned(), arguments: std::iter::once(name.to_owned()).chain(options).collect() }
}
