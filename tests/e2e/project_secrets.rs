//! Secrets of a project: in its previews, in nobody else's, and in nothing that is shown.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use reqwest::Method;
use seatrial_github_standin::{Author, NewPull, Permission};
use seatrial_tests::{Change, Options, PATIENCE, World};
use serde_json::json;

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
/// What the sample application says on its way down, too.
const DATABASE: &str = "shop-db:5432";

fn with_key() -> Options {
    Options { environment: vec![("SEATRIAL_ENCRYPTION_KEY", KEY), ("SEATRIAL_LOG", "debug")], ..Options::default() }
}

/// A team of its own that owns the world's repository.
async fn make_project(world: &World) -> Result<()> {
    world.rest.write(Method::POST, "/teams", json!({ "name": "payments" })).await?;
    let project = json!({ "repository": world.repository, "team": "payments" });
    world.rest.write(Method::POST, "/projects", project).await
}

fn secret(world: &World, name: &str) -> String {
    format!("/projects/{}/secrets/{name}", world.repository)
}

/// The keys and values of the preview's Secret.
async fn found(world: &World, number: u64) -> Result<Option<Vec<(String, String)>>> {
    let api: Api<Secret> = Api::namespaced(world.cluster.client(), &world.namespace(number));
    let Some(secret) = api.get_opt("project-secrets").await? else { return Ok(None) };
    let data = secret.data.unwrap_or_default().into_iter();
    Ok(Some(data.map(|(name, value)| (name, String::from_utf8_lossy(&value.0).into_owned())).collect()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn previews_get_their_projects_secrets_and_forks_do_not() -> Result<()> {
    World::tell_with("given", with_key(), async |world| {
        make_project(world).await?;
        for (name, value) in [("DATABASE_URL", "anchor-1"), ("OLD", "anchor-2")] {
            world.rest.write(Method::PUT, &secret(world, name), json!({ "value": value })).await?;
        }
        let pull = world.open_pull("branch", Change::page("branch")).await?;
        world.wait_ready(pull.number, &pull.sha).await?;
        let given = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let secrets = found(world, pull.number).await?;
        ensure!(secrets == Some(vec![given("DATABASE_URL", "anchor-1"), given("OLD", "anchor-2")]), "{secrets:?}");

        // The next deployment brings what was changed, and takes what was deleted.
        world.rest.write(Method::PUT, &secret(world, "DATABASE_URL"), json!({ "value": "anchor-3" })).await?;
        world.rest.write(Method::DELETE, &secret(world, "OLD"), json!({})).await?;
        let pushed = world.push(&pull, Change::page("pushed")).await?;
        world.wait_ready(pull.number, &pushed).await?;
        let secrets = found(world, pull.number).await?;
        ensure!(secrets == Some(vec![given("DATABASE_URL", "anchor-3")]), "{secrets:?}");

        world.control.set_permission(&world.repository, "ada", Permission::Write).await?;
        let fork = world.control.fork(&world.repository, "stranger").await?;
        let new = NewPull {
            title: "From a fork".to_owned(),
            author: Author::user("stranger"),
            head_repository: Some(format!("{}/{}", fork.owner, fork.name)),
            head: "theirs".to_owned(),
            files: Change::page("theirs").into(),
            ..NewPull::default()
        };
        let theirs = world.control.open_pull(&world.repository, &new).await?;
        world.publish_image(&theirs.head_sha).await?;
        world.wait_comment(theirs.number, &["comes from a fork"], PATIENCE).await?;
        let order = format!("/preview approve {}", theirs.head_sha);
        world.control.comment(&world.repository, theirs.number, &Author::user("ada"), &order).await?;
        world.wait_ready(theirs.number, &theirs.head_sha).await?;
        let secrets = found(world, theirs.number).await?;
        ensure!(secrets.is_none(), "a fork's preview was given {secrets:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_application_says_is_shown_without_its_secrets() -> Result<()> {
    World::tell_with("masked", with_key(), async |world| {
        make_project(world).await?;
        world.rest.write(Method::PUT, &secret(world, "DATABASE"), json!({ "value": DATABASE })).await?;
        let pull = world.open_pull("crash", Change::values(&[("crash", "true")])).await?;
        let n = pull.number;
        let comment = world.wait_comment(n, &["Preview failed at rollout"], PATIENCE).await?;
        ensure!(comment.body.contains("cannot connect to database ***"), "{}", comment.body);
        let failed = world.wait_run(n, "preview_up").await?;
        let namespace = world.namespace(n);
        let mut shown = world.rest.logs(&namespace).await?;
        ensure!(shown.contains("***"), "the log says nothing of it: {shown}");
        shown += &world.rest.failure(&namespace).await?.to_string();
        shown += &world.rest.why_not_ready(&namespace).await?.to_string();
        for path in [format!("/runs/{}", failed.id), "/audit".to_owned(), format!("/previews/{namespace}")] {
            shown += &world.rest.call(Method::GET, &path).await?.1;
        }
        for comment in world.control.comments(&world.repository, n).await? {
            shown += &format!("{comment:?}");
        }
        shown += &std::fs::read_to_string(world.program.log())?;
        ensure!(!shown.contains(DATABASE), "the secret is shown");
        Ok(())
    })
    .await
}
