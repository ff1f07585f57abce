//! Reactions to comments.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::auth::{Need, allow};
use crate::call::{self, Call};
use crate::clock::iso;
use crate::reply::{Answer, Refusal, Reply};
use crate::state::State;
use crate::text::node_id;

/// The reactions there are.
const KINDS: &[&str] = &["+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"];

const NEED: &[&str] = &["issues", "pull_requests"];

/// One person's reaction.
#[derive(Debug, Clone)]
pub(crate) struct Reaction {
    pub(crate) id: u64,
    pub(crate) login: String,
    pub(crate) content: String,
    pub(crate) created_at: DateTime<Utc>,
}

impl State {
    fn reaction_json(&self, reaction: &Reaction) -> Value {
        json!({
            "id": reaction.id, "node_id": node_id("REA", reaction.id),
            "user": self.user_json(&reaction.login), "content": reaction.content,
            "created_at": iso(reaction.created_at),
        })
    }

    /// The counts that what was reacted to carries.
    pub(crate) fn reactions_json(&self, url: &str, reactions: &[Reaction]) -> Value {
        let mut value = json!({
            "url": format!("{url}/reactions"), "total_count": reactions.len(),
        });
        for kind in KINDS {
            let count = reactions.iter().filter(|reaction| reaction.content == *kind).count();
            value[*kind] = count.into();
        }
        value
    }
}

/// `GET …/issues/comments/{id}/reactions`
pub(crate) fn list(state: &State, call: &Call, id: u64, comment: u64) -> Answer {
    allow(state, call, state.repository(id)?, Need::read(NEED))?;
    let list = state
        .comment(id, comment)?
        .reactions
        .iter()
        .filter(|reaction| call.parameter("content").is_none_or(|content| content == reaction.content))
        .map(|reaction| state.reaction_json(reaction))
        .collect();
    Ok(call.page(&state.base, list))
}

/// `POST …/issues/comments/{id}/reactions`: 201, or 200 where it was there already.
pub(crate) fn create(state: &mut State, call: &Call, id: u64, comment: u64) -> Answer {
    allow(state, call, state.repository(id)?, Need::join(NEED))?;
    state.comment(id, comment)?;
    let content = call::string(&call.object()?, "content")?
        .filter(|content| KINDS.contains(&content.as_str()))
        .ok_or_else(|| Refusal::field("Reaction", "content", "invalid"))?;
    let login = state.login_of(&call.caller);
    let (reaction_id, now) = (state.next_id(), state.clock.now());
    let reactions = &mut state.comment_mut(id, comment)?.reactions;
    let known = reactions.iter().find(|reaction| reaction.login == login && reaction.content == content).cloned();
    if let Some(known) = known {
        return Ok(Reply::ok(state.reaction_json(&known)));
    }
    let reaction = Reaction { id: reaction_id, login, content, created_at: now };
    reactions.push(reaction.clone());
    Ok(Reply::created(state.reaction_json(&reaction)))
}

/// `DELETE …/issues/comments/{id}/reactions/{id}`
pub(crate) fn delete(state: &mut State, call: &Call, id: u64, comment: u64, reaction: u64) -> Answer {
    allow(state, call, state.repository(id)?, Need::join(NEED))?;
    let reactions = &mut state.comment_mut(id, comment)?.reactions;
    let at = reactions.iter().position(|known| known.id == reaction).ok_or_else(Refusal::not_found)?;
    reactions.remove(at);
    Ok(Reply::no_content())
}
