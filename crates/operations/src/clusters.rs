//! The cluster that previews run on.

use seatrial_preview::environment::EnvironmentState;
use seatrial_preview::life::Capacity;

use crate::access::Principal;
use crate::error::OperationError;
use crate::operations::Operations;

/// The only cluster's name, until there are several.
const NAME: &str = "default";

/// A cluster, as it stands now.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterReport {
    pub name: &'static str,
    /// The server's version, or why it cannot be reached.
    pub version: Result<String, String>,
    /// How many previews may be up at once; nobody sleeping counts.
    pub capacity: Capacity,
    /// In the whole cluster, whoever asks: how full it is concerns everybody.
    pub running: u64,
    pub deploying: u64,
    pub queued: u64,
    pub sleeping: u64,
}

impl Operations {
    pub async fn list_clusters(&self, who: &Principal) -> Result<Vec<ClusterReport>, OperationError> {
        Ok(vec![self.get_cluster(who, NAME).await?])
    }

    pub async fn get_cluster(&self, _: &Principal, name: &str) -> Result<ClusterReport, OperationError> {
        if name != NAME {
            let sentence = format!("there is no cluster {name:?}; the only one is called {NAME:?}");
            return Err(OperationError::not_found("cluster_not_found", sentence));
        }
        let version = self.last_cluster_version().await;
        let counts = self.counts().await?.environments;
        let of = |wanted| counts.iter().find(|(state, _)| *state == wanted).map_or(0, |(_, count)| *count);
        Ok(ClusterReport {
            name: NAME,
            version,
            capacity: self.capacity,
            running: of(EnvironmentState::Running),
            deploying: of(EnvironmentState::Deploying),
            queued: of(EnvironmentState::Queued),
            sleeping: of(EnvironmentState::Sleeping),
        })
    }
}
