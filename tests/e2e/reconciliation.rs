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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_repository_keeps_its_previews() -> Result<()> {
    World::tell("renamed", async |world| {
        let pull = world.open_pull("page", Change::page("page")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.wait_run(n, "preview_up").await?;
        let (url, namespace) = (world.url(n), world.namespace(n));
        let (_, old) = world.repository.split_once('/').unwrap_or_default();
        let renamed = format!("{old}-new");
        world.control.rename(&world.repository, &renamed).await?;
        world.repository = format!("acme/{renamed}");
        until("the new name", PATIENCE, async || {
            let preview = world.rest.preview(&namespace).await?;
            Ok((preview["repository"] == world.repository).then_some(()))
        })
        .await?;

        let pushed = world.push(&pull, Change::page("pushed")).await?;
        world.wait_ready(n, &pushed).await?;
        let answer = world.open_url(&format!("{url}/version")).await?;
        ensure!(answer.sha().as_deref() == Some(&*pushed), "{url} answers {answer:?}");
        world.close(&pull).await?;
        world.wait_receipt(n).await?;
        ensure!(world.cluster.namespace(&namespace).await?.is_none(), "{namespace} is still there");
        Ok(())
    })
    .await
}
