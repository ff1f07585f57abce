//! Between the ports' errors and the engine's failures.

use seatrial_engine::{Failure, FailureKind};
use seatrial_preview::failure::{Diagnosis, Reason};
use seatrial_preview::{Error, ErrorKind};

/// A port's error as a step's failure; its diagnosis travels in the details.
pub(crate) fn failure(error: Error) -> Failure {
    let kind = match error.kind {
        ErrorKind::Transient => FailureKind::Transient { retry_after: error.retry_after },
        ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Forbidden | ErrorKind::Invalid => FailureKind::Permanent,
    };
    let diagnosis = error.diagnosis.or_else(|| conflict(error.kind, &error.message));
    // A diagnosis is plain data; should it not serialise, the sentence still stands.
    let details = diagnosis.and_then(|diagnosis| serde_json::to_value(diagnosis).ok());
    Failure { kind, message: error.message, details }
}

fn conflict(kind: ErrorKind, message: &str) -> Option<Box<Diagnosis>> {
    (kind == ErrorKind::Conflict).then(|| {
        Box::new(Diagnosis {
            reason: Reason::NamespaceConflict,
            culprit: "the preview's namespace".to_owned(),
            summary: message.to_owned(),
            advice: "Ask whoever runs the cluster to remove or rename what is in the way, then retry.".to_owned(),
            evidence: Vec::new(),
        })
    })
}

/// What to tell people about the failure of `step`.
pub(crate) fn diagnosis(step: &str, failure: &Failure) -> Diagnosis {
    let known = failure.details.as_ref().and_then(|details| serde_json::from_value(details.clone()).ok());
    known.unwrap_or_else(|| Diagnosis {
        reason: Reason::Other,
        culprit: format!("step {step}"),
        summary: failure.message.clone(),
        advice: if failure.is_transient() {
            "It was retried and did not pass by itself. Retry the deployment once the cause is gone.".to_owned()
        } else {
            "Mend what the sentence names, then push or retry the deployment.".to_owned()
        },
        evidence: Vec::new(),
    })
}
