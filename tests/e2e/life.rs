//! Previews sleep, wake, and end when nobody uses them.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams};
use seatrial_tests::{Change, Options, PATIENCE, World, until};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sleeping_preview_wakes_when_it_is_opened() -> Result<()> {
    World::tell("asleep", async |world| {
        let pull = world.open_pull("page", Change::page("page")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.wait_run(n, "preview_up").await?;
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
        world.wait_run(n, "preview_up").await?;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warning_is_taken_back_when_somebody_uses_the_preview() -> Result<()> {
    let options = Options { settings: "ttl: 2h\n".to_owned(), ..Options::default() };
    World::tell_with("warned", options, async |world| {
        let pull = world.open_pull("page", Change::page("page")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.use_long_ago(n, 6_600).await?;
        world.wait_comment(n, &["it will be deleted"], PATIENCE).await?;
        let page = world.visit(n, "/version").await?;
        ensure!(page.sha() == Some(pull.sha.clone()), "{page:?}");
        until("the comment without its warning", PATIENCE, async || {
            let comment = world.the_comment(n).await?;
            Ok((comment.body.contains("Preview ready") && !comment.body.contains("will be deleted")).then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_an_interrupted_sleep_does_not_keep_the_next_deployment_asleep() -> Result<()> {
    World::tell("half-asleep", async |world| {
        // A chart that leaves the number of replicas to others, as one with an autoscaler does.
        let pull = world.open_pull("page", Change::without_replicas("one")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.wait_run(n, "preview_up").await?;
        // A sleep that a push interrupts right after its scaling leaves this.
        let name = world.namespace(n);
        let params = PatchParams::default();
        let asleep = json!({ "metadata": { "annotations": {
            "seatrial.dev/replicas-before-sleep": "{\"Deployment/shop\":1}"
        } } });
        Api::<Namespace>::all(world.cluster.client()).patch(&name, &params, &Patch::Merge(asleep)).await?;
        let none = json!({ "spec": { "replicas": 0 } });
        Api::<Deployment>::namespaced(world.cluster.client(), &name)
            .patch_scale("shop", &params, &Patch::Merge(none))
            .await?;
        until("no pods", PATIENCE, async || Ok(world.cluster.pods(&name).await?.is_empty().then_some(()))).await?;
        let pushed = world.push(&pull, Change::without_replicas("two")).await?;
        world.wait_ready(n, &pushed).await?;
        world.check_live(n, &pushed).await
    })
    .await
}
