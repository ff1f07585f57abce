//! A preview goes away, and the receipt says so.

use std::time::Duration;

use seatrial_engine::{Backoff, Context, Failure, Workflow};
use seatrial_preview::comment::CommentState;
use seatrial_preview::environment::{Direction, Environment, Receipt};
use seatrial_preview::failure::{Diagnosis, Reason};
use seatrial_preview::life::Due;
use seatrial_preview::ports::{Fact, Ownership};
use seatrial_preview::{Error, PullRequestRef};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::World;
use crate::conversation::{Conversation, step_lines};
use crate::failures::{diagnosis, failure};
use crate::preview_up::{PreviewUp, RELEASE, UNTIL_GITHUB_IS_BACK, unless_github_refuses};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Input {
    pub at: PullRequestRef,
    /// `closed`, `manual: …`, [`EXPIRED`], [`ORPHANED`]: what started it.
    pub trigger: String,
}

/// Started by the sweep: looked at again before anything is done.
pub const EXPIRED: &str = "expired";
/// GitHub's word for it, also when it was merged.
const CLOSED: &str = "closed";
/// Its pull request was found closed.
pub const ORPHANED: &str = "orphaned";

/// How a teardown ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The pull request never had an environment, or it was used before its time was over.
    Nothing,
    /// A namespace of its name is somebody else's; it was left untouched.
    NotOurs,
    Deleted {
        receipt: Receipt,
    },
}

/// Whether there is something to remove.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Found {
    Environment(Box<Environment>),
    /// The pull request is open.
    Open {
        is_open: bool,
    },
    Nothing,
}

/// What was there before the teardown began.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Contents {
    owner: Ownership,
    contents: Vec<String>,
    release_uninstalled: bool,
}

/// A cluster that was away may come back: it is asked again for about an hour.
const PATIENT: Backoff = Backoff { retries: 20, first: Duration::from_secs(1), max: Duration::from_secs(300) };
const MINUTE: Duration = Duration::from_secs(60);
/// After this long something holds the namespace, and people are told what (FR-008: 5 minutes).
const TERMINATION: Duration = Duration::from_secs(240);

pub struct PreviewDown {
    world: World,
}

impl PreviewDown {
    pub fn new(world: World) -> Self {
        Self { world }
    }
}

impl Workflow for PreviewDown {
    const NAME: &'static str = Direction::Down.workflow();
    const VERSION: u32 = 1;
    const STEPS: &'static [&'static str] = &["announce", "uninstall", "delete", "gone", "report"];
    type Input = Input;
    type Output = Outcome;

    async fn run(&self, cx: Context, input: Input) -> Result<Outcome, Failure> {
        let found = cx.step("announce", || self.announce(&cx, &input)).retry(PATIENT).timeout(MINUTE).await?;
        let environment = match found {
            Found::Environment(environment) => *environment,
            Found::Nothing => return Ok(Outcome::Nothing),
            // Events came in another order than things happened; what this one superseded goes on.
            Found::Open { .. } => {
                cx.start_child::<PreviewUp>("deploy", crate::deploy_after(&input.at, "open after all")?).await?;
                return Ok(Outcome::Nothing);
            }
        };
        let conversation = Conversation::new(&self.world, &environment, &environment.head_sha);
        match self.remove(&cx, &environment, &input.trigger).await {
            Ok(receipt) => {
                let report = || async {
                    match &receipt {
                        Some(receipt) => self.report(&cx, &conversation, &environment, receipt).await,
                        None => self.report_not_ours(&cx, &conversation, &environment).await,
                    }
                };
                cx.step("report", report).retry(UNTIL_GITHUB_IS_BACK).timeout(2 * MINUTE).await?;
                Ok(receipt.map_or(Outcome::NotOurs, |receipt| Outcome::Deleted { receipt }))
            }
            // Reopened: the new run takes over where this one stopped.
            Err(cancelled) if cancelled.is_cancelled() => Err(cancelled),
            Err(failed) => {
                let cx = cx.scope("failed");
                cx.step("report", || self.report_failure(&cx, &conversation, &environment, &failed))
                    .retry(UNTIL_GITHUB_IS_BACK)
                    .timeout(MINUTE)
                    .await?;
                Err(failed)
            }
        }
    }
}

impl PreviewDown {
    async fn announce(&self, cx: &Context, input: &Input) -> Result<Found, Failure> {
        let found = self.world.environments.find(&input.at).await.map_err(failure)?;
        let Some(environment) = found else { return Ok(Found::Nothing) };
        if input.trigger == EXPIRED && environment.life.due(cx.now()) != Some(Due::Delete) {
            // It was used meanwhile.
            return Ok(Found::Nothing);
        }
        if matches!(input.trigger.as_str(), CLOSED | ORPHANED) && self.is_open(&input.at).await {
            return Ok(Found::Open { is_open: true });
        }
        // Where nothing was deployed the comment says why, and goes on saying so.
        if environment.refusal.is_none() {
            let conversation = Conversation::new(&self.world, &environment, &environment.head_sha);
            let steps = step_lines(Self::STEPS, &cx.timeline());
            let said = tokio::time::timeout(Duration::from_secs(10), async {
                conversation.comment(cx, &CommentState::Deleting { steps }).await
            });
            if let Ok(Err(e)) = said.await {
                warn!(error = %e, "the teardown could not be announced; it goes on");
            }
        }
        Ok(Found::Environment(Box::new(environment)))
    }

    /// Whether GitHub says so; while it cannot be asked, what the event said counts.
    async fn is_open(&self, at: &PullRequestRef) -> bool {
        let asked = tokio::time::timeout(Duration::from_secs(10), self.world.forge.load_pull_request(at)).await;
        matches!(asked, Ok(Ok(pull_request)) if pull_request.is_open())
    }

    /// From whatever is there to a namespace that is verified gone. Without a receipt when the
    /// namespace is somebody else's.
    pub(crate) async fn remove(
        &self,
        cx: &Context,
        environment: &Environment,
        trigger: &str,
    ) -> Result<Option<Receipt>, Failure> {
        let found = cx.step("uninstall", || self.uninstall(environment)).retry(PATIENT).timeout(10 * MINUTE).await?;
        if found.owner == Ownership::Foreign {
            return Ok(None);
        }
        cx.step("delete", || self.delete_namespace(environment)).retry(PATIENT).timeout(MINUTE).await?;
        let gone = cx.step("gone", || self.await_gone(cx, environment, &found, trigger));
        gone.retry(PATIENT).timeout(TERMINATION + MINUTE).await.map(Some)
    }

    /// Keeps the receipt.
    pub(crate) async fn record(&self, environment: &Environment, receipt: &Option<Receipt>) -> Result<(), Failure> {
        let Some(receipt) = receipt else { return Ok(()) };
        let deleted = Fact::Deleted(receipt.clone());
        self.world.environments.remember(environment.id, deleted).await.map_err(failure)
    }

    /// Uninstalls the release, so that its hooks run and what it made outside its namespace goes
    /// too. What Helm cannot do must not keep the namespace alive.
    async fn uninstall(&self, environment: &Environment) -> Result<Contents, Failure> {
        let World { cluster, releases, .. } = &self.world;
        let namespace = &environment.namespace;
        let owner = cluster.find_owner(namespace, &environment.owner()).await.map_err(failure)?;
        if owner != Ownership::Ours {
            return Ok(Contents { owner, contents: Vec::new(), release_uninstalled: false });
        }
        let uninstalled = async {
            let contents = cluster.list_contents(namespace).await?;
            let access = cluster.helm_access(namespace).await?;
            Ok((contents, releases.uninstall(namespace, &access, RELEASE).await?))
        };
        let (contents, release_uninstalled) = match uninstalled.await {
            Ok(found) => found,
            Err(e) if Error::is_transient(&e) => return Err(failure(e)),
            Err(e) => {
                warn!(error = %e, "Helm could not uninstall the release; its namespace is deleted all the same");
                (Vec::new(), false)
            }
        };
        Ok(Contents { owner, contents, release_uninstalled })
    }

    async fn delete_namespace(&self, environment: &Environment) -> Result<(), Failure> {
        match self.world.cluster.delete_namespace(&environment.namespace, &environment.owner()).await {
            Err(e) if e.is_not_found() => Ok(()),
            other => other.map_err(failure),
        }
    }

    async fn await_gone(
        &self,
        cx: &Context,
        environment: &Environment,
        found: &Contents,
        trigger: &str,
    ) -> Result<Receipt, Failure> {
        self.world.cluster.await_namespace_gone(&environment.namespace, TERMINATION).await.map_err(failure)?;
        let now = cx.now();
        Ok(Receipt {
            namespace: environment.namespace.clone(),
            trigger: trigger.to_owned(),
            removed: found.contents.clone(),
            release_uninstalled: found.release_uninstalled,
            verified_gone_at: now,
            took_ms: u64::try_from((now - cx.started_at()).num_milliseconds()).unwrap_or_default(),
        })
    }

    async fn report(
        &self,
        cx: &Context,
        conversation: &Conversation,
        environment: &Environment,
        receipt: &Receipt,
    ) -> Result<(), Failure> {
        self.record(environment, &Some(receipt.clone())).await?;
        // Where nothing was deployed the comment says why, and goes on saying so.
        if environment.refusal.is_some() {
            return Ok(());
        }
        let state = CommentState::Deleted { receipt: receipt.clone() };
        unless_github_refuses(conversation.end_deployments("The preview was deleted").await)?;
        // Its link led to the preview.
        unless_github_refuses(conversation.commit_status(&state).await)?;
        unless_github_refuses(conversation.last_comment(cx, &state).await)
    }

    /// Nothing is known to be there, and nobody is left waiting for a receipt.
    async fn report_not_ours(
        &self,
        cx: &Context,
        conversation: &Conversation,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let namespace = &environment.namespace;
        let diagnosis = Diagnosis {
            reason: Reason::NamespaceConflict,
            culprit: format!("namespace {namespace}"),
            summary: format!("The namespace {namespace} is somebody else's, so nothing was removed."),
            advice: "Ask whoever runs the cluster whose it is.".to_owned(),
            evidence: Vec::new(),
        };
        self.world.environments.remember(environment.id, Fact::NotOurs(diagnosis.clone())).await.map_err(failure)?;
        if environment.refusal.is_some() {
            return Ok(());
        }
        let state = CommentState::Failed { step: "uninstall".to_owned(), diagnosis, steps: Vec::new() };
        unless_github_refuses(conversation.end_deployments("There is no preview").await)?;
        unless_github_refuses(conversation.last_comment(cx, &state).await)
    }

    async fn report_failure(
        &self,
        cx: &Context,
        conversation: &Conversation,
        environment: &Environment,
        failed: &Failure,
    ) -> Result<(), Failure> {
        let timeline = cx.timeline();
        let step = timeline.iter().find(|step| step.failed).map_or("delete", |step| step.key.name.as_str());
        let diagnosis = diagnosis(step, failed);
        self.world.environments.remember(environment.id, Fact::Failed(diagnosis.clone())).await.map_err(failure)?;
        let state =
            CommentState::Failed { step: step.to_owned(), diagnosis, steps: step_lines(Self::STEPS, &timeline) };
        unless_github_refuses(conversation.last_comment(cx, &state).await)
    }
}
