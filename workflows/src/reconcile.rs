//! What events would have said, had none been lost: open pull requests against environments
//! against the namespaces of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seatrial_engine::{Context, Failure, Workflow};
use seatrial_preview::environment::{Environment, EnvironmentState, Standing};
use seatrial_preview::ports::{NamespaceFound, Owner};
use seatrial_preview::pull_request::PullRequest;
use seatrial_preview::settings::{self, Admission};
use seatrial_preview::{PullRequestRef, RepositoryName};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::World;
use crate::admission;
use crate::failures::failure;
use crate::preview_down::{self, PreviewDown};
use crate::preview_up::{PreviewUp, RETRIES};

/// What runs that this one starts say about their beginning.
pub const RECONCILE: &str = "reconcile";
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Input {}

/// What was found amiss.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Open pull requests whose newest commit nobody had been told of.
    pub deployed: u32,
    /// Previews whose pull request is closed.
    pub removed: u32,
    /// Previews whose namespace somebody had deleted.
    pub restored: u32,
    /// Namespaces of ours that nothing was known of.
    pub orphans: u32,
    /// Repositories that could not be looked at; nothing of theirs was touched.
    pub unreadable: u32,
}

/// What is to be done about one repository.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Amiss {
    deploy: Vec<PullRequestRef>,
    remove: Vec<PullRequestRef>,
    unreadable: bool,
}

/// What the cluster's namespaces say.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct InCluster {
    lost: Vec<PullRequestRef>,
    orphans: Vec<NamespaceFound>,
}

pub struct Reconcile {
    world: World,
}

impl Reconcile {
    pub fn new(world: World) -> Self {
        Self { world }
    }

    /// Those that Seatrial has access to, and those that it has previews of.
    async fn repositories(&self) -> Result<BTreeSet<RepositoryName>, Failure> {
        let standing = self.world.environments.list_standing().await.map_err(failure)?;
        let mut all: BTreeSet<_> = standing.into_iter().map(|one| one.environment.at.repository).collect();
        match self.world.forge.list_repositories().await {
            Ok(repositories) => all.extend(repositories),
            Err(e) if e.is_transient() => return Err(failure(e)),
            Err(e) => warn!(error = %e, "the repositories cannot be listed; those with previews are looked at"),
        }
        Ok(all)
    }

    async fn compare(&self, repository: &RepositoryName) -> Result<Amiss, Failure> {
        let open = match self.world.forge.list_open_pull_requests(repository).await {
            Ok(open) => open,
            Err(e) if e.is_transient() => return Err(failure(e)),
            Err(e) => {
                warn!(%repository, error = %e, "cannot be looked at; nothing of it is touched");
                return Ok(Amiss { unreadable: true, ..Amiss::default() });
            }
        };
        let standing = self.world.environments.list_standing().await.map_err(failure)?;
        let ours = standing.into_iter().filter(|one| one.environment.at.repository == *repository && !one.busy);
        let mut amiss = Amiss::default();
        for one in ours.filter(|one| !open.iter().any(|open| open.at == one.environment.at)) {
            if self.is_orphan(&one).await? {
                amiss.remove.push(one.environment.at);
            }
        }
        let mut settings = BTreeMap::new();
        for pull_request in open {
            if self.is_news(&pull_request, &mut settings).await? {
                amiss.deploy.push(pull_request.at);
            }
        }
        Ok(amiss)
    }

    /// Its pull request was closed. One that cannot be seen any more proves nothing.
    async fn is_orphan(&self, standing: &Standing) -> Result<bool, Failure> {
        // Where nothing was deployed there is nothing to remove.
        if standing.state == EnvironmentState::Refused {
            return Ok(false);
        }
        match self.world.forge.load_pull_request(&standing.environment.at).await {
            Ok(pull_request) => Ok(!pull_request.is_open()),
            Err(e) if e.is_transient() => Err(failure(e)),
            Err(e) => {
                warn!(preview = %standing.environment.at, error = %e, "its pull request cannot be seen; it is left as it is");
                Ok(false)
            }
        }
    }

    /// Nobody was told of this commit, of the pull request being open again, or of what lets it
    /// have a preview or none: a label, its base branch, that it is ready for review.
    async fn is_news(
        &self,
        pull_request: &PullRequest,
        settings: &mut BTreeMap<String, Option<String>>,
    ) -> Result<bool, Failure> {
        let World { environments, forge, .. } = &self.world;
        let branch = &pull_request.base.branch;
        if !settings.contains_key(branch) {
            let file = forge.find_file(&pull_request.at.repository, branch, settings::FILE_NAME);
            settings.insert(branch.clone(), file.await.map_err(failure)?);
        }
        let text = settings.get(branch).and_then(Option::as_deref);
        let Some(known) = environments.find(&pull_request.at).await.map_err(failure)? else {
            // Whoever has not set the repository up is not bothered about pull requests of old.
            return Ok(text.is_some());
        };
        if known.head_sha != pull_request.head.sha || was_removed_by_closing(&known) {
            return Ok(true);
        }
        if known.receipt.is_some() {
            return Ok(false);
        }
        let decided = admission::decide(forge.as_ref(), pull_request, &known, text).await?;
        Ok(known.refusal.is_some() != matches!(decided, Admission::Refuse(_)))
    }

    /// Namespaces of ours whose environment is not known, or is known to be deleted; and previews
    /// whose namespace is not there any more.
    async fn look_at_cluster(&self) -> Result<InCluster, Failure> {
        let found = self.world.cluster.list_namespaces().await.map_err(failure)?;
        let standing = self.world.environments.list_standing().await.map_err(failure)?;
        let lost = standing
            .iter()
            .filter(|one| matches!(one.state, EnvironmentState::Running | EnvironmentState::Sleeping) && !one.busy)
            .filter(|one| !found.iter().any(|found| found.environment == one.environment.id))
            .map(|one| one.environment.at.clone())
            .collect();
        let is_known = |found: &NamespaceFound| standing.iter().any(|one| one.environment.id == found.environment);
        Ok(InCluster { lost, orphans: found.into_iter().filter(|found| !is_known(found)).collect() })
    }

    /// Deletes a namespace that nothing is known of, once its pull request is known to be closed.
    async fn remove_orphan(&self, orphan: &NamespaceFound) -> Result<bool, Failure> {
        let World { cluster, environments, forge, .. } = &self.world;
        if let Some(known) = environments.find(&orphan.at).await.map_err(failure)?
            && known.receipt.is_none()
        {
            return Ok(false);
        }
        match forge.load_pull_request(&orphan.at).await {
            Ok(pull_request) if pull_request.is_open() => return Ok(false),
            Ok(_) => {}
            Err(e) if e.is_transient() => return Err(failure(e)),
            // Another Seatrial may use the cluster, with access to other repositories.
            Err(_) => return Ok(false),
        }
        let owner = Owner { at: orphan.at.clone(), environment: orphan.environment };
        info!(namespace = %orphan.name, "removing a namespace that no preview belongs to any more");
        match cluster.delete_namespace(&orphan.name, &owner).await {
            Err(e) if e.is_not_found() => Ok(false),
            other => other.map(|()| true).map_err(failure),
        }
    }
}

/// The pull request was closed, its preview removed, and it is open again. One that somebody
/// removed by hand stays away.
fn was_removed_by_closing(environment: &Environment) -> bool {
    let by = environment.receipt.as_ref().map(|receipt| receipt.trigger.as_str());
    matches!(by, Some("closed" | "merged" | preview_down::ORPHANED))
}

impl Workflow for Reconcile {
    const NAME: &'static str = "reconcile";
    const VERSION: u32 = 1;
    const STEPS: &'static [&'static str] = &["repositories", "cluster"];
    type Input = Input;
    type Output = Outcome;

    async fn run(&self, cx: Context, _: Input) -> Result<Outcome, Failure> {
        let repositories = cx.step("repositories", || self.repositories()).retry(RETRIES).timeout(5 * MINUTE).await?;
        let mut outcome = Outcome::default();
        for repository in &repositories {
            let cx = cx.scope(&repository.to_string());
            let compared = cx.step("compare", || self.compare(repository)).retry(RETRIES).timeout(5 * MINUTE).await;
            let amiss = match compared {
                Ok(amiss) => amiss,
                Err(cancelled) if cancelled.is_cancelled() => return Err(cancelled),
                // The others are looked at all the same; the next reconciliation tries again.
                Err(_) => Amiss { unreadable: true, ..Amiss::default() },
            };
            outcome.unreadable += u32::from(amiss.unreadable);
            for at in amiss.deploy {
                let run = crate::deploy_idle(&at, RECONCILE)?;
                outcome.deployed += u32::from(begun(cx.start_child::<PreviewUp>("deploy", run).await)?);
            }
            for at in amiss.remove {
                let run = crate::remove_idle(&at, preview_down::ORPHANED)?;
                outcome.removed += u32::from(begun(cx.start_child::<PreviewDown>("remove", run).await)?);
            }
        }
        let in_cluster = cx.step("cluster", || self.look_at_cluster()).retry(RETRIES).timeout(MINUTE).await?;
        for at in &in_cluster.lost {
            let cx = cx.scope(&at.to_string());
            let run = crate::deploy_idle(at, RECONCILE)?;
            outcome.restored += u32::from(begun(cx.start_child::<PreviewUp>("restore", run).await)?);
        }
        for orphan in &in_cluster.orphans {
            let cx = cx.scope(orphan.name.as_str());
            let removed = cx.step("remove", || self.remove_orphan(orphan)).retry(RETRIES).timeout(MINUTE).await;
            match removed {
                Ok(removed) => outcome.orphans += u32::from(removed),
                Err(cancelled) if cancelled.is_cancelled() => return Err(cancelled),
                Err(failed) => {
                    warn!(namespace = %orphan.name, reason = failed.message, "an orphan could not be removed")
                }
            }
        }
        Ok(outcome)
    }
}

/// False when a run of the pull request began meanwhile: it knows better.
fn begun<T>(started: Result<T, Failure>) -> Result<bool, Failure> {
    match started {
        Ok(_) => Ok(true),
        Err(cancelled) if cancelled.is_cancelled() => Err(cancelled),
        Err(_) => Ok(false),
    }
}
