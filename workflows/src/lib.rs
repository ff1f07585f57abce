//! The workflows of Seatrial, and how they are started.

use std::sync::Arc;

use seatrial_engine::{Failure, NewRun, OnConflict, Registry};
use seatrial_preview::PullRequestRef;
use seatrial_preview::ports::{Cluster, Environments, Forge, Releases};
use seatrial_preview::pull_request::PullRequest;

mod conversation;
mod failures;
mod health;
pub mod preview_down;
pub mod preview_up;

pub use preview_down::PreviewDown;
pub use preview_up::PreviewUp;

/// What the workflows act on.
#[derive(Clone)]
pub struct World {
    pub cluster: Arc<dyn Cluster>,
    pub forge: Arc<dyn Forge>,
    pub releases: Arc<dyn Releases>,
    pub environments: Arc<dyn Environments>,
    pub links: Links,
}

/// Where people are sent.
#[derive(Debug, Clone)]
pub struct Links {
    /// Seatrial's own pages, without a slash at the end; `None` when they cannot be reached from
    /// outside.
    pub public_url: Option<String>,
    /// How a repository is set up.
    pub docs_url: Option<String>,
}

/// The list.
pub fn registry(world: &World) -> Registry {
    Registry::new().with(PreviewUp::new(world.clone())).with(PreviewDown::new(world.clone()))
}

/// A deployment of the pull request's newest commit; supersedes what runs for it, unless only its
/// labels changed. `seen` is the
/// pull request as an event described it.
///
/// # Errors
/// Never in practice: when the input is not JSON.
pub fn deploy(at: &PullRequestRef, seen: Option<PullRequest>, trigger: &str) -> Result<NewRun, Failure> {
    let input = preview_up::Input { at: at.clone(), seen, trigger: trigger.to_owned() };
    // A label does not change what is deployed: what runs for the pull request is let finish.
    let on_conflict = if preview_up::changes_labels(trigger) { OnConflict::Queue } else { OnConflict::Supersede };
    Ok(NewRun::of::<PreviewUp>(&input)?.key(at.to_string(), on_conflict))
}

/// The teardown of the pull request's preview; supersedes what runs for it.
///
/// # Errors
/// Never in practice: when the input is not JSON.
pub fn remove(at: &PullRequestRef, trigger: &str) -> Result<NewRun, Failure> {
    let input = preview_down::Input { at: at.clone(), trigger: trigger.to_owned() };
    Ok(NewRun::of::<PreviewDown>(&input)?.key(at.to_string(), OnConflict::Supersede))
}
