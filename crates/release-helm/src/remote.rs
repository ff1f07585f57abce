//! Charts of registries and chart repositories: found, pinned by their digest, and downloaded.
//!
//! They are fetched here and not by helm, so that the rules for addresses and the limits hold for
//! them too; helm is given the unpacked chart and needs no network but the API server's.

use std::time::Duration;

use bytes::Bytes;
use seatrial_preview::release::ChartSource;
use seatrial_preview::{Error, ErrorKind, Result};
use seatrial_registry_oci::{Limits, Registries, Repository, Role, digest_of};
use serde::Deserialize;
use url::Url;

use crate::chart::invalid;
use crate::index::{self, Entry};

const CONFIG_TYPE: &str = "application/vnd.cncf.helm.config.v1+json";
const CONTENT_TYPE: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// Kubernetes stores a release with its chart in at most 1 MiB, compressed.
const ARCHIVE: Limits = Limits { bytes: 16 * 1024 * 1024, time: Duration::from_secs(120) };
/// The largest public ones have half of it.
const INDEX: Limits = Limits { bytes: 32 * 1024 * 1024, time: Duration::from_secs(120) };

/// The same chart under a name that cannot come to mean another one.
pub(crate) async fn pin(registries: &Registries, chart: &ChartSource) -> Result<ChartSource> {
    match chart {
        ChartSource::Path { .. } | ChartSource::Builtin => Ok(chart.clone()),
        ChartSource::Oci { digest: Some(_), .. } | ChartSource::Repository { digest: Some(_), .. } => Ok(chart.clone()),
        ChartSource::Oci { reference, version, digest: None } => {
            let (_, digest) = OciChart::new(registries, reference, version)?.manifest(None).await?;
            Ok(ChartSource::Oci { reference: reference.clone(), version: version.clone(), digest: Some(digest) })
        }
        ChartSource::Repository { url, name, version, digest: None } => {
            let chart = RepositoryChart::new(registries, url, name, version)?;
            let entry = chart.entry().await?;
            let digest = match entry.digest.as_deref().and_then(sha256) {
                Some(digest) => digest,
                None => digest_of(&chart.archive(&entry).await?),
            };
            let (url, name, version) = (url.clone(), name.clone(), version.clone());
            Ok(ChartSource::Repository { url, name, version, digest: Some(digest) })
        }
    }
}

/// The chart's archive; `None` for charts that are not remote.
pub(crate) async fn download(registries: &Registries, chart: &ChartSource) -> Result<Option<Bytes>> {
    match chart {
        ChartSource::Path { .. } | ChartSource::Builtin => Ok(None),
        ChartSource::Oci { reference, version, digest } => {
            OciChart::new(registries, reference, version)?.download(digest.as_deref()).await.map(Some)
        }
        ChartSource::Repository { url, name, version, digest } => {
            RepositoryChart::new(registries, url, name, version)?.download(digest.as_deref()).await.map(Some)
        }
    }
}

/// The chart as people know it.
pub(crate) fn label(chart: &ChartSource) -> String {
    match chart {
        ChartSource::Path { path, .. } => format!("chart {path:?}"),
        ChartSource::Builtin => "the built-in chart".to_owned(),
        ChartSource::Oci { reference, version, .. } => format!("chart {reference:?} {version}"),
        ChartSource::Repository { name, version, .. } => format!("chart {name:?} {version}"),
    }
}

struct OciChart<'a> {
    registries: &'a Registries,
    repository: Repository,
    reference: &'a str,
    version: &'a str,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
}

impl<'a> OciChart<'a> {
    fn new(registries: &'a Registries, reference: &'a str, version: &'a str) -> Result<Self> {
        let named = reference.strip_prefix("oci://").filter(|rest| rest.contains('/'));
        let repository = named
            .ok_or_else(|| {
                Error::invalid(format!("{reference:?} is not a chart in a registry, like oci://ghcr.io/acme/shop"))
            })
            .and_then(Repository::parse)?;
        Ok(Self { registries, repository, reference, version })
    }

    fn label(&self) -> String {
        format!("chart {:?} {}", self.reference, self.version)
    }

    /// The chart's manifest, by its digest once that is known, and its digest.
    async fn manifest(&self, digest: Option<&str>) -> Result<(Manifest, String)> {
        // A tag cannot have a plus sign: helm writes an underscore for it.
        let tag = self.version.replace('+', "_");
        let found = self.registries.find_manifest(&self.repository, digest.unwrap_or(&tag)).await.map_err(advised)?;
        let Some(found) = found else {
            return Err(match digest {
                Some(_) => not_found(
                    self.label(),
                    format!(
                        "{} no longer has the chart {} {} that this deployment began with.",
                        self.repository.host(),
                        self.reference,
                        self.version
                    ),
                    "Deploy again to use the chart as it is now.",
                ),
                None => self.not_there().await?,
            });
        };
        let manifest = serde_json::from_slice::<Manifest>(&found.body).ok();
        let Some(manifest) = manifest.filter(|manifest| manifest.config.media_type == CONFIG_TYPE) else {
            return Err(Error::diagnosed(invalid(
                self.label(),
                format!("{} {} is in the registry, but it is not a Helm chart.", self.reference, self.version),
                "Name a chart, as `helm push` puts it there, in chart.oci in .seatrial.yaml on the base branch.",
            )));
        };
        Ok((manifest, found.digest))
    }

    /// Tells a version that is missing from a chart that is.
    async fn not_there(&self) -> Result<Error> {
        let host = self.repository.host();
        let tags = self.registries.list_tags(&self.repository).await.map_err(advised)?;
        let Some(tags) = tags.filter(|tags| !tags.is_empty()) else {
            return Ok(not_found(
                self.label(),
                format!("{host} has no chart {}.", self.repository.name()),
                "Push the chart, or correct chart.oci in .seatrial.yaml on the base branch.",
            ));
        };
        let versions: Vec<String> = tags.iter().map(|tag| tag.replace('_', "+")).collect();
        Ok(self::version_missing(
            self.label(),
            host,
            self.repository.name(),
            self.version,
            versions.iter().map(String::as_str),
        ))
    }

    async fn download(&self, digest: Option<&str>) -> Result<Bytes> {
        let (manifest, _) = self.manifest(digest).await?;
        let Some(content) = manifest.layers.iter().find(|layer| layer.media_type == CONTENT_TYPE) else {
            return Err(Error::diagnosed(invalid(
                self.label(),
                format!("{} {} has no chart in it.", self.reference, self.version),
                "Push the chart anew with `helm push`.",
            )));
        };
        self.registries.download_blob(&self.repository, &content.digest, ARCHIVE).await.map_err(advised)
    }
}

struct RepositoryChart<'a> {
    registries: &'a Registries,
    /// The folder of the index, with a slash at its end.
    folder: Url,
    host: String,
    name: &'a str,
    version: &'a str,
}

impl<'a> RepositoryChart<'a> {
    fn new(registries: &'a Registries, url: &str, name: &'a str, version: &'a str) -> Result<Self> {
        let folder = Url::parse(&format!("{}/", url.trim_end_matches('/')))
            .map_err(|_| Error::invalid(format!("{url:?} is not the address of a chart repository")))?;
        let host = folder.host_str().unwrap_or_default();
        let host = folder.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(Self { registries, folder, host, name, version })
    }

    fn label(&self) -> String {
        format!("chart {:?} {}", self.name, self.version)
    }

    async fn entry(&self) -> Result<Entry> {
        let url = self.folder.join("index.yaml").map_err(|_| self.nowhere("index.yaml"))?;
        let answer = self.registries.outbound().get(&url, Role::Named, INDEX).await?;
        if answer.is_not_found() {
            return Err(not_found(
                self.label(),
                format!("There is no chart repository at {}: it has no index.yaml.", self.folder),
                "Correct chart.repository in .seatrial.yaml on the base branch: it is the folder that index.yaml is in.",
            ));
        }
        if !answer.is_success() {
            return Err(advised(answer.error(&self.host, "the index of its charts")));
        }
        let (index, name) = (answer.body, self.name.to_owned());
        let found = tokio::task::spawn_blocking(move || index::versions(&index, &name))
            .await
            .map_err(|error| Error::transient(format!("the index of {} could not be read: {error}", self.host)))?;
        let entries = found.map_err(|error| {
            Error::diagnosed(invalid(
                self.label(),
                format!(
                    "{url} is not the index of a chart repository: {}",
                    error.chars().take(200).collect::<String>()
                ),
                "Correct chart.repository in .seatrial.yaml on the base branch, or tell those who run the repository.",
            ))
        })?;
        let Some(entries) = entries else {
            return Err(not_found(
                self.label(),
                format!("The chart repository {} has no chart {}.", self.folder, self.name),
                "Correct chart.name or chart.repository in .seatrial.yaml on the base branch.",
            ));
        };
        index::find(&entries, self.version).cloned().ok_or_else(|| {
            let versions = entries.iter().map(|entry| entry.version.as_str());
            version_missing(self.label(), &self.host, self.name, self.version, versions)
        })
    }

    async fn archive(&self, entry: &Entry) -> Result<Bytes> {
        let place = entry.urls.first().map_or("", String::as_str);
        let url = self.folder.join(place).ok().filter(|_| !place.is_empty()).ok_or_else(|| self.nowhere(place))?;
        // Often a place for releases that is not the index's own host.
        let answer = self.registries.outbound().get(&url, Role::Sent, ARCHIVE).await?;
        if answer.is_not_found() {
            return Err(not_found(
                self.label(),
                format!("{} lists {} {}, but its archive is not at {url}.", self.folder, self.name, self.version),
                "Use another version, or tell those who run the repository.",
            ));
        }
        if !answer.is_success() {
            return Err(advised(answer.error(&self.host, &format!("{} {}", self.name, self.version))));
        }
        Ok(answer.body)
    }

    async fn download(&self, digest: Option<&str>) -> Result<Bytes> {
        let entry = self.entry().await?;
        let listed = entry.digest.as_deref().and_then(sha256);
        let archive = self.archive(&entry).await?;
        let real = digest_of(&archive);
        let summary = match (digest, listed.as_deref()) {
            (Some(wanted), _) | (None, Some(wanted)) if wanted == real => return Ok(archive),
            (None, None) => return Ok(archive),
            (Some(pinned), listed) if listed != Some(pinned) => {
                format!(
                    "{} {} has changed since this deployment began: its archive is another.",
                    self.name, self.version
                )
            }
            _ => format!(
                "The archive of {} {} is not the one that {} lists: its digest is another.",
                self.name, self.version, self.host
            ),
        };
        let advice = "Deploy again; if that does not help, tell those who run the chart repository.";
        Err(Error::diagnosed(invalid(self.label(), summary, advice)))
    }

    fn nowhere(&self, place: &str) -> Error {
        Error::diagnosed(invalid(
            self.label(),
            format!(
                "{} does not say where the archive of {} {} is ({place:?} is no address).",
                self.host, self.name, self.version
            ),
            "Use another version, or tell those who run the repository.",
        ))
    }
}

/// The digest of an index, which has it with and without `sha256:`.
fn sha256(text: &str) -> Option<String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    (digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then(|| format!("sha256:{digits}"))
}

fn version_missing<'a>(
    label: String,
    host: &str,
    name: &str,
    version: &str,
    versions: impl Iterator<Item = &'a str>,
) -> Error {
    not_found(
        label,
        format!("{host} has no version {version} of the chart {name}; {}.", index::newest(versions)),
        "Correct chart.version in .seatrial.yaml on the base branch.",
    )
}

fn not_found(label: String, summary: String, advice: &str) -> Error {
    Error { kind: ErrorKind::NotFound, ..Error::diagnosed(invalid(label, summary, advice)) }
}

/// Says what else can be done about a chart that may not be read.
fn advised(error: Error) -> Error {
    if error.kind == ErrorKind::Forbidden && error.message.ends_with("make it public") {
        let message = format!("{}, or keep the chart in the repository and name it by chart.path", error.message);
        return Error { message, ..error };
    }
    error
}

#[cfg(test)]
#[path = "remote_tests.rs"]
mod tests;
