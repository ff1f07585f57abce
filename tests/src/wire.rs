//! The line between a program and the cluster, which can be cut.

use std::io;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

/// Carries bytes to the API server. While it is cut, every connection ends at once.
pub(crate) struct Wire {
    is_cut: Arc<watch::Sender<bool>>,
    carrier: JoinHandle<()>,
}

impl Wire {
    /// A line to the API server of a kubeconfig's cluster, and that cluster as reached over it.
    pub(crate) async fn to(cluster: &Value) -> Result<(Self, Value)> {
        let server = cluster["server"].as_str().context("the kubeconfig's cluster has no server")?;
        let server = Url::parse(server).with_context(|| format!("{server:?} is not a URL"))?;
        let host = server.host_str().context("the server has no host")?.to_owned();
        let port = server.port_or_known_default().context("the server has no port")?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let is_cut = Arc::new(watch::Sender::new(false));
        let own = listener.local_addr()?.port();
        let carrier = tokio::spawn(accept(listener, (host.clone(), port), is_cut.clone()));

        let mut over = cluster.clone();
        over["server"] = json!(format!("{}://127.0.0.1:{own}", server.scheme()));
        if over.get("tls-server-name").is_none_or(Value::is_null) {
            over["tls-server-name"] = json!(host);
        }
        Ok((Self { is_cut, carrier }, over))
    }

    /// Ends all connections, and new ones, until it is mended.
    pub(crate) fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    pub(crate) fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.cut();
        self.carrier.abort();
    }
}

async fn accept(listener: TcpListener, to: (String, u16), is_cut: Arc<watch::Sender<bool>>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut cut = is_cut.subscribe();
        let to = to.clone();
        tokio::spawn(async move {
            let carried = tokio::select! {
                // It may be cut already.
                _ = cut.wait_for(|cut| *cut) => Ok(()),
                carried = carry(client, to) => carried,
            };
            // The ends close their connections as they like.
            drop(carried);
        });
    }
}

async fn carry(mut client: TcpStream, to: (String, u16)) -> io::Result<()> {
    let mut server = TcpStream::connect(to).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
}
