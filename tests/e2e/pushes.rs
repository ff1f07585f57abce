//! The newest commit wins, however many come.

use anyhow::{Context, Result, ensure};
use seatrial_github_standin::HookMode;
use seatrial_tests::{Change, PATIENCE, RunState, World, said, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_redeploys_at_the_new_commit_under_the_same_comment_and_url() -> Result<()> {
    World::tell("push", async |world| {
        let pull = world.open_pull("page", Change::page("first")).await?;
        let n = pull.number;
        let first = world.wait_ready(n, &pull.sha).await?;

        let pushed = world.push(&pull, Change::values(&[("colour", "plum"), ("hangSeconds", "2")])).await?;
        world.wait_step(n, "preview_up", "rollout").await?;
        let meanwhile = world.visit(n, "/version").await?;
        ensure!(meanwhile.sha() == Some(pull.sha.clone()), "until it is ready the old one answers: {meanwhile:?}");

        let second = world.wait_ready(n, &pushed).await?;
        ensure!(first.id == second.id, "it is another comment");
        world.check_live(n, &pushed).await?;
        ensure!(world.visit(n, "/").await?.body.contains("plum"), "the new values are not there");
        let history = second.history.iter().map(|edit| &edit.body);
        let told = history.filter(|body| body.contains("Until it is ready")).all(|body| body.contains(&pull.sha[..7]));
        ensure!(told, "the comment names another commit as the one that stays");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_during_a_deployment_supersedes_it() -> Result<()> {
    World::tell("superseded", async |world| {
        // Would take long: nobody waits for it.
        let pull = world.open_pull("slow", Change::values(&[("hangSeconds", "60")])).await?;
        let n = pull.number;
        world.wait_step(n, "preview_up", "rollout").await?;
        let pushed = world.push(&pull, Change::values(&[("hangSeconds", "0")])).await?;
        world.wait_ready(n, &pushed).await?;
        world.check_live(n, &pushed).await?;
        check_order(world, n, &[&pull.sha, &pushed]).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_quick_pushes_during_helms_work_the_second_is_live() -> Result<()> {
    World::tell("two-pushes", async |world| {
        let pull = world.open_pull("quick", Change::page("one")).await?;
        let n = pull.number;
        world.wait_step(n, "preview_up", "release").await?;
        let second = world.push(&pull, Change::page("two")).await?;
        let third = world.push(&pull, Change::page("three")).await?;
        world.wait_ready(n, &third).await?;
        world.check_live(n, &third).await?;
        check_order(world, n, &[&pull.sha, &second, &third]).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_pushes_at_once_only_the_newest_is_live() -> Result<()> {
    World::tell("many-pushes", async |world| {
        let pull = world.open_pull("busy", Change::page("0")).await?;
        let n = pull.number;
        let mut shas = vec![pull.sha.clone()];
        for text in ["1", "2", "3", "4", "5"] {
            shas.push(world.push(&pull, Change::page(text)).await?);
        }
        let newest = shas.last().cloned().unwrap_or_default();
        world.wait_ready(n, &newest).await?;
        world.check_live(n, &newest).await?;
        let shas: Vec<&str> = shas.iter().map(String::as_str).collect();
        check_order(world, n, &shas).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_pushes_in_a_second_the_newest_is_live_whatever_order_they_are_told_in() -> Result<()> {
    World::tell("ten-pushes", async |world| {
        let pull = world.open_pull("busy", Change::page("0")).await?;
        let n = pull.number;
        world.wait_step(n, "preview_up", "release").await?;
        world.hooks(HookMode::Hold).await?;
        let mut newest = pull.sha.clone();
        for text in 1..=10 {
            newest = world.push_unheard(&pull, Change::page(&text.to_string())).await?;
        }
        // All at once, and the newest first.
        let held = world.control.deliveries().await?.into_iter().filter(|one| one.status_code.is_none());
        let mut held: Vec<u64> =
            held.filter(|one| one.action.as_deref() == Some("synchronize")).map(|one| one.id).collect();
        ensure!(held.len() == 10, "{} events are held", held.len());
        held.reverse();
        world.control.release(&held).await?;
        world.wait_ready(n, &newest).await?;
        let runs = until("the end of all runs", PATIENCE, async || {
            let runs = world.runs(n).await?;
            Ok((runs.len() == 11 && runs.iter().all(|run| run.state.is_final())).then_some(runs))
        })
        .await?;
        let (last, older) = runs.split_last().context("there are no runs")?;
        ensure!(last.state == RunState::Succeeded, "{}", last.summary());
        let not_superseded = older.iter().find(|run| run.state != RunState::Cancelled);
        ensure!(not_superseded.is_none(), "{}", not_superseded.map(|run| run.summary()).unwrap_or_default());
        world.check_live(n, &newest).await?;
        world.check_never_two(n).await?;
        let pods = until("one pod", PATIENCE, async || {
            let pods = world.cluster.pods(&world.namespace(n)).await?;
            Ok((pods.len() == 1).then_some(pods))
        })
        .await?;
        ensure!(pods.len() == 1, "old pods are left");
        Ok(())
    })
    .await
}

/// Earlier commits are never spoken of after later ones, only the last is said to be live, and
/// every run but the last was cancelled.
async fn check_order(world: &World, number: u64, shas: &[&str]) -> Result<()> {
    let comment = world.the_comment(number).await?;
    world.check_never_two(number).await?;
    let about = |body: &str| shas.iter().rposition(|sha| body.contains(&said(sha)));
    let order: Vec<usize> = comment.history.iter().filter_map(|edit| about(&edit.body)).collect();
    ensure!(order.is_sorted(), "the comment went back to an older commit: {order:?} {:#?}", comment.history);
    ensure!(order.last() == Some(&(shas.len() - 1)), "the comment ends with another commit: {order:?}");

    let last = world.wait_run(number, "preview_up").await?;
    ensure!(last.state == RunState::Succeeded, "{}", last.summary());
    for run in world.runs(number).await?.iter().filter(|run| run.id != last.id) {
        ensure!(run.state == RunState::Cancelled, "an older run was not superseded: {}", run.summary());
    }
    let (_, older) = shas.split_last().map_or(("", &[][..]), |(last, older)| (*last, older));
    for sha in older {
        let status = world.status(sha).await?;
        let live = status.as_ref().is_some_and(|one| one.target_url.as_deref() == Some(&world.url(number)));
        ensure!(!live, "{sha} is said to be live: {status:?}");
        let pending = status.as_ref().is_some_and(|one| one.state == "pending");
        ensure!(!pending, "{sha} waits for ever: {status:?}");
        let live = world.deployments().await?.into_iter().find(|one| one.sha == *sha && one.state == "success");
        ensure!(live.is_none(), "{sha} is said to be deployed: {live:?}");
    }
    Ok(())
}
