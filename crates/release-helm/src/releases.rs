//! The port: installs, upgrades, recovers and uninstalls releases.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use seatrial_preview::ports::Releases;
use seatrial_preview::release::{ChartSource, Release, ReleaseSpec};
use seatrial_preview::{Error, Namespace, Result};
use seatrial_registry_oci::Registries;
use secrecy::SecretString;
use serde::Deserialize;
use tokio::sync::{OnceCell, Semaphore};

use crate::chart::{self, Chart};
use crate::failure::{Attempt, explain};
use crate::history::{Recovery, Revision, recovery};
use crate::mask::Mask;
use crate::process::{self, Output};
use crate::unpack::{Limits, unpack};
use crate::values::{self, ValuesFile};
use crate::version::Version;
use crate::workspace::{Instance, Workspace};
use crate::{builtin, remote, rendered, schema};

/// How long helm waits for each hook of an install.
const HOOK_TIMEOUT: &str = "5m";
/// How long it waits for each hook of an uninstall: everything is to be gone within 5 minutes
/// (FR-008), also when a hook hangs.
const LAST_HOOK_TIMEOUT: &str = "60s";
/// So many processes of helm at most: each takes about 20 MiB of its own, and a burst of deployments
/// must not end the program for want of memory.
const AT_ONCE: usize = 32;
/// How long a recovery waits for what it removes.
const RECOVERY_TIMEOUT: &str = "60s";

/// Which helm, and where it may work.
#[derive(Debug, Clone)]
pub struct HelmConfig {
    /// A path, or a name to be found in `PATH`: `helm`.
    pub program: PathBuf,
    /// A folder for unpacked charts and short-lived credentials. Several processes may share it.
    pub work_dir: PathBuf,
    /// Where charts of registries and chart repositories are fetched.
    pub registries: Arc<Registries>,
}

/// Helm as a child process. One operation at a time on each release.
pub struct HelmReleases {
    program: PathBuf,
    registries: Arc<Registries>,
    instance: Arc<Instance>,
    places: Semaphore,
    turns: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
    version: OnceCell<Version>,
}

impl HelmReleases {
    /// Prepares the work folder, and ends helm processes that a killed Seatrial left there.
    pub fn new(config: HelmConfig) -> Result<Self> {
        Ok(Self {
            program: config.program,
            registries: config.registries,
            instance: Arc::new(Instance::new(&config.work_dir)?),
            places: Semaphore::new(AT_ONCE),
            turns: Mutex::default(),
            version: OnceCell::new(),
        })
    }

    async fn helm_version(&self) -> Result<&Version> {
        let find = || async {
            let workspace = Arc::new(Workspace::new(&self.instance, None).map_err(unwritable)?);
            let output = process::run(&self.program, &arguments(&["version", "--short"]), &workspace).await?;
            Version::read(&self.program, if output.status.success() { &output.stdout } else { "" })
        };
        self.version.get_or_try_init(find).await
    }

    /// Waits for the release's turn and makes a folder for the operation.
    async fn session(&self, namespace: &Namespace, access: &SecretString, release: &str) -> Result<Session<'_>> {
        check_name(release)?;
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let key = format!("{namespace}/{release}");
            match turns.get(&key).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    let turn = Arc::default();
                    turns.insert(key, Arc::downgrade(&turn));
                    turn
                }
            }
        };
        let mut workspace = Workspace::new(&self.instance, Some(turn.lock_owned().await)).map_err(unwritable)?;
        workspace.write_kubeconfig(access).map_err(unwritable)?;
        let mut mask = Mask::new(access);
        for folder in ["tree", "chart"] {
            mask.place(&workspace.path(folder).join(""), "");
        }
        Ok(Session {
            program: &self.program,
            places: &self.places,
            namespace: namespace.as_str().to_owned(),
            release: release.to_owned(),
            chart: "the chart".to_owned(),
            workspace: Arc::new(workspace),
            mask,
        })
    }
}

/// One operation on one release.
struct Session<'a> {
    program: &'a std::path::Path,
    places: &'a Semaphore,
    namespace: String,
    release: String,
    chart: String,
    workspace: Arc<Workspace>,
    mask: Mask,
}

impl Session<'_> {
    /// Runs helm; `Ok` also when it failed. Counts its time: a deployment's own is what is left.
    async fn helm(&self, words: &[&str]) -> Result<Output> {
        let place = self.places.acquire().await;
        let begun = Instant::now();
        let output = process::run(self.program, &arguments(words), &self.workspace).await;
        drop(place);
        let (seconds, verb) = (begun.elapsed().as_secs_f64(), words.first().copied().unwrap_or_default());
        metrics::histogram!("helm_duration_seconds", "verb" => verb.to_owned()).record(seconds);
        tracing::debug!(namespace = %self.namespace, release = %self.release, verb, seconds, "helm ended");
        output
    }

    fn failed(&self, verb: &str, output: &Output) -> Error {
        let attempt = Attempt { verb, release: &self.release, namespace: &self.namespace, chart: &self.chart };
        explain(output, &attempt, &self.mask)
    }

    /// Unpacks and checks what helm will read; takes no longer than the disk does. `archive` is
    /// that of a chart which is not in the repository.
    async fn prepare(
        &mut self,
        spec: &ReleaseSpec,
        archive: Option<Bytes>,
        source: Option<Bytes>,
    ) -> Result<(Chart, Vec<ValuesFile>)> {
        let stop = Stop::default();
        let (workspace, spec, label, stopped) =
            (self.workspace.clone(), spec.clone(), self.chart.clone(), stop.0.clone());
        let work = move || {
            let tree = workspace.path("tree");
            if let Some(source) = &source {
                unpack(source, &tree, &Limits::default(), &stopped).map_err(|error| Error {
                    message: format!("the repository cannot be unpacked: {error}"),
                    ..error
                })?;
            }
            let unpacked = source.is_some().then_some(tree.as_path());
            let chart = match (&spec.chart, &archive) {
                (ChartSource::Path { path, .. }, _) => {
                    let tree = unpacked
                        .ok_or_else(|| Error::invalid(format!("the chart {path} needs the repository's source")))?;
                    chart::find(tree, path)?
                }
                (ChartSource::Builtin, _) => {
                    Chart { path: builtin::write(&workspace.path("data")).map_err(unwritable)?, needs_build: false }
                }
                (ChartSource::Oci { .. } | ChartSource::Repository { .. }, Some(archive)) => {
                    let path = workspace.path("chart");
                    unpack(archive, &path, &Limits::CHART, &stopped).map_err(|error| chart::unusable(&label, error))?;
                    Chart { path, needs_build: false }
                }
                (ChartSource::Oci { .. } | ChartSource::Repository { .. }, None) => {
                    return Err(Error::invalid(format!("{label} was not downloaded")));
                }
            };
            let files = values::lay_out(unpacked, &spec.values_files, &spec.values, &workspace.path("values"))?;
            Ok((chart, files))
        };
        let prepared = tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Error::transient(format!("the chart could not be prepared: {error}")))?;
        drop(stop);
        let (chart, files) = prepared?;
        for file in &files {
            self.mask.place(&file.path, &file.name);
        }
        Ok((chart, files))
    }

    /// The revisions helm remembers; empty when there is no such release.
    async fn history(&self) -> Result<Vec<Revision>> {
        let output = self.helm(&["history", &self.release, "-n", &self.namespace, "-o", "json"]).await?;
        if output.status.success() {
            return serde_json::from_str(&output.stdout).map_err(|error| {
                Error::invalid(format!("helm's history of {} is not understood: {error}", self.release))
            });
        }
        if output.stderr.contains("release: not found") {
            Ok(Vec::new())
        } else {
            Err(self.failed("read the history of", &output))
        }
    }

    /// Frees a release that a killed helm left half done; says what was done.
    async fn recover(&self) -> Result<Option<String>> {
        let Some(found) = recovery(&self.history().await?) else { return Ok(None) };
        let (release, namespace) = (self.release.as_str(), self.namespace.as_str());
        if let Recovery::Rollback { status, to } = &found {
            let revision = to.to_string();
            // Without hooks: they are run by the upgrade that follows, and one that fails would
            // leave the release pending once more.
            let output = self
                .helm(&["rollback", release, &revision, "-n", namespace, "--no-hooks", "--timeout", RECOVERY_TIMEOUT])
                .await?;
            if recovery(&self.history().await?).is_none() {
                return Ok(Some(format!("was {status}: rolled back to revision {to}")));
            }
            if let error @ Error { kind: seatrial_preview::ErrorKind::Transient, .. } =
                self.failed("roll back", &output)
            {
                return Err(error);
            }
        }
        let (Recovery::Uninstall { status } | Recovery::Rollback { status, .. }) = found;
        // Waits for what is removed, so that the install that follows does not meet it.
        let output = self
            .helm(&["uninstall", release, "-n", namespace, "--no-hooks", "--wait", "--timeout", RECOVERY_TIMEOUT])
            .await?;
        if !output.status.success() && !self.history().await?.is_empty() {
            return Err(self.failed("remove what was left of", &output));
        }
        Ok(Some(format!("was {status}: uninstalled and installed anew")))
    }

    /// `Ok` also when helm failed.
    async fn upgrade(
        &self,
        spec: &ReleaseSpec,
        chart: &Chart,
        files: &[ValuesFile],
        version: &Version,
    ) -> Result<Output> {
        if chart.needs_build {
            let path = chart.path.display().to_string();
            let output = self.helm(&["dependency", "build", &path, "--skip-refresh"]).await?;
            if !output.status.success() {
                return Err(self.failed("build the dependencies of", &output));
            }
        }
        let path = chart.path.display().to_string();
        let description = match &spec.chart {
            ChartSource::Path { sha, .. } => format!("seatrial: {sha}"),
            ChartSource::Builtin => "seatrial: built-in chart".to_owned(),
            ChartSource::Oci { reference, version, .. } => format!("seatrial: {reference} {version}"),
            ChartSource::Repository { url, name, version, .. } => format!("seatrial: {url} {name} {version}"),
        };
        let mut words = vec!["upgrade", &self.release, &path, "--install", "-n", &self.namespace];
        // Without this an upgrade without values takes over those of the revision before.
        words.extend(["--reset-values", "--history-max", "5", "--timeout", HOOK_TIMEOUT]);
        words.extend(["--description", &description, "-o", "json"]);
        let folder = chart.path.clone();
        // What cannot be told is taken for the worse.
        let outside = tokio::task::spawn_blocking(move || schema::refers_outside(&folder)).await.unwrap_or(true);
        if outside && version.can_skip_schemas() {
            tracing::info!(release = %self.release, namespace = %self.namespace, chart = %self.chart, "the values are not checked against a schema that refers to other addresses");
            words.push("--skip-schema-validation");
        } else if outside {
            return Err(Error::diagnosed(chart::invalid(
                self.chart.clone(),
                format!(
                    "The chart has a values.schema.json that refers to other addresses, and Helm {} would ask them.",
                    version.text
                ),
                "Put the definitions into the schema, or ask Seatrial's operator for Helm 3.16 or newer, with which the schema is left aside.",
            )));
        }
        if version.major >= 4 {
            // Whoever scaled or patched something meanwhile yields to the chart. The API server
            // checks what it is given against its schemas, in the same words as helm would: that
            // helm need not fetch them first saves it two thirds of its time.
            words.extend(["--server-side=true", "--force-conflicts", "--disable-openapi-validation"]);
        }
        let paths: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
        for path in &paths {
            words.extend(["-f", path]);
        }
        self.helm(&words).await
    }
}

#[async_trait]
impl Releases for HelmReleases {
    async fn version(&self) -> Result<String> {
        self.helm_version().await.map(|version| version.text.clone())
    }

    async fn resolve(&self, chart: &ChartSource) -> Result<ChartSource> {
        remote::pin(&self.registries, chart).await
    }

    async fn install(
        &self,
        namespace: &Namespace,
        access: &SecretString,
        spec: &ReleaseSpec,
        source: Option<Bytes>,
    ) -> Result<Release> {
        let version = self.helm_version().await?;
        let archive = remote::download(&self.registries, &spec.chart).await?;
        let mut session = self.session(namespace, access, &spec.name).await?;
        session.chart = remote::label(&spec.chart);
        let (chart, files) = session.prepare(spec, archive, source).await?;
        let mut output = session.upgrade(spec, &chart, &files, version).await?;
        let mut recovered = None;
        if is_half_done(&output) {
            recovered = session.recover().await?;
            if recovered.is_some() {
                output = session.upgrade(spec, &chart, &files, version).await?;
            }
        }
        if !output.status.success() {
            return Err(session.failed("install", &output));
        }
        // Hooks may print before it.
        let line = output.stdout.lines().rfind(|line| line.starts_with("{\"")).unwrap_or_default();
        let installed: Installed = serde_json::from_str(line)
            .map_err(|error| Error::invalid(format!("helm's account of {} is not understood: {error}", spec.name)))?;
        let metadata = installed.chart.metadata;
        Ok(Release {
            name: spec.name.clone(),
            revision: installed.version,
            chart: format!("{}-{}", metadata.name, metadata.version),
            manifest: rendered::without_secrets(&session.mask.apply(&installed.manifest)),
            recovered,
        })
    }

    async fn uninstall(&self, namespace: &Namespace, access: &SecretString, release: &str) -> Result<bool> {
        let session = self.session(namespace, access, release).await?;
        let words = ["uninstall", release, "-n", namespace.as_str(), "--timeout", LAST_HOOK_TIMEOUT];
        let mut output = session.helm(&words).await?;
        let gone = |output: &Output| output.stderr.contains("release: not found");
        if !output.status.success() && !gone(&output) {
            let error = session.failed("uninstall", &output);
            if error.is_transient() {
                return Err(error);
            }
            // A hook that fails must not keep the preview alive: the namespace goes anyway.
            tracing::warn!(%namespace, release, %error, "uninstalling without hooks, because it failed with them");
            output = session.helm(&[&words[..], &["--no-hooks"]].concat()).await?;
            if !output.status.success() && !gone(&output) {
                return Err(session.failed("uninstall", &output));
            }
        }
        Ok(output.status.success())
    }
}

/// What is needed of `helm upgrade -o json`.
#[derive(Deserialize)]
struct Installed {
    version: u32,
    #[serde(default)]
    manifest: String,
    chart: InstalledChart,
}

#[derive(Deserialize)]
struct InstalledChart {
    metadata: ChartMetadata,
}

#[derive(Deserialize)]
struct ChartMetadata {
    name: String,
    version: String,
}

/// Whether helm refused to begin because an earlier one left the release half done. It says so
/// before it changes anything, so it is asked to install at once: looking at the history first
/// would cost each deployment one more helm.
fn is_half_done(output: &Output) -> bool {
    let said = &output.stderr;
    let pending = said.contains("another operation") && said.contains("is in progress");
    !output.status.success() && (pending || said.contains("has no deployed releases"))
}

/// Ends blocking work when the future that waits for it is dropped.
#[derive(Default)]
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Helm's own rule for names, which also keeps them from being taken for options.
fn check_name(release: &str) -> Result<()> {
    let valid = (1..=53).contains(&release.len())
        && release.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !release.starts_with('-')
        && !release.ends_with('-');
    if valid {
        Ok(())
    } else {
        Err(Error::invalid(format!(
            "{release:?} is not a release's name: at most 53 lower-case letters, digits and '-' are"
        )))
    }
}

fn arguments(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn unwritable(error: std::io::Error) -> Error {
    Error::transient(format!("the work folder cannot be written: {error}; make room for it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_never_taken_for_options() {
        for name in ["shop", "a", "0-a", &"x".repeat(53)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "-n", "--all", "a-", "A", "a.b", "a/b", "a b", &"x".repeat(54)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
