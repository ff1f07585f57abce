//! The Kubernetes API goes away for a minute, and comes back.

use std::time::Duration;

use anyhow::{Result, ensure};
use seatrial_tests::{Change, Options, PATIENCE, RunState, World};

/// How long the outage is.
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_without_kubernetes_ends_in_the_same_world() -> Result<()> {
    let options = Options { cuttable: true, ..Options::default() };
    World::tell_with("outage", options, async |world| {
        let closes = world.open_pull("closes", Change::page("closes")).await?;
        world.wait_ready(closes.number, &closes.sha).await?;
        let wakes = world.open_pull("wakes", Change::page("wakes")).await?;
        world.wait_ready(wakes.number, &wakes.sha).await?;
        world.wait_run(wakes.number, "preview_up").await?;
        world.rest.act(&world.namespace(wakes.number), "sleep").await?;
        world.wait_comment(wakes.number, &["Preview asleep"], PATIENCE).await?;
        world.wait_run(wakes.number, "preview_sleep").await?;
        let rolls = world.open_pull("rolls", Change::values(&[("hangSeconds", "5")])).await?;
        world.wait_step(rolls.number, "preview_up", "rollout").await?;

        world.cut_off_cluster()?;
        let back = tokio::time::Instant::now() + MINUTE;
        let opens = world.open_pull("opens", Change::page("opens")).await?;
        world.close(&closes).await?;
        world.rest.act(&world.namespace(wakes.number), "wake").await?;
        // The length of the outage is what this is about.
        tokio::time::sleep_until(back).await;
        world.reach_cluster_again()?;

        for pull in [&rolls, &opens] {
            world.wait_ready(pull.number, &pull.sha).await?;
            let run = world.wait_run(pull.number, "preview_up").await?;
            ensure!(run.state == RunState::Succeeded, "{}", run.summary());
            ensure!(world.runs(pull.number).await?.len() == 1, "it was deployed more than once");
            world.check_live(pull.number, &pull.sha).await?;
            world.check_never_two(pull.number).await?;
        }
        world.wait_ready(wakes.number, &wakes.sha).await?;
        world.check_live(wakes.number, &wakes.sha).await?;
        world.wait_receipt(closes.number).await?;
        world.check_gone(closes.number).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_to_kubernetes_that_breaks_in_each_step_changes_nothing() -> Result<()> {
    let settings = "health: { path: /healthz, successes: 10 }\n".to_owned();
    let options = Options { cuttable: true, settings, ..Options::default() };
    World::tell_with("line", options, async |world| {
        let pull = world.open_pull("shaky", Change::values(&[("hangSeconds", "2")])).await?;
        let n = pull.number;
        for step in ["namespace", "policies", "release", "rollout", "health"] {
            world.wait_step(n, "preview_up", step).await?;
            world.cut_off_cluster()?;
            world.reach_cluster_again()?;
        }
        world.wait_ready(n, &pull.sha).await?;
        let run = world.wait_run(n, "preview_up").await?;
        ensure!(run.state == RunState::Succeeded, "{}", run.summary());
        world.check_live(n, &pull.sha).await?;
        world.close(&pull).await?;
        for step in ["uninstall", "delete", "gone"] {
            world.wait_step(n, "preview_down", step).await?;
            world.cut_off_cluster()?;
            world.reach_cluster_again()?;
        }
        world.wait_receipt(n).await?;
        world.check_gone(n).await
    })
    .await
}
