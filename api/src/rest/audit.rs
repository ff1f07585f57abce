use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use seatrial_operations::views::AuditFilter;

use super::errors::ListError;
use super::{Tag, page};
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::AuditPage;

pub(crate) struct Audit;

#[OpenApi(tag = "Tag::Audit")]
impl Audit {
    /// List who did what
    ///
    /// The newest first. Of the teams one maintains, and their repositories; everything for
    /// operators. All conditions hold together.
    #[oai(path = "/audit", method = "get", operation_id = "listAudit")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the query")]
    async fn list(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// Only what they did.
        who: Query<Option<String>>,
        /// Only this: `preview.deploy`, `token.create`, …
        action: Query<Option<String>>,
        /// Only what was done to this: `owner/name#number`, a run's id, a team, …
        target: Query<Option<String>>,
        /// At this time or after.
        since: Query<Option<DateTime<Utc>>>,
        /// Before this time.
        until: Query<Option<DateTime<Utc>>>,
        /// The `next` of the page before.
        after: Query<Option<String>>,
        /// How many at most.
        #[oai(validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<Option<u32>>,
    ) -> Result<Json<AuditPage>, ListError> {
        let filter = AuditFilter { who: who.0, action: action.0, target: target.0, since: since.0, until: until.0 };
        Ok(Json(api.operations.list_audit(&caller.0.0, &filter, &page(after, limit)).await?.into()))
    }
}
