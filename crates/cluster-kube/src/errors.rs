//! What the API server's errors mean to a caller, in whole sentences.

use std::error::Error as _;
use std::time::Duration;

use kube::core::Status;
use kube::runtime::watcher;
use seatrial_preview::{Error, Namespace};

/// `doing` completes "cannot …": `create the namespace pr-shop-7`.
pub(crate) fn explain(doing: &str, error: kube::Error) -> Error {
    match error {
        kube::Error::Api(status) => explain_status(doing, &status),
        kube::Error::Auth(error) => Error::forbidden(format!(
            "cannot {doing}: no credentials for the cluster ({error}). Check the kubeconfig's user, then run `seatrial doctor`"
        )),
        kube::Error::BuildRequest(_) | kube::Error::InferConfig(_) | kube::Error::InferKubeconfig(_) => {
            Error::invalid(format!("cannot {doing}: {error}"))
        }
        other => Error::transient(format!("cannot {doing}: the cluster does not answer ({})", causes(&other))),
    }
}

/// The same for a watch.
pub(crate) fn explain_watch(doing: &str, error: watcher::Error) -> Error {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => explain(doing, error),
        watcher::Error::WatchError(status) => explain_status(doing, &status),
        watcher::Error::NoResourceVersion => Error::transient(format!("cannot {doing}: the watch broke off")),
    }
}

fn explain_status(doing: &str, status: &Status) -> Error {
    let said = if status.message.is_empty() { &status.reason } else { &status.message };
    match status.code {
        401 => Error::forbidden(format!(
            "cannot {doing}: the cluster does not accept Seatrial's credentials ({said}). Renew the token of its account, then run `seatrial doctor`"
        )),
        403 if is_terminating(status) => Error::transient(format!("cannot {doing}: {said}")),
        403 => Error::forbidden(format!(
            "cannot {doing}: Seatrial's account may not ({said}). Install or update charts/seatrial in the cluster; `seatrial doctor` lists what is missing"
        )),
        404 => Error::not_found(format!("cannot {doing}: {said}")),
        409 => Error::conflict(format!("cannot {doing}: {said}")),
        408 | 410 | 429 | 500..=599 => {
            let error = Error::transient(format!("cannot {doing}: the API server answers {} ({said})", status.code));
            match status.details.as_ref().map_or(0, |details| details.retry_after_seconds) {
                0 => error,
                seconds => error.retry_after(Duration::from_secs(seconds.into())),
            }
        }
        _ => Error::invalid(format!("cannot {doing}: {said}")),
    }
}

/// The API server refuses to create things in a namespace that is going.
fn is_terminating(status: &Status) -> bool {
    status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == "NamespaceTerminating")
}

pub(crate) fn no_namespace(namespace: &Namespace) -> Error {
    Error::not_found(format!("the namespace {namespace} does not exist: the preview was deleted or not deployed yet"))
}

/// An error with its causes: "client error (Connect): Connection refused".
fn causes(error: &kube::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::response::StatusDetails;
    use seatrial_preview::ErrorKind;
    use serde_json::{Value, json};

    use super::*;

    fn of(code: u16) -> Error {
        let status = Status::failure("pods is forbidden", "Whatever").with_code(code);
        explain("list the pods of pr-shop-7", kube::Error::Api(status.boxed()))
    }

    fn details(value: Value) -> StatusDetails {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn kinds_follow_the_status_code() {
        for (code, kind) in [
            (400, ErrorKind::Invalid),
            (401, ErrorKind::Forbidden),
            (403, ErrorKind::Forbidden),
            (404, ErrorKind::NotFound),
            (409, ErrorKind::Conflict),
            (410, ErrorKind::Transient),
            (422, ErrorKind::Invalid),
            (429, ErrorKind::Transient),
            (500, ErrorKind::Transient),
            (503, ErrorKind::Transient),
        ] {
            assert_eq!(of(code).kind, kind, "{code}");
        }
        assert!(of(403).message.contains("seatrial doctor"));
        assert!(of(403).message.contains("pods is forbidden"));
    }

    #[test]
    fn retry_after_is_kept() {
        let details = details(json!({ "retryAfterSeconds": 7 }));
        let status = Status::failure("slow down", "TooManyRequests").with_code(429).with_details(details);
        let error = explain("list pods", kube::Error::Api(status.boxed()));
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_namespace_that_is_going_is_not_a_missing_permission() {
        let details = details(json!({ "causes": [{ "reason": "NamespaceTerminating" }] }));
        let status = Status::failure("is being terminated", "Forbidden").with_code(403).with_details(details);
        assert!(explain("create a quota", kube::Error::Api(status.boxed())).is_transient());
    }
}
