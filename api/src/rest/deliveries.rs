use std::sync::Arc;

use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;

use super::errors::ListError;
use super::{Tag, page};
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::DeliveryPage;

pub(crate) struct Deliveries;

#[OpenApi(tag = "Tag::Deliveries")]
impl Deliveries {
    /// List deliveries
    ///
    /// What GitHub sent, the newest first, with the run each started or why it started none.
    #[oai(path = "/deliveries", method = "get", operation_id = "listDeliveries")]
    async fn list(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// The `next` of the page before.
        after: Query<Option<String>>,
        /// How many at most.
        #[oai(validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<Option<u32>>,
    ) -> Result<Json<DeliveryPage>, ListError> {
        Ok(Json(api.operations.list_deliveries(&caller.0.0, &page(after, limit)).await?.into()))
    }
}
