use std::sync::Arc;

use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;

use super::Tag;
use super::errors::{ListError, WriteError};
use super::teams::Gone;
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::{Operator, OperatorList};

pub(crate) struct Operators;

#[OpenApi(prefix_path = "/operators", tag = "Tag::Access")]
impl Operators {
    /// List operators
    ///
    /// Who sees and does everything, by login. For operators.
    #[oai(path = "/", method = "get", operation_id = "listOperators")]
    async fn list(&self, api: Data<&Arc<Api>>, caller: Data<&Caller>) -> Result<Json<OperatorList>, ListError> {
        let operators = api.operations.list_operators(&caller.0.0).await?;
        Ok(Json(OperatorList { items: operators.into_iter().map(Operator::from).collect() }))
    }

    /// Make somebody an operator
    ///
    /// For operators.
    #[oai(path = "/:login", method = "put", operation_id = "addOperator")]
    async fn add(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// On GitHub.
        login: Path<String>,
    ) -> Result<Json<Operator>, WriteError> {
        Ok(Json(api.operations.set_operator(&caller.0.0, &login, true).await?.into()))
    }

    /// Make somebody an operator no longer
    ///
    /// For operators.
    #[oai(path = "/:login", method = "delete", operation_id = "removeOperator")]
    async fn remove(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// On GitHub.
        login: Path<String>,
    ) -> Result<Gone, WriteError> {
        api.operations.set_operator(&caller.0.0, &login, false).await?;
        Ok(Gone::Gone)
    }
}
