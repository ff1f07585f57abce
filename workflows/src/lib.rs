//! The workflows of Seatrial, and how they are started.

use std::sync::Arc;

use seatrial_engine::{Failure, Missed, NewRun, OnConflict, Registry, Schedule, Workflow};
use seatrial_preview::PullRequestRef;
use seatrial_preview::event::CommandComment;
use seatrial_preview::life::Capacity;
use seatrial_preview::ports::{Cluster, Environments, Forge, Images, ProjectSecrets, Releases};
use seatrial_preview::pull_request::PullRequest;

mod admission;
pub mod command;
mod conversation;
mod failures;
mod health;
mod masking;
pub mod preview_down;
pub mod preview_sleep;
pub mod preview_up;
pub mod preview_wake;
pub mod reconcile;
mod rollout;
pub mod sweep;
mod waits;

use command::Door;

pub use command::CommandRun;
pub use preview_down::PreviewDown;
pub use preview_sleep::PreviewSleep;
pub use preview_up::PreviewUp;
pub use preview_wake::PreviewWake;
pub use reconcile::Reconcile;
pub use sweep::Sweep;

/// What the workflows act on.
#[derive(Clone)]
pub struct World {
    pub cluster: Arc<dyn Cluster>,
    pub forge: Arc<dyn Forge>,
    pub releases: Arc<dyn Releases>,
    pub images: Arc<dyn Images>,
    pub environments: Arc<dyn Environments>,
    pub secrets: Arc<dyn ProjectSecrets>,
    /// Where commands of people are carried out.
    pub door: Arc<dyn Door>,
    pub links: Links,
    pub capacity: CapacityRules,
}

/// How many previews there may be, and what is done when there is no room.
#[derive(Debug, Clone, Copy, Default)]
pub struct CapacityRules {
    pub limits: Capacity,
    /// Put the preview to sleep that was idle for longest.
    pub sleep_to_make_room: bool,
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
    Registry::new()
        .with(PreviewUp::new(world.clone()))
        .with(PreviewDown::new(world.clone()))
        .with(PreviewSleep::new(world.clone()))
        .with(PreviewWake::new(world.clone()))
        .with(CommandRun::new(world.clone()))
        .with(Reconcile::new(world.clone()))
        .with(Sweep::new(world.clone()))
}

/// What the clock starts: each once at a time, however many programs there are.
///
/// # Errors
/// Never in practice: when an expression or an input is not what it should be.
pub fn schedules() -> Result<Vec<Schedule>, Failure> {
    let schedule = |name: &str, cron: &str, run: NewRun| {
        let run = run.key(name, OnConflict::Reject);
        Ok(Schedule { name: name.to_owned(), cron: cron.parse()?, missed: Missed::Skip, run })
    };
    Ok(vec![
        schedule(Reconcile::NAME, "*/5 * * * *", NewRun::of::<Reconcile>(&reconcile::Input {})?)?,
        schedule(Sweep::NAME, "* * * * *", NewRun::of::<Sweep>(&sweep::Input {})?)?,
    ])
}

/// A reconciliation now, from the beginning: one that was interrupted has looked at things as they
/// were then.
///
/// # Errors
/// Never in practice: when the input is not JSON.
pub fn reconcile_now() -> Result<NewRun, Failure> {
    Ok(NewRun::of::<Reconcile>(&reconcile::Input {})?.key(Reconcile::NAME, OnConflict::Supersede))
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

/// A deployment once the run that asks for it has ended.
///
/// # Errors
/// Never in practice: when the input is not JSON.
pub fn deploy_after(at: &PullRequestRef, trigger: &str) -> Result<NewRun, Failure> {
    let input = preview_up::Input { at: at.clone(), seen: None, trigger: trigger.to_owned() };
    Ok(NewRun::of::<PreviewUp>(&input)?.key(at.to_string(), OnConflict::Queue))
}

/// A deployment that nobody asked for just now: refused while anything runs for the pull request.
///
/// # Errors
/// Never in practice: when the input is not JSON.
pub fn deploy_idle(at: &PullRequestRef, trigger: &str) -> Result<NewRun, Failure> {
    let input = preview_up::Input { at: at.clone(), seen: None, trigger: trigger.to_owned() };
    Ok(NewRun::of::<PreviewUp>(&input)?.key(at.to_string(), OnConflict::Reject))
}

/// The teardown of a preview that nobody asked for just now: refused while anything runs for the
/// pull request.
///
/// # Errors
/// Never in practice: when the input is not JSON.
pub fn remove_idle(at: &PullRequestRef, trigger: &str) -> Result<NewRun, Failure> {
    let input = preview_down::Input { at: at.clone(), trigger: trigger.to_owned() };
    Ok(NewRun::of::<PreviewDown>(&input)?.key(at.to_string(), OnConflict::Reject))
}

/// What a `/preview …` comment asks for.
///
/// # Errors
/// Never in practice: when the input is not JSON.
pub fn command(comment: CommandComment) -> Result<NewRun, Failure> {
    NewRun::of::<CommandRun>(&comment)
}

/// The preview is scaled to zero; refused while anything runs for the pull request.
///
/// # Errors
/// Never in practice: when the input is not JSON.
pub fn sleep(at: &PullRequestRef, trigger: &str) -> Result<NewRun, Failure> {
    let input = preview_sleep::Input { at: at.clone(), trigger: trigger.to_owned() };
    Ok(NewRun::of::<PreviewSleep>(&input)?.key(at.to_string(), OnConflict::Reject))
}

/// A sleeping preview is woken; refused while anything runs for the pull request.
///
/// # Errors
/// Never in practice: when the input is not JSON.
pub fn wake(at: &PullRequestRef, trigger: &str) -> Result<NewRun, Failure> {
    let input = preview_wake::Input { at: at.clone(), trigger: trigger.to_owned() };
    Ok(NewRun::of::<PreviewWake>(&input)?.key(at.to_string(), OnConflict::Reject))
}

/// The teardown of the pull request's preview; supersedes what runs for it.
///
/// # Errors
/// Never in practice: when the input is not JSON.
pub fn remove(at: &PullRequestRef, trigger: &str) -> Result<NewRun, Failure> {
    let input = preview_down::Input { at: at.clone(), trigger: trigger.to_owned() };
    Ok(NewRun::of::<PreviewDown>(&input)?.key(at.to_string(), OnConflict::Supersede))
}
