//! The configuration files of the parts that want one.

use std::fs;

use anyhow::Result;
use serde_json::{Value, json};

use super::layout::{ADDRESS, BRIDGE, CONTROL_GROUP, Layout, NODE, PODS, REGISTRY};

/// Writes all of them into the state folder.
pub fn write(layout: &Layout) -> Result<()> {
    fs::create_dir_all(layout.dir.join("cni"))?;
    let json = |value: &Value| format!("{value:#}\n");
    let files = [
        ("containerd.toml", containerd(layout)),
        ("cni/10-seatrial.conflist", json(&network(layout))),
        ("kubelet.json", json(&kubelet(layout))),
        ("kube-proxy.json", json(&proxy(layout))),
        ("Corefile", corefile(layout)),
    ];
    for (name, content) in files {
        fs::write(layout.dir.join(name), content)?;
    }
    Ok(())
}

/// Where the image that holds a pod's network is.
pub fn pause_image() -> String {
    format!("{REGISTRY}/pause:1")
}

/// containerd with everything below the state folder, so that none of it outlives the folder and
/// it shares nothing with the machine's own containerd.
fn containerd(layout: &Layout) -> String {
    let cri = r#"plugins."io.containerd.grpc.v1.cri""#;
    format!(
        r#"version = 2
root = "{root}"
state = "{state}"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
address = "{socket}"

[{cri}]
sandbox_image = "{pause}"
# A machine that is a container itself may not lower these scores.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[{cri}.containerd]
snapshotter = "overlayfs"

[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[{cri}.containerd.runtimes.runc.options]
Root = "{runc}"

[{cri}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{cni}"
"#,
        root = layout.path("containerd/root"),
        state = layout.path("containerd/state"),
        runc = layout.path("runc"),
        socket = layout.containerd_socket().display(),
        pause = pause_image(),
        cni = layout.path("cni"),
    )
}

/// Pods on one bridge. Masquerading is not the plugin's: its rules for each pod stay behind when
/// a cluster is killed, while a table of our own goes as a whole.
fn network(layout: &Layout) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": BRIDGE,
        "plugins": [{
            "type": "bridge",
            "bridge": BRIDGE,
            "isDefaultGateway": true,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "dataDir": layout.path("addresses"),
                "ranges": [[{"subnet": PODS, "gateway": ADDRESS}]],
            },
        }],
    })
}

fn kubelet(layout: &Layout) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "healthzBindAddress": ADDRESS,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": layout.path("pki/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": layout.path("pki/kubelet.crt"),
        "tlsPrivateKeyFile": layout.path("pki/kubelet.key"),
        "containerRuntimeEndpoint": format!("unix://{}", layout.containerd_socket().display()),
        "clusterDNS": [ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "maxPods": 250,
        // Machines of every kind: either version of control groups, with or without swap.
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{CONTROL_GROUP}"),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        // Folders and packet rules that would outlive the cluster elsewhere.
        "podLogsDir": layout.path("pod-logs"),
        "volumePluginDir": layout.path("volume-plugins"),
        "makeIPTablesUtilChains": false,
        // A nearly full disk is no reason to throw a test's pods out.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
        // Many short-lived pods at once.
        "serializeImagePulls": false,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
    })
}

fn proxy(layout: &Layout) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "bindAddress": ADDRESS,
        "healthzBindAddress": format!("{ADDRESS}:10256"),
        "metricsBindAddress": format!("{ADDRESS}:10249"),
        "hostnameOverride": NODE,
        "clusterCIDR": PODS,
        "clientConnection": {"kubeconfig": layout.path("kubeconfigs/kube-proxy")},
        // The machine's settings for tracking connections are not the cluster's to change.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        // Pods share a bridge, so an answer would pass by the node and keep the pod's address
        // instead of the Service's, unless the node is the one who asks.
        "nftables": {"masqueradeAll": true},
        "oomScoreAdj": 0,
    })
}

fn corefile(layout: &Layout) -> String {
    format!(
        ".:53 {{\n    bind {ADDRESS}\n    errors\n    kubernetes cluster.local {{\n        kubeconfig {} seatrial-local\n    }}\n}}\n",
        layout.kubeconfig().display()
    )
}
