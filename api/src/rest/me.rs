use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::payload::Json;

use super::Tag;
use super::errors::ListError;
use crate::guard::Caller;
use crate::wire::Me;

pub(crate) struct Myself;

#[OpenApi(tag = "Tag::Access")]
impl Myself {
    /// Say who asks
    ///
    /// Whose token or session this is, and what may be done with it.
    #[oai(path = "/me", method = "get", operation_id = "getMe")]
    async fn get(&self, caller: Data<&Caller>) -> Result<Json<Me>, ListError> {
        Ok(Json(Me::from(&caller.0.0)))
    }
}
