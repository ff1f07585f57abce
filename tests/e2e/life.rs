//! Previews sleep, wake, and end when nobody uses them.

use anyhow::{Result, ensure};
use seatrial_tests::{Change, Options, PATIENCE, World, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sleeping_preview_wakes_when_it_is_opened() -> Result<()> {
    World::tell("asleep", async |world| {
        let pull = world.open_pull("page", Change::page("page")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.rest.act(&world.namespace(n), "sleep").await?;
        world.wait_comment(n, &["Preview asleep", &world.url(n)], PATIENCE).await?;
        until("no pods", PATIENCE, async || {
            Ok(world.cluster.pods(&world.namespace(n)).await?.is_empty().then_some(()))
        })
        .await?;

        let page = world.visit(n, "/version").await?;
        ensure!(page.sha().is_none() && page.body.contains("refresh"), "{page:?}");
        until("the woken preview", PATIENCE, async || {
            Ok(world.visit(n, "/version").await?.sha().filter(|sha| *sha == pull.sha))
        })
        .await?;
        world.wait_ready(n, &pull.sha).await?;
        world.check_live(n, &pull.sha).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_to_a_sleeping_preview_deploys_it_awake() -> Result<()> {
    World::tell("asleep-push", async |world| {
        let pull = world.open_pull("page", Change::page("one")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.rest.act(&world.namespace(n), "sleep").await?;
        world.wait_comment(n, &["Preview asleep"], PATIENCE).await?;
        let pushed = world.push(&pull, Change::page("two")).await?;
        world.wait_ready(n, &pushed).await?;
        world.check_live(n, &pushed).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_uses_sleeps_is_warned_of_and_goes() -> Result<()> {
    let options = Options { settings: "ttl: 2h\nsleep: { after: 30m }\n".to_owned(), ..Options::default() };
    World::tell_with("unused", options, async |world| {
        let pull = world.open_pull("page", Change::page("page")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.use_long_ago(n, 3_600).await?;
        world.wait_comment(n, &["Preview asleep"], PATIENCE).await?;
        world.use_long_ago(n, 6_600).await?;
        let warned = world.wait_comment(n, &["it will be deleted", "/preview extend"], PATIENCE).await?;
        ensure!(warned.body.contains("Preview asleep"), "the warning took the place of the state: {}", warned.body);
        world.use_long_ago(n, 9_000).await?;
        world.warned_long_ago(n, 3_600).await?;
        world.wait_receipt(n).await?;
        world.check_gone(n).await?;
        // The pull request is open, and stays without: nobody used it.
        let pushed = world.push(&pull, Change::page("again")).await?;
        world.wait_ready(n, &pushed).await?;
        world.check_live(n, &pushed).await
    })
    .await
}
