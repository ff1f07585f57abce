//! Which handler answers which path.

use crate::call::Call;
use crate::reply::{Answer, Refusal, Reply};
use crate::state::State;
use crate::{
    apps, branches, checks, comments, contents, deployments, hooks, labels, pulls, ratelimit, reactions, repositories,
    statuses, users,
};

fn number(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| Refusal::not_found())
}

/// Answers a call to the API.
pub(crate) fn answer(state: &mut State, call: &Call) -> Answer {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    match (call.method.as_str(), segments.as_slice()) {
        (_, ["repos", owner, name, rest @ ..]) => match state.find(owner, name) {
            Some(repository) => {
                let id = repository.id;
                below(state, call, id, rest)
            }
            None => moved(state, call, owner, name, rest),
        },
        (_, ["repositories", id, rest @ ..]) => {
            let id = number(id)?;
            below(state, call, state.repository(id)?.id, rest)
        }
        ("GET", ["user"]) => users::current(state, call),
        ("GET", ["user", "repos"]) => repositories::of_user(state, call),
        ("GET", ["users", login]) => users::get(state, login),
        ("GET", ["rate_limit"]) => ratelimit::get(state, call),
        ("GET", ["app"]) => apps::get(state, call),
        ("GET", ["app", "installations"]) => apps::installations(state, call),
        ("GET", ["app", "installations", id]) => apps::installation(state, call, number(id)?),
        ("POST", ["app", "installations", id, "access_tokens"]) => apps::access_token(state, call, number(id)?),
        ("GET", ["orgs" | "users", account, "installation"]) => apps::of_account(state, call, account),
        ("GET", ["installation", "repositories"]) => apps::repositories(state, call),
        ("GET", ["app", "hook", "config"]) => hooks::app_config(state, call),
        ("GET", ["app", "hook", "deliveries"]) => hooks::app_deliveries(state, call),
        ("GET", ["app", "hook", "deliveries", id]) => hooks::app_delivery(state, call, number(id)?),
        ("POST", ["app", "hook", "deliveries", id, "attempts"]) => hooks::app_attempt(state, call, number(id)?),
        ("GET", ["_codeload", owner, name, "legacy.tar.gz", reference @ ..]) => {
            contents::archive(state, call, owner, name, &reference.join("/"))
        }
        _ => Err(Refusal::not_found()),
    }
}

/// A former name leads to the repository by its id.
fn moved(state: &State, call: &Call, owner: &str, name: &str, rest: &[&str]) -> Answer {
    let former = format!("{owner}/{name}").to_ascii_lowercase();
    let id = state.former_names.get(&former);
    let id = id.ok_or_else(Refusal::not_found)?;
    let mut url = format!("{}/repositories/{id}", state.base);
    for segment in rest {
        url.push('/');
        url.push_str(&crate::text::encode(segment));
    }
    if !call.raw_query.is_empty() {
        url.push('?');
        url.push_str(&call.raw_query);
    }
    let (status, word) = match call.method.as_str() {
        "GET" | "HEAD" => (301, "Moved Permanently"),
        _ => (307, "Temporary Redirect"),
    };
    let body = serde_json::json!({
        "message": word, "url": url, "documentation_url": "https://docs.github.com/rest",
    });
    Ok(Reply::json(status, body).header("Location", url))
}

/// Everything below one repository.
fn below(state: &mut State, call: &Call, id: u64, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("GET", []) => repositories::get(state, call, id),
        ("GET", ["installation"]) => apps::of_repository(state, call, id),
        ("GET", ["collaborators", login, "permission"]) => repositories::permission(state, call, id, login),
        ("GET", ["contents", path @ ..]) => contents::get(state, call, id, &path.join("/")),
        ("GET", ["tarball", reference @ ..]) => contents::tarball(state, call, id, &reference.join("/")),
        ("GET", ["branches"]) => branches::list(state, call, id),
        ("GET", ["branches", name @ ..]) => branches::branch(state, call, id, &name.join("/")),
        ("GET", ["git", "ref", name @ ..]) => branches::reference(state, call, id, &name.join("/")),
        ("GET", ["commits"]) => branches::commits(state, call, id),
        ("GET", ["commits", reference @ .., "status"]) if !reference.is_empty() => {
            statuses::combined(state, call, id, &reference.join("/"))
        }
        ("GET", ["commits", reference @ .., "statuses"]) if !reference.is_empty() => {
            statuses::list(state, call, id, &reference.join("/"))
        }
        ("GET", ["commits", reference @ .., "check-runs"]) if !reference.is_empty() => {
            checks::list(state, call, id, &reference.join("/"))
        }
        ("GET", ["commits", reference @ ..]) => branches::commit(state, call, id, &reference.join("/")),
        ("POST", ["statuses", sha]) => statuses::create(state, call, id, sha),
        ("GET", ["statuses", reference]) => statuses::list(state, call, id, reference),
        ("POST", ["check-runs"]) => checks::create(state, call, id),
        ("GET", ["check-runs", run]) => checks::get(state, call, id, number(run)?),
        ("PATCH" | "POST", ["check-runs", run]) => checks::update(state, call, id, number(run)?),
        ("GET", ["pulls"]) => pulls::list(state, call, id),
        ("GET", ["pulls", one]) => pulls::get(state, call, id, number(one)?),
        ("PATCH" | "POST", ["pulls", one]) => pulls::update(state, call, id, number(one)?),
        ("GET", ["pulls", one, "files"]) => pulls::files(state, call, id, number(one)?),
        ("GET", ["pulls", one, "commits"]) => pulls::commits(state, call, id, number(one)?),
        (_, ["issues", rest @ ..]) => issues(state, call, id, rest),
        (_, ["deployments", rest @ ..]) => deployed(state, call, id, rest),
        (_, ["hooks", rest @ ..]) => hooks::of_repository(state, call, id, rest),
        _ => Err(Refusal::not_found()),
    }
}

fn issues(state: &mut State, call: &Call, id: u64, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("GET", ["comments"]) => comments::list(state, call, id, None),
        ("GET", ["comments", one]) => comments::get(state, call, id, number(one)?),
        // GitHub takes POST wherever it takes PATCH, and octocrab relies on it.
        ("PATCH" | "POST", ["comments", one]) => comments::update(state, call, id, number(one)?),
        ("DELETE", ["comments", one]) => comments::delete(state, call, id, number(one)?),
        ("GET", ["comments", one, "reactions"]) => reactions::list(state, call, id, number(one)?),
        ("POST", ["comments", one, "reactions"]) => reactions::create(state, call, id, number(one)?),
        ("DELETE", ["comments", one, "reactions", reaction]) => {
            reactions::delete(state, call, id, number(one)?, number(reaction)?)
        }
        ("GET", [one]) => pulls::issue(state, call, id, number(one)?),
        ("GET", [one, "comments"]) => comments::list(state, call, id, Some(number(one)?)),
        ("POST", [one, "comments"]) => comments::create(state, call, id, number(one)?),
        ("GET", [one, "labels"]) => labels::list(state, call, id, number(one)?),
        ("POST", [one, "labels"]) => labels::add(state, call, id, number(one)?),
        ("DELETE", [one, "labels"]) => labels::clear(state, call, id, number(one)?),
        ("DELETE", [one, "labels", name]) => labels::remove(state, call, id, number(one)?, name),
        _ => Err(Refusal::not_found()),
    }
}

fn deployed(state: &mut State, call: &Call, id: u64, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("GET", []) => deployments::list(state, call, id),
        ("POST", []) => deployments::create(state, call, id),
        ("GET", [one]) => deployments::get(state, call, id, number(one)?),
        ("DELETE", [one]) => deployments::delete(state, call, id, number(one)?),
        ("GET", [one, "statuses"]) => deployments::statuses(state, call, id, number(one)?),
        ("POST", [one, "statuses"]) => deployments::create_status(state, call, id, number(one)?),
        ("GET", [one, "statuses", status]) => deployments::status(state, call, id, number(one)?, number(status)?),
        _ => Err(Refusal::not_found()),
    }
}
