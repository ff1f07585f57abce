use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use seatrial_operations::views::{DeliveryFilter, DeliveryId, RepositoryName};

use super::errors::{ListError, ReadError, WriteError, parse};
use super::{Tag, page};
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::{DeliveryDetail, DeliveryPage, WebhookReceipt};

pub(crate) struct Deliveries;

#[derive(ApiResponse)]
enum Redelivered {
    /// Stored as a delivery of its own; what it started, or why it started nothing.
    #[oai(status = 202)]
    Accepted(
        Json<WebhookReceipt>,
        /// The new delivery.
        #[oai(header = "Location")]
        String,
    ),
}

#[OpenApi(prefix_path = "/deliveries", tag = "Tag::Deliveries")]
impl Deliveries {
    /// List deliveries
    ///
    /// What GitHub sent, the newest first, with the run each started or why it started none. All
    /// conditions hold together.
    #[oai(path = "/", method = "get", operation_id = "listDeliveries")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the query")]
    async fn list(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// Only of this event: `pull_request`.
        event: Query<Option<String>>,
        /// Only of this repository, as `owner/name`.
        repository: Query<Option<String>>,
        /// Only those that started a run, or that did not.
        started: Query<Option<bool>>,
        /// The `next` of the page before.
        after: Query<Option<String>>,
        /// How many at most.
        #[oai(validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<Option<u32>>,
    ) -> Result<Json<DeliveryPage>, ListError> {
        // What cannot be a repository is refused, not looked for.
        repository.0.as_deref().map(|name| parse::<RepositoryName>("repository", name)).transpose()?;
        let filter = DeliveryFilter { event: event.0, repository: repository.0, started: started.0 };
        Ok(Json(api.operations.list_deliveries(&caller.0.0, &filter, &page(after, limit)).await?.into()))
    }

    /// Get a delivery
    ///
    /// With its payload as it came.
    #[oai(path = "/:delivery", method = "get", operation_id = "getDelivery")]
    async fn get(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// GitHub's id of it.
        delivery: Path<String>,
    ) -> Result<Json<DeliveryDetail>, ReadError> {
        let (view, payload) = api.operations.get_delivery(&caller.0.0, &DeliveryId(delivery.0)).await?;
        Ok(Json(DeliveryDetail { delivery: view.into(), payload: String::from_utf8_lossy(&payload).into_owned() }))
    }

    /// Redeliver a delivery
    ///
    /// Does what the stored delivery asks for once more.
    #[oai(path = "/:delivery/redeliver", method = "post", operation_id = "redeliver")]
    async fn redeliver(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// GitHub's id of it.
        delivery: Path<String>,
    ) -> Result<Redelivered, WriteError> {
        let receipt = api.operations.redeliver(&caller.0.0, &DeliveryId(delivery.0)).await?;
        let location = format!("/api/v1/deliveries/{}", receipt.delivery);
        Ok(Redelivered::Accepted(Json(receipt.into()), location))
    }
}
