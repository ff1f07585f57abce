//! The inbox: what GitHub sent, and sending it through again.

use seatrial_engine::RunId;
use seatrial_preview::DeliveryId;
use seatrial_preview::access::Role;
use seatrial_store::Accepted;
use seatrial_store::views::{DeliveryFilter, DeliveryView, Page, PageRequest};
use uuid::Uuid;

use crate::access::Principal;
use crate::audit::Act;
use crate::error::OperationError;
use crate::operations::Operations;
use crate::previews::{check, of_page};
use crate::webhooks::Receipt;

impl Operations {
    /// Deliveries for repositories of one's teams, the newest first; operators see those of no
    /// repository, too.
    pub async fn list_deliveries(
        &self,
        who: &Principal,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Page<DeliveryView>, OperationError> {
        check(page)?;
        self.store.list_deliveries(&who.visible(), filter, page).await.map_err(|error| of_page(error, page))
    }

    /// A delivery and its payload.
    pub async fn get_delivery(
        &self,
        who: &Principal,
        id: &DeliveryId,
    ) -> Result<(DeliveryView, Vec<u8>), OperationError> {
        self.store
            .find_delivery(&who.visible(), id)
            .await?
            .ok_or_else(|| OperationError::not_found("delivery_not_found", format!("there is no delivery {}", id.0)))
    }

    /// Does what a stored delivery asks for once more, as a delivery of its own that names the one
    /// it repeats.
    pub async fn redeliver(&self, who: &Principal, id: &DeliveryId) -> Result<Receipt, OperationError> {
        let (view, payload) = self.get_delivery(who, id).await?;
        let mut act = Act::new("delivery.redeliver", &id.0);
        if let Some(at) = &view.at {
            act = act.repository(&at.repository);
        }
        self.audited(who, act, async {
            match &view.at {
                Some(at) => self.authorize(who, &at.repository, Role::Developer, "redelivering").await?,
                None => who.check(Role::Developer, None, "redelivering what belongs to no repository")?,
            }
            let new = DeliveryId(Uuid::now_v7().to_string());
            let meaning = (self.webhook.parse)(&view.event, &payload)
                .map_err(|error| OperationError::Invalid { sentence: error.message, fields: Vec::new() })?;
            let mut delivery = self.interpret(&new.0, &view.event, meaning, &payload)?;
            delivery.repeats = Some(id.clone());
            let Accepted { fresh, run, ignored } = self.store.accept_delivery(delivery).await?;
            tracing::info!(
                delivery = new.0,
                repeats = id.0,
                run = run.map(|RunId(id)| tracing::field::display(id)),
                ignored,
                "redelivered"
            );
            Ok(Receipt { delivery: new.0, run, duplicate: !fresh, ignored })
        })
        .await
    }
}
