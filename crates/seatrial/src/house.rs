//! The house, built from its settings: what every part of the program stands on.

use std::sync::Arc;

use seatrial_engine::{Clock, Registry, SystemClock};
use seatrial_operations::{Operations, Parts};
use seatrial_preview::ports::{Cluster, Releases};
use seatrial_store::Store;
use seatrial_workflows::command::LateDoor;
use seatrial_workflows::{CapacityRules, Links, World};

use crate::settings::Settings;
use crate::wiring;

pub struct House {
    pub store: Store,
    pub operations: Arc<Operations>,
    pub registry: Registry,
    pub cluster: Arc<dyn Cluster>,
    pub releases: Arc<dyn Releases>,
    pub clock: Arc<dyn Clock>,
}

/// Opens the database and makes the adapters. Neither the cluster nor GitHub is asked for anything.
pub async fn build(settings: &Settings) -> anyhow::Result<House> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let access = wiring::access(settings)?;
    let store = wiring::open_store(settings, wiring::preview_url(settings)?).await?;
    let vault = wiring::vault(settings, &store).await?;
    let cluster: Arc<dyn Cluster> = Arc::new(wiring::cluster(settings).await?);
    let releases: Arc<dyn Releases> = Arc::new(wiring::releases(settings)?);
    let door = LateDoor::default();
    let capacity = wiring::capacity(settings);
    let world = World {
        cluster: cluster.clone(),
        forge: Arc::new(wiring::forge(settings)?),
        releases: releases.clone(),
        images: Arc::new(wiring::images(settings)?),
        environments: store.environments(),
        secrets: Arc::new(vault.clone()),
        door: Arc::new(door.clone()),
        links: Links {
            public_url: settings.public_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()),
            docs_url: settings.docs_url.as_ref().map(ToString::to_string),
        },
        capacity: CapacityRules { limits: capacity, sleep_to_make_room: settings.sleep_to_make_room },
    };
    let registry = seatrial_workflows::registry(&world);
    let operations = Arc::new(Operations::new(Parts {
        store: store.clone(),
        cluster: cluster.clone(),
        forge: world.forge.clone(),
        webhook: wiring::webhook_decoder(settings)?,
        registry: registry.clone(),
        access,
        vault,
        capacity,
        clock: clock.clone(),
    }));
    door.open(operations.clone());
    Ok(House { store, operations, registry, cluster, releases, clock })
}
