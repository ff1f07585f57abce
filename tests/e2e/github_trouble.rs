//! GitHub is not always well.

use anyhow::{Result, ensure};
use seatrial_github_standin::{Action, Fault};
use seatrial_tests::{Change, RunState, World};

fn bad_gateway() -> Fault {
    Fault::new(Action::Status { code: 502, body: String::new(), headers: Default::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comment_whose_answer_was_lost_is_not_made_twice() -> Result<()> {
    World::tell("lost-answer", async |world| {
        world.fault(Fault::new(Action::DropAnswer).on("POST", &world.api_path("/issues/"))).await?;
        let pull = world.open_pull("lost", Change::page("lost")).await?;
        world.wait_ready(pull.number, &pull.sha).await?;
        world.check_live(pull.number, &pull.sha).await?;
        ensure!(world.control.faults().await?.is_empty(), "the fault did not happen");
        world.check_never_two(pull.number).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_whose_answer_was_lost_is_not_made_twice() -> Result<()> {
    World::tell("lost-deployment", async |world| {
        world.fault(Fault::new(Action::DropAnswer).on("POST", &world.api_path("/deployments"))).await?;
        let pull = world.open_pull("lost", Change::page("lost")).await?;
        world.wait_ready(pull.number, &pull.sha).await?;
        world.check_live(pull.number, &pull.sha).await?;
        let deployments = world.deployments().await?;
        ensure!(deployments.len() == 1, "there must be one deployment: {deployments:#?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn github_answering_502_three_times_still_ends_ready() -> Result<()> {
    World::tell("bad-gateway", async |world| {
        world.fault(bad_gateway().times(3)).await?;
        let pull = world.open_pull("patient", Change::page("patient")).await?;
        world.wait_ready(pull.number, &pull.sha).await?;
        world.check_live(pull.number, &pull.sha).await?;
        ensure!(world.control.faults().await?.is_empty(), "the faults did not happen");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn github_that_takes_no_comments_is_told_when_it_is_back() -> Result<()> {
    World::tell("no-comments", async |world| {
        // Long enough for the whole deployment; then it is back.
        world.fault(bad_gateway().on("POST", &world.api_path("/issues/")).times(6)).await?;
        let pull = world.open_pull("unheard", Change::page("unheard")).await?;
        world.wait_ready(pull.number, &pull.sha).await?;
        world.check_live(pull.number, &pull.sha).await?;
        let run = world.wait_run(pull.number, "preview_up").await?;
        ensure!(run.state == RunState::Succeeded, "{}", run.summary());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comment_that_somebody_deleted_is_made_anew() -> Result<()> {
    World::tell("deleted-comment", async |world| {
        let pull = world.open_pull("again", Change::page("one")).await?;
        let n = pull.number;
        let first = world.wait_ready(n, &pull.sha).await?;
        world.delete_comment(first.id).await?;
        let pushed = world.push(&pull, Change::page("two")).await?;
        let found = seatrial_tests::until("another comment", seatrial_tests::PATIENCE, async || {
            let comments = world.comments(n).await?;
            Ok(comments.into_iter().find(|one| one.deleted_at.is_none() && one.body.contains("Preview ready")))
        })
        .await?;
        ensure!(found.id != first.id && found.body.contains(&seatrial_tests::said(&pushed)), "{found:#?}");
        Ok(())
    })
    .await
}
