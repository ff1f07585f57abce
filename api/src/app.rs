use std::sync::Arc;

use poem::middleware::CatchPanic;
use poem::{Endpoint, EndpointExt, Response, Route, get, post};
use seatrial_operations::Operations;
use tokio_util::sync::CancellationToken;

use crate::config::{Api, ApiConfig};
use crate::limits::Limits;
use crate::{
    assets, docs, etag, gateway, guard, health, idempotency, mcp, observe, pages, problems, rest, schema, webhook,
};

/// Everything but the gateway, as one endpoint.
pub fn app(operations: Arc<Operations>, config: ApiConfig) -> impl Endpoint<Output = Response> + 'static {
    app_until(operations, config, CancellationToken::new())
}

pub(crate) fn app_until(
    operations: Arc<Operations>,
    config: ApiConfig,
    stopping: CancellationToken,
) -> impl Endpoint<Output = Response> + 'static {
    let api = Arc::new(Api { operations, config, limits: Limits::default(), stopping });
    let (guarded, observed, remembering) = (api.clone(), api.clone(), api.clone());
    let rest = rest::service()
        .around(etag::tag)
        .around(move |next, request| idempotency::once(remembering.clone(), next, request));
    Route::new()
        .at("/healthz", get(health::alive))
        .at("/readyz", get(health::ready))
        .at("/metrics", get(health::scrape))
        .at("/api/webhooks/github", post(webhook::github))
        .at("/api/openapi.json", get(rest::describe))
        .at(schema::PATH, get(schema::of_settings))
        .nest("/api/docs", docs::routes())
        .nest("/api/v1", rest)
        .at("/api/mcp", mcp::endpoint(&api))
        .at("/gateway-sign-in", get(gateway::hand_over))
        .nest("/assets", assets::routes())
        .nest("/", pages::routes())
        .data(api)
        .around(move |next, request| guard::admit(guarded.clone(), next, request))
        .with(CatchPanic::new().with_handler(problems::of_panic))
        .around(move |next, request| observe::answer(observed.clone(), next, request))
}
