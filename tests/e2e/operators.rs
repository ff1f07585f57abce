//! What programs and operators do over the API instead of on the pull request.

use anyhow::{Context, Result, ensure};
use seatrial_github_standin::{HookMode, NewPull};
use seatrial_tests::{Change, Options, PATIENCE, RunState, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_request_whose_event_was_lost_is_deployed_and_deleted_over_the_api() -> Result<()> {
    World::tell("api", async |world| {
        world.hooks(HookMode::Lose).await?;
        let sha = world.branch("lost", Change::page("lost")).await?;
        let new = NewPull { title: "Lost".to_owned(), head: "lost".to_owned(), ..NewPull::default() };
        let n = world.control.open_pull(&world.repository, &new).await?.number;
        let namespace = world.namespace(n);

        let run = world.rest.deploy(&world.repository, n).await?;
        world.wait_ready(n, &sha).await?;
        world.check_live(n, &sha).await?;
        ensure!(world.wait_run(n, "preview_up").await?.id == run, "another run deployed it");
        let logs = world.rest.logs(&namespace).await?;
        ensure!(logs.contains("listens on") && logs.contains(&sha), "the log is {logs:?}");

        let run = world.rest.delete(&namespace).await?;
        world.wait_receipt(n).await?;
        world.check_gone(n).await?;
        world.wait_run(n, "preview_down").await?;
        ensure!(world.rest.delete(&namespace).await? == run, "deleting again began another teardown");

        world.rest.deploy(&world.repository, n).await?;
        world.wait_ready(n, &sha).await?;
        world.check_live(n, &sha).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_not_ready_names_the_culprit_and_what_to_do() -> Result<()> {
    World::tell("why", async |world| {
        let pull = world.open_pull("crash", Change::values(&[("crash", "true")])).await?;
        let n = pull.number;
        world.wait_comment(n, &["Preview failed at rollout"], PATIENCE).await?;
        ensure!(world.wait_run(n, "preview_up").await?.state == RunState::Failed, "it did not fail");
        let why = world.rest.why_not_ready(&world.namespace(n)).await?.to_string();
        for text in ["container_crash", "shop", "cannot connect to database"] {
            ensure!(why.contains(text), "{text:?} is missing: {why}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_does_not_take_the_place_of_a_newer_run() -> Result<()> {
    let options = Options { settings: "health: { path: /healthz, timeout: 3s }\n".to_owned(), ..Options::default() };
    World::tell_with("old-retry", options, async |world| {
        let pull = world.open_pull("ill", Change::values(&[("healthy", "false")])).await?;
        let n = pull.number;
        world.wait_comment(n, &["Preview failed at health"], PATIENCE).await?;
        let failed = world.wait_run(n, "preview_up").await?;
        let pushed = world.push(&pull, Change::values(&[("healthy", "true")])).await?;
        world.wait_ready(n, &pushed).await?;
        world.wait_run(n, "preview_up").await?;

        let path = format!("/runs/{}/retry", failed.id);
        let (status, body) = world.rest.call(reqwest::Method::POST, &path).await?;
        ensure!(status.as_u16() == 409, "the retry was answered with {status}: {body}");
        let problem: serde_json::Value = serde_json::from_str(&body).context("a problem in JSON")?;
        ensure!(problem["code"] == "run_superseded", "{problem:#}");
        world.check_live(n, &pushed).await
    })
    .await
}
