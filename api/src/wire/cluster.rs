use poem_openapi::Object;
use schemars::JsonSchema;
use seatrial_operations::ClusterReport;
use serde::Serialize;

/// A cluster that previews run on, as it stands now.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct Cluster {
    pub name: String,
    pub reachable: bool,
    /// The API server's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why it cannot be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// How many previews may be up at once; absent when nothing limits them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_previews: Option<u32>,
    /// The same for a repository without a limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_previews_per_repository: Option<u32>,
    pub running: u64,
    pub deploying: u64,
    pub queued: u64,
    pub sleeping: u64,
}

/// The clusters.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
pub struct ClusterList {
    pub items: Vec<Cluster>,
}

impl From<ClusterReport> for Cluster {
    fn from(report: ClusterReport) -> Self {
        let reachable = report.version.is_ok();
        let (version, problem) = match report.version {
            Ok(version) => (Some(version), None),
            Err(problem) => (None, Some(problem)),
        };
        Self {
            name: report.name.to_owned(),
            reachable,
            version,
            problem,
            max_previews: report.capacity.cluster,
            max_previews_per_repository: report.capacity.repository,
            running: report.running,
            deploying: report.deploying,
            queued: report.queued,
            sleeping: report.sleeping,
        }
    }
}
