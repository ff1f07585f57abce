//! A sleeping preview gets its replicas back.

use std::time::Duration;

use seatrial_engine::{Context, Failure, Workflow};
use seatrial_preview::PullRequestRef;
use seatrial_preview::comment::CommentState;
use seatrial_preview::environment::{Direction, Environment};
use seatrial_preview::ports::{Fact, Rollout};
use serde::{Deserialize, Serialize};

use crate::World;
use crate::conversation::Conversation;
use crate::failures::{diagnosis, failure};
use crate::preview_up::{RETRIES, UNTIL_GITHUB_IS_BACK, UNTIL_KUBERNETES_IS_BACK, unless_github_refuses};
use crate::rollout::await_rollout;
use crate::waits::await_place;

const MINUTE: Duration = Duration::from_secs(60);
/// It has been ready before, and its image is on a node.
const READY_AGAIN: Duration = Duration::from_secs(180);
const ADVICE: &str = "Look at the pods and their logs, then deploy again.";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Input {
    pub at: PullRequestRef,
    /// `visit`, `manual`: what started it.
    pub trigger: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Awake,
    /// It does not sleep, or is not there.
    LeftAlone,
}

pub struct PreviewWake {
    world: World,
}

impl PreviewWake {
    pub fn new(world: World) -> Self {
        Self { world }
    }

    async fn wake(&self, cx: &Context, environment: &Environment) -> Result<Rollout, Failure> {
        let cluster = &self.world.cluster;
        cx.step("scale", || async { cluster.scale_back(&environment.namespace).await.map_err(failure) })
            .retry(UNTIL_KUBERNETES_IS_BACK)
            .timeout(MINUTE)
            .await?;
        let ready = cx
            .step("rollout", || {
                let woken = await_rollout(&self.world, cx, environment, READY_AGAIN, ADVICE);
                self.world.masked(&environment.at.repository, woken)
            })
            .retry(UNTIL_KUBERNETES_IS_BACK);
        ready.timeout(READY_AGAIN + MINUTE).await
    }

    async fn report_failure(
        &self,
        cx: &Context,
        conversation: &Conversation,
        environment: &Environment,
        failed: &Failure,
    ) -> Result<(), Failure> {
        let diagnosis = diagnosis("rollout", failed);
        let fact = Fact::Failed(diagnosis.clone());
        self.world.environments.remember(environment.id, fact).await.map_err(failure)?;
        let state = CommentState::Failed { step: "rollout".to_owned(), diagnosis, steps: Vec::new() };
        unless_github_refuses(conversation.say(cx, &state).await)
    }
}

impl Workflow for PreviewWake {
    const NAME: &'static str = Direction::Wake.workflow();
    const VERSION: u32 = 1;
    const STEPS: &'static [&'static str] = &["look", "place", "scale", "rollout", "record", "report"];
    type Input = Input;
    type Output = Outcome;

    async fn run(&self, cx: Context, input: Input) -> Result<Outcome, Failure> {
        let environments = &self.world.environments;
        let found = cx
            .step("look", || async {
                let found = environments.find(&input.at).await.map_err(failure)?;
                Ok::<_, Failure>(found.filter(|environment| environment.life.asleep_since.is_some()))
            })
            .retry(RETRIES)
            .await?;
        let Some(environment) = found else { return Ok(Outcome::LeftAlone) };
        let sha = environment.live_sha.clone().unwrap_or_else(|| environment.head_sha.clone());
        let conversation = Conversation::new(&self.world, &environment, &sha);
        match await_place(&self.world, &cx, &conversation, &environment).await {
            Err(cancelled) if cancelled.is_cancelled() && !cancelled.is_superseded() => {
                let leave = || async { environments.remember(environment.id, Fact::LeftLine).await.map_err(failure) };
                cx.shielded("cancelled").step("leave_line", leave).timeout(MINUTE).await?;
                return Err(cancelled);
            }
            waited => waited?,
        }
        match self.wake(&cx, &environment).await {
            Err(cancelled) if cancelled.is_cancelled() => return Err(cancelled),
            Err(failed) => {
                let cx = cx.scope("failed");
                cx.step("report", || self.report_failure(&cx, &conversation, &environment, &failed))
                    .retry(UNTIL_GITHUB_IS_BACK)
                    .timeout(MINUTE)
                    .await?;
                return Err(failed);
            }
            Ok(_) => {}
        }
        let awake = || async { environments.remember(environment.id, Fact::Asleep(false)).await.map_err(failure) };
        cx.step("record", awake).retry(RETRIES).await?;
        let report = || async {
            let state = CommentState::Ready {
                url: environment.url.clone(),
                took: (cx.now() - cx.started_at()).to_std().unwrap_or_default(),
                steps: Vec::new(),
                notes: vec!["It slept and was woken.".to_owned()],
            };
            unless_github_refuses(conversation.say(&cx, &state).await)
        };
        cx.step("report", report).retry(UNTIL_GITHUB_IS_BACK).timeout(MINUTE).await?;
        Ok(Outcome::Awake)
    }
}
