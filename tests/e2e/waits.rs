//! Deployments that wait: for an image, for a check, for a place.

use anyhow::{Result, ensure};
use seatrial_github_standin::CheckView;
use seatrial_tests::{Change, Options, PATIENCE, Pull, RunState, World, said, until};

fn settings(settings: &str) -> Options {
    Options { settings: settings.to_owned(), ..Options::default() }
}

/// Waits until the newest run is parked.
async fn wait_parked(world: &World, number: u64) -> Result<()> {
    until("a parked run", PATIENCE, async || {
        Ok((world.newest_run(number).await?.state == RunState::Waiting).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_waits_for_its_image() -> Result<()> {
    World::tell_with("image", settings("image: { repository: \"{image}\", wait: 10m }\n"), async |world| {
        let pull = world.open_pull("late", Change::page("late").without_image()).await?;
        let n = pull.number;
        world.wait_comment(n, &["waiting for image", &pull.sha], PATIENCE).await?;
        wait_parked(world, n).await?;
        // Nothing is in the cluster as long as it cannot run, and a restart forgets nothing.
        ensure!(world.cluster.namespace(&world.namespace(n)).await?.is_none(), "there is a namespace already");
        world.program.kill()?;
        world.restart().await?;
        world.publish_image(&pull.sha).await?;
        world.wait_ready(n, &pull.sha).await?;
        world.check_live(n, &pull.sha).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_ends_the_wait_for_an_image() -> Result<()> {
    World::tell_with("image-push", settings("image: { repository: \"{image}\", wait: 10m }\n"), async |world| {
        let pull = world.open_pull("late", Change::page("late").without_image()).await?;
        wait_parked(world, pull.number).await?;
        let pushed = world.push(&pull, Change::page("built")).await?;
        world.wait_ready(pull.number, &pushed).await?;
        world.check_live(pull.number, &pushed).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_waits_for_a_check_and_says_when_that_fails() -> Result<()> {
    World::tell_with("check", settings("waitFor: { check: build, timeout: 10m }\n"), async |world| {
        let check = async |sha: &str, conclusion: &str| {
            let check = CheckView {
                sha: sha.to_owned(),
                name: "build".to_owned(),
                status: "completed".to_owned(),
                conclusion: Some(conclusion.to_owned()),
            };
            world.control.set_check(&world.repository, &check).await
        };
        let pull = world.open_pull("checked", Change::page("one")).await?;
        let n = pull.number;
        world.wait_comment(n, &["waiting for check", "build"], PATIENCE).await?;
        wait_parked(world, n).await?;
        check(&pull.sha, "success").await?;
        world.wait_ready(n, &pull.sha).await?;

        let pushed = world.push(&pull, Change::page("two")).await?;
        wait_parked(world, n).await?;
        check(&pushed, "failure").await?;
        world.wait_comment(n, &["Preview failed at image", "check \"build\"", "run the check again"], PATIENCE).await?;
        let answer = world.visit(n, "/version").await?;
        ensure!(answer.sha() != Some(pushed), "it was deployed all the same");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_cluster_queues_and_the_next_in_line_starts_by_itself() -> Result<()> {
    let options = Options { environment: vec![("SEATRIAL_MAX_PREVIEWS", "1")], ..Options::default() };
    World::tell_with("full", options, async |world| {
        let first = world.open_pull("first", Change::page("first")).await?;
        world.wait_ready(first.number, &first.sha).await?;
        let second = world.open_pull("second", Change::page("second")).await?;
        world.wait_comment(second.number, &["queued", "Next in line"], PATIENCE).await?;
        let third = world.open_pull("third", Change::page("third")).await?;
        world.wait_comment(third.number, &["queued", "2nd in line"], PATIENCE).await?;
        ensure!(world.cluster.namespace(&world.namespace(second.number)).await?.is_none(), "it did not wait");

        world.close(&first).await?;
        world.wait_ready(second.number, &second.sha).await?;
        world.check_live(second.number, &second.sha).await?;
        // Who gives up leaves the line.
        world.close(&third).await?;
        world.wait_receipt(third.number).await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_preview_that_was_idle_for_longest_sleeps_to_make_room() -> Result<()> {
    let environment = vec![("SEATRIAL_MAX_PREVIEWS", "1"), ("SEATRIAL_SLEEP_TO_MAKE_ROOM", "true")];
    World::tell_with("room", Options { environment, ..Options::default() }, async |world| {
        let first = world.open_pull("first", Change::page("first")).await?;
        world.wait_ready(first.number, &first.sha).await?;
        world.use_long_ago(first.number, 3_600).await?;
        let second = world.open_pull("second", Change::page("second")).await?;
        world.wait_comment(first.number, &["asleep"], PATIENCE).await?;
        world.wait_ready(second.number, &second.sha).await?;
        world.check_live(second.number, &second.sha).await
    })
    .await
}

fn one_place() -> Options {
    Options { environment: vec![("SEATRIAL_MAX_PREVIEWS", "1")], ..Options::default() }
}

/// One preview has the only place, another pull request is next in line.
async fn next_in_line(world: &World) -> Result<(Pull, Pull)> {
    let first = world.open_pull("first", Change::page("first")).await?;
    world.wait_ready(first.number, &first.sha).await?;
    let second = world.open_pull("second", Change::page("second")).await?;
    world.wait_comment(second.number, &["queued", "Next in line"], PATIENCE).await?;
    wait_parked(world, second.number).await?;
    Ok((first, second))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_in_the_queue_leaves_nothing_and_holds_up_nobody() -> Result<()> {
    World::tell_with("queue-closed", one_place(), async |world| {
        let (first, second) = next_in_line(world).await?;
        let third = world.open_pull("third", Change::page("third")).await?;
        world.wait_comment(third.number, &["queued", "2nd in line"], PATIENCE).await?;
        world.close(&second).await?;
        world.wait_receipt(second.number).await?;
        world.check_gone(second.number).await?;
        world.wait_comment(third.number, &["queued", "Next in line"], PATIENCE).await?;
        world.close(&first).await?;
        world.wait_ready(third.number, &third.sha).await?;
        world.check_live(third.number, &third.sha).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_in_the_queue_keeps_its_place_in_the_line() -> Result<()> {
    World::tell_with("queue-push", one_place(), async |world| {
        let (first, second) = next_in_line(world).await?;
        let third = world.open_pull("third", Change::page("third")).await?;
        world.wait_comment(third.number, &["queued", "2nd in line"], PATIENCE).await?;
        let pushed = world.push(&second, Change::page("pushed")).await?;
        world.wait_comment(second.number, &["queued", "Next in line", &said(&pushed)], PATIENCE).await?;
        world.close(&first).await?;
        world.wait_ready(second.number, &pushed).await?;
        world.check_live(second.number, &pushed).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cancelled_in_the_queue_holds_up_nobody() -> Result<()> {
    World::tell_with("queue-cancelled", one_place(), async |world| {
        let (first, second) = next_in_line(world).await?;
        let third = world.open_pull("third", Change::page("third")).await?;
        world.wait_comment(third.number, &["queued", "2nd in line"], PATIENCE).await?;
        let run = world.newest_run(second.number).await?;
        world.rest.cancel(&run.id).await?;
        world.wait_comment(second.number, &["cancelled"], PATIENCE).await?;
        world.wait_comment(third.number, &["queued", "Next in line"], PATIENCE).await?;
        world.close(&first).await?;
        world.wait_ready(third.number, &third.sha).await?;
        world.check_live(third.number, &third.sha).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fails_in_the_queue_holds_up_nobody() -> Result<()> {
    World::tell_with("queue-failed", one_place(), async |world| {
        let (first, second) = next_in_line(world).await?;
        let third = world.open_pull("third", Change::page("third")).await?;
        world.wait_comment(third.number, &["queued", "2nd in line"], PATIENCE).await?;
        world.set_settings("version: 1\nhelth: { path: / }\n").await?;
        world.push(&second, Change::page("pushed")).await?;
        world.wait_comment(second.number, &["Preview failed at configure"], PATIENCE).await?;
        world.wait_comment(third.number, &["queued", "Next in line"], PATIENCE).await?;
        world.close(&first).await?;
        world.wait_ready(third.number, &third.sha).await?;
        world.check_live(third.number, &third.sha).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_leaves_the_queue_at_once() -> Result<()> {
    World::tell_with("queue-draft", one_place(), async |world| {
        let (_, second) = next_in_line(world).await?;
        world.control.draft(&world.repository, second.number).await?;
        world.wait_comment(second.number, &["this is a draft"], PATIENCE).await?;
        let third = world.open_pull("third", Change::page("third")).await?;
        world.wait_comment(third.number, &["queued", "Next in line"], PATIENCE).await?;
        ensure!(world.cluster.namespace(&world.namespace(second.number)).await?.is_none(), "it was deployed");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_that_forbids_ends_the_wait_for_an_image() -> Result<()> {
    let settings = settings("image: { repository: \"{image}\", wait: 10m }\nfilters: { ignoreLabels: [no-preview] }\n");
    World::tell_with("image-label", settings, async |world| {
        let pull = world.open_pull("late", Change::page("late").without_image()).await?;
        let n = pull.number;
        wait_parked(world, n).await?;
        // One that does not matter changes nothing about the wait.
        world.control.label(&world.repository, n, &["documentation"]).await?;
        world.wait_comment(n, &["waiting for image"], PATIENCE).await?;
        wait_parked(world, n).await?;
        world.control.label(&world.repository, n, &["no-preview"]).await?;
        world.wait_comment(n, &["a label says so", "`no-preview`"], PATIENCE).await?;
        world.publish_image(&pull.sha).await?;
        world.control.unlabel(&world.repository, n, &["no-preview"]).await?;
        world.wait_ready(n, &pull.sha).await?;
        world.check_live(n, &pull.sha).await?;
        world.check_never_two(n).await
    })
    .await
}
