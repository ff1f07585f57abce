//! Makes a preview's URL open: forwards by host to the application, through the cluster's own
//! byte stream. A server of its own, on an address and under hosts of its own, so that a preview
//! never sees the cookies of Seatrial's pages.

mod forward;
mod headers;
mod page;

use std::sync::Arc;

use poem::endpoint::make;
use poem::middleware::CatchPanic;
use poem::{Endpoint, EndpointExt, Request, Response};
use seatrial_operations::views::EnvironmentState;
use seatrial_operations::{GatewayRoute, Operations};
use tokio_util::sync::CancellationToken;

use crate::session::authority;

pub(crate) fn endpoint(
    operations: Arc<Operations>,
    stopping: CancellationToken,
) -> impl Endpoint<Output = Response> + 'static {
    make(move |request| {
        let (operations, stopping) = (operations.clone(), stopping.clone());
        async move { answer(&operations, &stopping, request).await }
    })
    .with(CatchPanic::new().with_handler(|_| page::broken()))
}

async fn answer(operations: &Operations, stopping: &CancellationToken, request: Request) -> Response {
    let Some(authority) = authority(&request) else { return page::unknown(None) };
    let host = host_of(&authority);
    let route = match operations.find_route(&host).await {
        Ok(Some(route)) => route,
        Ok(None) => return page::unknown(Some(&host)),
        Err(error) => {
            tracing::warn!(%error, host, "the gateway could not look up a host");
            return page::unavailable();
        }
    };
    let Some(target) = &route.target else { return page::of_state(&route.environment) };
    let stream = match operations.connect(&route.environment, target).await {
        Ok(stream) => stream,
        Err(error) => return unreachable(&route, &error.to_string()),
    };
    match forward::forward(stream, request, &authority, stopping).await {
        Ok(response) => response,
        Err(error) => unreachable(&route, &error),
    }
}

/// While a commit is deployed its predecessor may go away at any moment: that is no error.
fn unreachable(route: &GatewayRoute, reason: &str) -> Response {
    let view = &route.environment;
    tracing::info!(namespace = %view.environment.namespace, reason, "a preview could not be reached");
    match view.state {
        EnvironmentState::Running => page::bad_gateway(view, reason),
        _ => page::of_state(view),
    }
}

/// Lower case, without the port and without the dot at the end.
fn host_of(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}
