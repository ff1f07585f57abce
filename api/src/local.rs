//! The REST API without a server: for the command line, when none runs.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use poem::endpoint::BoxEndpoint;
use poem::http::{Method, StatusCode};
use poem::{Endpoint, EndpointExt as _, IntoEndpoint as _, Request, Response, Route};
use seatrial_operations::{Operations, Principal};
use tokio_util::sync::CancellationToken;

use crate::config::{Api, ApiConfig};
use crate::guard::Caller;
use crate::limits::Limits;
use crate::problems::{self, ProblemResponse};
use crate::rest;

/// Answers as the server would, to one principal.
pub struct LocalApi(BoxEndpoint<'static, Response>);

/// An answer of the API.
pub struct LocalAnswer {
    pub status: StatusCode,
    pub body: BoxStream<'static, std::io::Result<Bytes>>,
}

impl LocalApi {
    pub fn new(operations: Arc<Operations>, principal: Principal) -> Self {
        let stopping = CancellationToken::new();
        let api = Arc::new(Api { operations, config: ApiConfig::default(), limits: Limits::default(), stopping });
        Self(
            Route::new()
                .nest("/api/v1", rest::service())
                .data(api)
                .data(Caller(principal))
                .into_endpoint()
                .map_to_response()
                .boxed(),
        )
    }

    /// `path` begins with `/api/v1/` and may have a query; a body is JSON.
    pub async fn call(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> LocalAnswer {
        let uri = path.parse().unwrap_or_default();
        let request = Request::builder().method(method).uri(uri);
        let request = match body {
            Some(body) => request.content_type("application/json").body(body),
            None => request.finish(),
        };
        let response = match self.0.call(request).await {
            Ok(response) => response,
            Err(error) if error.is_from_response() => error.into_response(),
            Err(error) => poem::IntoResponse::into_response(ProblemResponse(problems::of_error(&error))),
        };
        let status = response.status();
        let body = response.into_body().into_bytes_stream().boxed();
        LocalAnswer { status, body }
    }
}
