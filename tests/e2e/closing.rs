//! What was made goes away again, and the receipt says so.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use seatrial_tests::{Change, RunState, World};
use serde_json::json;

/// A namespace that does not end is reported within five minutes.
const STUCK: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_pull_request_leaves_nothing_but_a_receipt() -> Result<()> {
    World::tell("closed", async |world| {
        let pull = world.open_pull("short", Change::page("short")).await?;
        let n = pull.number;
        let ready = world.wait_ready(n, &pull.sha).await?;
        world.close(&pull).await?;
        let receipt = world.wait_receipt(n).await?;
        ensure!(receipt.id == ready.id, "the receipt is another comment");
        for object in ["Deployment/shop", "Service/shop"] {
            ensure!(receipt.body.contains(object), "{object} is not on the receipt: {}", receipt.body);
        }
        ensure!(receipt.body.contains("The release was uninstalled"), "{}", receipt.body);
        world.check_gone(n).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merged_pull_request_leaves_nothing_but_a_receipt() -> Result<()> {
    World::tell("merged", async |world| {
        let pull = world.open_pull("merged", Change::page("merged")).await?;
        world.wait_ready(pull.number, &pull.sha).await?;
        world.control.merge(&world.repository, pull.number).await?;
        world.wait_receipt(pull.number).await?;
        world.check_gone(pull.number).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_during_a_rollout_removes_what_was_begun() -> Result<()> {
    closed_in("rollout").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_during_helms_work_removes_what_was_begun() -> Result<()> {
    closed_in("release").await
}

async fn closed_in(step: &str) -> Result<()> {
    World::tell(&format!("closed-in-{step}"), async |world| {
        let pull = world.open_pull("slow", Change::values(&[("hangSeconds", "60")])).await?;
        let n = pull.number;
        world.wait_step(n, "preview_up", step).await?;
        world.close(&pull).await?;
        world.wait_receipt(n).await?;
        world.check_gone(n).await?;
        world.wait_run(n, "preview_down").await?;
        let runs = world.runs(n).await?;
        let states: Vec<_> = runs.iter().map(|run| (run.workflow.as_str(), run.state)).collect();
        let expected = [("preview_up", RunState::Cancelled), ("preview_down", RunState::Succeeded)];
        ensure!(states == expected, "{states:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reopened_pull_request_gets_its_preview_back_under_the_same_comment() -> Result<()> {
    World::tell("reopened", async |world| {
        let pull = world.open_pull("back", Change::page("back")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.close(&pull).await?;
        world.wait_receipt(n).await?;
        world.reopen(&pull).await?;
        world.wait_ready(n, &pull.sha).await?;
        world.check_live(n, &pull.sha).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reopening_during_the_teardown_ends_with_a_preview() -> Result<()> {
    World::tell("reopened-early", async |world| {
        let pull = world.open_pull("hasty", Change::page("hasty")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.close(&pull).await?;
        world.wait_step(n, "preview_down", "gone").await?;
        world.reopen(&pull).await?;
        world.wait_ready(n, &pull.sha).await?;
        world.check_live(n, &pull.sha).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_of_a_repository_that_is_gone_can_still_be_deleted() -> Result<()> {
    World::tell("repository-gone", async |world| {
        let pull = world.open_pull("orphan", Change::page("orphan")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.wait_run(n, "preview_up").await?;
        world.control.remove_repository(&world.repository).await?;
        world.rest.delete(&world.namespace(n)).await?;
        let run = world.wait_run(n, "preview_down").await?;
        ensure!(run.state == RunState::Succeeded, "{}", run.summary());
        let namespace = world.cluster.namespace(&world.namespace(n)).await?;
        ensure!(namespace.is_none(), "the namespace is still there");
        let preview = world.rest.preview(&world.namespace(n)).await?;
        ensure!(preview["state"] == "deleted" && preview["receipt"]["release_uninstalled"] == true, "{preview:#}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_holds_a_namespace_is_named_and_once_it_lets_go_the_teardown_can_be_repeated() -> Result<()> {
    World::tell("stuck", async |world| {
        let pull = world.open_pull("stuck", Change::page("stuck")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.wait_run(n, "preview_up").await?;
        let name = world.namespace(n);
        let held: Api<ConfigMap> = Api::namespaced(world.cluster.client(), &name);
        let anchor = json!({ "metadata": { "name": "anchor", "finalizers": ["example.com/anchor"] } });
        held.create(&PostParams::default(), &serde_json::from_value(anchor)?).await?;
        world.close(&pull).await?;
        let told = world.wait_comment(n, &["example.com/anchor"], STUCK).await?;
        ensure!(told.body.contains(&name) && told.body.contains("What to do"), "{}", told.body);
        let run = world.wait_run(n, "preview_down").await?;
        ensure!(run.state == RunState::Failed, "{}", run.summary());
        ensure!(world.cluster.namespace(&name).await?.is_some(), "the namespace is gone all the same");

        let let_go = json!({ "metadata": { "finalizers": null } });
        held.patch("anchor", &PatchParams::default(), &Patch::Merge(let_go)).await?;
        world.rest.delete(&name).await?;
        world.wait_receipt(n).await?;
        world.check_gone(n).await
    })
    .await
}
