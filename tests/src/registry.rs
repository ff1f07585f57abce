//! Images of the sample application: every commit's is the same one under another tag. And its
//! chart, as others publish theirs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use tokio::process::Command;

use crate::{Setting, sample};

const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// The registry that the cluster's nodes pull from.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    host: String,
    helm: PathBuf,
    http: reqwest::Client,
}

impl Registry {
    pub(crate) fn new(setting: &Setting, http: reqwest::Client) -> Self {
        Self { host: setting.registry.clone(), helm: setting.helm.clone(), http }
    }

    /// Packs the sample's chart in `folder` under another name, version and values, and pushes it;
    /// answers its reference without a version.
    pub(crate) async fn publish_chart(
        &self,
        folder: &Path,
        name: &str,
        version: &str,
        values: &[(&str, &str)],
    ) -> Result<String> {
        let chart = folder.join(name);
        sample::write_chart(&chart, name, values)?;
        let text = |path: &Path| path.display().to_string();
        self.helm(&["package", &text(&chart), "--version", version, "--destination", &text(folder)]).await?;
        let package = folder.join(format!("{name}-{version}.tgz"));
        let charts = format!("oci://{}/charts", self.host);
        self.helm(&["push", "--plain-http", &text(&package), &charts]).await?;
        Ok(format!("{charts}/{name}"))
    }

    async fn helm(&self, arguments: &[&str]) -> Result<()> {
        let output = Command::new(&self.helm).args(arguments).kill_on_drop(true).output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "helm {arguments:?}: {}", said.trim());
        Ok(())
    }

    /// The image's name without a tag.
    pub(crate) fn image(&self) -> String {
        format!("{}/shop", self.host)
    }

    /// Gives `shop:base` one more tag.
    pub(crate) async fn tag(&self, tag: &str) -> Result<()> {
        let url = |tag: &str| format!("http://{}/v2/shop/manifests/{tag}", self.host);
        let found = self.http.get(url("base")).header(ACCEPT, MANIFESTS).send().await.context("asking the registry")?;
        ensure!(found.status().is_success(), "the registry has no shop:base ({})", found.status());
        let kind = found.headers().get(CONTENT_TYPE).cloned().context("a manifest without a content type")?;
        let manifest = found.bytes().await?;
        let made = self.http.put(url(tag)).header(CONTENT_TYPE, kind).body(manifest).send().await?;
        ensure!(made.status().is_success(), "the registry did not take the tag {tag}: {}", made.status());
        Ok(())
    }
}
