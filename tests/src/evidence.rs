//! What a failed test leaves behind.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use kube::ResourceExt;
use serde_json::json;

use crate::world::World;

/// Writes what can be had. The program's log and database are in the folder already.
pub(crate) async fn collect(world: &World, folder: &Path) {
    let parts = async {
        note("comments and statuses", conversation(world, folder).await);
        note("runs", runs(world, folder).await);
        note("cluster", cluster(world, folder).await);
    };
    if tokio::time::timeout(Duration::from_secs(30), parts).await.is_err() {
        eprintln!("the evidence is not complete: something did not answer");
    }
}

fn note(what: &str, outcome: Result<()>) {
    if let Err(error) = outcome {
        eprintln!("{what} could not be kept: {error:#}");
    }
}

async fn conversation(world: &World, folder: &Path) -> Result<()> {
    let mut text = String::new();
    for pull in world.control.pulls(&world.repository).await? {
        for comment in world.control.comments(&world.repository, pull.number).await? {
            for edit in &comment.history {
                writeln!(text, "=== #{} comment {} at {}\n{}\n", pull.number, comment.id, edit.at, edit.body)?;
            }
        }
    }
    std::fs::write(folder.join("comments.md"), text)?;
    let reported = json!({
        "statuses": world.control.statuses(&world.repository).await?,
        "deployments": world.deployments().await?,
        "requests": world.control.requests().await?.iter().map(|r| format!("{} {} {} {:?} {:?}", r.at, r.method, r.path, r.status, r.fault)).collect::<Vec<_>>(),
        "deliveries": world.control.deliveries().await?.iter().map(|d| format!("{} {} {:?} {:?}", d.at, d.event, d.action, d.status_code)).collect::<Vec<_>>(),
    });
    std::fs::write(folder.join("github.json"), format!("{reported:#}"))?;
    Ok(())
}

async fn runs(world: &World, folder: &Path) -> Result<()> {
    let (_, list) = world.rest.call(reqwest::Method::GET, "/runs?limit=200").await?;
    let list: serde_json::Value = serde_json::from_str(&list)?;
    let mut runs = Vec::new();
    for run in list["items"].as_array().into_iter().flatten() {
        let id = run["id"].as_str().unwrap_or_default();
        let (_, journal) = world.rest.call(reqwest::Method::GET, &format!("/runs/{id}")).await?;
        runs.push(serde_json::from_str::<serde_json::Value>(&journal)?);
    }
    std::fs::write(folder.join("runs.json"), format!("{:#}", serde_json::Value::from(runs)))?;
    Ok(())
}

async fn cluster(world: &World, folder: &Path) -> Result<()> {
    let mut text = String::new();
    for namespace in world.namespaces().await? {
        writeln!(text, "=== {namespace}\nreleases: {:?}", world.cluster.releases(&namespace).await?)?;
        for pod in world.cluster.pods(&namespace).await? {
            writeln!(text, "pod {}: {:#}", pod.name_any(), serde_json::to_value(&pod.status)?)?;
        }
        for event in world.cluster.events(&namespace).await? {
            let object = format!(
                "{}/{}",
                event.involved_object.kind.unwrap_or_default(),
                event.involved_object.name.unwrap_or_default()
            );
            let (reason, message) = (event.reason.unwrap_or_default(), event.message.unwrap_or_default());
            writeln!(text, "event {object} {reason}: {message}")?;
        }
    }
    std::fs::write(folder.join("cluster.txt"), text)?;
    Ok(())
}
