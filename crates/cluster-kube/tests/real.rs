//! The adapter on a real cluster, as Seatrial's own account and with nothing but its rights.
//!
//! Runs only against a cluster that is named: `SEATRIAL_TEST_KUBECONFIG` (an administrator's),
//! `SEATRIAL_TEST_CONTEXT` where that is not its current context, and `SEATRIAL_TEST_HELM` (the
//! program), with the sample application's image in the cluster's registry. It installs
//! `charts/seatrial` there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ConfigMap, LimitRange, Namespace as KubeNamespace, PersistentVolumeClaim, Pod, ResourceQuota, Secret,
    ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use seatrial_cluster_kube::{ClusterConfig, KubeCluster};
use seatrial_preview::environment::ServiceTarget;
use seatrial_preview::failure::{Diagnosis, Reason};
use seatrial_preview::policies::{Egress, Network, PodSecurity, Policies, Quota};
use seatrial_preview::ports::{Cluster, LogQuery, NamespaceFound, NamespaceSpec, ProgressSink, SecretRef};
use seatrial_preview::{EnvironmentId, Error, ErrorKind, Namespace, PullRequestRef};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::OnceCell;

/// How long a thing that must come is waited for before the test fails.
const LIMIT: Duration = Duration::from_secs(60);

struct World {
    admin: Client,
    seatrial: Client,
    cluster: KubeCluster,
    helm: PathBuf,
    folder: tempfile::TempDir,
}

/// Says why when there is no cluster to test on.
async fn world() -> Option<World> {
    let (Some(kubeconfig), Some(helm)) =
        (std::env::var_os("SEATRIAL_TEST_KUBECONFIG"), std::env::var_os("SEATRIAL_TEST_HELM"))
    else {
        eprintln!("skipped: SEATRIAL_TEST_KUBECONFIG and SEATRIAL_TEST_HELM name no cluster to test on");
        return None;
    };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (folder, helm) = (tempfile::tempdir().unwrap(), PathBuf::from(helm));
    let mut file = Kubeconfig::read_from(kubeconfig).unwrap();
    // Whoever reads the copy finds no other current context than the one that was named.
    if let Some(context) = std::env::var("SEATRIAL_TEST_CONTEXT").ok().filter(|context| !context.is_empty()) {
        file.current_context = Some(context);
    }
    let kubeconfig = folder.path().join("admin.json");
    std::fs::write(&kubeconfig, serde_json::to_vec(&file).unwrap()).unwrap();
    let admin = client(&kubeconfig).await;
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED.get_or_init(|| install_chart(&kubeconfig, &helm)).await;

    let own = folder.path().join("seatrial.yaml");
    write_own_kubeconfig(&admin, &kubeconfig, &own).await;
    let seatrial = client(&own).await;
    await_policies(&seatrial).await;
    let cluster =
        KubeCluster::connect(ClusterConfig { kubeconfig: Some(own), ..ClusterConfig::default() }).await.unwrap();
    Some(World { admin, seatrial, cluster, helm, folder })
}

async fn client(kubeconfig: &Path) -> Client {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    Client::try_from(Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap()).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// One process at a time, as the end-to-end tests do it and by the same lock: Helm refuses whoever
/// comes while another one installs.
async fn install_chart(kubeconfig: &Path, helm: &Path) {
    let lock = std::env::temp_dir().join("seatrial-tests-account.lock");
    let _lock = tokio::task::spawn_blocking(move || {
        let file = File::create(lock)?;
        file.lock()?;
        Ok::<_, std::io::Error>(file)
    })
    .await
    .unwrap()
    .unwrap();
    let output = Command::new(helm)
        .args(["upgrade", "--install", "seatrial"])
        .arg(root().join("charts/seatrial"))
        .args(["--namespace", "seatrial", "--create-namespace", "--set", "server.enabled=false", "--kubeconfig"])
        .arg(kubeconfig)
        .output()
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "charts/seatrial cannot be installed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

async fn write_own_kubeconfig(admin: &Client, kubeconfig: &Path, own: &Path) {
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), "seatrial");
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(3600), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let answer = accounts.create_token_request("seatrial", &PostParams::default(), &request).await.unwrap();
    let mut file = serde_json::to_value(Kubeconfig::read_from(kubeconfig).unwrap()).unwrap();
    for user in file["users"].as_array_mut().unwrap() {
        user["user"] = json!({ "token": answer.status.as_ref().unwrap().token });
    }
    std::fs::write(own, serde_json::to_vec(&file).unwrap()).unwrap();
}

/// Bindings and policies are in force a moment after they were made.
async fn await_policies(seatrial: &Client) {
    let api: Api<KubeNamespace> = Api::all(seatrial.clone());
    let forbidden = namespace_object("other-than-a-preview", "seatrial", "restricted");
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    eventually("the admission policy refuses", async || match api.create(&dry, &forbidden).await {
        Err(kube::Error::Api(status)) => status.message.contains("begin with pr-"),
        _ => false,
    })
    .await;
}

fn namespace_object(name: &str, managed_by: &str, level: &str) -> KubeNamespace {
    serde_json::from_value(json!({ "metadata": { "name": name, "labels": {
        "app.kubernetes.io/managed-by": managed_by, "pod-security.kubernetes.io/enforce": level } } }))
    .unwrap()
}

async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl World {
    /// A namespace spec of its own for each test; what an earlier test run left is removed first.
    async fn spec(&self, name: &str) -> NamespaceSpec {
        let name = format!("pr-real-{name}").parse().unwrap();
        let spec = NamespaceSpec { environment: EnvironmentId(uuid::Uuid::now_v7()), ..self.spec_of(&name) };
        self.remove(&spec.name).await;
        spec
    }

    /// The spec that [`World::spec`] gave for it, but for the environment.
    fn spec_of(&self, name: &Namespace) -> NamespaceSpec {
        NamespaceSpec {
            name: name.clone(),
            at: PullRequestRef { repository: "acme/real".parse().unwrap(), number: 12 },
            environment: EnvironmentId(uuid::Uuid::nil()),
            pod_security: PodSecurity::Restricted,
        }
    }

    async fn environment(&self, name: &Namespace) -> EnvironmentId {
        let listed = self.cluster.list_namespaces().await.unwrap();
        listed.into_iter().find(|found| found.name == *name).unwrap().environment
    }

    /// What an operator gets by `secretSources` in the values of charts/seatrial.
    async fn grant_secrets(&self, source: &str, names: &[&str]) {
        let values = json!([{ "namespace": source, "names": names }]);
        let output = Command::new(&self.helm)
            .args(["template", "seatrial"])
            .arg(root().join("charts/seatrial"))
            .args(["--namespace", "seatrial", "--set", "server.enabled=false"])
            .args(["--show-only", "templates/secrets.yaml", "--set-json"])
            .arg(format!("secretSources={values}"))
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let mut documents = Vec::new();
        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            documents.push(serde_json::Value::deserialize(document).unwrap());
        }
        let [role, binding] = documents.try_into().unwrap();
        let roles: Api<Role> = Api::namespaced(self.admin.clone(), source);
        roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
        let bindings: Api<RoleBinding> = Api::namespaced(self.admin.clone(), source);
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    }

    /// By the administrator, whatever state it is in.
    async fn remove(&self, name: &Namespace) {
        let api: Api<KubeNamespace> = Api::all(self.admin.clone());
        let maps: Api<ConfigMap> = Api::namespaced(self.admin.clone(), name.as_str());
        let _ = maps.patch("held", &PatchParams::default(), &free()).await;
        let _ = api.delete(name.as_str(), &DeleteParams::default()).await;
        eventually("the namespace is removed", async || api.get_opt(name.as_str()).await.unwrap().is_none()).await;
    }

    /// Namespace and policies, ready for a release.
    async fn place(&self, name: &str, quota: Quota) -> Namespace {
        let spec = self.spec(name).await;
        self.cluster.ensure_namespace(&spec).await.unwrap();
        let network = Network { egress: Egress::Internet, allow_namespaces: vec!["databases".to_owned()] };
        self.cluster.apply_policies(&spec.name, &Policies { quota, network }).await.unwrap();
        spec.name
    }

    /// `helm upgrade --install` of the sample chart as the namespace's own account.
    async fn release(&self, namespace: &Namespace, set: &[&str]) {
        self.release_of("tests/sample/chart", namespace, set).await;
    }

    async fn release_of(&self, chart: &str, namespace: &Namespace, set: &[&str]) {
        let access = self.cluster.helm_access(namespace).await.unwrap();
        let kubeconfig = self.folder.path().join(format!("{namespace}.yaml"));
        std::fs::write(&kubeconfig, access.expose_secret()).unwrap();
        let mut command = Command::new(&self.helm);
        command.args(["upgrade", "--install", "shop"]).arg(root().join(chart));
        command.args(["--namespace", namespace.as_str(), "--kubeconfig"]).arg(&kubeconfig);
        for value in set {
            command.args(["--set", value]);
        }
        let output = command.env_clear().env("HOME", self.folder.path()).stdin(Stdio::null()).output().await.unwrap();
        assert!(output.status.success(), "helm: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// One that gives pods without a node a moment only.
    async fn hasty(&self) -> KubeCluster {
        let unschedulable_limit = Duration::from_secs(2);
        let kubeconfig = Some(self.folder.path().join("seatrial.yaml"));
        KubeCluster::connect(ClusterConfig { kubeconfig, unschedulable_limit, ..ClusterConfig::default() })
            .await
            .unwrap()
    }

    async fn rollout(&self, namespace: &Namespace) -> Result<Vec<(String, String)>, Error> {
        Self::rollout_on(&self.cluster, namespace).await
    }

    async fn rollout_on(cluster: &KubeCluster, namespace: &Namespace) -> Result<Vec<(String, String)>, Error> {
        let (sink, said) = sink();
        let outcome = tokio::time::timeout(LIMIT, cluster.await_rollout(namespace, sink))
            .await
            .unwrap_or_else(|_| panic!("no verdict within {LIMIT:?}; progress: {:?}", said.lock().unwrap()));
        outcome.map(|rollout| rollout.workloads)
    }

    async fn broken(&self, namespace: &Namespace) -> Diagnosis {
        Self::broken_on(&self.cluster, namespace).await
    }

    async fn broken_on(cluster: &KubeCluster, namespace: &Namespace) -> Diagnosis {
        let error = Self::rollout_on(cluster, namespace).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
        *error.diagnosis.unwrap_or_else(|| panic!("not diagnosed: {}", error.message))
    }
}

/// Of the sample image, well behaved; `change` is merged into the container.
fn stateful_set(name: &str, replicas: i32, change: serde_json::Value) -> StatefulSet {
    serde_json::from_value(json!({
        "metadata": { "name": name },
        "spec": { "replicas": replicas, "serviceName": name, "selector": { "matchLabels": { "app": name } },
            "template": pod_template(name, change) },
    }))
    .unwrap()
}

fn pod_template(name: &str, change: serde_json::Value) -> serde_json::Value {
    let mut container = json!({
        "name": name, "image": "localhost:5000/shop:base",
        "resources": { "requests": { "cpu": "5m", "memory": "16Mi" }, "limits": { "cpu": "200m", "memory": "64Mi" } },
        "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
    });
    for (key, value) in change.as_object().unwrap() {
        container[key] = value.clone();
    }
    let context = json!({ "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } });
    json!({
        "metadata": { "labels": { "app": name } },
        "spec": { "terminationGracePeriodSeconds": 1, "securityContext": context, "containers": [container] },
    })
}

fn free() -> Patch<serde_json::Value> {
    Patch::Merge(json!({ "metadata": { "finalizers": null } }))
}

fn sink() -> (ProgressSink, Arc<Mutex<Vec<String>>>) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let kept = said.clone();
    (Arc::new(move |words| kept.lock().unwrap().push(words)), said)
}

fn shop() -> ServiceTarget {
    ServiceTarget { service: "shop".to_owned(), port: 8080 }
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(what: &str, outcome: Result<T, kube::Error>) {
    match outcome {
        Err(kube::Error::Api(status)) => assert_eq!(status.code, 403, "{what}: {status:?}"),
        other => panic!("{what} was not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_namespace_lives_and_ends() {
    let Some(world) = world().await else { return };
    let version = world.cluster.version().await.unwrap();
    assert!(version.starts_with("v1."), "{version}");

    let spec = world.spec("life").await;
    world.cluster.ensure_namespace(&spec).await.unwrap();
    world.cluster.ensure_namespace(&spec).await.unwrap();

    // What somebody broke is repaired, what somebody added is kept.
    let api: Api<KubeNamespace> = Api::all(world.admin.clone());
    let broken =
        json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "privileged", "team": "shop" } } });
    api.patch(spec.name.as_str(), &PatchParams::default(), &Patch::Merge(&broken)).await.unwrap();
    let baseline = NamespaceSpec { pod_security: PodSecurity::Baseline, ..spec.clone() };
    world.cluster.ensure_namespace(&baseline).await.unwrap();
    let found = api.get(spec.name.as_str()).await.unwrap();
    let labels = found.labels();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "baseline");
    assert_eq!(labels["team"], "shop");
    assert_eq!(labels["seatrial.dev/repository"], "acme.real");
    assert_eq!(found.annotations()["seatrial.dev/pull-request"], "acme/real#12");

    // Another pull request, another environment: not theirs.
    let other = PullRequestRef { number: 13, ..spec.at.clone() };
    let stranger = NamespaceSpec { at: other.clone(), ..spec.clone() };
    assert_eq!(world.cluster.ensure_namespace(&stranger).await.unwrap_err().kind, ErrorKind::Conflict);
    let stranger = NamespaceSpec { environment: EnvironmentId(uuid::Uuid::now_v7()), ..spec.clone() };
    assert_eq!(world.cluster.ensure_namespace(&stranger).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(world.cluster.delete_namespace(&spec.name, &other).await.unwrap_err().kind, ErrorKind::Conflict);

    // One that is still going is waited for, then made anew.
    world.cluster.delete_namespace(&spec.name, &spec.at).await.unwrap();
    world.cluster.ensure_namespace(&spec).await.unwrap();
    let anew = api.get(spec.name.as_str()).await.unwrap();
    assert_ne!(anew.uid(), found.uid());
    assert!(anew.metadata.deletion_timestamp.is_none());

    world.cluster.delete_namespace(&spec.name, &spec.at).await.unwrap();
    world.cluster.await_namespace_gone(&spec.name, LIMIT).await.unwrap();
    assert!(api.get_opt(spec.name.as_str()).await.unwrap().is_none());
    let gone = world.cluster.delete_namespace(&spec.name, &spec.at).await.unwrap_err();
    assert!(gone.is_not_found(), "{gone}");
    for error in [
        world.cluster.list_pods(&spec.name).await.unwrap_err(),
        world.cluster.list_contents(&spec.name).await.unwrap_err(),
        world.rollout(&spec.name).await.unwrap_err(),
    ] {
        assert!(error.is_not_found(), "{error:?}");
    }
}

#[tokio::test]
async fn namespaces_are_listed_with_their_owners() {
    let Some(world) = world().await else { return };
    let listed = async |name: &Namespace| -> Option<NamespaceFound> {
        world.cluster.list_namespaces().await.unwrap().into_iter().find(|found| found.name == *name)
    };
    let spec = world.spec("listed").await;
    assert_eq!(listed(&spec.name).await, None);
    world.cluster.ensure_namespace(&spec).await.unwrap();
    let found = listed(&spec.name).await.unwrap();
    assert_eq!((&found.at, found.environment), (&spec.at, spec.environment));

    // One that does not say whose it is, is nobody's: not listed, and no reason to list nothing.
    let api: Api<KubeNamespace> = Api::all(world.admin.clone());
    let owner = |value| Patch::Merge(json!({ "metadata": { "annotations": { "seatrial.dev/pull-request": value } } }));
    api.patch(spec.name.as_str(), &PatchParams::default(), &owner("whose?")).await.unwrap();
    assert_eq!(listed(&spec.name).await, None);
    api.patch(spec.name.as_str(), &PatchParams::default(), &owner("acme/real#12")).await.unwrap();
    assert!(listed(&spec.name).await.is_some());

    let maps: Api<ConfigMap> = Api::namespaced(world.admin.clone(), spec.name.as_str());
    let held = json!({ "metadata": { "name": "held", "finalizers": ["example.com/hold"] } });
    maps.create(&PostParams::default(), &serde_json::from_value(held).unwrap()).await.unwrap();
    world.cluster.delete_namespace(&spec.name, &spec.at).await.unwrap();
    assert!(api.get_opt(spec.name.as_str()).await.unwrap().is_some(), "it is still going");
    assert_eq!(listed(&spec.name).await, None);
    world.remove(&spec.name).await;
}

#[tokio::test]
async fn a_preview_sleeps_and_wakes() {
    let Some(world) = world().await else { return };
    let namespace = world.place("sleep", Quota::default()).await;
    // Nothing there: nothing to do.
    world.cluster.scale_to_zero(&namespace).await.unwrap();
    world.cluster.scale_back(&namespace).await.unwrap();

    world.release(&namespace, &["replicas=2"]).await;
    let sets: Api<StatefulSet> = Api::namespaced(world.admin.clone(), namespace.as_str());
    let deployments: Api<Deployment> = Api::namespaced(world.admin.clone(), namespace.as_str());
    let pods: Api<Pod> = Api::namespaced(world.admin.clone(), namespace.as_str());
    for (name, replicas) in [("db", 1), ("off", 0)] {
        sets.create(&PostParams::default(), &stateful_set(name, replicas, json!({}))).await.unwrap();
    }
    let replicas = async || {
        let shop = deployments.get("shop").await.unwrap().spec.unwrap().replicas.unwrap();
        let (db, off) = (sets.get("db").await.unwrap(), sets.get("off").await.unwrap());
        (shop, db.spec.unwrap().replicas.unwrap(), off.spec.unwrap().replicas.unwrap())
    };
    world.rollout(&namespace).await.unwrap();

    world.cluster.scale_to_zero(&namespace).await.unwrap();
    assert_eq!(replicas().await, (0, 0, 0));
    eventually("the pods are gone", async || pods.list(&ListParams::default()).await.unwrap().items.is_empty()).await;
    // Repeated, and interrupted in between: nothing is forgotten.
    world.cluster.scale_to_zero(&namespace).await.unwrap();
    let half = Patch::Merge(json!({ "spec": { "replicas": 1 } }));
    sets.patch("db", &PatchParams::default(), &half).await.unwrap();
    world.cluster.scale_to_zero(&namespace).await.unwrap();
    assert_eq!(replicas().await, (0, 0, 0));
    // What is repaired in the namespace leaves the memory alone.
    let spec = NamespaceSpec { environment: world.environment(&namespace).await, ..world.spec_of(&namespace) };
    world.cluster.ensure_namespace(&spec).await.unwrap();

    world.cluster.scale_back(&namespace).await.unwrap();
    assert_eq!(replicas().await, (2, 1, 0));
    world.rollout(&namespace).await.unwrap();
    world.cluster.scale_back(&namespace).await.unwrap();
    let api: Api<KubeNamespace> = Api::all(world.admin.clone());
    let found = api.get(namespace.as_str()).await.unwrap();
    assert!(found.annotations().keys().all(|key| !key.contains("replicas")), "{:?}", found.annotations());

    // A deployment that finds it asleep sets the chart's replicas; waking changes them no more.
    world.cluster.scale_to_zero(&namespace).await.unwrap();
    world.release(&namespace, &["replicas=1"]).await;
    assert_eq!(replicas().await.0, 1);
    world.cluster.scale_back(&namespace).await.unwrap();
    assert_eq!(replicas().await, (1, 1, 0));
    world.remove(&namespace).await;
}

#[tokio::test]
async fn an_autoscaler_does_not_wake_what_sleeps() {
    let Some(world) = world().await else { return };
    let namespace = world.place("autoscaled", Quota::default()).await;
    world.release(&namespace, &[]).await;
    let scalers: Api<HorizontalPodAutoscaler> = Api::namespaced(world.admin.clone(), namespace.as_str());
    let deployments: Api<Deployment> = Api::namespaced(world.admin.clone(), namespace.as_str());
    let scaler = serde_json::from_value(json!({
        "metadata": { "name": "shop" },
        "spec": { "minReplicas": 2, "maxReplicas": 3,
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop" } },
    }))
    .unwrap();
    let replicas = async || deployments.get("shop").await.unwrap().spec.unwrap().replicas.unwrap();
    scalers.create(&PostParams::default(), &scaler).await.unwrap();
    eventually("the autoscaler works", async || replicas().await == 2).await;
    world.cluster.scale_to_zero(&namespace).await.unwrap();
    eventually("the autoscaler is switched off", async || {
        let status = scalers.get("shop").await.unwrap().status.unwrap_or_default();
        let mut conditions = status.conditions.unwrap_or_default().into_iter();
        conditions.any(|condition| condition.reason.as_deref() == Some("ScalingDisabled"))
    })
    .await;
    assert_eq!(replicas().await, 0);
    world.cluster.scale_back(&namespace).await.unwrap();
    assert_eq!(replicas().await, 2);
    world.remove(&namespace).await;
}

#[tokio::test]
async fn secrets_are_copied_when_they_were_granted() {
    const SOURCE: &str = "seatrial-test-secrets";
    let Some(world) = world().await else { return };
    let namespace = world.place("secrets", Quota::default()).await;
    let all: Api<KubeNamespace> = Api::all(world.admin.clone());
    if all.get_opt(SOURCE).await.unwrap().is_some() {
        all.delete(SOURCE, &DeleteParams::default()).await.unwrap();
        eventually("the source is removed", async || all.get_opt(SOURCE).await.unwrap().is_none()).await;
    }
    all.create(&PostParams::default(), &namespace_object(SOURCE, "somebody", "restricted")).await.unwrap();
    let sources: Api<Secret> = Api::namespaced(world.admin.clone(), SOURCE);
    let copies: Api<Secret> = Api::namespaced(world.admin.clone(), namespace.as_str());
    let secret = |data: serde_json::Value| -> Secret {
        serde_json::from_value(json!({
            "metadata": { "name": "registry", "labels": { "team": "shop" }, "annotations": { "note": "of the source" } },
            "type": "kubernetes.io/dockerconfigjson", "stringData": data,
        }))
        .unwrap()
    };
    let pull = r#"{"auths":{}}"#;
    sources.create(&PostParams::default(), &secret(json!({ ".dockerconfigjson": pull, "old": "1" }))).await.unwrap();
    let wanted = |name: &str| [SecretRef { namespace: SOURCE.to_owned(), name: name.to_owned() }];

    let error = world.cluster.copy_secrets(&namespace, &wanted("registry")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Forbidden, "{error}");
    assert!(
        error.message.contains("secretSources: [{ namespace: seatrial-test-secrets, names: [registry] }]"),
        "{error}"
    );

    world.grant_secrets(SOURCE, &["registry", "missing"]).await;
    eventually("the grant is in force", async || {
        world.cluster.copy_secrets(&namespace, &wanted("registry")).await.is_ok()
    })
    .await;
    world.cluster.copy_secrets(&namespace, &wanted("registry")).await.unwrap();
    let copy = copies.get("registry").await.unwrap();
    assert_eq!(copy.type_.as_deref(), Some("kubernetes.io/dockerconfigjson"));
    let data = copy.data.clone().unwrap();
    assert_eq!((data[".dockerconfigjson"].0.as_slice(), data["old"].0.as_slice()), (pull.as_bytes(), b"1".as_slice()));
    assert_eq!(copy.labels().keys().collect::<Vec<_>>(), ["app.kubernetes.io/managed-by"]);
    assert_eq!(copy.annotations().keys().collect::<Vec<_>>(), ["seatrial.dev/copied-from"]);

    // As the source again: what it no longer has goes, what somebody changed here too.
    let change = Patch::Merge(json!({ "data": { "old": null }, "stringData": { "new": "2" } }));
    sources.patch("registry", &PatchParams::default(), &change).await.unwrap();
    let meddle = Patch::Merge(json!({ "stringData": { ".dockerconfigjson": r#"{"auths":{"evil":{}}}"# } }));
    copies.patch("registry", &PatchParams::default(), &meddle).await.unwrap();
    world.cluster.copy_secrets(&namespace, &wanted("registry")).await.unwrap();
    let data = copies.get("registry").await.unwrap().data.unwrap();
    assert_eq!(data.keys().collect::<Vec<_>>(), [".dockerconfigjson", "new"]);
    assert_eq!(data[".dockerconfigjson"].0, pull.as_bytes());

    // Of several, all or none.
    let both = [wanted("registry"), wanted("missing")].concat();
    copies.delete("registry", &DeleteParams::default()).await.unwrap();
    let error = world.cluster.copy_secrets(&namespace, &both).await.unwrap_err();
    assert!(error.is_not_found() && error.message.contains("no secret missing"), "{error}");
    assert!(copies.get_opt("registry").await.unwrap().is_none());

    // Granted are these names in this namespace, for reading; nothing else.
    let of = |namespace: &str| -> Api<Secret> { Api::namespaced(world.seatrial.clone(), namespace) };
    assert_refused("another secret", of(SOURCE).get("other").await);
    assert_refused("listing the source", of(SOURCE).list(&ListParams::default()).await);
    assert_refused("writing the source", of(SOURCE).patch("registry", &PatchParams::default(), &change).await);
    assert_refused("reading a preview's", of(namespace.as_str()).get("registry").await);
    all.delete(SOURCE, &DeleteParams::default()).await.unwrap();
    world.remove(&namespace).await;
}

#[tokio::test]
async fn a_foreign_namespace_is_left_alone() {
    let Some(world) = world().await else { return };
    let spec = world.spec("foreign").await;
    let api: Api<KubeNamespace> = Api::all(world.admin.clone());
    let foreign = serde_json::from_value(json!({ "metadata": { "name": spec.name } })).unwrap();
    let made = api.create(&PostParams::default(), &foreign).await.unwrap();
    for error in [
        world.cluster.ensure_namespace(&spec).await.unwrap_err(),
        world.cluster.delete_namespace(&spec.name, &spec.at).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Conflict);
        assert!(error.message.contains("was not made by Seatrial"), "{error}");
    }
    for error in [
        world.cluster.scale_to_zero(&spec.name).await.unwrap_err(),
        world.cluster.scale_back(&spec.name).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    }
    let found = api.get(spec.name.as_str()).await.unwrap();
    assert_eq!(found.metadata.managed_fields, made.metadata.managed_fields);
    assert!(found.metadata.deletion_timestamp.is_none());
    let policies = Policies { quota: Quota::default(), network: Network::default() };
    let error = world.cluster.apply_policies(&spec.name, &policies).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Forbidden, "{error}");
    world.remove(&spec.name).await;
}

#[tokio::test]
async fn policies_are_applied_and_taken_back() {
    let Some(world) = world().await else { return };
    let namespace = world.place("policies", Quota { cpu: "1".into(), memory: "1Gi".into(), pods: 4 }).await;
    let admin = || world.admin.clone();
    let quotas: Api<ResourceQuota> = Api::namespaced(admin(), namespace.as_str());
    let hard = quotas.get("seatrial").await.unwrap().spec.unwrap().hard.unwrap();
    assert_eq!(
        (hard["limits.cpu"].0.as_str(), hard["requests.memory"].0.as_str(), hard["pods"].0.as_str()),
        ("1", "1Gi", "4")
    );
    let limits: Api<LimitRange> = Api::namespaced(admin(), namespace.as_str());
    assert_eq!(
        limits.get("seatrial").await.unwrap().spec.unwrap().limits[0].default.as_ref().unwrap()["cpu"].0,
        "250m"
    );
    let accounts: Api<ServiceAccount> = Api::namespaced(admin(), namespace.as_str());
    for name in ["default", "helm"] {
        assert_eq!(accounts.get(name).await.unwrap().automount_service_account_token, Some(false), "{name}");
    }
    let network: Api<NetworkPolicy> = Api::namespaced(admin(), namespace.as_str());
    let rules = async |name: &str| network.get(name).await.unwrap().spec.unwrap().egress.unwrap_or_default().len();
    assert_eq!(network.list(&ListParams::default()).await.unwrap().items.len(), 7);
    assert_eq!((rules("seatrial-internet").await, rules("seatrial-auxiliary").await), (1, 1));

    let closed = Network { egress: Egress::None, allow_namespaces: Vec::new() };
    let quota = Quota { cpu: "2".into(), memory: "1Gi".into(), pods: 4 };
    world.cluster.apply_policies(&namespace, &Policies { quota, network: closed }).await.unwrap();
    assert_eq!((rules("seatrial-internet").await, rules("seatrial-auxiliary").await), (0, 0));
    assert_eq!(quotas.get("seatrial").await.unwrap().spec.unwrap().hard.unwrap()["limits.cpu"].0, "2");

    let wrong = Policies { quota: Quota { cpu: "much".into(), ..Quota::default() }, network: Network::default() };
    assert_eq!(world.cluster.apply_policies(&namespace, &wrong).await.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(world.cluster.list_contents(&namespace).await.unwrap(), Vec::<String>::new());
    world.remove(&namespace).await;
}

#[tokio::test]
async fn seatrials_account_is_fenced_in() {
    let Some(world) = world().await else { return };
    let namespace = world.place("fence", Quota::default()).await;
    assert_eq!(world.cluster.missing_permissions().await.unwrap(), Vec::<String>::new());
    let helms = world.folder.path().join("helm-account.yaml");
    std::fs::write(&helms, world.cluster.helm_access(&namespace).await.unwrap().expose_secret()).unwrap();
    let other = ClusterConfig { kubeconfig: Some(helms), ..ClusterConfig::default() };
    let missing = KubeCluster::connect(other).await.unwrap().missing_permissions().await.unwrap();
    assert!(missing.contains(&"create namespaces".to_owned()), "{missing:?}");
    assert!(missing.contains(&"bind clusterroles seatrial:helm".to_owned()), "{missing:?}");
    let post = PostParams::default();
    let merge = PatchParams::default();
    let all: Api<KubeNamespace> = Api::all(world.seatrial.clone());
    assert_refused("another name", all.create(&post, &namespace_object("other", "seatrial", "restricted")).await);
    assert_refused("no label", all.create(&post, &namespace_object("pr-x", "somebody", "restricted")).await);
    assert_refused("privileged pods", all.create(&post, &namespace_object("pr-x", "seatrial", "privileged")).await);
    let bare: KubeNamespace = serde_json::from_value(json!({ "metadata": { "name": "pr-x" } })).unwrap();
    assert_refused("no labels at all", all.create(&post, &bare).await);
    assert_refused("deleting kube-system", all.delete("kube-system", &DeleteParams::default()).await);
    let ours = json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": "seatrial" } } });
    assert_refused("taking over default", all.patch("default", &merge, &Patch::Merge(&ours)).await);
    let loose = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "privileged" } } });
    assert_refused("loosening its own", all.patch(namespace.as_str(), &merge, &Patch::Merge(&loose)).await);

    let binding = |role: &str, account: &str, home: &str| -> RoleBinding {
        serde_json::from_value(json!({
            "metadata": { "name": "test" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
            "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": home }],
        }))
        .unwrap()
    };
    let system: Api<RoleBinding> = Api::namespaced(world.seatrial.clone(), "kube-system");
    let own: Api<RoleBinding> = Api::namespaced(world.seatrial.clone(), namespace.as_str());
    assert_refused(
        "binding in kube-system",
        system.create(&post, &binding("seatrial:preview", "seatrial", "seatrial")).await,
    );
    assert_refused("binding cluster-admin", own.create(&post, &binding("cluster-admin", "seatrial", "seatrial")).await);
    assert_refused("binding somebody", own.create(&post, &binding("seatrial:preview", "default", "default")).await);
    assert_refused("binding a foreign helm", own.create(&post, &binding("seatrial:helm", "helm", "default")).await);

    let secrets: Api<Secret> = Api::namespaced(world.seatrial.clone(), "kube-system");
    assert_refused("secrets of kube-system", secrets.list(&ListParams::default()).await);
    let secrets: Api<Secret> = Api::namespaced(world.seatrial.clone(), namespace.as_str());
    assert_refused("secrets of a preview", secrets.list(&ListParams::default()).await);
    let pods: Api<Pod> = Api::all(world.seatrial.clone());
    assert_refused("pods everywhere", pods.list(&ListParams::default()).await);
    world.remove(&namespace).await;
}

#[tokio::test]
async fn helms_account_is_fenced_in() {
    let Some(world) = world().await else { return };
    let namespace = world.place("helm", Quota::default()).await;
    let access = world.cluster.helm_access(&namespace).await.unwrap();
    let file = world.folder.path().join("helm.yaml");
    std::fs::write(&file, access.expose_secret()).unwrap();
    let helm = client(&file).await;
    assert_eq!(helm.default_namespace(), namespace.as_str());

    let quotas: Api<ResourceQuota> = Api::default_namespaced(helm.clone());
    assert_refused("deleting the quota", quotas.delete("seatrial", &DeleteParams::default()).await);
    let network: Api<NetworkPolicy> = Api::default_namespaced(helm.clone());
    assert_refused(
        "deleting the default deny",
        network.delete("seatrial-default-deny", &DeleteParams::default()).await,
    );
    let all: Api<KubeNamespace> = Api::all(helm.clone());
    let loose = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "privileged" } } });
    assert_refused("relabelling", all.patch(namespace.as_str(), &PatchParams::default(), &Patch::Merge(&loose)).await);
    let roles: Api<Role> = Api::default_namespaced(helm.clone());
    let role: Role = serde_json::from_value(json!({ "metadata": { "name": "test" }, "rules": [] })).unwrap();
    assert_refused("making a role", roles.create(&PostParams::default(), &role).await);
    for other in ["default", "kube-system", "seatrial"] {
        let maps: Api<ConfigMap> = Api::namespaced(helm.clone(), other);
        assert_refused(other, maps.list(&ListParams::default()).await);
    }
    world.remove(&namespace).await;
}

#[tokio::test]
async fn a_release_runs_and_is_reached() {
    let Some(world) = world().await else { return };
    let namespace = world.place("runs", Quota::default()).await;
    // A release that is not there has nothing to wait for.
    assert_eq!(world.rollout(&namespace).await.unwrap(), []);
    assert!(world.cluster.find_target(&namespace, None, None).await.unwrap_err().is_not_found());
    assert!(world.cluster.logs(&namespace, LogQuery::default()).await.err().unwrap().is_not_found());

    world.release(&namespace, &["replicas=2", "logLines=5"]).await;
    assert_eq!(world.rollout(&namespace).await.unwrap(), [("Deployment/shop".to_owned(), "2/2".to_owned())]);
    assert_eq!(world.cluster.diagnose(&namespace).await.unwrap(), None);
    assert_eq!(world.cluster.list_contents(&namespace).await.unwrap(), ["Deployment/shop", "Service/shop"]);
    let pods = world.cluster.list_pods(&namespace).await.unwrap();
    assert_eq!(pods.len(), 2);
    assert!(pods.iter().all(|pod| pod.ready && pod.containers[0].state == "running"), "{pods:?}");

    let target = world.cluster.find_target(&namespace, None, None).await.unwrap();
    assert_eq!(target, shop());
    let answer = world.cluster.probe(&namespace, &target, "/healthz").await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    assert_eq!(world.cluster.probe(&namespace, &target, "/nowhere").await.unwrap().status, 404);
    let climbing = world.cluster.probe(&namespace, &target, "/../../../secrets").await.unwrap_err();
    assert_eq!(climbing.kind, ErrorKind::Invalid);
    let missing = ServiceTarget { service: "missing".to_owned(), port: 80 };
    let error = world.cluster.probe(&namespace, &missing, "/").await.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    assert!(world.cluster.connect(&namespace, &missing).await.err().unwrap().is_not_found());

    // A page has many parts, and browsers ask for them at once: all streams are open together.
    let streams = futures::future::try_join_all((0..30).map(|_| world.cluster.connect(&namespace, &target)));
    let answers = streams.await.unwrap().into_iter().map(|mut stream| async move {
        stream.write_all(b"GET /version HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    });
    for answer in futures::future::join_all(answers).await {
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains(r#""sha":"base""#), "{answer}");
    }

    let lines = world.cluster.logs(&namespace, LogQuery { tail: Some(100), ..LogQuery::default() }).await.unwrap();
    let lines: Vec<String> = lines.map(|line| String::from_utf8(line.unwrap().to_vec()).unwrap()).collect().await;
    assert!(lines[0].contains("shop starts: commit \"base\"") && lines[1].contains("line 1:"), "{lines:?}");
    assert!(lines.iter().all(|line| line.ends_with('\n')));
    let query = LogQuery { container: Some("web".to_owned()), ..LogQuery::default() };
    let error = world.cluster.logs(&namespace, query).await.err().unwrap();
    assert!(error.is_not_found() && error.message.contains("there are shop"), "{error}");
    let error = world.cluster.logs(&namespace, LogQuery { previous: true, ..LogQuery::default() }).await.err().unwrap();
    assert!(error.is_not_found(), "{error:?}");
    let pod = pods[0].name.clone();
    let query = LogQuery { pod: Some(pod), follow: true, tail: Some(1), ..LogQuery::default() };
    let mut live = world.cluster.logs(&namespace, query).await.unwrap();
    live.next().await.unwrap().unwrap();

    // The application's own 503 is an answer; no pods at all is not.
    world.release(&namespace, &["healthy=false"]).await;
    world.rollout(&namespace).await.unwrap();
    assert_eq!(world.cluster.probe(&namespace, &target, "/healthz").await.unwrap().status, 503);
    world.release(&namespace, &["replicas=0"]).await;
    assert_eq!(world.rollout(&namespace).await.unwrap(), [("Deployment/shop".to_owned(), "0/0".to_owned())]);
    eventually("the service has no endpoints", async || {
        world.cluster.probe(&namespace, &target, "/healthz").await.is_err_and(|error| error.is_transient())
    })
    .await;
    assert!(world.cluster.connect(&namespace, &target).await.err().unwrap().is_transient());
    world.remove(&namespace).await;
}

#[tokio::test]
async fn a_repository_without_a_chart_runs_too() {
    let Some(world) = world().await else { return };
    let namespace = world.place("builtin", Quota::default()).await;
    let image = ["image.repository=localhost:5000/shop", "image.tag=base"];
    let known = ["seatrial.number=12", "seatrial.url=http://pr-12.localhost", "probes.readiness.path=/healthz"];
    world.release_of("charts/preview", &namespace, &[image.as_slice(), known.as_slice()].concat()).await;
    assert_eq!(world.rollout(&namespace).await.unwrap(), [("Deployment/shop".to_owned(), "1/1".to_owned())]);
    let target = world.cluster.find_target(&namespace, None, None).await.unwrap();
    assert_eq!(world.cluster.probe(&namespace, &target, "/healthz").await.unwrap().status, 200);
    // Without a probe the container must last a moment before it counts: a crash is not missed.
    world.release_of("charts/preview", &namespace, &[image.as_slice(), &["env.CRASH=true"]].concat()).await;
    assert_eq!(world.broken(&namespace).await.reason, Reason::ContainerCrash);
    world.remove(&namespace).await;
}

#[tokio::test]
async fn a_cluster_that_is_away_may_come_back() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    // Bound and closed again: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "away", "users": [],
        "clusters": [{ "name": "away", "cluster": { "server": format!("https://127.0.0.1:{port}") } }],
        "contexts": [{ "name": "away", "context": { "cluster": "away", "user": "" } }],
    });
    std::fs::write(&file, kubeconfig.to_string()).unwrap();
    let config = ClusterConfig { kubeconfig: Some(file), ..ClusterConfig::default() };
    let error = KubeCluster::connect(config.clone()).await.unwrap().version().await.unwrap_err();
    assert!(error.is_transient() && error.message.contains("refused"), "{error}");
    let wrong = ClusterConfig { context: Some("elsewhere".to_owned()), ..config };
    let error = KubeCluster::connect(wrong).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn failures_are_named_and_forgotten_once_mended() {
    let Some(world) = world().await else { return };
    let namespace = world.place("fails", Quota::default()).await;

    world.release(&namespace, &["image.tag=never-built"]).await;
    let image = world.broken(&namespace).await;
    assert_eq!(image.reason, Reason::ImagePull, "{image:?}");
    assert!(image.culprit.starts_with(r#"container "shop" of pod "shop-"#), "{image:?}");
    assert!(image.summary.contains("localhost:5000/shop:never-built"), "{image:?}");

    let start = Instant::now();
    world.release(&namespace, &["crash=true"]).await;
    let crash = world.broken(&namespace).await;
    let took = start.elapsed();
    assert_eq!(crash.reason, Reason::ContainerCrash, "{crash:?}");
    assert!(crash.summary.contains("exit code 1"), "{crash:?}");
    assert!(crash.evidence[0].text.contains("cannot connect to database shop-db:5432"), "{crash:?}");
    assert!(took < Duration::from_secs(20), "named only after {took:?}");

    let snapshot = world.cluster.snapshot(&namespace).await.unwrap();
    assert_eq!(snapshot.diagnosis.as_ref().map(|found| found.reason), Some(Reason::ContainerCrash), "{snapshot:?}");
    assert!(snapshot.logs.iter().any(|log| log.text.contains("shop-db:5432")), "{snapshot:?}");
    assert!(snapshot.events.iter().any(|event| event.kind == "Warning" && event.reason == "BackOff"), "{snapshot:?}");
    eventually("the container has a previous life", async || {
        let query = LogQuery { previous: true, ..LogQuery::default() };
        world.cluster.logs(&namespace, query).await.is_ok()
    })
    .await;

    // The old pod still crashes beside the new one until that is ready.
    world.release(&namespace, &["colour=red"]).await;
    assert_eq!(world.rollout(&namespace).await.unwrap(), [("Deployment/shop".to_owned(), "1/1".to_owned())]);

    world.release(&namespace, &["hangSeconds=600"]).await;
    let (sink, said) = sink();
    let waits = tokio::time::timeout(Duration::from_secs(8), world.cluster.await_rollout(&namespace, sink)).await;
    assert!(waits.is_err(), "{waits:?}");
    assert_eq!(said.lock().unwrap().last().map(String::as_str), Some("shop 0/1"));
    let slow = world.cluster.diagnose(&namespace).await.unwrap().unwrap();
    assert_eq!(slow.reason, Reason::RolloutTimeout, "{slow:?}");
    assert!(slow.evidence.iter().any(|evidence| evidence.text.contains("Readiness probe failed")), "{slow:?}");
    world.remove(&namespace).await;
}

#[tokio::test]
async fn what_a_chart_refers_to_and_is_not_there_is_named() {
    let Some(world) = world().await else { return };
    let namespace = world.place("refers", Quota::default()).await;
    let sets: Api<StatefulSet> = Api::namespaced(world.admin.clone(), namespace.as_str());
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.admin.clone(), namespace.as_str());
    let jobs: Api<Job> = Api::namespaced(world.admin.clone(), namespace.as_str());
    let post = PostParams::default();
    let with_volume = |name: &str, volume: serde_json::Value| {
        let mounts = json!({ "volumeMounts": [{ "name": volume["name"], "mountPath": "/volume" }] });
        let mut set = serde_json::to_value(stateful_set(name, 1, mounts)).unwrap();
        set["spec"]["template"]["spec"]["volumes"] = json!([volume]);
        serde_json::from_value(set).unwrap()
    };
    let gone = async |name: &str| {
        let pods: Api<Pod> = Api::namespaced(world.admin.clone(), namespace.as_str());
        sets.delete(name, &DeleteParams::default()).await.unwrap();
        let of = ListParams::default().labels(&format!("app={name}"));
        eventually("its pods are gone", async || pods.list(&of).await.unwrap().items.is_empty()).await;
    };

    let from =
        json!({ "env": [{ "name": "KEY", "valueFrom": { "secretKeyRef": { "name": "payment", "key": "key" } } }] });
    sets.create(&post, &stateful_set("config", 1, from)).await.unwrap();
    let config = world.broken(&namespace).await;
    assert_eq!(
        (config.reason, config.culprit.as_str()),
        (Reason::ContainerConfig, r#"container "config" of pod "config-0""#),
        "{config:?}"
    );
    assert!(config.summary.contains(r#"secret "payment" not found"#), "{config:?}");
    gone("config").await;

    let volume = json!({ "name": "rates", "configMap": { "name": "exchange-rates" } });
    sets.create(&post, &with_volume("mount", volume)).await.unwrap();
    let mount = world.broken(&namespace).await;
    assert_eq!((mount.reason, mount.culprit.as_str()), (Reason::ContainerConfig, r#"pod "mount-0""#), "{mount:?}");
    assert!(mount.summary.contains(r#"configmap "exchange-rates" not found"#), "{mount:?}");
    gone("mount").await;

    // The first is sure within seconds of the control plane's word, the second has the limit.
    let hasty = world.hasty().await;
    for (class, said) in [("fast", r#"storage class "fast""#), ("", "no storage class")] {
        let name = format!("data-{}", if class.is_empty() { "none" } else { class });
        let claim = serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": class,
                "resources": { "requests": { "storage": "1Gi" } } },
        }))
        .unwrap();
        claims.create(&post, &claim).await.unwrap();
        let volume = json!({ "name": "data", "persistentVolumeClaim": { "claimName": name } });
        sets.create(&post, &with_volume("db", volume)).await.unwrap();
        let cluster = if class.is_empty() { &hasty } else { &world.cluster };
        let stuck = World::broken_on(cluster, &namespace).await;
        let culprit = format!("PersistentVolumeClaim {name:?}");
        assert_eq!((stuck.reason, stuck.culprit), (Reason::Unschedulable, culprit), "{}", stuck.summary);
        assert!(stuck.summary.contains(said) && stuck.summary.contains(r#"pod "db-0""#), "{}", stuck.summary);
        gone("db").await;
    }
    let volume = json!({ "name": "data", "persistentVolumeClaim": { "claimName": "data-lost" } });
    sets.create(&post, &with_volume("db", volume)).await.unwrap();
    let missing = world.broken(&namespace).await;
    assert!(missing.summary.contains(r#""data-lost", which does not exist"#), "{missing:?}");
    gone("db").await;

    let crash = json!({ "env": [{ "name": "CRASH", "value": "true" }] });
    let template = pod_template("migrate", crash);
    let mut job = json!({ "metadata": { "name": "migrate" }, "spec": { "backoffLimit": 0, "template": template } });
    job["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    jobs.create(&post, &serde_json::from_value(job).unwrap()).await.unwrap();
    let failed = world.broken(&namespace).await;
    assert_eq!((failed.reason, failed.culprit.as_str()), (Reason::JobFailed, r#"Job "migrate""#), "{failed:?}");
    assert!(failed.evidence.iter().any(|evidence| evidence.text.contains("shop-db:5432")), "{failed:?}");
    world.remove(&namespace).await;
}

#[tokio::test]
async fn limits_are_named() {
    let Some(world) = world().await else { return };
    let quota = Quota { cpu: "900".into(), memory: "64Gi".into(), pods: 2 };
    let namespace = world.place("limits", quota).await;
    world.release(&namespace, &["replicas=3"]).await;
    let full = world.broken(&namespace).await;
    assert_eq!((full.reason, full.culprit.as_str()), (Reason::Quota, r#"Deployment "shop""#), "{full:?}");
    assert!(full.summary.contains("limited: pods=2"), "{full:?}");

    world.release(&namespace, &["resources.requests.cpu=400", "resources.limits.cpu=400"]).await;
    let stuck = World::broken_on(&world.hasty().await, &namespace).await;
    assert_eq!(stuck.reason, Reason::Unschedulable, "{stuck:?}");
    assert!(stuck.summary.contains("Insufficient cpu"), "{stuck:?}");

    // A chart that wants more than Pod Security allows; made by hand, the sample's is well behaved.
    let loose = json!({
        "metadata": { "name": "loose" },
        "spec": { "replicas": 1, "serviceName": "loose", "selector": { "matchLabels": { "app": "loose" } }, "template": {
            "metadata": { "labels": { "app": "loose" } },
            "spec": { "containers": [{ "name": "loose", "image": "localhost:5000/shop:base" }] },
        } },
    });
    world.release(&namespace, &["replicas=0"]).await;
    let sets: Api<StatefulSet> = Api::namespaced(world.admin.clone(), namespace.as_str());
    sets.create(&PostParams::default(), &serde_json::from_value(loose).unwrap()).await.unwrap();
    let refused = world.broken(&namespace).await;
    assert_eq!(
        (refused.reason, refused.culprit.as_str()),
        (Reason::ContainerConfig, r#"StatefulSet "loose""#),
        "{refused:?}"
    );
    assert!(refused.summary.contains("violates PodSecurity"), "{refused:?}");
    world.remove(&namespace).await;
}

#[tokio::test]
async fn what_holds_a_namespace_is_named() {
    let Some(world) = world().await else { return };
    let spec = world.spec("held").await;
    world.cluster.ensure_namespace(&spec).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(world.admin.clone(), spec.name.as_str());
    let held = json!({ "metadata": { "name": "held", "finalizers": ["example.com/hold"] } });
    maps.create(&PostParams::default(), &serde_json::from_value(held).unwrap()).await.unwrap();
    world.cluster.delete_namespace(&spec.name, &spec.at).await.unwrap();
    // Asked for again while it goes: nothing new.
    world.cluster.delete_namespace(&spec.name, &spec.at).await.unwrap();
    let error = world.cluster.await_namespace_gone(&spec.name, Duration::from_secs(10)).await.unwrap_err();
    let stuck = error.diagnosis.unwrap();
    assert_eq!(stuck.reason, Reason::NamespaceStuck);
    assert!(stuck.summary.contains("example.com/hold"), "{stuck:?}");
    assert!(stuck.evidence[0].text.contains("configmaps"), "{stuck:?}");

    let waiting = world.cluster.await_namespace_gone(&spec.name, LIMIT);
    let (params, freed) = (PatchParams::default(), free());
    let freeing = maps.patch("held", &params, &freed);
    let (gone, freed) = tokio::join!(waiting, freeing);
    freed.unwrap();
    gone.unwrap();
}
