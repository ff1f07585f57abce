//! Pages for people: what is there, what was said, and buttons to go on.

pub(crate) mod authorize;
mod forms;
mod layout;
mod lists;
mod markdown;
mod pull;

pub(crate) use forms::pressed_here;

use std::sync::Arc;

use crate::call::Call;
use crate::reply::{Refusal, Reply};
use crate::shared::Core;
use crate::text::escape;

/// First segments that belong to the API and the sign-in, not to an account's page.
const API: &[&str] =
    &["repos", "repositories", "user", "users", "orgs", "app", "installation", "rate_limit", "login", "_codeload"];

/// The page, or none where the path belongs to the API.
pub(crate) async fn answer(core: &Arc<Core>, call: &Call) -> Option<Reply> {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    if segments.first().is_some_and(|first| API.contains(first)) {
        return None;
    }
    let version = *core.watch().borrow();
    let result = match (call.method.as_str(), segments.as_slice()) {
        ("GET", []) => core.read(|state| Ok(lists::everything(state, version))),
        ("GET", ["_assets", "page.css"]) => {
            return Some(Reply::bytes("text/css; charset=utf-8", layout::STYLE));
        }
        ("GET", ["_assets", "live.js"]) => {
            return Some(Reply::bytes("text/javascript; charset=utf-8", layout::SCRIPT));
        }
        ("GET", ["_avatars", name]) => {
            return Some(Reply::bytes("image/svg+xml", layout::avatar(name)));
        }
        ("GET", [owner, name]) => core.read(|state| lists::repository(state, owner, name, version)),
        ("GET", [owner, name, "pull", number]) => {
            core.read(|state| pull::page_for(state, owner, name, number, version))
        }
        ("POST", [owner, name, "pull", number, action]) => {
            let address = format!("{owner}/{name}/pull/{number}");
            let done = core.change(|state| forms::submit(state, call, owner, name, number, action));
            return Some(match done {
                Ok(()) => Reply::redirect(303, format!("/{}", crate::text::encode(&address))),
                Err(refusal) => problem(&refusal),
            });
        }
        _ => return None,
    };
    Some(match result {
        Ok(html) => page(html),
        Err(refusal) => problem(&refusal),
    })
}

fn page(html: String) -> Reply {
    page_with_forms_to(html, "'self'")
}

fn page_with_forms_to(html: String, targets: &str) -> Reply {
    Reply::bytes("text/html; charset=utf-8", html)
        .header(
            "Content-Security-Policy",
            format!(
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' http: https:; \
                 connect-src 'self'; form-action {targets}; base-uri 'none'; frame-ancestors 'none'"
            ),
        )
        .header("X-Content-Type-Options", "nosniff")
        .header("Cache-Control", "no-store")
}

pub(crate) fn problem(refusal: &Refusal) -> Reply {
    let text = format!(
        "<h1>{}</h1><p>{}</p><p><a href=\"/\">All repositories</a></p>",
        refusal.status,
        escape(&refusal.text())
    );
    let mut reply = page(layout::page("That did not work", &text, None));
    reply.status = refusal.status;
    reply
}
