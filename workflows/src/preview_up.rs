//! A pull request gets its preview.

use std::time::Duration;

use futures::future::try_join_all;
use seatrial_engine::{Backoff, Context, Failure, StepTime, Workflow};
use seatrial_preview::comment::{self, CommentState, StepLine, StepLineState};
use seatrial_preview::environment::{Direction, Environment};
use seatrial_preview::failure::{Diagnosis, Evidence, Reason};
use seatrial_preview::ports::{Fact, NamespaceSpec, Rollout};
use seatrial_preview::pull_request::PullRequest;
use seatrial_preview::release::{ChartSource, Release, ReleaseSpec};
use seatrial_preview::settings::{self, Admission, Computed, Refusal, Settings};
use seatrial_preview::{Error, PullRequestRef, Result as PortResult};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::World;
use crate::admission::{Admitted, admit};
use crate::conversation::{Conversation, step_lines};
use crate::failures::{diagnosis, failure};
use crate::health::{Health, check_health};
use crate::preview_down::PreviewDown;
use crate::reconcile::RECONCILE;
use crate::rollout::await_rollout;
use crate::waits::{NeededImage, Needs, await_needs, await_place};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Input {
    pub at: PullRequestRef,
    /// The pull request as the event described it; used when GitHub cannot be asked.
    pub seen: Option<PullRequest>,
    /// `opened`, `synchronize`, `manual`: what started it.
    pub trigger: String,
}

/// How a run that did not fail ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Live { url: String },
    Refused { refusal: Refusal },
}

/// What `configure` made of the settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Plan {
    settings: Settings,
    release: ReleaseSpec,
    #[serde(default)]
    needs: Needs,
}

/// Kubernetes' and GitHub's hiccups: 3 retries with exponential backoff (FR-011).
pub(crate) const RETRIES: Backoff = Backoff::transient(3);
/// Kubernetes may be away for a minute: an upgrade of its control plane takes as long.
pub(crate) const UNTIL_KUBERNETES_IS_BACK: Backoff =
    Backoff { retries: 10, first: Duration::from_secs(1), max: Duration::from_secs(15) };
const MINUTE: Duration = Duration::from_secs(60);
/// The preview is live whether GitHub can be told or not: it is told when it is back.
pub(crate) const UNTIL_GITHUB_IS_BACK: Backoff =
    Backoff { retries: 40, first: Duration::from_secs(2), max: Duration::from_secs(300) };

pub struct PreviewUp {
    world: World,
}

impl PreviewUp {
    pub fn new(world: World) -> Self {
        Self { world }
    }
}

impl Workflow for PreviewUp {
    const NAME: &'static str = Direction::Up.workflow();
    const VERSION: u32 = 2;
    // Version 1 knew neither waits nor places; both are found fulfilled by a run that went further.
    const CONTINUES_FROM: u32 = 1;
    const STEPS: &'static [&'static str] = &[
        "admit",
        "announce",
        "configure",
        "image",
        "place",
        "namespace",
        "policies",
        "release",
        "rollout",
        "health",
        "report",
    ];
    type Input = Input;
    type Output = Outcome;

    async fn run(&self, cx: Context, input: Input) -> Result<Outcome, Failure> {
        let admitted =
            cx.step("admit", || admit(&self.world, &input)).retry(UNTIL_GITHUB_IS_BACK).timeout(MINUTE).await;
        let admitted = match admitted {
            Err(failed) if !failed.is_cancelled() => return Err(self.say_not_admitted(&cx, &input, failed).await?),
            other => other?,
        };
        let conversation = Conversation::new(&self.world, &admitted.environment, &admitted.pull_request.head.sha);
        if let Admission::Refuse(refusal) = &admitted.admission {
            self.remove_what_is_there(&cx, &admitted.environment).await?;
            cx.step("refuse", || self.refuse(&cx, &conversation, &admitted, refusal, &input.trigger))
                .retry(UNTIL_GITHUB_IS_BACK)
                .timeout(MINUTE)
                .await?;
            return Ok(Outcome::Refused { refusal: refusal.clone() });
        }
        if changes_labels(&input.trigger) && admitted.is_live() {
            // The labels still admit it, and this very commit answers already.
            return Ok(Outcome::Live { url: admitted.environment.url });
        }
        match self.deploy_and_tell(&cx, &conversation, &admitted).await {
            // Wherever it was: something about this commit may have been said already.
            Err(cancelled) if cancelled.is_cancelled() => {
                let cx = cx.shielded("cancelled");
                cx.step("withdraw", || self.withdraw(&cx, &conversation, &admitted.environment, &cancelled))
                    .timeout(MINUTE)
                    .await?;
                Err(cancelled)
            }
            told => told,
        }
    }
}

impl PreviewUp {
    /// The deployment, from its first word on the pull request to its last.
    async fn deploy_and_tell(
        &self,
        cx: &Context,
        conversation: &Conversation,
        admitted: &Admitted,
    ) -> Result<Outcome, Failure> {
        cx.step("announce", || self.announce(cx, conversation, admitted)).timeout(MINUTE).await?;

        // Until the waits are over the comment says what is waited for, and is left alone.
        let deployed = match self.prepare(cx, conversation, admitted).await {
            Ok(plan) => {
                let live = conversation.keep_current(cx, deploying(&admitted.environment));
                let deployed = self.deploy(cx, admitted, &plan).await;
                live.stop().await;
                deployed.map(|notes| (plan, notes))
            }
            Err(failed) => Err(failed),
        };
        match deployed {
            Ok((plan, notes)) => {
                let ready = CommentState::Ready {
                    url: admitted.environment.url.clone(),
                    took: (cx.timeline().iter().filter_map(|step| step.finished_at).max().unwrap_or(cx.started_at())
                        - cx.started_at())
                    .to_std()
                    .unwrap_or_default(),
                    steps: step_lines(&Self::STEPS[..Self::STEPS.len() - 1], &cx.timeline()),
                    notes,
                };
                cx.step("report", || self.report(cx, conversation, admitted, &plan, &ready))
                    .retry(UNTIL_GITHUB_IS_BACK)
                    .timeout(MINUTE)
                    .await?;
                Ok(Outcome::Live { url: admitted.environment.url.clone() })
            }
            Err(cancelled) if cancelled.is_cancelled() => Err(cancelled),
            Err(failed) => {
                // A push that comes now need not wait for this: it is cancelled like any step.
                let cx = cx.scope("failed");
                cx.step("snapshot", || self.take_snapshot(&cx, &admitted.environment, &failed)).timeout(MINUTE).await?;
                cx.step("report", || self.report_failure(&cx, conversation, &admitted.environment, &failed))
                    .retry(UNTIL_GITHUB_IS_BACK)
                    .timeout(MINUTE)
                    .await?;
                Err(failed)
            }
        }
    }

    /// All that comes before the cluster is touched: the settings, the image, a place.
    async fn prepare(&self, cx: &Context, conversation: &Conversation, admitted: &Admitted) -> Result<Plan, Failure> {
        let environment = &admitted.environment;
        let plan = cx.step("configure", || self.configure(admitted)).retry(RETRIES).timeout(MINUTE).await?;
        let saying = |what| waiting_at("image", deploying(environment)(&cx.timeline(), Some(what)));
        let sha = &admitted.pull_request.head.sha;
        await_needs(&self.world, cx, conversation, sha, &plan.needs, saying).await?;
        await_place(&self.world, cx, conversation, environment).await?;
        Ok(plan)
    }

    /// From the namespace to an application that answers. Returns what is worth a note.
    async fn deploy(&self, cx: &Context, admitted: &Admitted, plan: &Plan) -> Result<Vec<String>, Failure> {
        let environment = &admitted.environment;
        let repository = &environment.at.repository;
        // A namespace of ours that is still being deleted is waited for.
        cx.step("namespace", || self.ensure_namespace(environment, plan))
            .retry(UNTIL_KUBERNETES_IS_BACK)
            .timeout(5 * MINUTE)
            .await?;
        cx.step("policies", || self.apply_policies(admitted, plan))
            .retry(UNTIL_KUBERNETES_IS_BACK)
            .timeout(2 * MINUTE)
            .await?;
        let release = cx
            .step("release", || self.world.masked(repository, self.release(environment, admitted, plan)))
            .retry(UNTIL_KUBERNETES_IS_BACK)
            // Hooks are the chart's own and may take long; Helm itself is bounded by its adapter.
            .timeout(20 * MINUTE)
            .await?;
        cx.step("rollout", || self.world.masked(repository, self.await_rollout(cx, environment, plan)))
            .retry(UNTIL_KUBERNETES_IS_BACK)
            .timeout(plan.settings.rollout.timeout + MINUTE)
            .await?;
        let health = cx
            .step("health", || {
                self.world.masked(repository, check_health(&self.world, cx, environment, &plan.settings.health))
            })
            .retry(UNTIL_KUBERNETES_IS_BACK)
            .timeout(plan.settings.health.timeout + MINUTE)
            .await?;
        Ok(notes(&release, &health))
    }

    /// Says that the deployment could not even begin, where there is somebody to tell. Returns the
    /// failure that the run ends with.
    async fn say_not_admitted(&self, cx: &Context, input: &Input, failed: Failure) -> Result<Failure, Failure> {
        let cx = cx.scope("failed");
        let report = async || {
            let Some(environment) = self.world.environments.find(&input.at).await.map_err(failure)? else {
                return Ok(());
            };
            let conversation = Conversation::new(&self.world, &environment, &environment.head_sha);
            let diagnosis = diagnosis("admit", &failed);
            let fact = Fact::Failed(diagnosis.clone());
            self.world.environments.remember(environment.id, fact).await.map_err(failure)?;
            let state = CommentState::Failed { step: "admit".to_owned(), diagnosis, steps: stopped_lines(&cx) };
            conversation.try_say(&cx, &state).await;
            Ok::<_, Failure>(())
        };
        cx.step("report", report).timeout(MINUTE).await?;
        Ok(failed)
    }

    /// A pull request that was deployed and is no longer admitted does not keep its preview.
    async fn remove_what_is_there(&self, cx: &Context, environment: &Environment) -> Result<(), Failure> {
        // What failed before GitHub could be told of it has a namespace, too.
        if environment.live_sha.is_none() && environment.deployment.is_none() && !environment.has_place {
            return Ok(());
        }
        let down = PreviewDown::new(self.world.clone());
        let removed = down.remove(&cx.scope("removal"), environment, "no longer admitted").await?;
        cx.scope("removal").step("record", || down.record(environment, &removed)).retry(RETRIES).timeout(MINUTE).await
    }

    /// Says why there is no preview. A bot's pull request in a repository that is not set up is
    /// not worth a comment to anybody.
    async fn refuse(
        &self,
        cx: &Context,
        conversation: &Conversation,
        admitted: &Admitted,
        refusal: &Refusal,
        trigger: &str,
    ) -> Result<(), Failure> {
        let unconfigured = *refusal == Refusal::Unconfigured;
        let state = if unconfigured {
            CommentState::Unconfigured { docs_url: self.world.links.docs_url.clone() }
        } else {
            CommentState::Refused { refusal: refusal.clone() }
        };
        let nobody_asked = admitted.pull_request.author_is_bot || trigger == RECONCILE;
        // Whoever closed it knows.
        if *refusal != Refusal::Closed && !(unconfigured && nobody_asked) {
            unless_github_refuses(conversation.last_comment(cx, &state).await)?;
        }
        if admitted.environment.deployment.is_some() {
            unless_github_refuses(conversation.end_deployments("The pull request gets no preview").await)?;
        }
        let environments = &self.world.environments;
        let known = environments.find(&admitted.environment.at).await.map_err(failure)?;
        if *refusal == Refusal::Closed && known.is_some_and(|known| known.receipt.is_some()) {
            return Ok(());
        }
        let reason = comment::commit_status(&state).description;
        environments.remember(admitted.environment.id, Fact::Refused(reason)).await.map_err(failure)
    }

    /// The settings, checked, and the release they ask for, pinned.
    async fn configure(&self, admitted: &Admitted) -> Result<Plan, Failure> {
        let text = admitted.settings.as_deref().unwrap_or_default();
        let settings =
            settings::parse(text).map_err(|errors| failure(Error::diagnosed(settings::diagnosis(&errors))))?;
        let (pull_request, environment) = (&admitted.pull_request, &admitted.environment);
        let sha = &pull_request.head.sha;
        let values = settings.helm_values(&Computed {
            sha: sha.clone(),
            number: environment.at.number,
            branch: pull_request.head.branch.clone(),
            host: environment.host.clone(),
            url: environment.url.clone(),
            namespace: environment.namespace.clone(),
        });
        let chart = match settings.chart_source(sha) {
            // These are pinned by the commit and by the program.
            chart @ (ChartSource::Path { .. } | ChartSource::Builtin) => chart,
            chart => self.world.releases.resolve(&chart).await.map_err(failure)?,
        };
        let needs = Needs {
            image: settings.image.as_ref().and_then(|image| {
                let tag = values.pointer("/image/tag")?.as_str()?.to_owned();
                Some(NeededImage { repository: image.repository.clone(), tag, wait: image.wait? })
            }),
            check: settings.wait_for.clone(),
        };
        let release =
            ReleaseSpec { name: RELEASE.to_owned(), chart, values_files: settings.values_files.clone(), values };
        Ok(Plan { settings, release, needs })
    }

    async fn announce(&self, cx: &Context, conversation: &Conversation, admitted: &Admitted) -> Result<(), Failure> {
        let state = deploying(&admitted.environment)(&cx.timeline(), None);
        conversation.try_say(cx, &state).await;
        Ok(())
    }

    async fn ensure_namespace(&self, environment: &Environment, plan: &Plan) -> Result<(), Failure> {
        let namespace = NamespaceSpec {
            name: environment.namespace.clone(),
            at: environment.at.clone(),
            environment: environment.id,
            pod_security: plan.settings.pod_security(),
        };
        self.world.cluster.ensure_namespace(&namespace).await.map_err(failure)
    }

    async fn apply_policies(&self, admitted: &Admitted, plan: &Plan) -> Result<(), Failure> {
        let (cluster, namespace) = (&self.world.cluster, &admitted.environment.namespace);
        cluster.apply_policies(namespace, &plan.settings.policies()).await.map_err(failure)?;
        // An approved commit of a fork may run; what it could carry away stays out of its reach.
        if admitted.pull_request.is_from_fork() {
            return Ok(());
        }
        let copied = plan.settings.secret_refs();
        if !copied.is_empty() {
            cluster.copy_secrets(namespace, &copied).await.map_err(failure)?;
        }
        match self.world.secrets.load(&admitted.environment.at.repository).await.map_err(failure)? {
            // Also when there are none any more: those of the last deployment go.
            Some(own) => cluster.put_secrets(namespace, &own).await.map_err(failure),
            None => Ok(()),
        }
    }

    async fn release(&self, environment: &Environment, admitted: &Admitted, plan: &Plan) -> Result<Release, Failure> {
        let World { cluster, forge, releases, .. } = &self.world;
        let source = async {
            if !plan.settings.needs_source() {
                return Ok(None);
            }
            let sha = &admitted.pull_request.head.sha;
            forge.download_source(&environment.at.repository, sha).await.map(Some)
        };
        let (access, source) =
            tokio::try_join!(cluster.helm_access(&environment.namespace), source).map_err(failure)?;
        match releases.install(&environment.namespace, &access, &plan.release, source).await {
            Ok(release) => Ok(release),
            Err(error) => Err(failure(self.with_last_words(environment, error).await)),
        }
    }

    /// Helm says that a hook failed; what the hook said is in the cluster.
    async fn with_last_words(&self, environment: &Environment, mut error: Error) -> Error {
        let Some(diagnosis) = error.diagnosis.as_mut() else { return error };
        let Some(job) = diagnosis.culprit.strip_prefix("hook Job \"").and_then(|name| name.strip_suffix('"')) else {
            return error;
        };
        let snapshot = self.world.cluster.snapshot(&environment.namespace);
        match tokio::time::timeout(Duration::from_secs(10), snapshot).await {
            Ok(Ok(snapshot)) => {
                let of_job = |pod: &str| pod.strip_prefix(job).is_some_and(|rest| rest.starts_with('-'));
                let logs = snapshot.logs.into_iter().filter(|log| of_job(&log.pod) && !log.text.is_empty());
                let said: Vec<_> = logs
                    .map(|log| Evidence {
                        title: format!("Last log lines of container {:?}", log.container),
                        text: last_lines(&log.text),
                    })
                    .collect();
                diagnosis.evidence.extend(said);
            }
            Ok(Err(e)) => warn!(error = %e, "what the hook said could not be had"),
            Err(_) => warn!("what the hook said could not be had in time"),
        }
        error
    }

    async fn await_rollout(&self, cx: &Context, environment: &Environment, plan: &Plan) -> Result<Rollout, Failure> {
        // Helm need not have touched what only its replicas were taken from, by a sleep that may have
        // been interrupted before it was on record.
        self.world.cluster.scale_back(&environment.namespace).await.map_err(failure)?;
        let advice =
            "Look at the pods and their logs; raise `rollout.timeout` in .seatrial.yaml if they only need longer.";
        await_rollout(&self.world, cx, environment, plan.settings.rollout.timeout, advice).await
    }

    async fn report(
        &self,
        cx: &Context,
        conversation: &Conversation,
        admitted: &Admitted,
        plan: &Plan,
        ready: &CommentState,
    ) -> Result<(), Failure> {
        // First what needs no GitHub: from here on the gateway serves this commit.
        let sleep_after = plan.settings.sleep.as_ref().map(|sleep| sleep.after);
        let facts = [
            Fact::Live(admitted.pull_request.head.sha.clone()),
            Fact::Asleep(false),
            Fact::Life { ttl: plan.settings.ttl, sleep_after },
        ];
        // At the same time, so that they share a commit.
        let remembered = facts.map(|fact| self.world.environments.remember(admitted.environment.id, fact));
        try_join_all(remembered).await.map_err(failure)?;
        unless_github_refuses(conversation.say(cx, ready).await)
    }

    /// The newer run speaks for the pull request; only this commit's own marks are taken back.
    /// A run that a person cancelled has no successor and says so.
    async fn withdraw(
        &self,
        cx: &Context,
        conversation: &Conversation,
        environment: &Environment,
        cancelled: &Failure,
    ) -> Result<(), Failure> {
        if cancelled.is_superseded() {
            let withdrawn = conversation.withdraw("Superseded: this commit was not deployed");
            if let Ok(Err(e)) = tokio::time::timeout(Duration::from_secs(5), withdrawn).await {
                warn!(error = %e, "the superseded deployment could not be taken back on GitHub");
            }
            return Ok(());
        }
        self.world.environments.remember(environment.id, Fact::LeftLine).await.map_err(failure)?;
        let state = CommentState::Failed {
            step: current_step(cx),
            diagnosis: Diagnosis {
                reason: Reason::Other,
                culprit: "this deployment".to_owned(),
                summary: format!("The deployment was cancelled: {}.", cancelled.message),
                advice: "Push, or retry it, to deploy again.".to_owned(),
                evidence: Vec::new(),
            },
            steps: stopped_lines(cx),
        };
        conversation.try_say(cx, &state).await;
        Ok(())
    }

    /// Keeps what is to be seen of the failure. What cannot be seen must not hide the failure.
    async fn take_snapshot(&self, cx: &Context, environment: &Environment, failed: &Failure) -> Result<(), Failure> {
        let step = current_step(cx);
        let snapshot = async {
            let mut snapshot = self.world.cluster.snapshot(&environment.namespace).await?;
            snapshot.diagnosis = Some(diagnosis(&step, failed));
            snapshot.step = step;
            let snapshot = self.world.mask(&environment.at.repository).await?.snapshot(snapshot);
            self.world.environments.keep_snapshot(environment.id, cx.run_id().0, &snapshot).await
        };
        let taken: PortResult<()> = match tokio::time::timeout(Duration::from_secs(15), snapshot).await {
            Ok(taken) => taken,
            Err(_) => Err(Error::transient("the cluster did not answer within 15 s")),
        };
        if let Err(e) = taken
            && !e.is_not_found()
        {
            warn!(error = %e, "no failure snapshot could be taken");
        }
        Ok(())
    }

    async fn report_failure(
        &self,
        cx: &Context,
        conversation: &Conversation,
        environment: &Environment,
        failed: &Failure,
    ) -> Result<(), Failure> {
        let step = current_step(cx);
        let diagnosis = diagnosis(&step, failed);
        self.world.environments.remember(environment.id, Fact::Failed(diagnosis.clone())).await.map_err(failure)?;
        let state = CommentState::Failed { step, diagnosis, steps: stopped_lines(cx) };
        unless_github_refuses(conversation.say(cx, &state).await)
    }
}

/// Whether what started a run changes only whether the pull request is admitted.
pub(crate) fn changes_labels(trigger: &str) -> bool {
    matches!(trigger, "labeled" | "unlabeled" | "converted_to_draft")
}

/// What was done stands whether GitHub wants to hear of it or not: a locked conversation, a
/// missing permission or a repository that is gone is noted. Trouble that may pass is retried.
pub(crate) fn unless_github_refuses(said: PortResult<()>) -> Result<(), Failure> {
    match said {
        Err(e) if !e.is_transient() => {
            warn!(error = %e, "GitHub refuses to be told");
            Ok(())
        }
        other => other.map_err(failure),
    }
}

/// So much of a log is evidence.
fn last_lines(log: &str) -> String {
    const LINES: usize = 20;
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// The release's name in every namespace: a namespace holds one release.
pub(crate) const RELEASE: &str = "preview";

fn deploying(environment: &Environment) -> impl Fn(&[StepTime], Option<String>) -> CommentState + Send + use<> {
    let previous = environment.live_sha.clone().map(|sha| (sha, environment.url.clone()));
    move |timeline, progress| CommentState::Deploying {
        steps: step_lines(PreviewUp::STEPS, timeline),
        progress,
        previous: previous.clone(),
    }
}

/// Between two looks the step is not over, although each look is.
fn waiting_at(name: &str, mut state: CommentState) -> CommentState {
    if let CommentState::Deploying { steps, .. } = &mut state
        && let Some(line) = steps.iter_mut().find(|line| line.name == name)
    {
        line.state = StepLineState::Running;
        line.took = None;
    }
    state
}

/// The step of the story that was reached last.
fn current_step(cx: &Context) -> String {
    let timeline = cx.timeline();
    let story = |step: &&StepTime| step.key.scope.is_empty();
    timeline
        .iter()
        .filter(story)
        .find(|step| step.failed)
        .or_else(|| timeline.iter().rfind(story))
        .map_or_else(|| "admit".to_owned(), |step| step.key.name.clone())
}

/// The table of a run that stopped: what was not reached never will be.
fn stopped_lines(cx: &Context) -> Vec<StepLine> {
    let mut lines = step_lines(PreviewUp::STEPS, &cx.timeline());
    for line in &mut lines {
        if line.state == StepLineState::Pending {
            line.state = StepLineState::Skipped;
        }
    }
    lines
}

fn notes(release: &Release, health: &Health) -> Vec<String> {
    release.recovered.iter().chain(&health.skipped).cloned().collect()
}
