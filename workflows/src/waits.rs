//! What a deployment waits for before it touches the cluster: its image, a check, a place. All of
//! it durably: the run is parked, woken by a webhook or by a place that came free, and looks again
//! by itself in case that was lost.

use std::time::Duration;

use chrono::{DateTime, Utc};
use seatrial_engine::{Context, Failure};
use seatrial_preview::comment::CommentState;
use seatrial_preview::environment::Environment;
use seatrial_preview::failure::{Diagnosis, Evidence, Reason};
use seatrial_preview::life::{HeldBy, Place};
use seatrial_preview::ports::{ARRIVED, CheckOutcome, ROOM};
use seatrial_preview::settings::WaitFor;
use seatrial_preview::{Error, HeadSha, RepositoryName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::World;
use crate::conversation::Conversation;
use crate::failures::failure;
use crate::preview_sleep::{self, PreviewSleep};
use crate::preview_up::RETRIES;

const MINUTE: Duration = Duration::from_secs(60);
/// Looked again at first; less and less often while nothing comes.
const FIRST_LOOK: Duration = Duration::from_secs(15);
const LAST_LOOK: Duration = Duration::from_secs(300);

/// What must be there before a commit is deployed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Needs {
    pub(crate) image: Option<NeededImage>,
    pub(crate) check: Option<WaitFor>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NeededImage {
    pub(crate) repository: String,
    pub(crate) tag: String,
    pub(crate) wait: Duration,
}

/// One look, and when it was.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Look {
    at: DateTime<Utc>,
    missing: Option<Missing>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Missing {
    /// `image registry.example.com/shop:abc`
    what: String,
    patience: Duration,
}

/// Returns once all that is needed is there; fails when it comes too late, or never will.
pub(crate) async fn await_needs(
    world: &World,
    cx: &Context,
    conversation: &Conversation,
    sha: &HeadSha,
    needs: &Needs,
    saying: impl Fn(String) -> CommentState,
) -> Result<(), Failure> {
    let repository = conversation.repository();
    let mut began: Option<(String, DateTime<Utc>)> = None;
    let mut pause = FIRST_LOOK;
    loop {
        // It is the look that fails when the time is over: a retry of the run looks again.
        let look = cx
            .step("image", || look(world, cx, repository, sha, needs, began.as_ref()))
            .retry(RETRIES)
            .timeout(MINUTE)
            .await?;
        let Some(missing) = look.missing else { return Ok(()) };
        // Each thing has its own time, from when it was first found missing.
        let since = match &began {
            Some((what, since)) if *what == missing.what => *since,
            _ => {
                let until = (look.at + missing.patience).format("%H:%M UTC");
                let state = saying(format!("waiting for {} until {until}", missing.what));
                cx.step("waiting", async || {
                    conversation.try_say(cx, &state).await;
                    Ok::<_, Failure>(())
                })
                .timeout(MINUTE)
                .await?;
                pause = FIRST_LOOK;
                began = Some((missing.what.clone(), look.at));
                look.at
            }
        };
        let waited = (look.at - since).to_std().unwrap_or_default();
        cx.wait_for::<Value>(ARRIVED, pause.min(missing.patience.saturating_sub(waited))).await?;
        pause = (pause * 2).min(LAST_LOOK);
    }
}

async fn look(
    world: &World,
    cx: &Context,
    repository: &RepositoryName,
    sha: &HeadSha,
    needs: &Needs,
    began: Option<&(String, DateTime<Utc>)>,
) -> Result<Look, Failure> {
    let missing = match missing_check(world, repository, sha, needs.check.as_ref()).await? {
        Some(missing) => Some(missing),
        None => missing_image(world, needs.image.as_ref()).await?,
    };
    let at = cx.now();
    if let (Some(missing), Some((what, since))) = (&missing, began)
        && *what == missing.what
        && at >= *since + missing.patience
    {
        return Err(failure(Error::diagnosed(came_too_late(missing))));
    }
    Ok(Look { at, missing })
}

async fn missing_check(
    world: &World,
    repository: &RepositoryName,
    sha: &HeadSha,
    needed: Option<&WaitFor>,
) -> Result<Option<Missing>, Failure> {
    let Some(WaitFor { check: name, timeout }) = needed else { return Ok(None) };
    let found = world.forge.find_check(repository, sha, name).await.map_err(failure)?;
    match found.as_ref().map(|check| check.outcome) {
        Some(CheckOutcome::Succeeded) => Ok(None),
        Some(CheckOutcome::Failed) => Err(failure(Error::diagnosed(Diagnosis {
            reason: Reason::CheckFailed,
            culprit: format!("check \"{name}\""),
            summary: format!("The check \"{name}\" of this commit failed, and the preview waits for it to succeed."),
            advice: "Mend what the check complains of and push, or run the check again and then retry the deployment."
                .to_owned(),
            evidence: found
                .and_then(|check| check.url)
                .map(|url| Evidence { title: "Where the check ran".to_owned(), text: url })
                .into_iter()
                .collect(),
        }))),
        Some(CheckOutcome::Pending) | None => {
            Ok(Some(Missing { what: format!("check \"{name}\""), patience: *timeout }))
        }
    }
}

async fn missing_image(world: &World, needed: Option<&NeededImage>) -> Result<Option<Missing>, Failure> {
    let Some(NeededImage { repository, tag, wait }) = needed else { return Ok(None) };
    let digest = world.images.find_digest(repository, tag).await.map_err(failure)?;
    Ok(digest.is_none().then(|| Missing { what: format!("image {repository}:{tag}"), patience: *wait }))
}

fn came_too_late(missing: &Missing) -> Diagnosis {
    let minutes = missing.patience.as_secs().div_ceil(60);
    Diagnosis {
        reason: Reason::NeverCame,
        culprit: missing.what.clone(),
        summary: format!("It was waited for {minutes} min and did not come."),
        advice: "Look whether its build runs and succeeds for this commit; raise the time in .seatrial.yaml if it only needs longer. Then retry the deployment.".to_owned(),
        evidence: Vec::new(),
    }
}

/// Returns once there is room for the preview; tells people how long that may take.
pub(crate) async fn await_place(
    world: &World,
    cx: &Context,
    conversation: &Conversation,
    environment: &Environment,
) -> Result<(), Failure> {
    let mut told = None;
    loop {
        let place = cx
            .step("place", || async {
                world.environments.reserve(environment.id, world.capacity.limits).await.map_err(failure)
            })
            .retry(RETRIES)
            .await?;
        let Place::Waiting { position, wait, held_by } = place else { return Ok(()) };
        if told != Some(position) {
            let state = CommentState::Queued { position, wait };
            cx.step("queued", async || {
                conversation.try_say(cx, &state).await;
                Ok::<_, Failure>(())
            })
            .timeout(MINUTE)
            .await?;
            told = Some(position);
        }
        make_room(world, cx, environment, held_by).await?;
        cx.wait_for::<Value>(ROOM, LAST_LOOK).await?;
    }
}

/// Puts the preview to sleep that was idle for longest, if that is wanted and there is one.
async fn make_room(world: &World, cx: &Context, waiting: &Environment, held_by: HeldBy) -> Result<(), Failure> {
    let idle = cx
        .step("find_idle", || async {
            if !world.capacity.sleep_to_make_room {
                return Ok(None);
            }
            let mut standing = world.environments.list_standing().await.map_err(failure)?;
            if held_by == HeldBy::Repository {
                standing.retain(|one| one.environment.at.repository == waiting.at.repository);
            }
            Ok::<_, Failure>(preview_sleep::longest_idle(standing, waiting, cx.now()))
        })
        .retry(RETRIES)
        .await?;
    let Some(at) = idle else { return Ok(()) };
    match cx.start_child::<PreviewSleep>("make_room", crate::sleep(&at, preview_sleep::MAKE_ROOM)?).await {
        // Something is done to it at this very moment: it is not idle any more.
        Err(refused) if !refused.is_cancelled() => Ok(()),
        other => other.map(|_| ()),
    }
}
