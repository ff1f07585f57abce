//! Images of the sample application: every commit's is the same one under another tag.

use anyhow::{Context, Result, ensure};
use reqwest::header::{ACCEPT, CONTENT_TYPE};

const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// The registry that the cluster's nodes pull from.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    host: String,
    http: reqwest::Client,
}

impl Registry {
    pub(crate) fn new(host: &str, http: reqwest::Client) -> Self {
        Self { host: host.to_owned(), http }
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
