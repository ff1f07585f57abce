//! Against a real cluster and a real helm. Both are named, never found: set
//! `SEATRIAL_TEST_KUBECONFIG` (and `SEATRIAL_TEST_CONTEXT`) and `SEATRIAL_TEST_HELM`. Without them
//! these tests do nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Namespace as KubeNamespace;
use kube::api::DeleteParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, Config};
use seatrial_preview::ports::Releases;
use seatrial_preview::release::{ChartSource, ReleaseSpec};
use seatrial_preview::{ErrorKind, Namespace};
use seatrial_registry_oci::{Reach, Registries};
use seatrial_release_helm::{HelmConfig, HelmReleases};
use secrecy::SecretString;
use serde_json::{Value, json};

/// How long a thing that must come is waited for before the test fails.
const LIMIT: Duration = Duration::from_secs(30);
const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

/// A namespace of its own on the named cluster, deleted in the end.
struct Place {
    helm: PathBuf,
    kubeconfig: PathBuf,
    namespace: Namespace,
    work: tempfile::TempDir,
}

impl Place {
    fn new(name: &str) -> Option<Self> {
        let helm = PathBuf::from(std::env::var_os("SEATRIAL_TEST_HELM")?);
        let mut file = Kubeconfig::read_from(std::env::var_os("SEATRIAL_TEST_KUBECONFIG")?).unwrap();
        // Whoever reads the copy finds no other current context than the one that was named.
        if let Some(context) = std::env::var("SEATRIAL_TEST_CONTEXT").ok().filter(|context| !context.is_empty()) {
            file.current_context = Some(context);
        }
        let work = tempfile::tempdir().unwrap();
        let kubeconfig = work.path().join("admin.json");
        std::fs::write(&kubeconfig, serde_json::to_vec(&file).unwrap()).unwrap();
        let namespace = format!("pr-helm-{name}-{}", std::process::id()).parse().unwrap();
        let place = Self { helm, kubeconfig, namespace, work };
        // helm makes the namespace, so that these tests need no other client.
        let seed = place.folder("seed", &[("Chart.yaml", "apiVersion: v2\nname: seed\nversion: 1.0.0\n")]);
        assert!(place.run(&["install", "seed", seed.to_str().unwrap(), "--create-namespace"]));
        Some(place)
    }

    fn releases(&self) -> HelmReleases {
        self.releases_that_may_ask(&[])
    }

    /// These hosts may be asked for charts, and by plain http.
    fn releases_that_may_ask(&self, hosts: &[String]) -> HelmReleases {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let reach = Reach::new(&[], hosts, hosts).unwrap();
        let registries = Arc::new(Registries::new(reach).unwrap());
        let (program, work_dir) = (self.helm.clone(), self.work.path().join("work"));
        HelmReleases::new(HelmConfig { program, work_dir, registries }).unwrap()
    }

    fn access(&self) -> SecretString {
        std::fs::read_to_string(&self.kubeconfig).unwrap().into()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.helm);
        command.args(arguments).args(["-n", self.namespace.as_str(), "--kubeconfig"]).arg(&self.kubeconfig);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> bool {
        self.command(arguments).status().unwrap().success()
    }

    fn status(&self, release: &str) -> Option<String> {
        let output = self.command(&["history", release, "-o", "json"]).stdout(Stdio::piped()).output().unwrap();
        let history: Value = serde_json::from_slice(&output.stdout).ok()?;
        Some(history.as_array()?.last()?["status"].as_str()?.to_owned())
    }

    async fn client(&self) -> Client {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let file = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        Client::try_from(Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap()).unwrap()
    }

    /// Waits until the Job of [`HOOK`] is there.
    async fn hook_started(&self) {
        let jobs: Api<Job> = Api::namespaced(self.client().await, self.namespace.as_str());
        let there = await_condition(jobs, "migrate", |job: Option<&Job>| job.is_some());
        tokio::time::timeout(LIMIT, there).await.expect("the hook's Job never came").unwrap();
    }

    fn folder(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = self.work.path().join(name);
        for (name, text) in files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let delete = async {
            let namespaces: Api<KubeNamespace> = Api::all(self.client().await);
            namespaces.delete(self.namespace.as_str(), &DeleteParams::default()).await
        };
        // The test's own runtime cannot be waited for here.
        let deleted = std::thread::scope(|scope| {
            scope.spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(delete).map(|_| ())).join()
        });
        if !matches!(deleted, Ok(Ok(()))) {
            eprintln!("the namespace {} is left behind: {deleted:?}", self.namespace);
        }
    }
}

/// A tar.gz with one top folder, as GitHub makes them.
fn archive(files: &[(&str, &str)], folders: &[(&str, &Path)]) -> bytes::Bytes {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, format!("o-r-abc/{name}"), text.as_bytes()).unwrap();
    }
    for (name, folder) in folders {
        builder.append_dir_all(format!("o-r-abc/{name}"), folder).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap().into()
}

fn spec(name: &str, values: Value) -> ReleaseSpec {
    ReleaseSpec {
        name: name.to_owned(),
        chart: ChartSource::Path { path: "chart".to_owned(), sha: SHA.parse().unwrap() },
        values_files: vec![],
        values,
    }
}

const HEAD: (&str, &str) = ("chart/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.2.3\n");
const MAP: (&str, &str) = (
    "chart/templates/map.yaml",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata: {a: {{ .Values.a | quote }}, b: {{ .Values.b | quote }}}\n",
);
const SECRET: (&str, &str) =
    ("chart/templates/secret.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: hidden}\nstringData: {a: hush}\n");
/// A hook that never ends: its image does not exist.
const HOOK: (&str, &str) = (
    "chart/templates/hook.yaml",
    "{{ if .Values.hang }}\napiVersion: batch/v1\nkind: Job\nmetadata:\n  name: migrate\n  annotations: {helm.sh/hook: \"pre-install,pre-upgrade{{ if .Values.deadline }},pre-delete{{ end }}\"}\nspec:\n  backoffLimit: 0\n  {{ with .Values.deadline }}activeDeadlineSeconds: {{ . }}{{ end }}\n  template:\n    spec: {restartPolicy: Never, containers: [{name: m, image: \"localhost:5000/no-such-image:1\"}]}\n{{ end }}\n",
);

#[tokio::test]
async fn the_sample_is_installed_upgraded_and_uninstalled() {
    let Some(place) = Place::new("sample") else { return };
    let releases = place.releases();
    assert!(releases.version().await.unwrap().starts_with('v'));
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sample/chart");
    let source = archive(&[("preview.yaml", "replicas: 2\ncolour: red\n")], &[("chart", &sample)]);
    let mut wanted = spec("shop", json!({"replicas": 1}));
    wanted.values_files = vec!["preview.yaml".to_owned()];

    let release = releases.install(&place.namespace, &place.access(), &wanted, Some(source.clone())).await.unwrap();
    assert_eq!((release.revision, release.recovered.as_deref()), (1, None));
    assert!(release.chart.starts_with("shop-"), "{}", release.chart);
    assert!(release.manifest.contains("kind: Deployment"), "{}", release.manifest);
    assert!(release.manifest.contains("replicas: 1") && release.manifest.contains("red"), "{}", release.manifest);

    let release = releases.install(&place.namespace, &place.access(), &wanted, Some(source)).await.unwrap();
    assert_eq!(release.revision, 2);
    assert_eq!(place.status("shop").as_deref(), Some("deployed"));

    assert!(releases.uninstall(&place.namespace, &place.access(), "shop").await.unwrap());
    assert!(!releases.uninstall(&place.namespace, &place.access(), "shop").await.unwrap());
    assert_eq!(place.status("shop"), None);
}

#[tokio::test]
async fn the_built_in_chart_installs() {
    let Some(place) = Place::new("builtin") else { return };
    let values = json!({"image": {"repository": "localhost:5000/shop", "tag": "base"}});
    let wanted = ReleaseSpec { chart: ChartSource::Builtin, ..spec("shop", values) };
    let release = place.releases().install(&place.namespace, &place.access(), &wanted, None).await.unwrap();
    assert!(release.chart.starts_with("preview-"), "{}", release.chart);
}

#[tokio::test]
async fn values_do_not_linger_and_secrets_are_not_kept() {
    let Some(place) = Place::new("values") else { return };
    let releases = place.releases();
    let source =
        archive(&[HEAD, MAP, SECRET, ("chart/values.yaml", "a: chart\nb: chart\n"), ("v.yaml", "b: file\n")], &[]);
    let mut wanted = spec("shop", json!({"a": "settings"}));
    wanted.values_files = vec!["v.yaml".to_owned()];
    let release = releases.install(&place.namespace, &place.access(), &wanted, Some(source.clone())).await.unwrap();
    assert!(release.manifest.contains("{a: \"settings\", b: \"file\"}"), "{}", release.manifest);
    assert!(!release.manifest.contains("hush") && release.manifest.contains("Secret \"hidden\" is left out"));
    let wanted = spec("shop", json!({}));
    let release = releases.install(&place.namespace, &place.access(), &wanted, Some(source)).await.unwrap();
    assert!(release.manifest.contains("{a: \"chart\", b: \"chart\"}"), "{}", release.manifest);
}

#[tokio::test]
async fn dependencies_within_the_repository_are_built() {
    let Some(place) = Place::new("deps") else { return };
    let head = "apiVersion: v2\nname: shop\nversion: 1.2.3\ndependencies:\n- {name: common, version: 0.1.0, repository: \"file://../common\"}\n";
    let source = archive(
        &[
            ("chart/Chart.yaml", head),
            ("common/Chart.yaml", "apiVersion: v2\nname: common\nversion: 0.1.0\n"),
            ("common/templates/map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-common}\n"),
        ],
        &[],
    );
    let wanted = spec("shop", json!({}));
    let release = place.releases().install(&place.namespace, &place.access(), &wanted, Some(source)).await.unwrap();
    assert!(release.manifest.contains("from-common"), "{}", release.manifest);
}

/// Starts an operation that hangs in its hook, and kills helm with no time to tidy up.
fn kill_when(place: &Place, arguments: &[&str], expected: &str) {
    let mut child = place.command(arguments).spawn().unwrap();
    let begun = Instant::now();
    while place.status("shop").as_deref() != Some(expected) {
        assert!(begun.elapsed() < LIMIT, "never became {expected}");
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(place.status("shop").as_deref(), Some(expected));
}

fn kill_in_the_middle(place: &Place, expected: &str) {
    let chart = place.folder(&format!("hanging-{expected}"), &[HEAD, MAP, HOOK]).join("chart");
    let chart = chart.to_str().unwrap();
    kill_when(place, &["upgrade", "--install", "shop", chart, "--set", "hang=true,a=1,b=2"], expected);
}

#[tokio::test]
async fn a_release_left_pending_is_recovered() {
    let Some(place) = Place::new("pending") else { return };
    let releases = place.releases();
    let source = archive(&[HEAD, MAP, HOOK], &[]);
    let wanted = spec("shop", json!({"a": "1", "b": "2"}));

    kill_in_the_middle(&place, "pending-install");
    let release = releases.install(&place.namespace, &place.access(), &wanted, Some(source.clone())).await.unwrap();
    assert_eq!(release.recovered.as_deref(), Some("was pending-install: uninstalled and installed anew"));
    assert_eq!((place.status("shop").as_deref(), release.revision), (Some("deployed"), 1));

    kill_in_the_middle(&place, "pending-upgrade");
    let release = releases.install(&place.namespace, &place.access(), &wanted, Some(source)).await.unwrap();
    assert_eq!(release.recovered.as_deref(), Some("was pending-upgrade: rolled back to revision 1"));
    assert_eq!((place.status("shop").as_deref(), release.revision), (Some("deployed"), 4));

    kill_in_the_middle(&place, "pending-upgrade");
    assert!(releases.uninstall(&place.namespace, &place.access(), "shop").await.unwrap());
    assert_eq!(place.status("shop"), None);
}

#[tokio::test]
async fn a_release_left_pending_by_a_rollback_is_recovered() {
    let Some(place) = Place::new("rollback") else { return };
    let hanging = HOOK.1.replace("pre-install,pre-upgrade", "pre-rollback");
    let files = [HEAD, MAP, ("chart/templates/hook.yaml", hanging.as_str())];
    let chart = place.folder("hanging-rollback", &files).join("chart");
    let upgrade = ["upgrade", "--install", "shop", chart.to_str().unwrap(), "--set", "hang=true,a=1,b=2"];
    assert!(place.run(&upgrade) && place.run(&upgrade));
    kill_when(&place, &["rollback", "shop", "1"], "pending-rollback");

    let wanted = spec("shop", json!({"a": "3", "b": "4"}));
    let source = archive(&[HEAD, MAP], &[]);
    let release = place.releases().install(&place.namespace, &place.access(), &wanted, Some(source)).await.unwrap();
    assert_eq!(release.recovered.as_deref(), Some("was pending-rollback: rolled back to revision 2"));
    assert_eq!((place.status("shop").as_deref(), release.revision), (Some("deployed"), 5));
    assert!(release.manifest.contains("{a: \"3\", b: \"4\"}"), "{}", release.manifest);
}

/// Packages the chart of [`HEAD`] and [`MAP`] into a folder, and gives the archive's path.
fn package(place: &Place, text: &str) -> PathBuf {
    let map = MAP.1.replace(".Values.b", &format!("{text:?}"));
    let chart =
        place.folder(&format!("packaged-{text}"), &[HEAD, ("chart/templates/map.yaml", map.as_str())]).join("chart");
    let into = place.folder(&format!("archives-{text}"), &[("keep", "")]);
    assert!(place.run(&["package", chart.to_str().unwrap(), "-d", into.to_str().unwrap()]));
    into.join("shop-1.2.3.tgz")
}

#[tokio::test]
async fn a_registrys_chart_is_installed_as_it_was_pinned() {
    let Some(place) = Place::new("oci") else { return };
    let registry = std::env::var("SEATRIAL_TEST_REGISTRY").unwrap();
    let folder = format!("oci://{registry}/{}", place.namespace);
    let push = |text| place.run(&["push", package(&place, text).to_str().unwrap(), &folder, "--plain-http"]);
    let releases = place.releases_that_may_ask(std::slice::from_ref(&registry));
    let chart = |version: &str| ChartSource::Oci {
        reference: format!("{folder}/shop"),
        version: version.to_owned(),
        digest: None,
    };
    let error = releases.resolve(&chart("1.2.3")).await.unwrap_err();
    assert!(error.is_not_found() && error.message.contains("no chart"), "{error}");
    assert!(push("first"));
    let pinned = releases.resolve(&chart("1.2.3")).await.unwrap();
    assert!(push("second"));
    let wanted = ReleaseSpec { chart: pinned, ..spec("shop", json!({"a": "settings"})) };
    let release = releases.install(&place.namespace, &place.access(), &wanted, None).await.unwrap();
    assert_eq!(release.chart, "shop-1.2.3");
    assert!(release.manifest.contains("{a: \"settings\", b: \"first\"}"), "{}", release.manifest);

    let error = releases.resolve(&chart("2.0.0")).await.unwrap_err();
    assert!(error.is_not_found() && error.message.contains("there is only 1.2.3"), "{error}");
    let error = place.releases().resolve(&chart("1.2.3")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Forbidden, "nobody allowed this registry: {error}");
}

#[tokio::test]
async fn a_chart_repositorys_chart_is_installed() {
    let Some(place) = Place::new("repository") else { return };
    let archives = package(&place, "first").parent().unwrap().to_owned();
    assert!(place.run(&["repo", "index", archives.to_str().unwrap()]));
    let host = serve_files(archives);
    let releases = place.releases_that_may_ask(std::slice::from_ref(&host));
    let chart = |version: &str| ChartSource::Repository {
        url: format!("http://{host}"),
        name: "shop".to_owned(),
        version: version.to_owned(),
        digest: None,
    };
    let pinned = releases.resolve(&chart("1.2.3")).await.unwrap();
    assert!(matches!(&pinned, ChartSource::Repository { digest: Some(_), .. }), "{pinned:?}");
    let wanted = ReleaseSpec { chart: pinned, ..spec("shop", json!({"a": "settings"})) };
    let release = releases.install(&place.namespace, &place.access(), &wanted, None).await.unwrap();
    assert!(release.manifest.contains("{a: \"settings\", b: \"first\"}"), "{}", release.manifest);
    let error = releases.resolve(&chart("2.0.0")).await.unwrap_err();
    assert!(error.is_not_found() && error.message.contains("there is only 1.2.3"), "{error}");
}

#[tokio::test]
async fn helm_asks_no_address_that_a_chart_names() {
    let Some(place) = Place::new("schema") else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let schema = format!("{{\"$ref\": \"http://{}/schema.json\"}}", listener.local_addr().unwrap());
    let source = archive(&[HEAD, MAP, ("chart/values.schema.json", schema.as_str())], &[]);
    let wanted = spec("shop", json!({"a": "1", "b": "2"}));
    place.releases().install(&place.namespace, &place.access(), &wanted, Some(source)).await.unwrap();
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "helm asked for the schema");
}

/// Serves a folder's files over http until the test ends.
fn serve_files(folder: PathBuf) -> String {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines: Vec<String> =
                BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let path = lines[0].split(' ').nth(1).unwrap().trim_start_matches('/');
            let (status, body) = match std::fs::read(folder.join(path)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).unwrap();
        }
    });
    host
}

#[tokio::test]
async fn an_install_that_is_dropped_leaves_nothing_to_recover() {
    let Some(place) = Place::new("dropped") else { return };
    let releases = place.releases();
    let source = archive(&[HEAD, MAP, HOOK], &[]);
    let hanging = spec("shop", json!({"a": "1", "b": "2", "hang": true}));
    {
        let (namespace, access) = (place.namespace.clone(), place.access());
        let install = releases.install(&namespace, &access, &hanging, Some(source.clone()));
        // Helm writes the release once more as it starts the hook, then makes the Job: from then on
        // it does nothing but wait for it.
        let pending = async {
            place.hook_started().await;
            assert_eq!(place.status("shop").as_deref(), Some("pending-install"));
        };
        tokio::select! {
            result = install => panic!("it does not hang: {result:?}"),
            () = pending => {}
        }
    }
    // The next one waits for its turn: until the dropped helm has marked its release as failed.
    let wanted = spec("shop", json!({"a": "1", "b": "2"}));
    let release = releases.install(&place.namespace, &place.access(), &wanted, Some(source)).await.unwrap();
    assert_eq!((release.recovered, release.revision), (None, 2));
}

#[tokio::test]
async fn failures_name_their_culprit() {
    let Some(place) = Place::new("failures") else { return };
    let releases = place.releases();
    let cases = [
        ("chart/templates/x.yaml", "a: {{ .Values.foo.bar.baz }}\n", "shop/templates/x.yaml line 1"),
        (
            "chart/templates/x.yaml",
            "apiVersion: example.com/v1\nkind: Foo\nmetadata: {name: x}\n",
            "kind \"Foo\" in version \"example.com/v1\"",
        ),
        (
            "chart/templates/x.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndatum: {}\n",
            "ConfigMap \"x\"",
        ),
    ];
    for (name, text, culprit) in cases {
        let source = archive(&[HEAD, (name, text)], &[]);
        let error = releases.install(&place.namespace, &place.access(), &spec("shop", json!({})), Some(source)).await;
        let diagnosis = error.unwrap_err().diagnosis.unwrap();
        assert_eq!(diagnosis.culprit, culprit, "{diagnosis:?}");
        assert!(!diagnosis.evidence[0].text.contains(place.work.path().to_str().unwrap()), "{diagnosis:?}");
    }
    // A failed hook, on install and, not in the way, on uninstall.
    let source = archive(&[HEAD, HOOK], &[]);
    let values = json!({"hang": true, "deadline": 2});
    let error = releases.install(&place.namespace, &place.access(), &spec("shop", values), Some(source)).await;
    assert_eq!(error.unwrap_err().diagnosis.unwrap().culprit, "hook Job \"migrate\"");
    assert_eq!(place.status("shop").as_deref(), Some("failed"));
    assert!(releases.uninstall(&place.namespace, &place.access(), "shop").await.unwrap());

    let mut nowhere: Value = serde_json::from_slice(&std::fs::read(&place.kubeconfig).unwrap()).unwrap();
    for cluster in nowhere["clusters"].as_array_mut().unwrap() {
        cluster["cluster"]["server"] = "https://127.0.0.1:1".into();
    }
    let nowhere = SecretString::from(nowhere.to_string());
    let error = releases.uninstall(&place.namespace, &nowhere, "shop").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient, "{error}");
}
