//! From an opened pull request to a preview that answers.

use anyhow::{Result, ensure};
use kube::ResourceExt;
use seatrial_tests::{Change, RunState, World, said};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opened_pull_request_gets_one_comment_with_a_url_that_answers() -> Result<()> {
    World::tell("opened", async |world| {
        let pull = world.open_pull("teal", Change::values(&[("hangSeconds", "2")])).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.check_live(n, &pull.sha).await?;

        let comment = world.the_comment(n).await?;
        ensure!(comment.history.len() >= 2, "it was never seen to grow: {:#?}", comment.history);
        ensure!(comment.history[0].body.contains("Deploying"), "it began with {}", comment.history[0].body);
        let during = &comment.history[..comment.history.len() - 1];
        ensure!(during.iter().all(|edit| edit.body.contains(&said(&pull.sha))), "{during:#?}");

        let page = world.visit(n, "/").await?;
        ensure!(page.status == 200 && page.body.contains(&pull.sha), "the page is {page:?}");
        ensure!(page.body.contains(&format!("<dd id=\"number\">{n}</dd>")), "values were not filled in: {page:?}");

        let states: Vec<String> = world.deployments().await?.into_iter().flat_map(|one| one.states).collect();
        ensure!(states == ["in_progress", "success"], "the deployment's states are {states:?}");
        let run = world.wait_run(n, "preview_up").await?;
        ensure!(run.state == RunState::Succeeded && run.claims == 1, "{}", run.summary());
        world.check_never_two(n).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_is_fenced_in() -> Result<()> {
    World::tell("fences", async |world| {
        let pull = world.open_pull("fenced", Change::page("fenced")).await?;
        world.wait_ready(pull.number, &pull.sha).await?;
        let name = world.namespace(pull.number);

        let (quotas, limits, policies) = world.cluster.fences(&name).await?;
        ensure!(quotas.len() == 1 && limits.len() == 1, "{quotas:?} {limits:?}");
        ensure!(!policies.is_empty(), "there is no network policy");
        let namespace = world.cluster.namespace(&name).await?;
        let labels = namespace.map(|namespace| namespace.labels().clone()).unwrap_or_default();
        let label = |key: &str| labels.get(key).map(String::as_str).unwrap_or_default();
        ensure!(label("app.kubernetes.io/managed-by") == "seatrial", "{labels:?}");
        ensure!(label("pod-security.kubernetes.io/enforce") == "restricted", "{labels:?}");
        ensure!(label("seatrial.dev/pull-request") == pull.number.to_string(), "{labels:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_request_cannot_change_its_own_settings() -> Result<()> {
    World::tell("own-settings", async |world| {
        let loosened = Change::page("loose").file(".seatrial.yaml", "version: 1\npodSecurity: baseline\n");
        let pull = world.open_pull("loose", loosened).await?;
        world.wait_ready(pull.number, &pull.sha).await?;
        let namespace = world.cluster.namespace(&world.namespace(pull.number)).await?;
        let labels = namespace.map(|namespace| namespace.labels().clone()).unwrap_or_default();
        let level = labels.get("pod-security.kubernetes.io/enforce").map(String::as_str);
        ensure!(level == Some("restricted"), "the base branch's settings do not hold: {labels:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_pull_requests_do_not_disturb_each_other() -> Result<()> {
    World::tell("two", async |world| {
        let teal = world.open_pull("teal", Change::values(&[("colour", "teal")])).await?;
        let plum = world.open_pull("plum", Change::values(&[("colour", "plum")])).await?;
        world.wait_ready(teal.number, &teal.sha).await?;
        world.wait_ready(plum.number, &plum.sha).await?;
        world.check_live(teal.number, &teal.sha).await?;
        world.check_live(plum.number, &plum.sha).await?;

        world.close(&teal).await?;
        world.wait_receipt(teal.number).await?;
        world.check_gone(teal.number).await?;
        world.check_live(plum.number, &plum.sha).await
    })
    .await
}
