//! Events are lost, and the world ends as they would have said.

use anyhow::{Result, ensure};
use seatrial_github_standin::{HookMode, NewPull};
use seatrial_tests::{Change, Options, PATIENCE, World, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_while_the_program_was_away_is_caught_up_with_at_start() -> Result<()> {
    World::tell("away", async |world| {
        let stays = world.open_pull("stays", Change::page("stays")).await?;
        let goes = world.open_pull("goes", Change::page("goes")).await?;
        world.wait_ready(stays.number, &stays.sha).await?;
        world.wait_ready(goes.number, &goes.sha).await?;

        world.program.terminate(PATIENCE).await?;
        world.hooks(HookMode::Lose).await?;
        let pushed = world.push_unheard(&stays, Change::page("pushed")).await?;
        world.control.close(&world.repository, goes.number).await?;
        world.branch("new", Change::page("new")).await?;
        let new = NewPull { title: "New".to_owned(), head: "new".to_owned(), ..NewPull::default() };
        let new = world.control.open_pull(&world.repository, &new).await?;
        world.hooks(HookMode::Deliver).await?;
        world.restart().await?;

        world.wait_ready(stays.number, &pushed).await?;
        world.wait_receipt(goes.number).await?;
        world.wait_ready(new.number, &new.head_sha).await?;
        world.check_live(stays.number, &pushed).await?;
        world.check_gone(goes.number).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_is_not_set_up_is_not_bothered_about_pull_requests_of_old() -> Result<()> {
    let options = Options { unconfigured: true, ..Options::default() };
    World::tell_with("old", options, async |world| {
        world.program.terminate(PATIENCE).await?;
        world.hooks(HookMode::Lose).await?;
        world.branch("old", Change::page("old")).await?;
        let old = NewPull { title: "Old".to_owned(), head: "old".to_owned(), ..NewPull::default() };
        let old = world.control.open_pull(&world.repository, &old).await?;
        world.hooks(HookMode::Deliver).await?;
        world.restart().await?;
        until("the reconciliation", PATIENCE, async || {
            let runs = world.rest.runs("reconcile").await?;
            Ok((runs.len() >= 2 && runs.iter().all(|run| run.state.is_final())).then_some(()))
        })
        .await?;
        ensure!(world.comments(old.number).await?.is_empty(), "somebody was bothered");
        Ok(())
    })
    .await
}
