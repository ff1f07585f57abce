//! The paths of the control API.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::auth::Permission;
use crate::call::Call;
use crate::control::types::{Author, Made, NewCommit, NewPackage, NewPull, NewRepository};
use crate::control::{switches, views};
use crate::reply::{Answer, Refusal, Reply};
use crate::shared::Core;
use crate::state::State;
use crate::users::AccountKind;

/// The body of a control call.
pub(crate) fn input<T: DeserializeOwned>(call: &Call) -> Result<T, Refusal> {
    let body: &[u8] = if call.body.is_empty() { b"{}" } else { &call.body };
    serde_json::from_slice(body).map_err(|error| Refusal::unprocessable(format!("The body does not fit: {error}")))
}

/// An answer from something that serialises.
pub(crate) fn output(value: impl Serialize) -> Answer {
    serde_json::to_value(value).map(Reply::ok).map_err(|error| Refusal::new(500, error.to_string()))
}

/// Answers a call to the control API.
pub(crate) async fn answer(core: &Arc<Core>, call: &Call) -> Reply {
    let segments: Vec<&str> = call.segments.iter().skip(1).map(String::as_str).collect();
    let answer = match (call.method.as_str(), segments.as_slice()) {
        ("POST", ["deliveries", "settle"]) => {
            core.dispatcher.settled().await;
            output(json!({}))
        }
        ("GET", ["changes"]) => output(json!({ "version": changes(core, call).await })),
        // Looking must not count as a change, or those who wait for one never rest.
        ("GET", _) => core.read(|state| look(state, call, &segments)),
        _ => core.change(|state| alter(state, call, &segments)),
    };
    answer.unwrap_or_else(Refusal::into_reply)
}

/// Waits for a version after the one the caller has seen.
async fn changes(core: &Arc<Core>, call: &Call) -> u64 {
    let number = |name: &str| call.parameter(name).and_then(|text| text.parse().ok());
    let after: u64 = number("after").unwrap_or(0);
    let patience = Duration::from_millis(number("timeout_ms").unwrap_or(10_000).min(60_000));
    let mut watcher = core.watch();
    let waited = tokio::time::timeout(patience, watcher.wait_for(|version| *version > after));
    // Whether something came or not, the caller looks again.
    let _ = waited.await;
    *core.watch().borrow()
}

fn number(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| Refusal::not_found())
}

fn look(state: &State, call: &Call, segments: &[&str]) -> Answer {
    let ["repositories", owner, name, rest @ ..] = segments else {
        return switches::look(state, call, segments);
    };
    let repository = state.repository(state.by_full_name(&format!("{owner}/{name}"))?)?;
    match rest {
        [] => output(views::repository(repository)),
        ["pulls"] => {
            let pulls = repository.pulls.values();
            output(pulls.map(|pull| views::pull(state, repository, pull)).collect::<Vec<_>>())
        }
        ["pulls", one] => {
            let pull = state.pull(repository.id, number(one)?)?;
            output(views::pull(state, repository, pull))
        }
        ["pulls", one, "comments"] => {
            let one = number(one)?;
            let comments = repository.comments.values();
            output(comments.filter(|comment| comment.number == one).map(views::comment).collect::<Vec<_>>())
        }
        ["statuses"] => output(repository.statuses.iter().map(views::status).collect::<Vec<_>>()),
        ["checks"] => output(repository.check_runs.values().map(views::check).collect::<Vec<_>>()),
        ["deployments"] => output(repository.deployments.values().map(views::deployment).collect::<Vec<_>>()),
        _ => Err(Refusal::not_found()),
    }
}

fn alter(state: &mut State, call: &Call, segments: &[&str]) -> Answer {
    match (call.method.as_str(), segments) {
        ("POST", ["repositories"]) => {
            let id = state.control_create(&input::<NewRepository>(call)?)?;
            output(views::repository(state.repository(id)?))
        }
        (_, ["repositories", owner, name, rest @ ..]) => {
            let id = state.by_full_name(&format!("{owner}/{name}"))?;
            in_repository(state, call, id, rest)
        }
        _ => switches::alter(state, call, segments),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBranch {
    name: String,
    /// Any ref; the default branch where it is not given.
    #[serde(default)]
    from: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewFork {
    owner: String,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rename {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer {
    owner: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Collaborator {
    permission: Permission,
}

fn in_repository(state: &mut State, call: &Call, id: u64, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("DELETE", []) => {
            state.remove_repository(id, "octocat")?;
            output(json!({}))
        }
        ("POST", ["commits"]) => {
            let new: NewCommit = input(call)?;
            let sha = state.control_commit(id, &new, "octocat")?;
            output(Made { sha })
        }
        ("POST", ["branches"]) => {
            let new: NewBranch = input(call)?;
            let repository = state.repository(id)?;
            let from = new.from.as_deref().unwrap_or("HEAD");
            let sha = crate::branches::named(repository, from)?;
            state.account("octocat", AccountKind::User);
            state.move_branch(id, &new.name, &sha, "octocat")?;
            output(Made { sha })
        }
        ("DELETE", ["branches", name @ ..]) => {
            state.account("octocat", AccountKind::User);
            state.delete_branch(id, &name.join("/"), "octocat")?;
            output(json!({}))
        }
        ("POST", ["fork"]) => {
            let new: NewFork = input(call)?;
            let name = match new.name {
                Some(name) => name,
                None => state.repository(id)?.name.clone(),
            };
            let fork = state.fork(id, &new.owner, &name)?;
            output(views::repository(state.repository(fork)?))
        }
        ("POST", ["rename"]) => {
            let new: Rename = input(call)?;
            state.account("octocat", AccountKind::User);
            state.rename(id, &new.name, "octocat")?;
            output(views::repository(state.repository(id)?))
        }
        ("POST", ["transfer"]) => {
            let new: Transfer = input(call)?;
            state.account("octocat", AccountKind::User);
            state.transfer(id, &new.owner, "octocat")?;
            output(views::repository(state.repository(id)?))
        }
        ("POST", ["packages"]) => {
            state.account("github-actions[bot]", AccountKind::Bot);
            state.emit_package(id, &input::<NewPackage>(call)?, "github-actions[bot]")?;
            output(json!({}))
        }
        ("PUT", ["collaborators", login]) => {
            let given: Collaborator = input(call)?;
            let login = state.account(login, AccountKind::User).login;
            state.repository_mut(id)?.collaborators.insert(login.to_ascii_lowercase(), given.permission);
            output(json!({}))
        }
        ("POST", ["statuses"]) => {
            let sha = state.control_status(id, &input(call)?)?;
            output(Made { sha })
        }
        ("POST", ["checks"]) => {
            let sha = state.control_check(id, &input(call)?)?;
            output(Made { sha })
        }
        ("POST", ["pulls"]) => {
            let one = state.control_open(id, &input::<NewPull>(call)?)?;
            shown(state, id, one)
        }
        ("POST", ["pulls", one, action]) => in_pull(state, call, id, number(one)?, action),
        _ => Err(Refusal::not_found()),
    }
}

fn shown(state: &State, id: u64, one: u64) -> Answer {
    output(views::pull(state, state.repository(id)?, state.pull(id, one)?))
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct InPull {
    /// Who does it; its author where nobody is named.
    by: Option<Author>,
    labels: Vec<String>,
    title: Option<String>,
    base: Option<String>,
    body: Option<String>,
}

fn in_pull(state: &mut State, call: &Call, id: u64, one: u64, action: &str) -> Answer {
    if action == "push" {
        let sha = state.control_push(id, one, &input(call)?)?;
        return output(Made { sha });
    }
    let wanted: InPull = input(call)?;
    let by = match wanted.by {
        Some(by) => state.account(&by.login, by.kind).login,
        None => state.pull(id, one)?.author.clone(),
    };
    match action {
        "close" => state.close(id, one, &by)?,
        "reopen" => state.reopen(id, one, &by)?,
        "merge" => {
            state.merge_pull(id, one, &by)?;
        }
        "ready" => state.set_draft(id, one, false, &by)?,
        "draft" => state.set_draft(id, one, true, &by)?,
        "label" => state.add_labels(id, one, &wanted.labels, &by)?,
        "unlabel" => {
            for label in &wanted.labels {
                state.remove_label(id, one, label, &by)?;
            }
        }
        "edit" => {
            let (title, base) = (wanted.title.as_deref(), wanted.base.as_deref());
            state.edit(id, one, title, base, &by)?;
        }
        "comments" => {
            let body: String = wanted.body.unwrap_or_default();
            let comment = state.add_comment(id, one, &by, false, &body)?;
            return output(views::comment(state.comment(id, comment)?));
        }
        _ => return Err(Refusal::not_found()),
    }
    shown(state, id, one)
}

/// The JSON of a list, for those who only count.
pub(crate) fn list(values: impl Iterator<Item = impl Serialize>) -> Answer {
    let values: Result<Vec<Value>, _> = values.map(serde_json::to_value).collect();
    match values {
        Ok(values) => Ok(Reply::ok(Value::Array(values))),
        Err(error) => Err(Refusal::new(500, error.to_string())),
    }
}
