use std::fmt;

use seatrial_engine::NewRun;
use seatrial_preview::DeliveryId;
use seatrial_preview::event::ForgeEvent;
use seatrial_store::{Accepted, Meaning, NewDelivery};
use seatrial_workflows::{command, deploy, remove};

use crate::error::OperationError;
use crate::operations::Operations;
use seatrial_engine::RunId;

type Verify = dyn Fn(&[u8], Option<&str>) -> Result<(), String> + Send + Sync;
type Parse = dyn Fn(&str, &[u8]) -> seatrial_preview::Result<ForgeEvent> + Send + Sync;

/// How the forge's deliveries are verified and understood; neither does any input or output.
pub struct WebhookDecoder {
    /// Compares the signature's header with the raw body, in constant time; says what is wrong.
    pub verify: Box<Verify>,
    /// What a body of the named event means.
    pub parse: Box<Parse>,
}

impl fmt::Debug for WebhookDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookDecoder")
    }
}

/// A webhook delivery as it came in.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    pub id: Option<&'a str>,
    pub event: Option<&'a str>,
    pub signature: Option<&'a str>,
    pub body: &'a [u8],
}

/// What became of a delivery. The same delivery gets the same answer each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub delivery: String,
    pub run: Option<RunId>,
    /// It had been stored before.
    pub duplicate: bool,
    /// Why it started nothing.
    pub ignored: Option<String>,
}

impl Operations {
    /// Takes a delivery: verified before anything is parsed, then stored together with its run,
    /// power-safe, before this returns.
    pub async fn accept_webhook(&self, delivery: Delivery<'_>) -> Result<Receipt, OperationError> {
        (self.webhook.verify)(delivery.body, delivery.signature).map_err(OperationError::Unsigned)?;
        let id = header("X-GitHub-Delivery", delivery.id)?;
        let event = header("X-GitHub-Event", delivery.event)?;
        let meaning = (self.webhook.parse)(event, delivery.body)
            .map_err(|error| OperationError::Invalid { sentence: error.message, fields: Vec::new() })?;

        let new = self.interpret(id, event, meaning, delivery.body)?;
        let Accepted { fresh, run, ignored } = self.store.accept_delivery(new).await?;
        tracing::info!(
            delivery = id,
            event,
            run = run.map(tracing::field::display),
            fresh,
            ignored,
            "webhook accepted"
        );
        Ok(Receipt { delivery: id.to_owned(), run, duplicate: !fresh, ignored })
    }

    pub(crate) fn interpret(
        &self,
        id: &str,
        event: &str,
        meaning: ForgeEvent,
        body: &[u8],
    ) -> Result<NewDelivery, OperationError> {
        let run = |run: Result<NewRun, seatrial_engine::Failure>| {
            let run = run.map_err(|failure| OperationError::Broken(failure.message))?;
            Ok::<_, OperationError>(run.deduplication(id))
        };
        let (action, at, meaning) = match meaning {
            // A label on what was closed long ago brings nothing back.
            ForgeEvent::Deploy { pull_request, action } if !pull_request.is_open() => {
                let reason = format!("{action}: the pull request is not open");
                (Some(action), Some(pull_request.at), Meaning::Ignored(reason))
            }
            ForgeEvent::Deploy { pull_request, action } => {
                let at = pull_request.at.clone();
                let run = run(deploy(&at, Some((*pull_request).clone()), &action))?;
                (Some(action), Some(at), Meaning::Start { pull_request, run, unless_idle: None })
            }
            ForgeEvent::Remove { pull_request, action } => {
                let at = pull_request.at.clone();
                let run = run(remove(&at, &action))?;
                // A teardown of nothing would only make a comment that nobody needs.
                let unless_idle = Some(format!("{action}: the pull request has no preview"));
                (Some(action), Some(at), Meaning::Start { pull_request, run, unless_idle })
            }
            ForgeEvent::Command(comment) => {
                let at = comment.at.clone();
                (Some("created".to_owned()), Some(at), Meaning::Command(run(command(comment))?))
            }
            ForgeEvent::Arrived { repository, sha, .. } => (None, None, Meaning::Arrived { repository, sha }),
            ForgeEvent::Renamed { from, to } => (Some("renamed".to_owned()), None, Meaning::Renamed { from, to }),
            ForgeEvent::Ignored { reason } => (None, None, Meaning::Ignored(reason)),
        };
        Ok(NewDelivery {
            id: DeliveryId(id.to_owned()),
            event: event.to_owned(),
            action,
            at,
            payload: body.to_vec(),
            meaning,
            repeats: None,
        })
    }
}

/// GitHub's ids are UUIDs and its events are words; what is stored and logged is bounded.
fn header<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, OperationError> {
    let value = value.ok_or_else(|| OperationError::field(name, "this header is missing"))?;
    if value.is_empty() || value.len() > 100 || !value.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(OperationError::field(name, "this header must be 1 to 100 printable characters without spaces"));
    }
    Ok(value)
}
