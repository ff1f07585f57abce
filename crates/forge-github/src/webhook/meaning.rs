//! What a delivery asks for. Of each payload only what is needed is read, so that what GitHub
//! adds elsewhere does not matter.

use seatrial_preview::event::{Awaited, ForgeEvent};
use seatrial_preview::pull_request::PullRequest;
use seatrial_preview::{Error, HeadSha, RepositoryName, Result};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::comment::{CommentEvent, command};
use crate::STATUS_CONTEXT;
use crate::failure::bounded;
use crate::pull_request::PullRequestJson;

/// What a delivery of `event` (the header `X-GitHub-Event`) asks for.
///
/// `Invalid` when the body is not JSON, or lacks what is needed: it names the field and the place.
/// Events and actions that ask for nothing are [`ForgeEvent::Ignored`], with the reason.
pub fn parse(event: &str, raw: &[u8]) -> Result<ForgeEvent> {
    let delivery = Delivery { event, raw };
    match event {
        "pull_request" => pull_request(delivery),
        "issue_comment" => issue_comment(delivery),
        "check_run" | "check_suite" | "workflow_run" => ended(delivery),
        "status" => status(delivery),
        "package" | "registry_package" => package(delivery),
        "repository" => repository(delivery),
        "ping" => {
            delivery.read::<IgnoredAny>()?;
            ignored("ping: the webhook works")
        }
        other => {
            delivery.read::<IgnoredAny>()?;
            ignored(format!("event {:?} asks nothing of previews", bounded(other, 64)))
        }
    }
}

#[derive(Clone, Copy)]
struct Delivery<'a> {
    event: &'a str,
    raw: &'a [u8],
}

impl Delivery<'_> {
    fn read<T: DeserializeOwned>(self) -> Result<T> {
        serde_json::from_slice(self.raw).map_err(|error| {
            let hint = if self.raw.starts_with(b"payload=") {
                "; set the webhook's content type to application/json on GitHub"
            } else {
                ""
            };
            Error::invalid(format!(
                "the {:?} event's body is not as expected: {}{hint}",
                bounded(self.event, 64),
                bounded(&error.to_string(), 300)
            ))
        })
    }

    fn action(self) -> Result<String> {
        #[derive(Deserialize)]
        struct Action {
            action: String,
        }
        Ok(self.read::<Action>()?.action)
    }

    fn nothing_for(self, action: &str) -> Result<ForgeEvent> {
        ignored(format!("action {:?} of {} changes nothing", bounded(action, 64), self.event))
    }
}

fn ignored(reason: impl Into<String>) -> Result<ForgeEvent> {
    Ok(ForgeEvent::Ignored { reason: reason.into() })
}

#[derive(Deserialize)]
pub(super) struct Repository {
    pub(super) full_name: RepositoryName,
}

fn pull_request(delivery: Delivery<'_>) -> Result<ForgeEvent> {
    #[derive(Deserialize)]
    struct Edited {
        #[serde(default)]
        changes: Option<Changes>,
    }
    #[derive(Deserialize)]
    struct Changes {
        #[serde(default)]
        base: Option<IgnoredAny>,
    }
    #[derive(Deserialize)]
    struct Event {
        pull_request: PullRequestJson,
    }
    let action = delivery.action()?;
    match action.as_str() {
        // Whether labels and drafts matter is decided at admission, by the project's filters.
        "opened" | "reopened" | "synchronize" | "ready_for_review" | "converted_to_draft" | "labeled" | "unlabeled"
        | "closed" => {}
        "edited" => {
            if delivery.read::<Edited>()?.changes.is_none_or(|changes| changes.base.is_none()) {
                return ignored("edited: only title or text changed");
            }
        }
        _ => return delivery.nothing_for(&action),
    }
    let pull_request = Box::new(PullRequest::try_from(delivery.read::<Event>()?.pull_request)?);
    Ok(match action.as_str() {
        "closed" => ForgeEvent::Remove { pull_request, action },
        _ => ForgeEvent::Deploy { pull_request, action },
    })
}

fn issue_comment(delivery: Delivery<'_>) -> Result<ForgeEvent> {
    match delivery.action()?.as_str() {
        "created" => match command(delivery.read::<CommentEvent>()?) {
            Ok(command) => Ok(ForgeEvent::Command(command)),
            Err(reason) => ignored(reason),
        },
        // An edited comment would do again what it did before, or something nobody was asked for.
        action => delivery.nothing_for(action),
    }
}

/// A check, or the build it is a part of: a workflow may push its image without a check that
/// anybody waits for by name.
fn ended(delivery: Delivery<'_>) -> Result<ForgeEvent> {
    #[derive(Deserialize)]
    struct Event {
        check_run: Option<Ended>,
        check_suite: Option<Ended>,
        workflow_run: Option<Ended>,
        repository: Repository,
    }
    #[derive(Deserialize)]
    struct Ended {
        head_sha: HeadSha,
    }
    match delivery.action()?.as_str() {
        "completed" => {
            let Event { check_run, check_suite, workflow_run, repository } = delivery.read()?;
            let ended = check_run.or(check_suite).or(workflow_run).ok_or_else(|| {
                Error::invalid(format!("the {0:?} event's body is not as expected: {0} is missing", delivery.event))
            })?;
            Ok(arrived(repository, Some(ended.head_sha), Awaited::Check))
        }
        action => delivery.nothing_for(action),
    }
}

fn status(delivery: Delivery<'_>) -> Result<ForgeEvent> {
    #[derive(Deserialize)]
    struct Event {
        sha: HeadSha,
        state: String,
        context: String,
        repository: Repository,
    }
    let event: Event = delivery.read()?;
    if event.context == STATUS_CONTEXT {
        return ignored("status: our own");
    }
    match event.state.as_str() {
        "success" | "failure" | "error" => Ok(arrived(event.repository, Some(event.sha), Awaited::Check)),
        state => ignored(format!("status {:?}: it has not ended", bounded(state, 64))),
    }
}

fn package(delivery: Delivery<'_>) -> Result<ForgeEvent> {
    #[derive(Deserialize)]
    struct Event {
        #[serde(alias = "registry_package")]
        package: Package,
        /// Packages need not belong to a repository.
        #[serde(default)]
        repository: Option<Repository>,
    }
    #[derive(Deserialize)]
    struct Package {
        #[serde(default)]
        package_type: Option<String>,
        #[serde(default)]
        ecosystem: Option<String>,
    }
    match delivery.action()?.as_str() {
        // A tag that is pushed again is an update.
        "published" | "updated" => {
            let Event { package, repository } = delivery.read()?;
            let kinds: Vec<String> = [package.package_type, package.ecosystem].into_iter().flatten().collect();
            let image = |kind: &String| kind.eq_ignore_ascii_case("container") || kind.eq_ignore_ascii_case("docker");
            if !kinds.is_empty() && !kinds.iter().any(image) {
                return ignored(format!("package of type {:?}: not a container image", bounded(&kinds[0], 64)));
            }
            match repository {
                Some(repository) => Ok(arrived(repository, None, Awaited::Image)),
                None => ignored("package: it belongs to no repository"),
            }
        }
        action => delivery.nothing_for(action),
    }
}

fn arrived(repository: Repository, sha: Option<HeadSha>, what: Awaited) -> ForgeEvent {
    ForgeEvent::Arrived { repository: repository.full_name, sha, what }
}

fn repository(delivery: Delivery<'_>) -> Result<ForgeEvent> {
    #[derive(Deserialize)]
    struct Renamed {
        changes: NameChange,
        repository: Repository,
    }
    #[derive(Deserialize)]
    struct NameChange {
        repository: OldName,
    }
    #[derive(Deserialize)]
    struct OldName {
        name: From,
    }
    #[derive(Deserialize)]
    struct From {
        from: String,
    }
    #[derive(Deserialize)]
    struct Transferred {
        changes: OwnerChange,
        repository: Repository,
    }
    #[derive(Deserialize)]
    struct OwnerChange {
        owner: OldOwner,
    }
    #[derive(Deserialize)]
    struct OldOwner {
        from: OwnerFrom,
    }
    /// One of the two.
    #[derive(Deserialize)]
    struct OwnerFrom {
        #[serde(default)]
        user: Option<Account>,
        #[serde(default)]
        organization: Option<Account>,
    }
    #[derive(Deserialize)]
    struct Account {
        login: String,
    }
    let renamed = |owner: &str, name: &str, to: RepositoryName| {
        let from = format!("{owner}/{name}").parse()?;
        Ok(ForgeEvent::Renamed { from, to })
    };
    match delivery.action()?.as_str() {
        "renamed" => {
            let Renamed { changes, repository: Repository { full_name: to } } = delivery.read()?;
            renamed(to.owner(), &changes.repository.name.from, to.clone())
        }
        "transferred" => {
            let Transferred { changes, repository: Repository { full_name: to } } = delivery.read()?;
            let OwnerFrom { user, organization } = changes.owner.from;
            let from = user.or(organization).ok_or_else(|| {
                Error::invalid("the \"repository\" event's body is not as expected: changes.owner.from names nobody")
            })?;
            renamed(&from.login, to.name(), to.clone())
        }
        action => delivery.nothing_for(action),
    }
}
