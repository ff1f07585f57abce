use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use seatrial_engine::{Clock, Registry};
use seatrial_preview::RepositoryName;
use seatrial_preview::access::{Role, Visible};
use seatrial_preview::life::Capacity;
use seatrial_preview::ports::{Cluster, Forge};
use seatrial_store::Store;
use seatrial_store::views::Counts;

use crate::access::{Access, AccessConfig, Principal};
use crate::error::{OperationError, Port};
use crate::readiness::ClusterVersion;
use crate::vault::Vault;
use crate::webhooks::WebhookDecoder;

/// How long a person waits for an answer of the cluster or the forge.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What operations are made of.
pub struct Parts {
    pub store: Store,
    pub cluster: Arc<dyn Cluster>,
    pub forge: Arc<dyn Forge>,
    pub webhook: WebhookDecoder,
    /// For the declared steps of workflows.
    pub registry: Registry,
    pub access: AccessConfig,
    pub vault: Vault,
    /// What the settings allow, for those who ask.
    pub capacity: Capacity,
    pub clock: Arc<dyn Clock>,
}

/// All that one can do. Shared by every way in.
pub struct Operations {
    pub(crate) store: Store,
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) forge: Arc<dyn Forge>,
    pub(crate) webhook: WebhookDecoder,
    pub(crate) registry: Registry,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cluster_version: ClusterVersion,
    pub(crate) vault: Vault,
    pub(crate) capacity: Capacity,
    access: Access,
}

impl Operations {
    pub fn new(parts: Parts) -> Self {
        Self {
            access: Access::new(parts.store.clone(), parts.clock.clone(), parts.access),
            vault: parts.vault,
            capacity: parts.capacity,
            store: parts.store,
            cluster: parts.cluster,
            forge: parts.forge,
            webhook: parts.webhook,
            registry: parts.registry,
            clock: parts.clock,
            cluster_version: ClusterVersion::default(),
        }
    }

    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The time, from the same clock as the journal's.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// How many runs and environments there are in each state; for gauges.
    pub async fn counts(&self) -> Result<Counts, OperationError> {
        Ok(self.store.counts().await?)
    }

    /// What is to be seen by those with this role; for operators it is everything.
    pub(crate) fn visible_to(&self, who: &Principal, role: Role) -> Visible {
        match who.visible() {
            Visible::Teams(_) => {
                let with = who.teams().iter().filter(|(_, has)| *has >= role);
                Visible::Teams(with.map(|(team, _)| team.clone()).collect())
            }
            all_or_one => all_or_one,
        }
    }

    /// That they have the role in the team that owns the repository.
    pub(crate) async fn authorize(
        &self,
        who: &Principal,
        repository: &RepositoryName,
        needed: Role,
        what: &str,
    ) -> Result<(), OperationError> {
        let project = self.store.find_project(&who.visible(), repository).await?;
        who.check(needed, project.as_ref().map(|project| &project.team), what)
    }

    /// Asks the cluster or the forge, for a bounded time.
    pub(crate) async fn ask<T>(
        &self,
        port: Port,
        patience: Duration,
        question: impl Future<Output = seatrial_preview::Result<T>>,
    ) -> Result<T, OperationError> {
        let whom = match port {
            Port::Cluster => "the cluster",
            Port::Forge => "GitHub",
        };
        tokio::select! {
            answer = question => answer.map_err(|error| OperationError::of_port(port, error)),
            () = self.clock.sleep(patience) => Err(OperationError::Unavailable {
                code: port.unavailable(),
                sentence: format!("{whom} did not answer within {} s: try again", patience.as_secs()),
                retry_after: Some(Duration::from_secs(5)),
            }),
        }
    }
}
