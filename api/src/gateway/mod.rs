//! Makes a preview's URL open: forwards by host to the application, through the cluster's own
//! byte stream. A server of its own, on an address and under hosts of its own, so that a preview
//! never sees the cookies of Seatrial's pages.

mod forward;
mod headers;
mod host;
mod page;
mod server;
mod sign_in;
mod stream;
mod tunnel;
mod visits;

use std::sync::Arc;

use poem::endpoint::make;
use poem::http::Method;
use poem::middleware::CatchPanic;
use poem::{Endpoint, EndpointExt, Request, Response};
use seatrial_operations::views::EnvironmentState;
use seatrial_operations::{GatewayRoute, Operations};
use tokio_util::sync::CancellationToken;

use forward::{ANSWER_PATIENCE, Trouble, forward};
use visits::{Visit, Visits};

pub use server::serve_gateway;
pub use sign_in::SignIn;
pub(crate) use sign_in::hand_over;

fn endpoint(
    operations: Arc<Operations>,
    sign_in: Option<SignIn>,
    stopping: CancellationToken,
) -> impl Endpoint<Output = Response> + 'static {
    let visits = Arc::new(Visits::new(operations.clone()));
    let gateway = Arc::new(Gateway { operations, visits, sign_in, stopping });
    make(move |request| {
        let gateway = gateway.clone();
        async move { gateway.answer(request).await }
    })
    .with(CatchPanic::new().with_handler(|_| page::broken()))
}

struct Gateway {
    operations: Arc<Operations>,
    visits: Arc<Visits>,
    /// Without it, whoever can reach the gateway may open previews.
    sign_in: Option<SignIn>,
    /// Cancelled when the server stops: tunnels would go on for ever.
    stopping: CancellationToken,
}

impl Gateway {
    async fn answer(&self, mut request: Request) -> Response {
        // A tunnel to somewhere else: we are nobody's way out.
        if request.method() == Method::CONNECT {
            return page::no_tunnels();
        }
        let Some(named) = host::named(&request) else { return page::unclear() };
        let route = match self.operations.find_route(&named.host).await {
            Ok(Some(route)) => route,
            Ok(None) => return page::unknown(&named.host),
            Err(error) => {
                tracing::warn!(%error, host = named.host, "the gateway could not look up a host");
                return page::unavailable();
            }
        };
        let environment = &route.environment.environment;
        if let Some(sign_in) = &self.sign_in
            && let Some(answer) = sign_in.admit(&request, &named.host, &environment.url, self.operations.now())
        {
            return answer;
        }
        sign_in::cut_pass(request.headers_mut());
        if route.environment.state == EnvironmentState::Sleeping {
            self.visits.wake(environment).await;
        }
        let Some(target) = &route.target else { return page::of_state(&route.environment) };
        let visit = Visit::begin(&self.visits, environment);
        let stream = match self.operations.connect(&route.environment, target).await {
            Ok(stream) => stream,
            Err(error) => return unreachable(&route, &Trouble::Broken(error.to_string())),
        };
        let (authority, url) = (&named.authority, &environment.url);
        let answer = forward(stream, request, authority, url, visit.noted(), &self.stopping, ANSWER_PATIENCE).await;
        match answer {
            Ok(mut response) => {
                sign_in::cut_set_pass(response.headers_mut());
                response
            }
            Err(trouble) => unreachable(&route, &trouble),
        }
    }
}

/// While a commit is deployed its predecessor may go away at any moment, and so may what is being
/// put to sleep: that is no error.
fn unreachable(route: &GatewayRoute, trouble: &Trouble) -> Response {
    let view = &route.environment;
    tracing::info!(namespace = %view.environment.namespace, ?trouble, "a preview could not be reached");
    match (view.state, trouble) {
        _ if page::is_in_bed(view) => page::of_state(view),
        (EnvironmentState::Running, Trouble::Broken(reason)) => page::bad_gateway(view, reason),
        (EnvironmentState::Running, Trouble::Late(reason)) => page::late(view, reason),
        _ => page::of_state(view),
    }
}
