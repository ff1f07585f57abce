//! The list of everything, and of one repository.

use std::fmt::Write;

use super::layout::{page, time};
use crate::pulls::Pull;
use crate::reply::Refusal;
use crate::state::{Repository, State};
use crate::text::{encode, escape};

/// The badge of a pull request's state.
pub(super) fn badge(pull: &Pull) -> String {
    let (class, word) = match (&pull.merged, pull.is_open(), pull.draft) {
        (Some(_), _, _) => ("merged", "Merged"),
        (None, false, _) => ("closed", "Closed"),
        (None, true, true) => ("draft", "Draft"),
        (None, true, false) => ("open", "Open"),
    };
    format!("<span class=\"state {class}\">{word}</span>")
}

fn rows(repository: &Repository) -> String {
    let mut html = String::new();
    let address = encode(&repository.full_name());
    for pull in repository.pulls.values().rev() {
        // Writing to a string cannot fail.
        let _ = write!(
            html,
            "<div class=\"row\">{} <a href=\"/{address}/pull/{}\">{}</a> \
             <span class=\"quiet\">#{} by {} · {}</span></div>",
            badge(pull),
            pull.number,
            escape(&pull.title),
            pull.number,
            escape(&pull.author),
            time(pull.updated_at),
        );
    }
    if html.is_empty() {
        html.push_str("<div class=\"row quiet\">No pull requests.</div>");
    }
    html
}

fn section(repository: &Repository) -> String {
    let name = repository.full_name();
    let kind = if repository.private { "private" } else { "public" };
    format!(
        "<h2><a href=\"/{}\">{}</a> <span class=\"label\">{kind}</span></h2>\
         <div class=\"box\">{}</div>",
        encode(&name),
        escape(&name),
        rows(repository)
    )
}

/// `/`
pub(super) fn everything(state: &State, version: u64) -> String {
    let mut main = String::from("<h1>Repositories</h1>");
    for repository in state.repositories.values() {
        main.push_str(&section(repository));
    }
    if state.repositories.is_empty() {
        main.push_str("<p class=\"quiet\">There are none yet.</p>");
    }
    page("Repositories", &main, Some(version))
}

/// `/{owner}/{repo}`
pub(super) fn repository(state: &State, owner: &str, name: &str, version: u64) -> Result<String, Refusal> {
    let repository = state.find(owner, name).ok_or_else(Refusal::not_found)?;
    let mut main = section(repository);
    main.push_str("<h2>Branches</h2><div class=\"box\">");
    for (branch, sha) in &repository.branches {
        let _ = write!(
            main,
            "<div class=\"row\"><code>{}</code> <span class=\"quiet\">at</span> <code>{}</code></div>",
            escape(branch),
            escape(&sha[..7]),
        );
    }
    main.push_str("</div><h2>Events sent</h2><div class=\"box\">");
    main.push_str(&events(state, repository));
    main.push_str("</div>");
    Ok(page(&repository.full_name(), &main, Some(version)))
}

/// The last events of a repository, newest first.
pub(super) fn events(state: &State, repository: &Repository) -> String {
    let mut html = String::new();
    let latest = state.hooks.deliveries.iter().rev();
    for delivery in latest.filter(|delivery| delivery.repository == repository.id).take(15) {
        let outcome = delivery.outcome.as_ref();
        let (class, code) = match outcome {
            Some(outcome) if outcome.code < 300 => ("success", outcome.code.to_string()),
            Some(outcome) => ("failure", outcome.code.to_string()),
            None => ("pending", "…".to_owned()),
        };
        let action = delivery.action.as_deref().unwrap_or_default();
        let _ = write!(
            html,
            "<div class=\"row\"><span class=\"dot {class}\">{code}</span> {} {} {} \
             <span class=\"quiet\">{}</span></div>",
            escape(delivery.event),
            escape(action),
            time(delivery.at),
            if delivery.redelivery { "again" } else { "" },
        );
    }
    if html.is_empty() {
        html.push_str("<div class=\"row quiet\">None.</div>");
    }
    html
}
