//! Comments on pull requests, with everything they ever said.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::auth::{Caller, Need, Permission, allow, permission_of};
use crate::call::{self, Call};
use crate::clock::iso;
use crate::reactions::Reaction;
use crate::reply::{Answer, Refusal, Reply};
use crate::state::{Repository, State};
use crate::text::node_id;
use crate::users::AccountKind;

/// GitHub's limit for a comment, in characters.
const LONGEST: usize = 65_536;

const READ: Need = Need::read(&["issues", "pull_requests"]);
const JOIN: Need = Need::join(&["issues", "pull_requests"]);

/// A comment. It stays in memory after its deletion, for tests to look at.
#[derive(Debug)]
pub(crate) struct Comment {
    pub(crate) id: u64,
    pub(crate) number: u64,
    pub(crate) author: String,
    pub(crate) by_app: bool,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    /// Every body it has had, the first one included.
    pub(crate) versions: Vec<Version>,
    pub(crate) deleted_at: Option<DateTime<Utc>>,
    pub(crate) reactions: Vec<Reaction>,
}

#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) at: DateTime<Utc>,
    pub(crate) by: String,
    pub(crate) body: String,
}

impl Comment {
    /// What it says now.
    pub(crate) fn body(&self) -> &str {
        self.versions.last().map_or("", |version| version.body.as_str())
    }
}

impl State {
    pub(crate) fn comment_json(&self, repository: &Repository, comment: &Comment) -> Value {
        let api = self.repository_url(repository);
        let url = format!("{api}/issues/comments/{}", comment.id);
        let page = self.pull_page(repository, comment.number);
        json!({
            "id": comment.id, "node_id": node_id("IC", comment.id), "url": url,
            "html_url": format!("{page}#issuecomment-{}", comment.id),
            "issue_url": format!("{api}/issues/{}", comment.number),
            "body": comment.body(),
            "user": self.user_json(&comment.author),
            "created_at": iso(comment.created_at), "updated_at": iso(comment.updated_at),
            "author_association": self.association(repository, &comment.author),
            "performed_via_github_app": comment.by_app.then(|| self.app_json()),
            "reactions": self.reactions_json(&url, &comment.reactions),
        })
    }

    /// Says something on a pull request; answers the comment's id.
    pub(crate) fn add_comment(
        &mut self,
        id: u64,
        number: u64,
        author: &str,
        by_app: bool,
        body: &str,
    ) -> Result<u64, Refusal> {
        check(body)?;
        let author = self.account(author, AccountKind::User).login;
        self.pull(id, number)?;
        let (comment_id, now) = (self.next_id(), self.clock.now());
        let comment = Comment {
            id: comment_id,
            number,
            author: author.clone(),
            by_app,
            created_at: now,
            updated_at: now,
            versions: vec![Version { at: now, by: author.clone(), body: body.to_owned() }],
            deleted_at: None,
            reactions: Vec::new(),
        };
        self.repository_mut(id)?.comments.insert(comment_id, comment);
        self.pull_mut(id, number)?.updated_at = now;
        self.emit_comment(id, comment_id, "created", &author, json!({}))?;
        Ok(comment_id)
    }

    /// Makes a comment say something else; what it said before is kept.
    pub(crate) fn edit_comment(&mut self, id: u64, comment: u64, editor: &str, body: &str) -> Result<(), Refusal> {
        check(body)?;
        let now = self.clock.now();
        let comment_id = comment;
        let comment = self.comment_mut(id, comment)?;
        let from = comment.body().to_owned();
        comment.updated_at = now;
        comment.versions.push(Version { at: now, by: editor.to_owned(), body: body.to_owned() });
        let changes = json!({ "changes": { "body": { "from": from } } });
        self.emit_comment(id, comment_id, "edited", editor, changes)
    }

    pub(crate) fn delete_comment(&mut self, id: u64, comment: u64, sender: &str) -> Result<(), Refusal> {
        let now = self.clock.now();
        self.emit_comment(id, comment, "deleted", sender, json!({}))?;
        self.comment_mut(id, comment)?.deleted_at = Some(now);
        Ok(())
    }

    /// A comment that has not been deleted.
    pub(crate) fn comment(&self, id: u64, comment: u64) -> Result<&Comment, Refusal> {
        self.repository(id)?
            .comments
            .get(&comment)
            .filter(|comment| comment.deleted_at.is_none())
            .ok_or_else(Refusal::not_found)
    }

    pub(crate) fn comment_mut(&mut self, id: u64, comment: u64) -> Result<&mut Comment, Refusal> {
        self.repository_mut(id)?
            .comments
            .get_mut(&comment)
            .filter(|comment| comment.deleted_at.is_none())
            .ok_or_else(Refusal::not_found)
    }

    /// People change their own comments, or all of them with write access.
    fn may_change(&self, call: &Call, id: u64, comment: u64) -> Result<(), Refusal> {
        let repository = self.repository(id)?;
        allow(self, call, repository, JOIN)?;
        let author = &self.comment(id, comment)?.author;
        let login = self.login_of(&call.caller);
        let by_right = match &call.caller {
            Caller::User { login } => permission_of(self, repository, login) >= Permission::Write,
            _ => true,
        };
        if by_right || author.eq_ignore_ascii_case(&login) {
            Ok(())
        } else {
            Err(Refusal::new(403, "Must have admin rights to Repository."))
        }
    }
}

fn check(body: &str) -> Result<(), Refusal> {
    let refuse = |message: &str| {
        Err(Refusal::new(422, "Validation Failed").with(json!({
            "resource": "IssueComment", "code": "unprocessable", "field": "data",
            "message": message,
        })))
    };
    if body.trim().is_empty() {
        return refuse("Body can't be blank");
    }
    if body.chars().count() > LONGEST {
        return refuse("Body is too long (maximum is 65536 characters)");
    }
    Ok(())
}

fn body_of(body: &Map<String, Value>) -> Result<String, Refusal> {
    call::string(body, "body")?.ok_or_else(|| Refusal::field("IssueComment", "body", "missing_field"))
}

/// `GET …/issues/{n}/comments`, or of all of them without a number
pub(crate) fn list(state: &State, call: &Call, id: u64, number: Option<u64>) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, READ)?;
    if let Some(number) = number {
        state.pull(id, number)?;
    }
    let since = call.parameter("since").and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    let list = repository
        .comments
        .values()
        .filter(|comment| comment.deleted_at.is_none())
        .filter(|comment| number.is_none_or(|number| comment.number == number))
        .filter(|comment| since.is_none_or(|since| comment.updated_at >= since))
        .map(|comment| state.comment_json(repository, comment))
        .collect();
    Ok(call.page(&state.base, list))
}

/// `GET …/issues/comments/{id}`
pub(crate) fn get(state: &State, call: &Call, id: u64, comment: u64) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, READ)?;
    let comment = state.comment(id, comment)?;
    Ok(Reply::ok(state.comment_json(repository, comment)))
}

/// `POST …/issues/{n}/comments`
pub(crate) fn create(state: &mut State, call: &Call, id: u64, number: u64) -> Answer {
    allow(state, call, state.repository(id)?, JOIN)?;
    state.pull(id, number)?;
    let body = body_of(&call.object()?)?;
    let author = state.login_of(&call.caller);
    let by_app = matches!(call.caller, Caller::Installation { .. });
    let comment = state.add_comment(id, number, &author, by_app, &body)?;
    let repository = state.repository(id)?;
    let comment = state.comment(id, comment)?;
    Ok(Reply::created(state.comment_json(repository, comment)))
}

/// `PATCH …/issues/comments/{id}`
pub(crate) fn update(state: &mut State, call: &Call, id: u64, comment: u64) -> Answer {
    state.may_change(call, id, comment)?;
    let body = body_of(&call.object()?)?;
    let editor = state.login_of(&call.caller);
    state.edit_comment(id, comment, &editor, &body)?;
    get(state, call, id, comment)
}

/// `DELETE …/issues/comments/{id}`
pub(crate) fn delete(state: &mut State, call: &Call, id: u64, comment: u64) -> Answer {
    state.may_change(call, id, comment)?;
    let sender = state.login_of(&call.caller);
    state.delete_comment(id, comment, &sender)?;
    Ok(Reply::no_content())
}
