//! A `/preview …` comment: whether its author may, what becomes of it, and the answer.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use seatrial_engine::{Context, Failure, RunId, Workflow};
use seatrial_preview::command::Command;
use seatrial_preview::comment::{Answer, Notice};
use seatrial_preview::event::CommandComment;
use seatrial_preview::ports::{Fact, Reaction};
use seatrial_preview::{Error, PullRequestRef, Result as PortResult};
use serde::{Deserialize, Serialize};

use crate::World;
use crate::conversation::Conversation;
use crate::failures::failure;
use crate::preview_up::{RETRIES, UNTIL_GITHUB_IS_BACK, unless_github_refuses};

const MINUTE: Duration = Duration::from_secs(60);

/// What somebody with write access asks for.
#[derive(Debug, Clone)]
pub struct Order {
    pub at: PullRequestRef,
    pub command: Command,
    /// Their login on GitHub.
    pub by: String,
    /// The same order has the same id, however often it is given.
    pub id: RunId,
}

/// Where orders are carried out: the operations that every other way in calls, too.
#[async_trait]
pub trait Door: Send + Sync + 'static {
    /// The error's sentence is for whoever gave the order.
    async fn carry_out(&self, order: &Order) -> PortResult<Answer>;
}

/// The operations know the workflows; so this is opened when both are there.
#[derive(Clone, Default)]
pub struct LateDoor(Arc<OnceLock<Arc<dyn Door>>>);

impl LateDoor {
    /// Opened once; a second time changes nothing.
    pub fn open(&self, door: Arc<dyn Door>) {
        let _ = self.0.set(door);
    }
}

#[async_trait]
impl Door for LateDoor {
    async fn carry_out(&self, order: &Order) -> PortResult<Answer> {
        match self.0.get() {
            Some(door) => door.carry_out(order).await,
            None => Err(Error::transient("the program is only just starting")),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Strangers get a reaction and no more.
    NotPermitted,
    Answered {
        answer: Result<Answer, String>,
    },
}

pub struct CommandRun {
    world: World,
}

impl CommandRun {
    pub fn new(world: World) -> Self {
        Self { world }
    }

    async fn carry_out(&self, cx: &Context, comment: &CommandComment) -> Result<Result<Answer, String>, Failure> {
        let command = match Command::parse(&comment.line) {
            Ok(command) => command,
            Err(e) => return Ok(Err(e.message)),
        };
        let order = Order { at: comment.at.clone(), command, by: comment.author.clone(), id: cx.run_id() };
        match self.world.door.carry_out(&order).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(e) if e.is_transient() => Err(failure(e)),
            Err(e) => Ok(Err(e.message)),
        }
    }

    async fn react(&self, comment: &CommandComment, reaction: Reaction) -> Result<(), Failure> {
        let reacted = self.world.forge.react(&comment.at.repository, comment.comment, reaction).await;
        unless_github_refuses(reacted)
    }

    /// Where a run of its own speaks for what was asked, that is the answer.
    async fn answer(
        &self,
        cx: &Context,
        comment: &CommandComment,
        outcome: &Result<Answer, String>,
    ) -> Result<(), Failure> {
        let Some(environment) = self.world.environments.find(&comment.at).await.map_err(failure)? else {
            return Ok(());
        };
        if outcome.is_ok() {
            self.world.environments.remember(environment.id, Fact::Used).await.map_err(failure)?;
        }
        if outcome.as_ref().is_ok_and(is_told_by_its_run) {
            return Ok(());
        }
        let conversation = Conversation::new(&self.world, &environment, &environment.head_sha);
        let notice =
            Notice::Answer { by: comment.author.clone(), line: comment.line.clone(), outcome: outcome.clone() };
        unless_github_refuses(conversation.notice(cx, Some(notice)).await)
    }
}

fn is_told_by_its_run(answer: &Answer) -> bool {
    match answer {
        Answer::Deploying
        | Answer::Retrying
        | Answer::Deleting
        | Answer::FallingAsleep
        | Answer::Waking
        | Answer::Approved { .. } => true,
        Answer::KeptUntil { .. } | Answer::Pinned | Answer::Unpinned | Answer::Logs { .. } | Answer::Help => false,
    }
}

impl Workflow for CommandRun {
    const NAME: &'static str = "command";
    const VERSION: u32 = 1;
    const STEPS: &'static [&'static str] = &["permission", "carry_out", "react", "answer"];
    type Input = CommandComment;
    type Output = Outcome;

    async fn run(&self, cx: Context, comment: CommandComment) -> Result<Outcome, Failure> {
        let may =
            || async { self.world.forge.can_write(&comment.at.repository, &comment.author).await.map_err(failure) };
        if !cx.step("permission", may).retry(UNTIL_GITHUB_IS_BACK).timeout(MINUTE).await? {
            cx.step("react", || self.react(&comment, Reaction::Confused)).retry(RETRIES).timeout(MINUTE).await?;
            return Ok(Outcome::NotPermitted);
        }
        let answer = cx.step("carry_out", || self.carry_out(&cx, &comment)).retry(RETRIES).timeout(MINUTE).await?;
        let reaction = if answer.is_ok() { Reaction::ThumbsUp } else { Reaction::Confused };
        cx.step("react", || self.react(&comment, reaction)).retry(UNTIL_GITHUB_IS_BACK).timeout(MINUTE).await?;
        cx.step("answer", || self.answer(&cx, &comment, &answer)).retry(UNTIL_GITHUB_IS_BACK).timeout(MINUTE).await?;
        Ok(Outcome::Answered { answer })
    }
}
