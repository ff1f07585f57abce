//! A preview that nobody uses is scaled to zero; opening it wakes it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use seatrial_engine::{Context, Failure, Workflow};
use seatrial_preview::PullRequestRef;
use seatrial_preview::comment::CommentState;
use seatrial_preview::environment::{Direction, Environment, EnvironmentState, Standing};
use seatrial_preview::life::Due;
use seatrial_preview::ports::Fact;
use serde::{Deserialize, Serialize};

use crate::World;
use crate::conversation::Conversation;
use crate::failures::failure;
use crate::preview_up::{RETRIES, UNTIL_GITHUB_IS_BACK, unless_github_refuses};

/// Started by the sweep: looked at again before anything is done.
pub const IDLE: &str = "idle";
/// Another preview needs the place.
pub const MAKE_ROOM: &str = "make room";
const MINUTE: Duration = Duration::from_secs(60);
/// What was used within this time is not put to sleep for the sake of another.
const IN_USE: chrono::TimeDelta = chrono::TimeDelta::minutes(10);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Input {
    pub at: PullRequestRef,
    /// [`IDLE`], [`MAKE_ROOM`], `manual`: what started it.
    pub trigger: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Asleep,
    /// It was used meanwhile, sleeps already, or is not there.
    LeftAlone,
}

pub struct PreviewSleep {
    world: World,
}

impl PreviewSleep {
    pub fn new(world: World) -> Self {
        Self { world }
    }

    /// The environment, if it is still to be put to sleep.
    async fn look(&self, cx: &Context, input: &Input) -> Result<Option<Environment>, Failure> {
        let Some(environment) = self.world.environments.find(&input.at).await.map_err(failure)? else {
            return Ok(None);
        };
        let life = &environment.life;
        let wanted = match input.trigger.as_str() {
            IDLE => life.due(cx.now()) == Some(Due::Sleep),
            MAKE_ROOM => !life.pinned && life.active_at <= cx.now() - IN_USE,
            _ => true,
        };
        Ok((wanted && environment.live_sha.is_some() && life.asleep_since.is_none()).then_some(environment))
    }
}

impl Workflow for PreviewSleep {
    const NAME: &'static str = Direction::Sleep.workflow();
    const VERSION: u32 = 1;
    const STEPS: &'static [&'static str] = &["look", "record", "scale", "report"];
    type Input = Input;
    type Output = Outcome;

    async fn run(&self, cx: Context, input: Input) -> Result<Outcome, Failure> {
        let found = cx.step("look", || self.look(&cx, &input)).retry(RETRIES).await?;
        let Some(environment) = found else { return Ok(Outcome::LeftAlone) };
        let World { cluster, environments, .. } = &self.world;
        // On record first: whoever opens it while it is scaled down wakes it.
        cx.step("record", || async {
            environments.remember(environment.id, Fact::Asleep(true)).await.map_err(failure)
        })
        .retry(RETRIES)
        .await?;
        cx.step("scale", || async { cluster.scale_to_zero(&environment.namespace).await.map_err(failure) })
            .retry(RETRIES)
            .timeout(MINUTE)
            .await?;
        cx.step("report", || async {
            let sha = environment.live_sha.as_ref().unwrap_or(&environment.head_sha);
            let conversation = Conversation::new(&self.world, &environment, sha);
            let state = CommentState::Sleeping { url: environment.url.clone(), since: cx.now() };
            unless_github_refuses(conversation.last_comment(&cx, &state).await)
        })
        .retry(UNTIL_GITHUB_IS_BACK)
        .timeout(MINUTE)
        .await?;
        Ok(Outcome::Asleep)
    }
}

/// The preview, other than `waiting`, whose sleep harms least.
pub(crate) fn longest_idle(
    standing: Vec<Standing>,
    waiting: &Environment,
    now: DateTime<Utc>,
) -> Option<PullRequestRef> {
    standing
        .into_iter()
        .filter(|one| one.state == EnvironmentState::Running && !one.busy && one.environment.id != waiting.id)
        .filter(|one| !one.environment.life.pinned && one.environment.life.active_at <= now - IN_USE)
        .min_by_key(|one| one.environment.life.active_at)
        .map(|one| one.environment.at)
}
