//! Whether a pull request gets a preview: asked of GitHub as it is now, so that the newest commit
//! wins whatever order events arrive in.

use seatrial_engine::Failure;
use seatrial_preview::environment::Environment;
use seatrial_preview::ports::{Fact, Forge};
use seatrial_preview::pull_request::PullRequest;
use seatrial_preview::settings::{self, Admission, Refusal, Settings};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::World;
use crate::failures::failure;
use crate::preview_up::Input;

/// Nothing of it changes while the run lasts, whatever is pushed meanwhile.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Admitted {
    pub(crate) pull_request: PullRequest,
    pub(crate) environment: Environment,
    /// The base branch's `.seatrial.yaml`.
    pub(crate) settings: Option<String>,
    pub(crate) admission: Admission,
}

impl Admitted {
    pub(crate) fn is_live(&self) -> bool {
        self.environment.live_sha.as_ref() == Some(&self.pull_request.head.sha)
    }
}

pub(crate) async fn admit(world: &World, input: &Input) -> Result<Admitted, Failure> {
    let World { forge, environments, .. } = world;
    let pull_request = match (forge.load_pull_request(&input.at).await, &input.seen) {
        (Ok(loaded), _) => loaded,
        (Err(e), Some(seen)) if e.is_transient() => {
            warn!(error = %e, "GitHub cannot be asked for the pull request; going on with what the event said");
            seen.clone()
        }
        (Err(e), _) => return Err(failure(e)),
    };
    // Settings are the base branch's, never those of the pull request's own branch.
    let settings =
        forge.find_file(&input.at.repository, &pull_request.base.branch, settings::FILE_NAME).await.map_err(failure)?;
    let environment = environments.ensure(&pull_request).await.map_err(failure)?;
    let admission = decide(forge.as_ref(), &pull_request, &environment, settings.as_deref()).await?;
    // What was removed when it was closed keeps its receipt.
    if admission != Admission::Refuse(Refusal::Closed) {
        let requested = Fact::Requested(pull_request.head.sha.clone());
        environments.remember(environment.id, requested).await.map_err(failure)?;
    }
    Ok(Admitted { pull_request, environment, settings, admission })
}

pub(crate) async fn decide(
    forge: &dyn Forge,
    pull_request: &PullRequest,
    environment: &Environment,
    settings: Option<&str>,
) -> Result<Admission, Failure> {
    // For this very commit: a push voids it.
    let approved = environment.approval.as_ref().is_some_and(|approval| approval.sha == pull_request.head.sha);
    let settings = match settings.map(settings::parse) {
        None => return Ok(Admission::Refuse(Refusal::Unconfigured)),
        Some(Ok(settings)) => settings,
        // `configure` says what is wrong with them; a fork is not told about settings.
        Some(Err(_)) if pull_request.is_from_fork() && !approved => return Ok(Admission::Refuse(Refusal::Fork)),
        Some(Err(_)) => return Ok(Admission::Deploy),
    };
    match settings::admit(pull_request, &settings, approved) {
        Admission::Deploy => Ok(match changes_too_little(forge, pull_request, &settings).await? {
            Some(refusal) => Admission::Refuse(refusal),
            None => Admission::Deploy,
        }),
        refused @ Admission::Refuse(_) => Ok(refused),
    }
}

async fn changes_too_little(
    forge: &dyn Forge,
    pull_request: &PullRequest,
    settings: &Settings,
) -> Result<Option<Refusal>, Failure> {
    let wanted = &settings.filters.paths;
    if wanted.is_empty() {
        return Ok(None);
    }
    let changed = forge.list_changed_files(&pull_request.at).await.map_err(failure)?;
    Ok((!settings.filters.fits(&changed)).then(|| Refusal::Paths { wanted: wanted.clone() }))
}
