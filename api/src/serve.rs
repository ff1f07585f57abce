use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use poem::listener::TcpAcceptor;
use poem::{IntoEndpoint, Server};
use seatrial_operations::Operations;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::app_until;
use crate::config::ApiConfig;

/// Requests that are being answered get this long when the server stops.
const FAREWELL: Duration = Duration::from_secs(10);

/// A server that runs.
#[derive(Debug)]
pub struct Serving {
    /// Where it listens; tells the port when port 0 was asked for.
    pub address: SocketAddr,
    /// Ends after the shutdown, once open requests are answered or their time is up.
    pub finished: JoinHandle<io::Result<()>>,
}

/// Serves the webhook, REST, MCP, pages and health.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    listen: SocketAddr,
    operations: Arc<Operations>,
    config: ApiConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<Serving> {
    let stopping = CancellationToken::new();
    run("api", listen, app_until(operations, config, stopping.clone()), stopping, shutdown).await
}

async fn run<E>(
    name: &'static str,
    listen: SocketAddr,
    endpoint: E,
    stopping: CancellationToken,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<Serving>
where
    E: IntoEndpoint + Send + 'static,
    E::Endpoint: 'static,
{
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("the {name} cannot listen on {listen}: {error}")))?;
    let address = listener.local_addr()?;
    let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?).name(name);
    let signal = async move {
        shutdown.await;
        stopping.cancel();
    };
    let finished = tokio::spawn(server.run_with_graceful_shutdown(endpoint, signal, Some(FAREWELL)));
    Ok(Serving { address, finished })
}
