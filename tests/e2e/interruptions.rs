//! Seatrial ends in the middle of its work, and the work goes on as if it had not.

use std::time::Duration;

use anyhow::{Result, ensure};
use seatrial_tests::{Change, Options, PATIENCE, Run, RunState, World};

/// A slow application and a thorough health check: time enough to be killed in.
const SLOW: [(&str, &str); 1] = [("hangSeconds", "2")];
const THOROUGH: &str = "health: { path: /healthz, successes: 15 }\n";

macro_rules! kill_while_deploying {
    ($($test:ident: $step:literal,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() -> Result<()> {
            kill_while_deploying($step).await
        }
    )*};
}

kill_while_deploying! {
    kill_9_in_admit_ends_in_the_same_world: "admit",
    kill_9_in_announce_ends_in_the_same_world: "announce",
    kill_9_in_configure_ends_in_the_same_world: "configure",
    kill_9_in_namespace_ends_in_the_same_world: "namespace",
    kill_9_in_policies_ends_in_the_same_world: "policies",
    kill_9_in_release_ends_in_the_same_world: "release",
    kill_9_in_rollout_ends_in_the_same_world: "rollout",
    kill_9_in_health_ends_in_the_same_world: "health",
    kill_9_in_report_ends_in_the_same_world: "report",
}

macro_rules! kill_while_removing {
    ($($test:ident: $step:literal,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() -> Result<()> {
            kill_while_removing($step).await
        }
    )*};
}

kill_while_removing! {
    kill_9_in_announce_of_the_teardown_leaves_nothing: "announce",
    kill_9_in_uninstall_leaves_nothing: "uninstall",
    kill_9_in_delete_leaves_nothing: "delete",
    kill_9_in_gone_leaves_nothing: "gone",
    kill_9_in_report_of_the_teardown_leaves_nothing: "report",
}

async fn kill_while_deploying(step: &str) -> Result<()> {
    World::tell_with(&format!("kill-up-{step}"), thorough(), async |world| {
        match step {
            "admit" => world.slow("GET", "/contents/", 0).await?,
            "announce" => world.slow("POST", "/issues/", 0).await?,
            // The first status says that the deployment has begun.
            "report" => world.slow("POST", "/statuses/", 1).await?,
            _ => {}
        }
        let pull = world.open_pull("slow", Change::values(&SLOW)).await?;
        let before = world.wait_step(pull.number, "preview_up", step).await?;
        world.program.kill()?;
        world.restart().await?;
        check_same_end(world, pull.number, &pull.sha, &before).await?;
        check_hit(&world.rest.run(&before.id).await?, step)
    })
    .await
}

async fn kill_while_removing(step: &str) -> Result<()> {
    World::tell(&format!("kill-down-{step}"), async |world| {
        let pull = world.open_pull("short", Change::page("short")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.wait_run(n, "preview_up").await?;
        match step {
            "announce" => world.slow("PATCH", "/issues/", 0).await?,
            "report" => world.slow("POST", "/deployments/", 0).await?,
            _ => {}
        }
        world.close(&pull).await?;
        let before = world.wait_step(n, "preview_down", step).await?;
        world.program.kill()?;
        world.restart().await?;

        world.wait_receipt(n).await?;
        world.check_gone(n).await?;
        let run = world.wait_run(n, "preview_down").await?;
        ensure!(run.id == before.id && run.state == RunState::Succeeded, "{}", run.summary());
        ensure!(world.runs(n).await?.len() == 2, "there is a run too many");
        check_hit(&run, step)?;
        check_nothing_left_by_helm(world)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_again_and_again_ends_in_the_same_world() -> Result<()> {
    World::tell_with("kill-often", thorough(), async |world| {
        let pull = world.open_pull("slow", Change::values(&SLOW)).await?;
        let n = pull.number;
        let mut before = None;
        for step in ["admit", "announce", "namespace", "policies", "release", "rollout", "health", "report"] {
            before = Some(world.wait_step(n, "preview_up", step).await?);
            world.program.kill()?;
            world.restart().await?;
        }
        let before = before.expect("there are steps");
        check_same_end(world, n, &pull.sha, &before).await?;

        world.close(&pull).await?;
        for step in ["announce", "uninstall", "delete", "gone"] {
            world.wait_step(n, "preview_down", step).await?;
            world.program.kill()?;
            world.restart().await?;
        }
        world.wait_receipt(n).await?;
        world.check_gone(n).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_in_the_middle_hands_the_run_to_the_next_start() -> Result<()> {
    World::tell_with("sigterm", thorough(), async |world| {
        let pull = world.open_pull("slow", Change::values(&[("hangSeconds", "3")])).await?;
        let before = world.wait_step(pull.number, "preview_up", "release").await?;
        let ended = world.program.terminate(Duration::from_secs(60)).await?;
        ensure!(ended.success(), "it ended with {ended}");
        world.restart().await?;
        check_same_end(world, pull.number, &pull.sha, &before).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_right_after_a_kill_is_what_is_live_in_the_end() -> Result<()> {
    World::tell("kill-push", async |world| {
        let pull = world.open_pull("slow", Change::values(&[("hangSeconds", "60")])).await?;
        let n = pull.number;
        world.wait_step(n, "preview_up", "rollout").await?;
        world.program.kill()?;
        world.restart().await?;
        let pushed = world.push(&pull, Change::values(&[("hangSeconds", "0")])).await?;
        world.wait_ready(n, &pushed).await?;
        world.check_live(n, &pushed).await?;
        let runs = world.runs(n).await?;
        ensure!(runs.len() == 2 && runs[0].state == RunState::Cancelled, "{}", runs[0].summary());
        Ok(())
    })
    .await
}

fn thorough() -> Options {
    Options { settings: THOROUGH.to_owned(), ..Options::default() }
}

/// The kill came in the middle of the step; those that take milliseconds may have been over.
fn check_hit(run: &Run, step: &str) -> Result<()> {
    let is_short = ["configure", "namespace", "policies", "delete"].contains(&step);
    let attempts = run.step(step).map(|step| step.attempts.as_slice()).unwrap_or_default();
    let interrupted = attempts.iter().any(|attempt| attempt.outcome.as_deref() == Some("interrupted"));
    ensure!(is_short || interrupted, "step {step} was not interrupted: {}", run.summary());
    Ok(())
}

/// The same world as without the interruption: one run, which went on; one comment; one release,
/// deployed; nothing of Helm's left.
async fn check_same_end(world: &mut World, number: u64, sha: &str, before: &Run) -> Result<()> {
    world.wait_comment(number, &["Preview ready"], PATIENCE).await?;
    // A comment that was on its way when the process was killed may have made a twin; it is gone
    // when the run has ended.
    let run = world.wait_run(number, "preview_up").await?;
    world.check_live(number, sha).await?;
    ensure!(run.id == before.id && run.state == RunState::Succeeded, "{}", run.summary());
    let runs = world.runs(number).await?;
    ensure!(runs.len() == 1, "there must be one run, there are {}", runs.len());
    // What had been done was not done again.
    for done in before.steps.iter().filter(|step| step.finished_at.is_some()) {
        let now = run.step(&done.name).map(|step| step.attempts.len());
        ensure!(now == Some(done.attempts.len()), "step {} was done again: {}", done.name, run.summary());
    }
    check_nothing_left_by_helm(world)
}

/// The folder of the living process is there, and no operation's in it.
fn check_nothing_left_by_helm(world: &World) -> Result<()> {
    let mut instances = Vec::new();
    for entry in std::fs::read_dir(world.folder().join("work"))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            instances.push(entry.path());
        }
    }
    ensure!(instances.len() == 1, "killed processes left folders behind: {instances:?}");
    for entry in std::fs::read_dir(&instances[0])? {
        let entry = entry?;
        ensure!(!entry.file_type()?.is_dir(), "an operation left {} behind", entry.path().display());
    }
    Ok(())
}
