//! Webhooks: whether GitHub sent one, and what it means.

use hmac::{Hmac, Mac};
use seatrial_preview::event::ForgeEvent;
use seatrial_preview::pull_request::PullRequest;
use seatrial_preview::{Error, Result};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use sha2::Sha256;

use crate::failure::bounded;
use crate::pull_request::PullRequestJson;

/// Why a delivery is not taken for GitHub's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("no webhook secret is set, so no delivery can be verified; set SEATRIAL_GITHUB_WEBHOOK_SECRET")]
    NoSecret,
    #[error("the header X-Hub-Signature-256 is missing; set a secret on the webhook's page on GitHub")]
    Missing,
    #[error("the header X-Hub-Signature-256 is not sha256= and 64 hexadecimal digits")]
    Malformed,
    #[error("the signature does not fit the body; check that GitHub and Seatrial have the same webhook secret")]
    Wrong,
}

/// Compares the signature with the raw body, in constant time, before anything is parsed.
/// Only `sha256=` counts: the older `sha1=` is [`SignatureError::Malformed`].
pub fn verify(
    secret: &SecretString,
    raw: &[u8],
    signature_header: Option<&str>,
) -> std::result::Result<(), SignatureError> {
    if secret.expose_secret().is_empty() {
        return Err(SignatureError::NoSecret);
    }
    let header = signature_header.ok_or(SignatureError::Missing)?;
    let digits = header.strip_prefix("sha256=").ok_or(SignatureError::Malformed)?;
    let mut signature = [0; 32];
    hex::decode_to_slice(digits, &mut signature).map_err(|_| SignatureError::Malformed)?;
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).map_err(|_| SignatureError::NoSecret)?;
    mac.update(raw);
    mac.verify_slice(&signature).map_err(|_| SignatureError::Wrong)
}

#[derive(Deserialize)]
struct Action {
    action: String,
}

#[derive(Deserialize)]
struct PullRequestEvent {
    pull_request: PullRequestJson,
}

#[derive(Deserialize)]
struct EditedEvent {
    #[serde(default)]
    changes: Option<Changes>,
}

#[derive(Deserialize)]
struct Changes {
    #[serde(default)]
    base: Option<IgnoredAny>,
}

/// What a delivery of `event` (the header `X-GitHub-Event`) asks for.
///
/// `Invalid` when the body is not JSON, or lacks what is needed: it names the field and the place.
/// Events and actions that ask for nothing are [`ForgeEvent::Ignored`], with the reason.
pub fn parse(event: &str, raw: &[u8]) -> Result<ForgeEvent> {
    if event != "pull_request" {
        let _: IgnoredAny = read(event, raw)?;
        return Ok(ignored(match event {
            "ping" => "ping: the webhook works".to_owned(),
            other => format!("event {:?}: previews follow pull_request events only", bounded(other, 64)),
        }));
    }
    let Action { action } = read(event, raw)?;
    let wanted = match action.as_str() {
        // Whether labels matter is decided at admission, by the project's filters.
        "opened" | "reopened" | "synchronize" | "ready_for_review" | "labeled" | "unlabeled" | "closed" => true,
        "edited" => {
            let edited: EditedEvent = read(event, raw)?;
            if edited.changes.is_some_and(|changes| changes.base.is_some()) {
                true
            } else {
                return Ok(ignored("edited: only title or text changed".to_owned()));
            }
        }
        "converted_to_draft" => {
            return Ok(ignored("converted_to_draft: the preview stays as it is until the next push".to_owned()));
        }
        _ => false,
    };
    if !wanted {
        return Ok(ignored(format!("action {:?} of pull_request changes nothing", bounded(&action, 64))));
    }
    let PullRequestEvent { pull_request } = read(event, raw)?;
    let pull_request = Box::new(PullRequest::try_from(pull_request)?);
    Ok(match action.as_str() {
        "closed" => ForgeEvent::Remove { pull_request, action },
        _ => ForgeEvent::Deploy { pull_request, action },
    })
}

fn ignored(reason: String) -> ForgeEvent {
    ForgeEvent::Ignored { reason }
}

fn read<T: DeserializeOwned>(event: &str, raw: &[u8]) -> Result<T> {
    serde_json::from_slice(raw).map_err(|error| {
        let hint = if raw.starts_with(b"payload=") {
            "; set the webhook's content type to application/json on GitHub"
        } else {
            ""
        };
        let event = bounded(event, 64);
        Error::invalid(format!(
            "the {event:?} event's body is not as expected: {}{hint}",
            bounded(&error.to_string(), 300)
        ))
    })
}
