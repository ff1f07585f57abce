//! `/preview …`, by those who may.

use anyhow::{Result, ensure};
use seatrial_github_standin::{Author, NewCommit, NewPull, Permission};
use seatrial_tests::{Change, PATIENCE, World, said, until};

const ADA: &str = "ada";

/// Somebody with write access writes a comment; returns once it has the reaction.
async fn write(world: &World, number: u64, login: &str, body: &str, reaction: &str) -> Result<()> {
    let comment = world.control.comment(&world.repository, number, &Author::user(login), body).await?;
    until(&format!("{reaction} to {body}"), PATIENCE, async || {
        let reactions = world.reactions(number, comment.id).await?;
        Ok(reactions.iter().any(|given| given == reaction).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_with_write_access_command_and_others_do_not() -> Result<()> {
    World::tell("commands", async |world| {
        world.control.set_permission(&world.repository, ADA, Permission::Write).await?;
        let pull = world.open_pull("page", Change::page("page")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;

        world.wait_run(n, "preview_up").await?;
        write(world, n, ADA, "Nice.\n/preview extend 3d\n", "+1").await?;
        world.wait_comment(n, &["Preview ready", "kept at least until", "by `ada`"], PATIENCE).await?;
        write(world, n, ADA, "/preview frobnicate", "confused").await?;
        world.wait_comment(n, &["not done", "frobnicate", "deploy"], PATIENCE).await?;
        write(world, n, ADA, "/preview logs", "+1").await?;
        world.wait_comment(n, &["Last log lines of"], PATIENCE).await?;
        write(world, n, ADA, "/preview sleep", "+1").await?;
        world.wait_comment(n, &["Preview asleep"], PATIENCE).await?;
        write(world, n, ADA, "/preview wake", "+1").await?;
        world.wait_ready(n, &pull.sha).await?;

        write(world, n, "mallory", "/preview delete", "confused").await?;
        world.check_live(n, &pull.sha).await?;
        write(world, n, ADA, "/preview delete", "+1").await?;
        world.wait_receipt(n).await?;
        write(world, n, ADA, "/preview deploy", "+1").await?;
        world.wait_ready(n, &pull.sha).await?;
        world.check_live(n, &pull.sha).await?;
        world.check_never_two(n).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_is_deployed_at_the_commit_that_was_approved_and_at_no_other() -> Result<()> {
    World::tell("fork-approved", async |world| {
        world.control.set_permission(&world.repository, ADA, Permission::Write).await?;
        let fork = world.control.fork(&world.repository, "stranger").await?;
        let change = Change::page("from a fork");
        let new = NewPull {
            title: "From a fork".to_owned(),
            author: Author::user("stranger"),
            head_repository: Some(format!("{}/{}", fork.owner, fork.name)),
            head: "theirs".to_owned(),
            files: change.clone().into(),
            ..NewPull::default()
        };
        let pull = world.control.open_pull(&world.repository, &new).await?;
        let (n, sha) = (pull.number, pull.head_sha.clone());
        world.publish_image(&sha).await?;
        world.wait_comment(n, &["comes from a fork", "/preview approve"], PATIENCE).await?;
        ensure!(world.cluster.namespace(&world.namespace(n)).await?.is_none(), "it was deployed");

        // Not by its author, and not another commit.
        write(world, n, "stranger", &format!("/preview approve {sha}"), "confused").await?;
        write(world, n, ADA, &format!("/preview approve {}", "0".repeat(40)), "confused").await?;
        write(world, n, ADA, &format!("/preview approve {sha}"), "+1").await?;
        world.wait_ready(n, &sha).await?;
        world.check_live(n, &sha).await?;

        let commit = NewCommit { files: Change::page("something else").into(), ..NewCommit::default() };
        let pushed = world.control.push(&world.repository, n, &commit).await?;
        world.publish_image(&pushed).await?;
        let told = world.wait_comment(n, &["comes from a fork", "/preview approve"], PATIENCE).await?;
        ensure!(!told.body.contains(&said(&sha)), "{}", told.body);
        until("the removal", PATIENCE, async || {
            Ok(world.cluster.namespace(&world.namespace(n)).await?.is_none().then_some(()))
        })
        .await
    })
    .await
}
