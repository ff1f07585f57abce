//! Deliveries: whose they are, and that each counts once.

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use seatrial_tests::{Change, PATIENCE, RunState, SECRET, Webhook, World, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_delivery_twice_is_one_run() -> Result<()> {
    World::tell("twice", async |world| {
        let pull = world.open_pull("once", Change::page("once")).await?;
        let n = pull.number;
        let opened = opened(world).await?;
        world.control.redeliver(opened.0).await?;
        // At once, too: a proxy that loses its patience sends again.
        let again = Webhook::new(&opened.1, "pull_request", &opened.2);
        let signature = again.signature(SECRET);
        let sent = (0..8).map(|_| world.deliver(&again, Some(&signature)));
        ensure!(try_join_all(sent).await?.iter().all(|status| *status == 202), "a repeated delivery was refused");

        world.wait_ready(n, &pull.sha).await?;
        let run = world.wait_run(n, "preview_up").await?;
        // After its end, too.
        world.control.redeliver(opened.0).await?;
        world.control.settle().await?;
        let runs = world.runs(n).await?;
        ensure!(runs.len() == 1 && run.state == RunState::Succeeded, "there are {} runs", runs.len());
        world.check_never_two(n).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_is_not_githubs_is_refused_and_not_stored() -> Result<()> {
    World::tell("forged", async |world| {
        let pull = world.open_pull("honest", Change::page("honest")).await?;
        let n = pull.number;
        let (_, _, payload) = opened(world).await?;
        world.wait_ready(n, &pull.sha).await?;
        world.wait_run(n, "preview_up").await?;

        let forged = Webhook::new("11111111-2222-3333-4444-555555555555", "pull_request", &payload);
        let mut tampered = forged.signature(SECRET);
        let last = if tampered.pop() == Some('0') { '1' } else { '0' };
        tampered.push(last);
        for signature in [None, Some("sha256=00"), Some(""), Some(&*forged.signature("a guess")), Some(&*tampered)] {
            let status = world.deliver(&forged, signature).await?;
            ensure!(status == 401, "{signature:?} was answered with {status}");
        }
        let garbage = Webhook { body: b"{ not json".to_vec(), ..forged.clone() };
        let status = world.deliver(&garbage, Some("sha256=00")).await?;
        ensure!(status == 401, "it was parsed before its signature was checked: {status}");

        ensure!(world.runs(n).await?.len() == 1, "a forged delivery started a run");
        let stored = world.rest.deliveries().await?;
        ensure!(!stored.contains(&forged.delivery), "a forged delivery was stored");
        // The id is not used up: rightly signed, the same delivery counts.
        let status = world.deliver(&forged, Some(&forged.signature(SECRET))).await?;
        ensure!(status == 202, "the right signature was answered with {status}");
        until("the run of the right delivery", PATIENCE, async || {
            Ok(Some(world.runs(n).await?).filter(|runs| runs.len() == 2))
        })
        .await
        .map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_mean_nothing_to_previews_are_accepted_and_ignored() -> Result<()> {
    World::tell("ignored", async |world| {
        world.control.ping(&world.repository).await?;
        world.control.settle().await?;
        let deliveries = world.control.deliveries().await?;
        let ping = deliveries.iter().find(|delivery| delivery.event == "ping").context("no ping was sent")?;
        ensure!(ping.status_code == Some(202), "a ping was answered with {:?}", ping.status_code);
        ensure!(world.rest.deliveries().await?.contains(&ping.guid), "the ping is not on record");

        let bad = Webhook { delivery: "d-1".into(), event: "pull_request".into(), body: b"{ not json".to_vec() };
        let status = world.deliver(&bad, Some(&bad.signature(SECRET))).await?;
        ensure!(status == 400, "a body that is not JSON was answered with {status}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_after_which_the_program_is_killed_is_not_lost() -> Result<()> {
    World::tell("stored", async |world| {
        let pull = world.open_pull("kept", Change::page("kept")).await?;
        world.control.settle().await?;
        world.program.kill()?;
        let (_, _, _) = opened(world).await?;
        world.restart().await?;
        world.wait_ready(pull.number, &pull.sha).await?;
        world.check_live(pull.number, &pull.sha).await
    })
    .await
}

/// The delivery of the opened pull request, once it was answered: its number, its id, its payload.
async fn opened(world: &World) -> Result<(u64, String, serde_json::Value)> {
    world.control.settle().await?;
    let deliveries = world.control.deliveries().await?;
    let opened = deliveries.into_iter().find(|delivery| delivery.action.as_deref() == Some("opened"));
    let opened = opened.context("no delivery says that a pull request was opened")?;
    ensure!(opened.status_code == Some(202), "it was answered with {:?}", opened.status_code);
    Ok((opened.id, opened.guid, opened.payload))
}
