//! A Helm release of a preview.

use serde::{Deserialize, Serialize};

use crate::ids::HeadSha;

/// Where a chart comes from, resolved and pinned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum ChartSource {
    /// A folder of the repository at the head commit.
    Path { path: String, sha: HeadSha },
    /// `charts/preview`, shipped with the program.
    Builtin,
    /// `oci://host/chart`, pinned by its digest once it is resolved.
    Oci { reference: String, version: String, digest: Option<String> },
    /// A chart repository, pinned by the digest of the archive once it is resolved.
    Repository {
        url: String,
        name: String,
        version: String,
        #[serde(default)]
        digest: Option<String>,
    },
}

/// All that `helm upgrade --install` is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseSpec {
    pub name: String,
    pub chart: ChartSource,
    /// Files of the repository at the head commit, in order; later ones win.
    pub values_files: Vec<String>,
    /// Over the chart's own values and the files: the settings' values, then the computed ones.
    pub values: serde_json::Value,
}

/// What Helm made of a [`ReleaseSpec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Release {
    pub name: String,
    pub revision: u32,
    /// `name-version` of the chart.
    pub chart: String,
    /// The rendered manifest, secrets left out, bounded in size.
    pub manifest: String,
    /// What was done about a release found `pending-*`, if one was.
    pub recovered: Option<String>,
}
