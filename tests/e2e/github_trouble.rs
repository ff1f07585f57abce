//! GitHub is not always well.

use anyhow::{Context, Result, ensure};
use chrono::TimeDelta;
use seatrial_github_standin::{Action, Fault};
use seatrial_tests::{Change, PATIENCE, RunState, World, said, until};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comment_whose_answer_was_lost_and_that_lists_do_not_show_yet_is_one_in_the_end() -> Result<()> {
    World::tell("lost-stale", async |world| {
        // The comment is made, nobody hears of it, and the list that is asked next lacks it.
        world.fault(Fault::new(Action::DropAnswer).on("POST", &world.api_path("/issues/"))).await?;
        world.fault(Fault::new(Action::StaleList).on("GET", &world.api_path("/issues/")).times(2)).await?;
        let pull = world.open_pull("lost", Change::page("lost")).await?;
        let n = pull.number;
        world.wait_comment(n, &["Preview ready"], PATIENCE).await?;
        let run = world.wait_run(n, "preview_up").await?;
        ensure!(run.state == RunState::Succeeded, "{}", run.summary());
        world.check_live(n, &pull.sha).await?;
        ensure!(world.control.faults().await?.iter().all(|fault| fault.times != 2), "the lists were not asked for");
        let pushed = world.push(&pull, Change::page("next")).await?;
        world.wait_ready(n, &pushed).await?;
        world.wait_run(n, "preview_up").await?;
        world.check_live(n, &pushed).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_502_does_not_keep_the_preview_and_the_comment_catches_up() -> Result<()> {
    World::tell("storm", async |world| {
        let pull = world.open_pull("calm", Change::page("calm")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.wait_run(n, "preview_up").await?;
        // All that is written fails; what is read goes on, so that the new commit is admitted.
        for method in ["POST", "PATCH"] {
            world.fault(bad_gateway().on(method, &world.api_path("/")).times(1_000)).await?;
        }
        let pushed = world.push(&pull, Change::page("stormy")).await?;
        until("the new commit at the URL", PATIENCE, async || {
            Ok((world.visit(n, "/version").await?.sha().as_deref() == Some(&*pushed)).then_some(()))
        })
        .await?;
        world.wait_step(n, "preview_up", "report").await?;
        let before = world.the_comment(n).await?;
        ensure!(!before.body.contains(&said(&pushed)), "the storm did not happen: {}", before.body);
        world.control.clear_faults().await?;
        world.wait_ready(n, &pushed).await?;
        world.check_live(n, &pushed).await?;
        world.check_never_two(n).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_is_waited_out_and_the_preview_does_not_wait_for_it() -> Result<()> {
    World::tell("rate-limit", async |world| {
        let pull = world.open_pull("patient", Change::values(&[("hangSeconds", "2")])).await?;
        let n = pull.number;
        world.wait_step(n, "preview_up", "rollout").await?;
        world.control.clear_requests().await?;
        world.fault(Fault::new(Action::RateLimitPrimary { reset_seconds: 12 })).await?;
        until("the commit at the URL", PATIENCE, async || {
            Ok((world.visit(n, "/version").await?.sha().as_deref() == Some(&*pull.sha)).then_some(()))
        })
        .await?;
        world.wait_ready(n, &pull.sha).await?;
        ensure!(world.control.faults().await?.is_empty(), "the limit was not met");
        world.wait_run(n, "preview_up").await?;
        world.check_live(n, &pull.sha).await?;
        // Whoever is told to wait and asks all the same is locked out for longer.
        let requests = world.control.requests().await?;
        let limited = requests.iter().find(|one| one.fault.is_some()).context("no request met the limit")?;
        let hasty = requests.iter().filter(|one| one.at > limited.at && one.at < limited.at + TimeDelta::seconds(10));
        let hasty: Vec<_> = hasty.map(|one| format!("{} {} {}", one.at, one.method, one.path)).collect();
        ensure!(hasty.len() <= 3, "the limit was not waited for: {hasty:#?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secondary_limit_on_comments_is_waited_out() -> Result<()> {
    World::tell("secondary-limit", async |world| {
        let limit = Fault::new(Action::RateLimitSecondary { retry_after: 6 });
        world.fault(limit.on("POST", &world.api_path("/issues/"))).await?;
        let pull = world.open_pull("patient", Change::page("patient")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.wait_run(n, "preview_up").await?;
        world.check_live(n, &pull.sha).await?;
        ensure!(world.control.faults().await?.is_empty(), "the limit was not met");
        world.check_never_two(n).await
    })
    .await
}
