//! Against a stand-in for registries and chart repositories. What real ones say is tried in
//! `tests/cluster.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use seatrial_preview::failure::Reason;
use seatrial_preview::ports::Releases;
use seatrial_preview::release::ReleaseSpec;
use seatrial_registry_oci::Reach;
use serde_json::json;

use super::*;
use crate::standin::{Reply, Standin, reply};
use crate::{HelmConfig, HelmReleases};

/// A chart as `helm package` makes it.
fn packaged(name: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (file, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, format!("{name}/{file}"), text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn shop(note: &str) -> Vec<u8> {
    packaged("shop", &[("Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.2.3+b\n"), ("note", note)])
}

fn manifest_of(config: &str, archive: &[u8]) -> String {
    json!({
        "schemaVersion": 2,
        "config": {"mediaType": config, "digest": digest_of(b"{}"), "size": 2},
        "layers": [
            {"mediaType": "application/vnd.cncf.helm.chart.provenance.v1.prov", "digest": digest_of(b"p"), "size": 1},
            {"mediaType": CONTENT_TYPE, "digest": digest_of(archive), "size": archive.len()},
        ],
    })
    .to_string()
}

/// A registry that holds the chart `charts/shop` 1.2.3+b, and an image beside it. What the tag leads
/// to may be changed.
async fn registry() -> (Standin, Arc<Mutex<Vec<u8>>>) {
    let archive = Arc::new(Mutex::new(shop("first")));
    let (held, first) = (archive.clone(), shop("first"));
    let standin = Standin::serve(move |request, _| {
        let now = held.lock().unwrap().clone();
        let archives = [first.clone(), now.clone()];
        let path = request.path.strip_prefix("/v2/charts/").unwrap_or_default();
        match path {
            "shop/manifests/1.2.3_b" => return reply(200, &[], manifest_of(CONFIG_TYPE, &now)),
            "shop/manifests/2.0.0" => {
                return reply(200, &[], manifest_of("application/vnd.oci.image.config.v1+json", &now));
            }
            "shop/tags/list" => return reply(200, &[], r#"{"tags":["1.2.3_b","latest","1.10.0","0.9.0"]}"#),
            "private/manifests/1.0.0" => return reply(401, &[], ""),
            "busy/manifests/1.0.0" => return reply(429, &[("retry-after", "9")], ""),
            _ => {}
        }
        for archive in archives {
            let manifest = manifest_of(CONFIG_TYPE, &archive);
            if path == format!("shop/manifests/{}", digest_of(manifest.as_bytes())) {
                return reply(200, &[], manifest);
            }
            if path == format!("shop/blobs/{}", digest_of(&archive)) {
                return reply(200, &[], archive);
            }
        }
        reply(404, &[], "")
    })
    .await;
    (standin, archive)
}

fn registries(standin: &Standin) -> Registries {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let hosts = [standin.host.clone()];
    Registries::new(Reach::new(&[], &hosts, &hosts).unwrap()).unwrap()
}

fn oci(standin: &Standin, name: &str, version: &str) -> ChartSource {
    let reference = format!("oci://{}/charts/{name}", standin.host);
    ChartSource::Oci { reference, version: version.to_owned(), digest: None }
}

fn digest(chart: &ChartSource) -> &str {
    match chart {
        ChartSource::Oci { digest, .. } | ChartSource::Repository { digest, .. } => digest.as_deref().unwrap(),
        other => panic!("{other:?} has no digest"),
    }
}

#[tokio::test]
async fn what_was_pinned_is_what_is_downloaded() {
    let (standin, archive) = registry().await;
    let registries = registries(&standin);
    let pinned = pin(&registries, &oci(&standin, "shop", "1.2.3+b")).await.unwrap();
    assert_eq!(digest(&pinned), digest_of(manifest_of(CONFIG_TYPE, &shop("first")).as_bytes()));

    // Somebody pushes another chart under the same version.
    *archive.lock().unwrap() = shop("second");
    assert_eq!(download(&registries, &pinned).await.unwrap().unwrap(), shop("first"));
    assert_eq!(pin(&registries, &pinned).await.unwrap(), pinned);
    let anew = pin(&registries, &oci(&standin, "shop", "1.2.3+b")).await.unwrap();
    assert_eq!(download(&registries, &anew).await.unwrap().unwrap(), shop("second"));
    let unpinned = oci(&standin, "shop", "1.2.3+b");
    assert_eq!(download(&registries, &unpinned).await.unwrap().unwrap(), shop("second"));

    let ChartSource::Oci { reference, version, .. } = unpinned else { unreachable!("it is one") };
    let gone = ChartSource::Oci { reference, version, digest: Some(digest_of(b"gone")) };
    let error = download(&registries, &gone).await.unwrap_err();
    assert!(error.is_not_found() && error.message.contains("no longer has"), "{error}");
}

#[tokio::test]
async fn charts_of_the_commit_and_the_program_are_pinned_already() {
    let (standin, _) = registry().await;
    let registries = registries(&standin);
    let path = ChartSource::Path { path: "chart".to_owned(), sha: "a".repeat(40).parse().unwrap() };
    for chart in [ChartSource::Builtin, path] {
        assert_eq!(pin(&registries, &chart).await.unwrap(), chart);
        assert_eq!(download(&registries, &chart).await.unwrap(), None);
    }
    assert!(standin.asked().is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_a_registrys_chart_is_told() {
    let (standin, _) = registry().await;
    let registries = registries(&standin);
    let failed = |name: &'static str, version: &'static str| {
        let (registries, chart) = (&registries, oci(&standin, name, version));
        async move { pin(registries, &chart).await.unwrap_err() }
    };
    let error = failed("shop", "3.0.0").await;
    assert!(error.is_not_found(), "{error}");
    assert!(
        error.message.contains("no version 3.0.0") && error.message.contains("there are 1.10.0, 1.2.3+b, 0.9.0"),
        "{error}"
    );
    let diagnosis = error.diagnosis.unwrap();
    assert_eq!(diagnosis.reason, Reason::ChartInvalid);
    assert!(diagnosis.culprit.contains("charts/shop") && diagnosis.advice.contains("chart.version"), "{diagnosis:?}");

    let error = failed("missing", "1.0.0").await;
    assert!(error.is_not_found() && error.message.contains("no chart charts/missing"), "{error}");
    let error = failed("shop", "2.0.0").await;
    assert!(error.kind == ErrorKind::Invalid && error.message.contains("not a Helm chart"), "{error}");
    let error = failed("private", "1.0.0").await;
    assert!(error.kind == ErrorKind::Forbidden && error.message.contains("chart.path"), "{error}");
    let error = failed("busy", "1.0.0").await;
    assert!(error.is_transient() && error.retry_after == Some(Duration::from_secs(9)), "{error}");

    // By default none of this is asked at all.
    let strict = Registries::new(Reach::default()).unwrap();
    let asked = standin.asked().len();
    for chart in [oci(&standin, "shop", "1.2.3+b"), repository(&standin, "shop", "1.2.3")] {
        assert_eq!(pin(&strict, &chart).await.unwrap_err().kind, ErrorKind::Forbidden);
    }
    assert_eq!(standin.asked().len(), asked);
}

fn repository(standin: &Standin, name: &str, version: &str) -> ChartSource {
    let url = format!("http://{}/stable", standin.host);
    ChartSource::Repository { url, name: name.to_owned(), version: version.to_owned(), digest: None }
}

/// A chart repository whose index names the digest, or does not.
async fn chart_repository(
    listed: impl Fn() -> Vec<u8> + Send + Sync + 'static,
    archive: Arc<Mutex<Vec<u8>>>,
) -> Standin {
    Standin::serve(move |request, own| {
        let index = |digest: &[u8]| -> Reply {
            let digest = digest_of(digest);
            let digest = digest.trim_start_matches("sha256:");
            reply(200, &[], format!(
                "entries:\n  shop:\n  - {{version: 1.2.3, urls: [files/shop-1.2.3.tgz], digest: {digest}}}\n  - {{version: 1.3.0, urls: ['http://{own}/stable/files/shop-1.2.3.tgz']}}\n  - {{version: 1.4.0, urls: [gone.tgz]}}\n  - {{version: 1.5.0}}\n"
            ))
        };
        match request.path.as_str() {
            "/stable/index.yaml" => index(&listed()),
            "/stable/files/shop-1.2.3.tgz" => reply(302, &[("location", "/cdn/a.tgz")], ""),
            "/cdn/a.tgz" => reply(200, &[], archive.lock().unwrap().clone()),
            "/html/index.yaml" => reply(200, &[], "<!doctype html><title>x</title>"),
            _ => reply(404, &[], ""),
        }
    })
    .await
}

#[tokio::test]
async fn a_chart_repositorys_chart_is_pinned_with_and_without_a_listed_digest() {
    let archive = Arc::new(Mutex::new(shop("first")));
    let standin = chart_repository(|| shop("first"), archive.clone()).await;
    let registries = registries(&standin);
    let mut all = Vec::new();
    for version in ["1.2.3", "v1.2.3", "1.3.0"] {
        let pinned = pin(&registries, &repository(&standin, "shop", version)).await.unwrap();
        assert_eq!(digest(&pinned), digest_of(&shop("first")), "{version}");
        assert_eq!(download(&registries, &pinned).await.unwrap().unwrap(), shop("first"), "{version}");
        all.push(pinned);
    }
    *archive.lock().unwrap() = shop("second");
    for pinned in &all {
        let error = download(&registries, pinned).await.unwrap_err();
        assert_eq!(error.diagnosis.unwrap().reason, Reason::ChartInvalid);
    }
    assert!(download(&registries, &all[2]).await.unwrap_err().message.contains("has changed since"));
    let error = download(&registries, &repository(&standin, "shop", "1.2.3")).await.unwrap_err();
    assert!(error.message.contains("not the one that"), "{error}");
}

#[tokio::test]
async fn what_is_wrong_with_a_chart_repository_is_told() {
    let standin = chart_repository(|| shop("first"), Arc::new(Mutex::new(shop("first")))).await;
    let registries = registries(&standin);
    let failed = |folder: &str, name: &'static str, version: &'static str| {
        let url = format!("http://{}/{folder}", standin.host);
        let chart = ChartSource::Repository { url, name: name.to_owned(), version: version.to_owned(), digest: None };
        let registries = &registries;
        async move { pin(registries, &chart).await.unwrap_err() }
    };
    for (folder, name, version, kind, words) in [
        (
            "stable/",
            "shop",
            "2.0.0",
            ErrorKind::NotFound,
            "no version 2.0.0 of the chart shop; there are 1.5.0, 1.4.0, 1.3.0, 1.2.3",
        ),
        ("stable", "web", "1.2.3", ErrorKind::NotFound, "has no chart web"),
        ("nothing", "shop", "1.2.3", ErrorKind::NotFound, "it has no index.yaml"),
        ("html", "shop", "1.2.3", ErrorKind::Invalid, "is not the index of a chart repository"),
        ("stable", "shop", "1.4.0", ErrorKind::NotFound, "its archive is not at"),
        ("stable", "shop", "1.5.0", ErrorKind::Invalid, "does not say where the archive"),
    ] {
        let error = failed(folder, name, version).await;
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(words), "{error}");
        assert!(error.diagnosis.is_some_and(|diagnosis| diagnosis.reason == Reason::ChartInvalid));
    }
}

/// helm in name only: keeps what it was given, and says what helm says.
const HELM: &str = r#"#!/bin/sh
case "$1" in
version) echo v4.1.0 ;;
history) echo "Error: release: not found" >&2; exit 1 ;;
upgrade)
    cat "$3/Chart.yaml" "$3/note" >&2
    [ "$(cat "$3/note")" = first ] || exit 1
    echo "$@" > "$(dirname "$0")/arguments"
    echo '{"version":1,"manifest":"","chart":{"metadata":{"name":"shop","version":"1.2.3+b"}}}' ;;
esac
"#;

#[tokio::test]
async fn helm_is_given_the_pinned_chart_unpacked() {
    let (standin, archive) = registry().await;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("helm");
    fs::write(&program, HELM).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let config =
        HelmConfig { program, work_dir: folder.path().join("work"), registries: Arc::new(registries(&standin)) };
    let releases = HelmReleases::new(config).unwrap();
    let chart = releases.resolve(&oci(&standin, "shop", "1.2.3+b")).await.unwrap();
    *archive.lock().unwrap() = shop("second");

    let spec = ReleaseSpec { name: "preview".to_owned(), chart, values_files: vec![], values: json!({"a": 1}) };
    let namespace = "pr-shop-1".parse().unwrap();
    let release = releases.install(&namespace, &"{}".into(), &spec, None).await.unwrap();
    assert_eq!((release.chart.as_str(), release.revision), ("shop-1.2.3+b", 1));
    let arguments = fs::read_to_string(folder.path().join("arguments")).unwrap();
    assert!(arguments.contains("charts/shop 1.2.3+b") && arguments.contains("computed.yaml"), "{arguments}");

    assert!(!arguments.contains("--skip-schema-validation"), "{arguments}");

    // A file of the repository is a values file for a remote chart as well.
    let with_file = ReleaseSpec { values_files: vec!["preview.yaml".to_owned()], ..spec.clone() };
    let source = packaged("o-r-abc", &[("preview.yaml", "a: 2")]);
    releases.install(&namespace, &"{}".into(), &with_file, Some(source.into())).await.unwrap();
    let arguments = fs::read_to_string(folder.path().join("arguments")).unwrap();
    let (file, computed) = (arguments.find("/0.yaml").unwrap(), arguments.find("/computed.yaml").unwrap());
    assert!(file < computed, "{arguments}");

    // A schema that would have helm ask other addresses is left aside.
    let chart = ("values.schema.json", r#"{"$ref": "http://10.0.0.1/schema.json"}"#);
    let head = ("Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.2.3\n");
    *archive.lock().unwrap() = packaged("shop", &[head, chart, ("note", "first")]);
    let curious = ReleaseSpec { chart: oci(&standin, "shop", "1.2.3+b"), ..spec.clone() };
    releases.install(&namespace, &"{}".into(), &curious, None).await.unwrap();
    let arguments = fs::read_to_string(folder.path().join("arguments")).unwrap();
    assert!(arguments.contains("--skip-schema-validation"), "{arguments}");

    // What is no archive is the chart's fault, not the repository's.
    *archive.lock().unwrap() = b"no archive".to_vec();
    let broken = ReleaseSpec { chart: oci(&standin, "shop", "1.2.3+b"), ..spec };
    let error = releases.install(&namespace, &"{}".into(), &broken, None).await.unwrap_err();
    let diagnosis = error.diagnosis.unwrap();
    assert_eq!(diagnosis.reason, Reason::ChartInvalid);
    assert!(
        diagnosis.culprit.contains("charts/shop") && diagnosis.summary.contains("cannot be unpacked"),
        "{diagnosis:?}"
    );
}
