//! `seatrial serve`, `api` and `worker`: the front and the workers, in one process or apart.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use metrics_exporter_prometheus::PrometheusBuilder;
use seatrial_api::ApiConfig;
use seatrial_engine::{Retention, Worker, WorkerConfig};
use seatrial_operations::Operations;
use seatrial_preview::ports::{Cluster, Releases};
use seatrial_store::Store;
use secrecy::ExposeSecret as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::house::{self, House};
use crate::settings::{self, Settings};
use crate::wiring;

/// How long finished runs are kept: long enough to look back on, short enough for one file.
const KEPT: Retention = Retention { age: Duration::from_secs(30 * 86_400), runs: 100_000 };

/// Which parts of the program run in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    All,
    /// Webhooks, API, MCP, pages and the gateway.
    Api,
    /// Workflows.
    Worker,
}

/// Runs until SIGTERM or SIGINT, then drains: requests and steps in flight get their grace time,
/// runs are handed back.
pub async fn serve(settings: Settings, parts: Parts) -> anyhow::Result<()> {
    let metrics = PrometheusBuilder::new().install_recorder().context("metrics cannot be recorded")?;
    let House { store, operations, registry, cluster, releases, clock } = house::build(&settings).await?;
    let shutdown = CancellationToken::new();
    let stop = || shutdown.clone().cancelled_owned();
    let mut tasks: JoinSet<anyhow::Result<&'static str>> = JoinSet::new();
    let mut listening = serde_json::Map::new();

    if parts != Parts::Worker {
        let sign_in = wiring::gateway_sign_in(&settings)?;
        let config = ApiConfig {
            public_url: settings.public_url.clone(),
            allowed_hosts: settings::list(&settings.allowed_hosts),
            metrics: Some(metrics),
            trusted_proxies: wiring::trusted_proxies(&settings)?,
            gateway_sign_in: sign_in.clone(),
        };
        let front = seatrial_api::serve(settings.listen, operations.clone(), config, stop()).await?;
        let gateway = seatrial_api::serve_gateway(settings.gateway_listen, operations.clone(), sign_in, stop()).await?;
        info!(listen = %front.address, gateway = %gateway.address, "serving");
        listening.insert("listening".to_owned(), format!("http://{}", front.address).into());
        listening.insert("gateway".to_owned(), format!("http://{}", gateway.address).into());
        offer_setup(&settings, &operations, front.address).await?;
        tasks.spawn(async move {
            front.finished.await.context("the front stopped by a mistake of the program")??;
            Ok("front")
        });
        tasks.spawn(async move {
            gateway.finished.await.context("the gateway stopped by a mistake of the program")??;
            Ok("gateway")
        });
    }
    if parts != Parts::Api {
        let mut config = WorkerConfig::new(settings.worker_name());
        config.retention = Some(KEPT);
        config.schedules = seatrial_workflows::schedules().map_err(|failure| anyhow!(failure.message))?;
        listening.insert("worker".to_owned(), settings.worker_name().into());
        catch_up(&store).await?;
        let worker = Worker::new(config, store.journal(), registry, clock).run(shutdown.clone());
        tasks.spawn(async move {
            worker.await;
            Ok("worker")
        });
    }
    // For programs that started this one and want to know where it listens.
    println!("{}", serde_json::Value::from(listening));
    tokio::spawn(look_around(cluster, releases));

    tokio::select! {
        ordered = ordered_to_stop() => ordered?,
        // Whoever supervises the program starts it again; half a program would look healthy.
        Some(ended) = tasks.join_next() => {
            let part = ended.context("a part of the program stopped by a mistake of the program")??;
            bail!("the {part} stopped by itself; restart the program");
        }
    }
    info!("stopping: no new work is begun; what runs gets its grace time");
    shutdown.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.context("a part of the program stopped by a mistake of the program")??;
    }
    info!("stopped");
    Ok(())
}

/// Where nobody can come in yet, whoever started the program may, by a link that works once. It is
/// written for them and kept out of the log.
async fn offer_setup(settings: &Settings, operations: &Operations, listen: SocketAddr) -> anyhow::Result<()> {
    let Some(code) = operations.access().offer_setup().await? else { return Ok(()) };
    let base = settings.public_url.clone().map_or_else(|| format!("http://{listen}"), |url| url.to_string());
    let base = base.trim_end_matches('/');
    eprintln!(
        "Nobody can administer this Seatrial yet. Open this link within a day, it works once:\n  {base}/setup?code={}",
        code.expose_secret()
    );
    Ok(())
}

/// Events may have been lost while no program ran.
async fn catch_up(store: &Store) -> anyhow::Result<()> {
    let run = seatrial_workflows::reconcile_now().map_err(|failure| anyhow!(failure.message))?;
    store.start(run).await.context("no reconciliation can be begun")?;
    Ok(())
}

async fn ordered_to_stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Says at start which Helm and which cluster there are. Neither being away keeps the program
/// from starting: the steps that need them are retried and say so.
async fn look_around(cluster: Arc<dyn Cluster>, releases: Arc<dyn Releases>) {
    match releases.version().await {
        Ok(version) => info!(version, "helm"),
        Err(e) => warn!("helm: {e}"),
    }
    match cluster.version().await {
        Ok(version) => info!(version, "kubernetes"),
        Err(e) => warn!("kubernetes: {e}"),
    }
}
