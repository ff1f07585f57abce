//! The page on which one says who one is.

use std::fmt::Write;

use super::layout;
use crate::oauth::{Fields, Request};
use crate::reply::Reply;
use crate::state::State;
use crate::text::escape;
use crate::users::AccountKind;

/// Who is offered: the author of the newest pull request.
fn offered(state: &State) -> &str {
    let person = |login: &str| {
        state.users.get(&login.to_ascii_lowercase()).is_some_and(|account| account.kind == AccountKind::User)
    };
    let pulls = state.repositories.values().flat_map(|repository| repository.pulls.values());
    let newest = pulls.filter(|pull| person(&pull.author)).max_by_key(|pull| pull.created_at);
    newest.map_or("mia", |pull| pull.author.as_str())
}

/// `/login/oauth/authorize`
pub(crate) fn page_for(state: &State, request: &Request, fields: &Fields) -> Reply {
    let mut hidden = String::new();
    for (name, value) in fields.iter().filter(|(name, _)| *name != "login") {
        // Writing to a string cannot fail.
        let _ = write!(hidden, "<input type=\"hidden\" name=\"{}\" value=\"{}\">", escape(name), escape(value));
    }
    let main = format!(
        "<h1>Sign in to {app}</h1>\
         <p>{app} by {owner} wants to know who you are. Here you are whoever you say.</p>\
         <div class=\"box\"><form class=\"wide\" method=\"post\" action=\"/login/oauth/authorize\">{hidden}\
         <label for=\"login\">Sign in as</label>\
         <input type=\"text\" id=\"login\" name=\"login\" value=\"{login}\" autocomplete=\"username\">\
         <div class=\"buttons\">\
         <button class=\"main\" name=\"decision\" value=\"authorize\">Authorize</button>\
         <button name=\"decision\" value=\"cancel\">Cancel</button></div></form></div>\
         <p class=\"quiet\">Then back to {back}</p>",
        app = escape(&state.app.name),
        owner = escape(&state.app.owner),
        login = escape(offered(state)),
        back = escape(request.redirect.as_str()),
    );
    let html = layout::page("Sign in", &main, None);
    // Browsers hold the form to this also where its answer leads elsewhere.
    super::page_with_forms_to(html, &format!("'self' {}", request.redirect.origin().ascii_serialization()))
}
