use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use seatrial_engine::{Clock, Registry};
use seatrial_preview::ports::{Cluster, Forge};
use seatrial_store::Store;
use seatrial_store::views::Counts;

use crate::access::Access;
use crate::error::{OperationError, Port};
use crate::readiness::ClusterVersion;
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
    pub access: Access,
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
    access: Access,
}

impl Operations {
    pub fn new(parts: Parts) -> Self {
        Self {
            store: parts.store,
            cluster: parts.cluster,
            forge: parts.forge,
            webhook: parts.webhook,
            registry: parts.registry,
            clock: parts.clock,
            cluster_version: ClusterVersion::default(),
            access: parts.access,
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
