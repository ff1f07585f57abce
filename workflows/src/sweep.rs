//! What the time asks for: previews that nobody uses are warned of, put to sleep and deleted.

use std::time::Duration;

use seatrial_engine::{Context, Failure, Workflow};
use seatrial_preview::comment::Notice;
use seatrial_preview::environment::{Environment, EnvironmentState};
use seatrial_preview::life::Due;
use seatrial_preview::ports::Fact;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::World;
use crate::conversation::Conversation;
use crate::failures::failure;
use crate::preview_down::{self, PreviewDown};
use crate::preview_sleep::{self, PreviewSleep};
use crate::preview_up::{RETRIES, unless_github_refuses};

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Input {}

/// How much there was to do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub warned: u32,
    #[serde(default)]
    pub warnings_taken_back: u32,
    pub put_to_sleep: u32,
    pub deleted: u32,
}

pub struct Sweep {
    world: World,
}

impl Sweep {
    pub fn new(world: World) -> Self {
        Self { world }
    }

    async fn look(&self, cx: &Context) -> Result<Vec<(Environment, Due)>, Failure> {
        let standing = self.world.environments.list_standing().await.map_err(failure)?;
        let due = standing.into_iter().filter(|one| !one.busy).filter_map(|one| {
            let due = one.environment.life.due(cx.now()).or_else(|| stale_warning(&one.environment))?;
            let holds = match one.state {
                EnvironmentState::Running => true,
                EnvironmentState::Sleeping | EnvironmentState::Failed => due != Due::Sleep,
                // There is nothing in the cluster, or it is being dealt with.
                EnvironmentState::Refused
                | EnvironmentState::Queued
                | EnvironmentState::Deploying
                | EnvironmentState::Deleting
                | EnvironmentState::Deleted => false,
            };
            holds.then_some((one.environment, due))
        });
        Ok(due.collect())
    }

    /// The notice first: nothing is deleted that was not warned of.
    async fn warn(&self, cx: &Context, environment: &Environment) -> Result<(), Failure> {
        let mut life = environment.life.clone();
        life.warned_at = Some(cx.now());
        let Some(at) = life.goes_at() else { return Ok(()) };
        let conversation = Conversation::new(&self.world, environment, &environment.head_sha);
        unless_github_refuses(conversation.notice(cx, Some(Notice::WillBeDeleted { at })).await)?;
        self.world.environments.remember(environment.id, Fact::Warned).await.map_err(failure)
    }

    async fn take_warning_back(&self, cx: &Context, environment: &Environment) -> Result<(), Failure> {
        let conversation = Conversation::new(&self.world, environment, &environment.head_sha);
        unless_github_refuses(conversation.notice(cx, None).await)
    }
}

/// The comment warns, and somebody has used the preview since.
fn stale_warning(environment: &Environment) -> Option<Due> {
    let warns = environment.said.as_ref().is_some_and(|said| said.warns);
    (warns && environment.life.warned_at.is_none()).then_some(Due::TakeWarningBack)
}

impl Workflow for Sweep {
    const NAME: &'static str = "sweep";
    const VERSION: u32 = 1;
    const STEPS: &'static [&'static str] = &["look"];
    type Input = Input;
    type Output = Outcome;

    async fn run(&self, cx: Context, _: Input) -> Result<Outcome, Failure> {
        let due = cx.step("look", || self.look(&cx)).retry(RETRIES).timeout(MINUTE).await?;
        let mut outcome = Outcome::default();
        for (environment, due) in &due {
            let cx = cx.scope(environment.namespace.as_str());
            let at = &environment.at;
            let (count, done) = match due {
                Due::Warn => {
                    // While GitHub is away the next sweep tries again.
                    let warned = cx.step("warn", || self.warn(&cx, environment)).timeout(MINUTE).await;
                    (&mut outcome.warned, warned)
                }
                Due::TakeWarningBack => {
                    let taken = cx.step("take_warning_back", || self.take_warning_back(&cx, environment));
                    (&mut outcome.warnings_taken_back, taken.timeout(MINUTE).await)
                }
                Due::Sleep => {
                    let run = crate::sleep(at, preview_sleep::IDLE)?;
                    (&mut outcome.put_to_sleep, cx.start_child::<PreviewSleep>("sleep", run).await.map(drop))
                }
                Due::Delete => {
                    let run = crate::remove_idle(at, preview_down::EXPIRED)?;
                    (&mut outcome.deleted, cx.start_child::<PreviewDown>("delete", run).await.map(drop))
                }
            };
            match done {
                Ok(()) => *count += 1,
                Err(cancelled) if cancelled.is_cancelled() => return Err(cancelled),
                // A run of it began meanwhile: it is in use.
                Err(refused) => warn!(preview = %at, reason = refused.message, "left to the next sweep"),
            }
        }
        Ok(outcome)
    }
}
