//! `seatrial serve`: the front and the workers in one process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use metrics_exporter_prometheus::PrometheusBuilder;
use seatrial_api::ApiConfig;
use seatrial_engine::{Clock, Retention, SystemClock, Worker, WorkerConfig};
use seatrial_operations::{Access, Operations, Parts};
use seatrial_preview::life::Capacity;
use seatrial_preview::ports::{Cluster, Releases};
use seatrial_store::Store;
use seatrial_workflows::command::LateDoor;
use seatrial_workflows::{CapacityRules, Links, World};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::settings::{self, Settings};
use crate::wiring;

/// How long finished runs are kept: long enough to look back on, short enough for one file.
const KEPT: Retention = Retention { age: Duration::from_secs(30 * 86_400), runs: 100_000 };

/// Runs until SIGTERM or SIGINT, then drains: requests and steps in flight get their grace time,
/// runs are handed back.
pub async fn serve(settings: Settings) -> anyhow::Result<()> {
    let metrics = PrometheusBuilder::new().install_recorder().context("metrics cannot be recorded")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = wiring::open_store(&settings, wiring::preview_url(&settings)?).await?;
    let cluster: Arc<dyn Cluster> = Arc::new(wiring::cluster(&settings).await?);
    let releases: Arc<dyn Releases> = Arc::new(wiring::releases(&settings)?);
    let door = LateDoor::default();
    let world = World {
        cluster: cluster.clone(),
        forge: Arc::new(wiring::forge(&settings)?),
        releases: releases.clone(),
        images: Arc::new(wiring::images(&settings)?),
        environments: store.environments(),
        door: Arc::new(door.clone()),
        links: Links {
            public_url: settings.public_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()),
            docs_url: settings.docs_url.as_ref().map(ToString::to_string),
        },
        capacity: CapacityRules {
            limits: Capacity { cluster: settings.max_previews, repository: settings.max_previews_per_repository },
            sleep_to_make_room: settings.sleep_to_make_room,
        },
    };
    let registry = seatrial_workflows::registry(&world);
    let operations = Arc::new(Operations::new(Parts {
        store: store.clone(),
        cluster: cluster.clone(),
        forge: world.forge.clone(),
        webhook: wiring::webhook_decoder(&settings)?,
        registry: registry.clone(),
        access: Access::bootstrap(settings.bootstrap_token.clone()),
        clock: clock.clone(),
    }));
    door.open(operations.clone());
    if settings.bootstrap_token.is_none() {
        warn!("SEATRIAL_BOOTSTRAP_TOKEN is not set: the API, MCP and the pages refuse everybody");
    }

    let shutdown = CancellationToken::new();
    let sign_in = wiring::gateway_sign_in(&settings)?;
    let config = ApiConfig {
        public_url: settings.public_url.clone(),
        allowed_hosts: settings::list(&settings.allowed_hosts),
        metrics: Some(metrics),
        gateway_sign_in: sign_in.clone(),
    };
    let stop = || shutdown.clone().cancelled_owned();
    let front = seatrial_api::serve(settings.listen, operations.clone(), config, stop()).await?;
    let gateway = seatrial_api::serve_gateway(settings.gateway_listen, operations, sign_in, stop()).await?;
    let mut config = WorkerConfig::new(settings.worker_name());
    config.retention = Some(KEPT);
    config.schedules = seatrial_workflows::schedules().map_err(|failure| anyhow!(failure.message))?;
    catch_up(&store).await?;
    let worker = Worker::new(config, store.journal(), registry, clock);
    let worker = tokio::spawn(worker.run(shutdown.clone()));
    info!(listen = %front.address, gateway = %gateway.address, "serving");
    // For programs that started this one and want to know where it listens.
    println!(
        "{}",
        serde_json::json!({
            "listening": format!("http://{}", front.address),
            "gateway": format!("http://{}", gateway.address),
        })
    );
    tokio::spawn(look_around(cluster, releases));

    let (mut worker, mut front, mut gateway) = (worker, front.finished, gateway.finished);
    tokio::select! {
        ordered = ordered_to_stop() => ordered?,
        // Whoever supervises the program starts it again; half a program would look healthy.
        _ = &mut worker => bail!("the worker stopped by itself; restart the program"),
        _ = &mut front => bail!("the front stopped by itself; restart the program"),
        _ = &mut gateway => bail!("the gateway stopped by itself; restart the program"),
    }
    info!("stopping: no new work is begun; what runs gets its grace time");
    shutdown.cancel();
    worker.await.context("the worker stopped by a mistake of the program")?;
    front.await.context("the front stopped by a mistake of the program")??;
    gateway.await.context("the gateway stopped by a mistake of the program")??;
    info!("stopped");
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
