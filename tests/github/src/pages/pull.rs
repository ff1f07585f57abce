//! The page of a pull request.

use std::fmt::Write;

use super::layout::{page, time};
use super::lists::{badge, events};
use super::markdown::render;
use crate::comments::Comment;
use crate::pulls::Pull;
use crate::reply::Refusal;
use crate::state::{Repository, State};
use crate::text::{encode, escape};

/// `/{owner}/{repo}/pull/{n}`
fn page_of(state: &State, repository: &Repository, pull: &Pull, version: u64) -> String {
    let mut main = head(state, repository, pull);
    main.push_str(&checks(state, repository, pull));
    main.push_str(&deployments(repository, pull));
    main.push_str("<h2>Conversation</h2>");
    let text = pull.body.as_deref().unwrap_or("_No description provided._");
    main.push_str(&said(&pull.author, &time(pull.created_at), text, "", ""));
    for comment in repository.comments.values() {
        if comment.number == pull.number && comment.deleted_at.is_none() {
            main.push_str(&one_comment(comment));
        }
    }
    main.push_str(&buttons(state, repository, pull));
    let _ = write!(
        main,
        "<details id=\"events\"><summary>Events sent for this repository</summary>\
         <div class=\"box\">{}</div></details>",
        events(state, repository)
    );
    let title = format!("{} · #{}", pull.title, pull.number);
    page(&title, &main, Some(version))
}

/// The page by the parts of its address.
pub(super) fn page_for(state: &State, owner: &str, name: &str, number: &str, version: u64) -> Result<String, Refusal> {
    let repository = state.find(owner, name).ok_or_else(Refusal::not_found)?;
    let number = number.parse().map_err(|_| Refusal::not_found())?;
    let pull = state.pull(repository.id, number)?;
    Ok(page_of(state, repository, pull, version))
}

fn head(state: &State, repository: &Repository, pull: &Pull) -> String {
    let full = repository.full_name();
    let message = state.commit(&pull.head.sha).map_or("", |commit| commit.message.lines().next().unwrap_or(""));
    let from = if pull.head.repository == repository.id {
        pull.head.branch.clone()
    } else {
        format!("{}:{}", pull.head.owner, pull.head.branch)
    };
    let mut html = format!(
        "<p><a href=\"/{}\">{}</a></p>\
         <h1>{} <span class=\"number\">#{}</span></h1>\
         <p>{} {} wants to merge <code>{}</code> into <code>{}</code></p>\
         <p>Head commit <code id=\"head\">{}</code> <span class=\"quiet\">{}</span></p><p>",
        encode(&full),
        escape(&full),
        escape(&pull.title),
        pull.number,
        badge(pull),
        escape(&pull.author),
        escape(&from),
        escape(&pull.base.branch),
        escape(&pull.head.sha),
        escape(message),
    );
    for label in &pull.labels {
        let _ = write!(html, "<span class=\"label\">{}</span> ", escape(label));
    }
    html.push_str("</p>");
    html
}

fn checks(state: &State, repository: &Repository, pull: &Pull) -> String {
    let mut rows = String::new();
    for status in state.latest(repository, &pull.head.sha) {
        let link = match status.target_url.as_deref().filter(|url| !url.is_empty()) {
            Some(url) => format!("<a href=\"{}\">Details</a>", escape(url)),
            None => String::new(),
        };
        let _ = write!(
            rows,
            "<div class=\"row\"><span class=\"dot {0}\">{0}</span> <strong>{1}</strong> \
             <span class=\"quiet\">{2}</span> {link}</div>",
            escape(&status.state),
            escape(&status.context),
            escape(status.description.as_deref().unwrap_or_default()),
        );
    }
    let of_head = |sha: &str| sha == pull.head.sha;
    for run in repository.check_runs.values() {
        if of_head(&run.sha) {
            let word = run.conclusion.as_deref().unwrap_or(&run.status);
            let _ = write!(
                rows,
                "<div class=\"row\"><span class=\"dot {0}\">{0}</span> <strong>{1}</strong> \
                 <span class=\"quiet\">{2}</span></div>",
                escape(word),
                escape(&run.name),
                escape(run.title.as_deref().unwrap_or_default()),
            );
        }
    }
    if rows.is_empty() {
        rows.push_str("<div class=\"row quiet\">None for the head commit.</div>");
    }
    format!("<h2>Checks and statuses</h2><div class=\"box\">{rows}</div>")
}

fn deployments(repository: &Repository, pull: &Pull) -> String {
    let mut rows = String::new();
    for one in repository.deployments.values().rev() {
        // By commit for the pull request's own, by ref for those of earlier commits.
        if one.sha != pull.head.sha && one.reference != pull.head.branch {
            continue;
        }
        let url = one.statuses.iter().rev().map(|status| status.environment_url.as_str()).find(|url| !url.is_empty());
        let link = match url {
            Some(url) => format!("<a href=\"{0}\">{0}</a>", escape(url)),
            None => String::new(),
        };
        let _ = write!(
            rows,
            "<div class=\"row\"><span class=\"dot {0}\">{0}</span> <strong>{1}</strong> \
             <code>{2}</code> {link} {3}</div>",
            escape(one.state()),
            escape(&one.environment),
            escape(&one.sha[..7]),
            time(one.updated_at),
        );
    }
    if rows.is_empty() {
        return String::new();
    }
    format!("<h2>Deployments</h2><div class=\"box\">{rows}</div>")
}

fn said(who: &str, when: &str, text: &str, id: &str, more: &str) -> String {
    let bot = if who.ends_with("[bot]") || who.ends_with("-bot") { " <span class=\"label\">bot</span>" } else { "" };
    format!(
        "<article class=\"box\"{id}><div class=\"head\">\
         <img class=\"avatar\" alt=\"\" src=\"/_avatars/{}.svg\"> <strong>{}</strong>{bot} {when} \
         {more}</div><div class=\"body markdown\">{}</div></article>",
        encode(who),
        escape(who),
        render(text),
    )
}

fn one_comment(comment: &Comment) -> String {
    let mut history = String::new();
    let edits = comment.versions.len().saturating_sub(1);
    if edits > 0 {
        let _ = write!(
            history,
            "<details id=\"history-{}\"><summary>edited {edits} time{}, last {}</summary>",
            comment.id,
            if edits == 1 { "" } else { "s" },
            time(comment.updated_at),
        );
        for version in &comment.versions {
            let _ = write!(
                history,
                "<p>{} {}</p><pre><code>{}</code></pre>",
                time(version.at),
                escape(&version.by),
                escape(&version.body),
            );
        }
        history.push_str("</details>");
    }
    for reaction in &comment.reactions {
        let _ = write!(
            history,
            " <span class=\"label\" title=\"{}\">{}</span>",
            escape(&reaction.login),
            escape(&reaction.content),
        );
    }
    let id = format!(" id=\"issuecomment-{}\"", comment.id);
    said(&comment.author, &time(comment.created_at), comment.body(), &id, &history)
}

fn buttons(state: &State, repository: &Repository, pull: &Pull) -> String {
    let address = format!("/{}/pull/{}", encode(&repository.full_name()), pull.number);
    let button = |action: &str, word: &str, class: &str| {
        format!(
            "<form method=\"post\" action=\"{address}/{action}\">\
             <button class=\"{class}\">{word}</button></form>"
        )
    };
    let mut html = format!(
        "<div class=\"box\"><form class=\"wide\" method=\"post\" action=\"{address}/comment\">\
         <label for=\"comment\">Comment as</label>\
         <input type=\"text\" name=\"by\" aria-label=\"Login\" value=\"{}\">\
         <textarea id=\"comment\" name=\"body\" required></textarea>\
         <button class=\"main\">Comment</button></form></div><div class=\"buttons\">",
        escape(&repository.owner)
    );
    if pull.is_open() {
        html.push_str(&button("merge", "Merge pull request", "main"));
        html.push_str(&button("close", "Close pull request", ""));
        if pull.draft {
            html.push_str(&button("ready", "Ready for review", ""));
        } else {
            html.push_str(&button("draft", "Convert to draft", ""));
        }
    } else if pull.merged.is_none() {
        html.push_str(&button("reopen", "Reopen pull request", ""));
    }
    html.push_str("</div>");
    if pull.is_open() {
        let changed = state.pull_changes(pull);
        let path = changed.first().map_or("README.md", |change| change.path.as_str());
        let text = state
            .commit(&pull.head.sha)
            .ok()
            .and_then(|commit| commit.files.get(path))
            .and_then(|blob| String::from_utf8(blob.data.to_vec()).ok())
            .unwrap_or_default();
        // A line break right after the tag is not part of the text.
        let _ = write!(
            html,
            "<details id=\"push\"><summary>Push a commit</summary><div class=\"box\">\
             <form class=\"wide\" method=\"post\" action=\"{address}/push\">\
             <label for=\"path\">File</label>\
             <input type=\"text\" id=\"path\" name=\"path\" value=\"{}\" required>\
             <label for=\"content\">Content</label>\
             <textarea id=\"content\" name=\"content\">\n{}</textarea>\
             <label><input type=\"checkbox\" name=\"force\" class=\"check\"> \
             replace the last commit (force push)</label>\
             <button class=\"main\">Push</button></form></div></details>",
            escape(path),
            escape(&text),
        );
    }
    html
}
