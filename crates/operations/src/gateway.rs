use seatrial_preview::environment::ServiceTarget;
use seatrial_preview::ports::ByteStream;
use seatrial_store::views::EnvironmentView;

use crate::error::{OperationError, Port};
use crate::operations::{Operations, PATIENCE};

/// What a preview's host leads to. Whoever can reach the gateway may open previews, so there is
/// no principal here.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayRoute {
    pub environment: EnvironmentView,
    /// Where a commit answers: the newest one, or an earlier one while the newest is deployed.
    pub target: Option<ServiceTarget>,
}

impl Operations {
    /// The preview of a host, given without its port.
    pub async fn find_route(&self, host: &str) -> Result<Option<GatewayRoute>, OperationError> {
        use seatrial_preview::environment::EnvironmentState as S;
        let Some(view) = self.store.find_environment_by_host(host).await? else { return Ok(None) };
        let serves = match view.state {
            S::Running => true,
            // An earlier commit stays up until the new one has replaced it. After a failure that
            // is no longer certain, and a page that says what failed is worth more.
            S::Queued | S::Deploying => view.environment.live_sha.is_some(),
            S::Sleeping | S::Failed | S::Refused | S::Deleting | S::Deleted => false,
        };
        let target = view.environment.target.clone().filter(|_| serves);
        Ok(Some(GatewayRoute { environment: view, target }))
    }

    /// A byte stream to the application, within 10 seconds.
    pub async fn connect(
        &self,
        route: &EnvironmentView,
        target: &ServiceTarget,
    ) -> Result<Box<dyn ByteStream>, OperationError> {
        self.ask(Port::Cluster, PATIENCE, self.cluster.connect(&route.environment.namespace, target)).await
    }
}
