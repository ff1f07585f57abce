//! `.seatrial.yaml`: what a repository says about its previews. Read from the base branch, never
//! from the pull request's own. `docs/seatrial-yaml.md` is the reference for users.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::{Diagnosis, Evidence, Reason};
use crate::ids::HeadSha;
use crate::policies::{Network, PodSecurity, Policies, Quota};
use crate::ports::SecretRef;
use crate::release::ChartSource;

mod admission;
mod check;
mod parse;
mod paths;
mod quantity;
mod schema;
mod values;
mod yaml;

#[cfg(test)]
mod tests;

pub use admission::{Admission, Refusal, admit};
pub use parse::parse;
pub use schema::json_schema;
pub use values::{Computed, ImageName};

/// Where the settings are in a repository.
pub const FILE_NAME: &str = ".seatrial.yaml";

/// The settings of one repository's previews. Only [`parse`] makes them from a user's text; the
/// serde form is for the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = ".seatrial.yaml", description = "How Seatrial previews the pull requests of this repository.")]
pub struct Settings {
    /// Version of this file's format. The only one there is: 1.
    #[schemars(schema_with = "schema::version")]
    pub version: u32,
    /// The chart to install. Without it, the chart that Seatrial ships is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::chart")]
    pub chart: Option<Chart>,
    /// Helm values, over the chart's own and those of `valuesFiles`. Strings may use {sha},
    /// {shortSha}, {number}, {branch}, {host}, {url} and {namespace}.
    #[serde(default)]
    pub values: serde_json::Map<String, serde_json::Value>,
    /// Values files of the repository at the pull request's commit; later ones win.
    #[serde(default)]
    pub values_files: Vec<String>,
    /// The image to deploy; becomes the values `image.repository` and `image.tag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::image")]
    pub image: Option<Image>,
    /// The check that the application answers, once its workloads are ready.
    #[serde(default)]
    pub health: Health,
    /// How long the workloads may take to become ready.
    #[serde(default)]
    pub rollout: RolloutSettings,
    /// Which pull requests get a preview. Those from forks need an approval of each commit.
    #[serde(default)]
    pub filters: Filters,
    /// What a preview may use.
    #[serde(default)]
    #[schemars(schema_with = "schema::quota")]
    pub quota: Quota,
    /// What a preview may talk to.
    #[serde(default)]
    #[schemars(schema_with = "schema::network")]
    pub network: Network,
    /// The Pod Security level that the preview's namespace enforces.
    #[serde(default)]
    #[schemars(schema_with = "schema::pod_security")]
    pub pod_security: PodSecurity,
    /// A check run or commit status that must have succeeded before the commit is deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::wait_for")]
    pub wait_for: Option<WaitFor>,
    /// Secrets of other namespaces that are copied into the preview's. Never for forks.
    #[serde(default)]
    pub secrets: Vec<SecretSource>,
    /// How long a preview is kept after its last use. Deleted after that, warned of first.
    #[serde(default = "default_ttl", with = "duration_text")]
    #[schemars(schema_with = "schema::duration")]
    pub ttl: Duration,
    /// When a preview that nobody uses is scaled to zero. Without it, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::sleep")]
    pub sleep: Option<Sleep>,
}

fn default_ttl() -> Duration {
    crate::life::DEFAULT_TTL
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitFor {
    /// Name of the check run, or context of the commit status.
    pub check: String,
    /// How long it may take, counted from when the deployment asks for it first.
    #[serde(default = "default_check_timeout", with = "duration_text")]
    #[schemars(schema_with = "schema::duration")]
    pub timeout: Duration,
}

fn default_check_timeout() -> Duration {
    Duration::from_secs(15 * 60)
}

/// `from: previews/registry-credentials`: namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretSource {
    /// Namespace and name, as `namespace/name`. The copy keeps the name.
    #[serde(with = "secret_text")]
    #[schemars(schema_with = "schema::secret")]
    pub from: SecretRef,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sleep {
    /// How long nobody must have visited it.
    #[serde(with = "duration_text")]
    #[schemars(schema_with = "schema::duration")]
    pub after: Duration,
}

/// Where the chart comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Chart {
    /// A folder of the repository, at the pull request's commit.
    Path { path: String },
    /// `oci://host/name` of a container registry, and the exact version.
    Oci { oci: String, version: String },
    /// The address of a chart repository, the chart's name there, and the exact version.
    Repository { repository: String, name: String, version: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Registry and name, without a tag.
    pub repository: String,
    /// The tag; may use the same placeholders as `values`.
    #[serde(default = "default_tag")]
    pub tag: String,
    /// How long to wait until the registry has the tag. Without it, it must be there.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_duration_text")]
    #[schemars(schema_with = "schema::duration")]
    pub wait: Option<Duration>,
}

fn default_tag() -> String {
    "{sha}".to_owned()
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// The service to ask. Without it, the release's only service with an HTTP port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::service_name")]
    pub service: Option<String>,
    /// The service's port. Without it, its HTTP port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::port")]
    pub port: Option<u16>,
    /// The path to get.
    pub path: String,
    /// The status code that means healthy.
    #[schemars(range(min = 100, max = 599))]
    pub status: u16,
    /// How many answers in a row must be healthy.
    #[schemars(range(min = 1, max = 20))]
    pub successes: u32,
    /// How long the application may take until then.
    #[serde(with = "duration_text")]
    #[schemars(schema_with = "schema::duration")]
    pub timeout: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            service: None,
            port: None,
            path: "/".to_owned(),
            status: 200,
            successes: 2,
            timeout: Duration::from_secs(60),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Rollout")]
pub struct RolloutSettings {
    /// How long the workloads may take to become ready.
    #[serde(with = "duration_text")]
    #[schemars(schema_with = "schema::duration")]
    pub timeout: Duration,
}

impl Default for RolloutSettings {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(180) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Filters {
    /// The pull request must carry one of these labels. Empty: no label is needed.
    pub labels: Vec<String>,
    /// A pull request with one of these labels gets no preview.
    pub ignore_labels: Vec<String>,
    /// The pull request must go into one of these branches. Empty: any branch.
    pub base_branches: Vec<String>,
    /// The pull request must change a file that these patterns fit, like `src/**`. `!docs/**` takes
    /// files out again. Empty: any.
    pub paths: Vec<String>,
    /// Whether draft pull requests get a preview.
    pub drafts: bool,
    /// Whether pull requests opened by bots get a preview.
    pub bots: bool,
}

impl Default for Filters {
    fn default() -> Self {
        Self {
            labels: Vec::new(),
            ignore_labels: Vec::new(),
            base_branches: Vec::new(),
            paths: Vec::new(),
            drafts: false,
            bots: true,
        }
    }
}

impl Filters {
    /// Whether one of the changed files is fitted by `paths`: of the patterns that fit a file the
    /// last one decides, and one that begins with `!` takes the file out. Without patterns any
    /// pull request fits, and so does one whose list of files is as long as GitHub's lists get:
    /// the file that matters may be among those that are not listed.
    pub fn fits(&self, paths: &[String]) -> bool {
        self.paths.is_empty() || paths.len() >= MOST_FILES_LISTED || paths::fit(&self.paths, paths)
    }
}

/// As many changed files of a pull request as GitHub lists.
const MOST_FILES_LISTED: usize = 3000;

impl Settings {
    /// Where the chart of the commit comes from; not pinned yet, see
    /// [`Releases::resolve`](crate::ports::Releases::resolve).
    pub fn chart_source(&self, sha: &HeadSha) -> ChartSource {
        match self.chart.clone() {
            None => ChartSource::Builtin,
            Some(Chart::Path { path }) => ChartSource::Path { path, sha: sha.clone() },
            Some(Chart::Oci { oci, version }) => ChartSource::Oci { reference: oci, version, digest: None },
            Some(Chart::Repository { repository, name, version }) => {
                ChartSource::Repository { url: repository, name, version, digest: None }
            }
        }
    }

    /// True when the repository's files at the head commit are needed to install the release.
    pub fn needs_source(&self) -> bool {
        matches!(self.chart, Some(Chart::Path { .. })) || !self.values_files.is_empty()
    }

    /// The secrets to copy into the preview's namespace. Not to be used for a fork's preview.
    pub fn secret_refs(&self) -> Vec<SecretRef> {
        self.secrets.iter().map(|secret| secret.from.clone()).collect()
    }

    pub fn policies(&self) -> Policies {
        Policies { quota: self.quota.clone(), network: self.network.clone() }
    }

    pub fn pod_security(&self) -> PodSecurity {
        self.pod_security
    }
}

/// One thing that is wrong with a `.seatrial.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsError {
    /// Counted from 1; absent when no line is to blame, as for a key that is missing.
    pub line: Option<usize>,
    /// `health.port`, `valuesFiles[1]`; empty for the file as a whole.
    pub field: String,
    /// What is wrong and what to do, as a sentence.
    pub message: String,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// The failure of a pull request whose base branch has a `.seatrial.yaml` that cannot be read.
pub fn diagnosis(errors: &[SettingsError]) -> Diagnosis {
    let culprit = match errors.iter().find_map(|error| error.line) {
        Some(line) => format!("{FILE_NAME} line {line}"),
        None => FILE_NAME.to_owned(),
    };
    let summary = match errors {
        [only] if only.field.is_empty() => format!("{FILE_NAME} cannot be used: {}", only.message),
        [only] => format!("{FILE_NAME} cannot be used: {}: {}", only.field, only.message),
        many => format!("{FILE_NAME} has {} errors.", many.len()),
    };
    let listed: Vec<String> = errors.iter().map(SettingsError::to_string).collect();
    Diagnosis {
        reason: Reason::SettingsInvalid,
        culprit,
        summary,
        advice: format!(
            "Correct {FILE_NAME} on the base branch (settings are never read from the pull request's own branch), then push to the pull request again."
        ),
        evidence: vec![Evidence { title: format!("Errors in {FILE_NAME}"), text: listed.join("\n") }],
    }
}

/// Durations as the file has them: `90s`, `3m`, `2h`, `7d`.
mod duration_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::quantity;

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&quantity::duration_words(*duration))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        quantity::duration(&text).ok_or_else(|| de::Error::custom(format_args!("{text:?} is not a duration")))
    }
}

mod optional_duration_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    struct Text(#[serde(with = "super::duration_text")] Duration);

    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::duration_text::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Text>::deserialize(deserializer)?.map(|Text(duration)| duration))
    }
}

/// `previews/registry-credentials`.
mod secret_text {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::{SecretRef, check};

    pub fn serialize<S: Serializer>(secret: &SecretRef, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}/{}", secret.namespace, secret.name))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretRef, D::Error> {
        check::secret(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
