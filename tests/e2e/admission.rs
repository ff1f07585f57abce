//! Which pull requests get a preview, and what the others are told.

use anyhow::{Context, Result, ensure};
use seatrial_github_standin::{Action, Author, Fault, NewCommit, NewPull};
use seatrial_tests::{Change, Options, PATIENCE, RunState, World};

fn unconfigured() -> Options {
    Options { unconfigured: true, ..Options::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_without_settings_gets_one_helpful_comment() -> Result<()> {
    World::tell_with("unconfigured", unconfigured(), async |world| {
        let pull = world.open_pull("page", Change::page("one")).await?;
        let n = pull.number;
        let comment = world.wait_comment(n, &["not set up yet", "`.seatrial.yaml`", "version: 1"], PATIENCE).await?;
        check_not_deployed(world, n).await?;

        // Said once is enough, whatever is pushed.
        world.push(&pull, Change::page("two")).await?;
        seatrial_tests::until("the second run", PATIENCE, async || {
            let runs = world.runs(n).await?;
            Ok((runs.len() == 2 && runs.iter().all(|run| run.state.is_final())).then_some(()))
        })
        .await?;
        ensure!(world.the_comment(n).await?.id == comment.id, "there is another comment");
        world.close(&pull).await?;
        world.control.settle().await?;
        world.the_comment(n).await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_is_not_told_that_the_repository_is_not_set_up() -> Result<()> {
    World::tell_with("unconfigured-bot", unconfigured(), async |world| {
        let new = NewPull {
            title: "Bump everything".to_owned(),
            author: Author::bot("renovate[bot]"),
            head: "bump".to_owned(),
            ..NewPull::default()
        };
        let pull = world.open(new, Change::page("bumped")).await?;
        check_not_deployed(world, pull.number).await?;
        let comments = world.comments(pull.number).await?;
        ensure!(comments.is_empty(), "a bot was told {comments:#?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_are_committed_later_set_the_repository_up() -> Result<()> {
    World::tell_with("set-up", unconfigured(), async |world| {
        let pull = world.open_pull("page", Change::page("one")).await?;
        let n = pull.number;
        let told = world.wait_comment(n, &["not set up yet"], PATIENCE).await?;
        world.wait_run(n, "preview_up").await?;
        let settings = "version: 1\nchart: { path: chart }\nimage: { repository: \"localhost:5000/shop\" }\n";
        let commit = NewCommit {
            branch: "main".to_owned(),
            files: seatrial_github_standin::files([(".seatrial.yaml", settings)]),
            ..NewCommit::default()
        };
        world.control.commit(&world.repository, &commit).await?;
        let pushed = world.push(&pull, Change::page("two")).await?;
        let ready = world.wait_ready(n, &pushed).await?;
        ensure!(ready.id == told.id, "there is another comment");
        world.check_live(n, &pushed).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_is_deployed_once_it_is_ready_for_review() -> Result<()> {
    World::tell("draft", async |world| {
        let new = NewPull { title: "Try".to_owned(), head: "try".to_owned(), draft: true, ..NewPull::default() };
        let pull = world.open(new, Change::page("draft")).await?;
        let n = pull.number;
        let told = world.wait_comment(n, &["this is a draft", "ready for review"], PATIENCE).await?;
        check_not_deployed(world, n).await?;

        world.control.ready(&world.repository, n).await?;
        let ready = world.wait_ready(n, &pull.sha).await?;
        ensure!(ready.id == told.id, "there is another comment");
        world.check_live(n, &pull.sha).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_request_from_a_fork_is_not_deployed() -> Result<()> {
    World::tell("fork", async |world| {
        let fork = world.control.fork(&world.repository, "stranger").await?;
        let fork = format!("{}/{}", fork.owner, fork.name);
        let commit = NewCommit {
            branch: "evil".to_owned(),
            files: seatrial_github_standin::files([(".seatrial.yaml", "version: 1\nfilters: { drafts: true }\n")]),
            author: "stranger".to_owned(),
            ..NewCommit::default()
        };
        world.control.commit(&fork, &commit).await?;
        let new = NewPull {
            title: "Let me in".to_owned(),
            author: Author::user("stranger"),
            head: "evil".to_owned(),
            head_repository: Some(fork),
            ..NewPull::default()
        };
        let n = world.control.open_pull(&world.repository, &new).await?.number;
        world.wait_comment(n, &["comes from a fork"], PATIENCE).await?;
        check_not_deployed(world, n).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_that_is_wanted_deploys_once_it_is_there() -> Result<()> {
    let options = Options { settings: "filters: { labels: [preview] }\n".to_owned(), ..Options::default() };
    World::tell_with("label", options, async |world| {
        let pull = world.open_pull("labelled", Change::page("labelled")).await?;
        let n = pull.number;
        world.wait_comment(n, &["a label is missing", "`preview`"], PATIENCE).await?;
        check_not_deployed(world, n).await?;
        world.control.label(&world.repository, n, &["preview"]).await?;
        world.wait_ready(n, &pull.sha).await?;
        world.check_live(n, &pull.sha).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_that_is_taken_away_takes_the_preview_with_it() -> Result<()> {
    let options = Options { settings: "filters: { labels: [preview] }\n".to_owned(), ..Options::default() };
    World::tell_with("unlabelled", options, async |world| {
        let labels = vec!["preview".to_owned()];
        let new = NewPull { title: "Shown".to_owned(), head: "shown".to_owned(), labels, ..NewPull::default() };
        let pull = world.open(new, Change::page("shown")).await?;
        let n = pull.number;
        let ready = world.wait_ready(n, &pull.sha).await?;
        world.control.unlabel(&world.repository, n, &["preview"]).await?;
        let told = world.wait_comment(n, &["a label is missing", "`preview`"], PATIENCE).await?;
        ensure!(told.id == ready.id, "there is another comment");
        let run = world.wait_run(n, "preview_up").await?;
        ensure!(run.state == RunState::Succeeded, "{}", run.summary());
        let namespace = world.cluster.namespace(&world.namespace(n)).await?;
        ensure!(namespace.is_none(), "the namespace is still there");
        let active = world.active_deployments(n).await?;
        ensure!(active.is_empty(), "deployments are still active: {active:#?}");
        let answer = world.visit(n, "/version").await?;
        ensure!(answer.sha().is_none(), "the URL still answers {answer:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_that_does_not_matter_changes_nothing_about_a_preview() -> Result<()> {
    World::tell("other-label", async |world| {
        let pull = world.open_pull("labelled", Change::values(&[("hangSeconds", "2")])).await?;
        let n = pull.number;
        world.wait_step(n, "preview_up", "rollout").await?;
        world.control.label(&world.repository, n, &["documentation"]).await?;
        world.wait_ready(n, &pull.sha).await?;
        let runs = seatrial_tests::until("the end of all runs", PATIENCE, async || {
            let runs = world.runs(n).await?;
            Ok((runs.len() == 2 && runs.iter().all(|run| run.state.is_final())).then_some(runs))
        })
        .await?;
        ensure!(runs.iter().all(|run| run.state == RunState::Succeeded), "{} {}", runs[0].summary(), runs[1].summary());
        ensure!(runs[1].step("release").is_none(), "it was deployed again: {}", runs[1].summary());
        world.check_live(n, &pull.sha).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_again_takes_its_preview_with_it() -> Result<()> {
    World::tell("draft-again", async |world| {
        let pull = world.open_pull("early", Change::page("early")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.control.draft(&world.repository, n).await?;
        world.wait_comment(n, &["this is a draft"], PATIENCE).await?;
        check_taken_away(world, n).await?;
        world.control.ready(&world.repository, n).await?;
        world.wait_ready(n, &pull.sha).await?;
        world.check_live(n, &pull.sha).await?;
        world.check_never_two(n).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_takes_with_it_what_failed_although_github_knows_no_deployment() -> Result<()> {
    World::tell("draft-failed", async |world| {
        let forbidden = Action::Status { code: 403, body: "{}".to_owned(), headers: Default::default() };
        world.fault(Fault::new(forbidden).on("POST", &world.api_path("/deployments")).times(1_000)).await?;
        let pull = world.open_pull("ill", Change::values(&[("crash", "true")])).await?;
        let n = pull.number;
        world.wait_comment(n, &["Preview failed at rollout"], PATIENCE).await?;
        world.wait_run(n, "preview_up").await?;
        world.control.draft(&world.repository, n).await?;
        world.wait_comment(n, &["this is a draft"], PATIENCE).await?;
        let namespace = world.cluster.namespace(&world.namespace(n)).await?;
        ensure!(namespace.is_none(), "the namespace is still there");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_request_that_goes_into_a_branch_without_settings_loses_its_preview() -> Result<()> {
    World::tell("retargeted", async |world| {
        let bare = world.control.branch(&world.repository, "bare", "main").await?;
        let commit =
            NewCommit { branch: "bare".to_owned(), delete: vec![".seatrial.yaml".to_owned()], ..NewCommit::default() };
        ensure!(world.control.commit(&world.repository, &commit).await? != bare, "the branch is as it was");
        let pull = world.open_pull("moving", Change::page("moving")).await?;
        let n = pull.number;
        let ready = world.wait_ready(n, &pull.sha).await?;
        world.control.retarget(&world.repository, n, "bare").await?;
        let told = world.wait_comment(n, &["not set up yet"], PATIENCE).await?;
        ensure!(told.id == ready.id, "there is another comment");
        check_taken_away(world, n).await?;
        world.control.retarget(&world.repository, n, "main").await?;
        world.wait_ready(n, &pull.sha).await?;
        world.check_live(n, &pull.sha).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_do_not_matter_get_no_preview_until_one_does() -> Result<()> {
    let options = Options { settings: "filters: { paths: [\"src/**\"] }\n".to_owned(), ..Options::default() };
    World::tell_with("paths", options, async |world| {
        let pull = world.open_pull("docs", Change::page("docs")).await?;
        let n = pull.number;
        let told = world.wait_comment(n, &["nothing that is previewed was changed", "`src/**`"], PATIENCE).await?;
        check_not_deployed(world, n).await?;
        let pushed = world.push(&pull, Change::page("more").file("src/deep/down.rs", "fn main() {}\n")).await?;
        let ready = world.wait_ready(n, &pushed).await?;
        ensure!(ready.id == told.id, "there is another comment");
        world.check_live(n, &pushed).await
    })
    .await
}

/// Nothing is left of a preview that was there.
async fn check_taken_away(world: &World, number: u64) -> Result<()> {
    let run = world.wait_run(number, "preview_up").await?;
    ensure!(run.state == RunState::Succeeded, "{}", run.summary());
    let namespace = world.cluster.namespace(&world.namespace(number)).await?;
    ensure!(namespace.is_none(), "the namespace is still there");
    let active = world.active_deployments(number).await?;
    ensure!(active.is_empty(), "deployments are still active: {active:#?}");
    let answer = world.visit(number, "/version").await?;
    ensure!(answer.sha().is_none(), "the URL still answers {answer:?}");
    Ok(())
}

/// The run ended well, and nothing was made.
async fn check_not_deployed(world: &World, number: u64) -> Result<()> {
    let run = world.wait_run(number, "preview_up").await?;
    ensure!(run.state == RunState::Succeeded, "{}", run.summary());
    let namespace = world.cluster.namespace(&world.namespace(number)).await?;
    ensure!(namespace.is_none(), "a namespace was made");
    let deployments = world.deployments().await?;
    ensure!(deployments.is_empty(), "GitHub was told of {deployments:?}");
    let preview = world.rest.preview(&world.namespace(number)).await.context("the refused preview")?;
    ensure!(preview["state"] == "refused", "the preview is {preview:#}");
    Ok(())
}
