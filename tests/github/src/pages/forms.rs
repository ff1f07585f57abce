//! What the buttons do.

use crate::call::Call;
use crate::control::types::{NewCommit, files};
use crate::reply::Refusal;
use crate::state::State;

/// A page elsewhere must not press the buttons: browsers say where a form comes from.
pub(crate) fn pressed_here(call: &Call) -> Result<(), Refusal> {
    match call.header("sec-fetch-site") {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => Err(Refusal::new(403, "That form is not from here.")),
    }
}

/// Does what a form on a pull request's page asks for.
pub(super) fn submit(
    state: &mut State,
    call: &Call,
    owner: &str,
    name: &str,
    number: &str,
    action: &str,
) -> Result<(), Refusal> {
    pressed_here(call)?;
    let fields = call.form();
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    let id = state.find(owner, name).map(|repository| repository.id).ok_or_else(Refusal::not_found)?;
    let number: u64 = number.parse().map_err(|_| Refusal::not_found())?;
    let author = state.pull(id, number)?.author.clone();
    match action {
        "comment" => {
            let by = match field("by").trim() {
                "" => author.as_str(),
                by => by,
            };
            // Browsers send line breaks as CR LF.
            let body = field("body").replace("\r\n", "\n");
            state.add_comment(id, number, by, false, &body)?;
        }
        "push" => {
            let content = field("content").replace("\r\n", "\n");
            let commit = NewCommit {
                files: files([(field("path"), content)]),
                force: fields.contains_key("force"),
                ..NewCommit::default()
            };
            state.control_push(id, number, &commit)?;
        }
        "close" => state.close(id, number, &author)?,
        "reopen" => state.reopen(id, number, &author)?,
        "merge" => {
            state.merge_pull(id, number, &author)?;
        }
        "ready" => state.set_draft(id, number, false, &author)?,
        "draft" => state.set_draft(id, number, true, &author)?,
        _ => return Err(Refusal::not_found()),
    }
    Ok(())
}
