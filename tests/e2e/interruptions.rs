//! Seatrial ends in the middle of its work, and the work goes on as if it had not.

use std::time::Duration;

use anyhow::{Result, ensure};
use seatrial_github_standin::{HookMode, NewPull};
use seatrial_tests::{Change, Options, PATIENCE, Run, RunState, World, until};

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
async fn kill_9_while_the_check_is_looked_for_ends_in_the_same_world() -> Result<()> {
    let settings = format!("{THOROUGH}waitFor: {{ check: build, timeout: 10m }}\n");
    World::tell_with("kill-up-image", Options { settings, ..Options::default() }, async |world| {
        world.slow("GET", "/commits/", 0).await?;
        let pull = world.open_pull("slow", Change::values(&SLOW)).await?;
        let n = pull.number;
        let before = world.wait_step(n, "preview_up", "image").await?;
        world.program.kill()?;
        world.control.create_check_run(&world.repository, &pull.sha, "build", Some("success")).await?;
        world.restart().await?;
        check_same_end(world, n, &pull.sha, &before).await?;
        check_hit(&world.rest.run(&before.id).await?, "image")
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_in_the_queue_keeps_the_line() -> Result<()> {
    let environment = vec![("SEATRIAL_MAX_PREVIEWS", "1")];
    World::tell_with("kill-up-place", Options { environment, ..Options::default() }, async |world| {
        let first = world.open_pull("first", Change::page("first")).await?;
        world.wait_ready(first.number, &first.sha).await?;
        let second = world.open_pull("second", Change::page("second")).await?;
        let before = world.wait_step(second.number, "preview_up", "place").await?;
        world.program.kill()?;
        world.restart().await?;
        world.wait_comment(second.number, &["queued", "Next in line"], PATIENCE).await?;
        let third = world.open_pull("third", Change::page("third")).await?;
        world.wait_comment(third.number, &["queued", "2nd in line"], PATIENCE).await?;
        // The place comes free while nobody is there to hear of it.
        world.close(&first).await?;
        world.wait_step(first.number, "preview_down", "gone").await?;
        world.program.kill()?;
        world.restart().await?;
        world.wait_ready(second.number, &second.sha).await?;
        let run = world.wait_run(second.number, "preview_up").await?;
        ensure!(run.id == before.id && run.state == RunState::Succeeded, "{}", run.summary());
        world.check_live(second.number, &second.sha).await?;
        world.wait_comment(third.number, &["queued", "Next in line"], PATIENCE).await.map(drop)
    })
    .await
}

macro_rules! kill_while_falling_asleep_or_waking {
    ($($test:ident: $workflow:literal $step:literal,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() -> Result<()> {
            kill_while_falling_asleep_or_waking($workflow, $step).await
        }
    )*};
}

kill_while_falling_asleep_or_waking! {
    kill_9_in_scale_of_the_sleep_loses_no_replicas: "preview_sleep" "scale",
    kill_9_in_report_of_the_sleep_loses_no_replicas: "preview_sleep" "report",
    kill_9_in_scale_of_the_waking_loses_no_replicas: "preview_wake" "scale",
    kill_9_in_rollout_of_the_waking_loses_no_replicas: "preview_wake" "rollout",
    kill_9_in_report_of_the_waking_loses_no_replicas: "preview_wake" "report",
}

async fn kill_while_falling_asleep_or_waking(workflow: &str, step: &str) -> Result<()> {
    World::tell(&format!("kill-{}-{step}", workflow.trim_start_matches("preview_")), async |world| {
        let pull = world.open_pull("two", Change::values(&[("replicas", "2"), ("hangSeconds", "1")])).await?;
        let n = pull.number;
        let namespace = world.namespace(n);
        world.wait_ready(n, &pull.sha).await?;
        world.wait_run(n, "preview_up").await?;
        for (verb, acted) in [("sleep", "preview_sleep"), ("wake", "preview_wake")] {
            if acted == workflow && step == "report" {
                world.slow("PATCH", "/issues/comments/", 0).await?;
            }
            let begun = world.rest.act(&namespace, verb).await?;
            if acted == workflow {
                world.wait_step(n, workflow, step).await?;
                world.program.kill()?;
                world.restart().await?;
            }
            let run = world.wait_run(n, acted).await?;
            ensure!(run.id == begun && run.state == RunState::Succeeded, "{}", run.summary());
            if acted == workflow && step == "report" {
                check_hit(&run, step)?;
            }
            if verb == "sleep" {
                let told = world.the_comment(n).await?;
                ensure!(told.body.contains("Preview asleep"), "{}", told.body);
                until("no pods", PATIENCE, async || Ok(world.cluster.pods(&namespace).await?.is_empty().then_some(())))
                    .await?;
            }
        }
        world.check_live(n, &pull.sha).await?;
        let pods = world.cluster.pods(&namespace).await?.len();
        ensure!(pods == 2, "there were 2 replicas, now there are {pods}");
        world.check_never_two(n).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_in_a_reconciliation_repeats_nothing_and_forgets_nothing() -> Result<()> {
    World::tell("kill-reconcile", async |world| {
        let goes = world.open_pull("goes", Change::page("goes")).await?;
        world.wait_ready(goes.number, &goes.sha).await?;
        world.program.terminate(PATIENCE).await?;
        world.hooks(HookMode::Lose).await?;
        world.control.close(&world.repository, goes.number).await?;
        world.branch("new", Change::page("new")).await?;
        let new = NewPull { title: "New".to_owned(), head: "new".to_owned(), ..NewPull::default() };
        let new = world.control.open_pull(&world.repository, &new).await?;
        world.hooks(HookMode::Deliver).await?;
        // The list of what is open takes long: long enough to be killed over it.
        world.slow("GET", "/pulls", 0).await?;
        world.restart().await?;
        until("the reconciliation's comparison", PATIENCE, async || {
            let runs = world.rest.runs("reconcile").await?;
            let compares = |run: &Run| run.steps.iter().any(|step| step.name == "compare");
            Ok(runs.last().is_some_and(compares).then_some(()))
        })
        .await?;
        world.program.kill()?;
        world.restart().await?;
        world.wait_ready(new.number, &new.head_sha).await?;
        world.wait_receipt(goes.number).await?;
        world.check_live(new.number, &new.head_sha).await?;
        world.check_gone(goes.number).await?;
        ensure!(world.runs(new.number).await?.len() == 1, "it was deployed more than once");
        world.check_never_two(new.number).await
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
