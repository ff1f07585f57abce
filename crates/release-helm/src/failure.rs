//! What helm's failures mean: whose fault it is, and whether waiting helps.

use seatrial_preview::Error;
use seatrial_preview::failure::{Diagnosis, Evidence, Reason};

use crate::mask::Mask;
use crate::process::Output;
use crate::words::{after, between, first_line, message, object_before, tail};

/// What helm was doing.
pub(crate) struct Attempt<'a> {
    /// `install`, `uninstall`, …: completes "helm could not".
    pub(crate) verb: &'a str,
    pub(crate) release: &'a str,
    pub(crate) namespace: &'a str,
    /// The chart as people know it: `chart "deploy/chart"`.
    pub(crate) chart: &'a str,
}

/// Turns a run that failed into the domain's error.
pub(crate) fn explain(output: &Output, attempt: &Attempt<'_>, mask: &Mask) -> Error {
    let Attempt { verb, release, namespace, chart } = attempt;
    let shown = mask.apply(&format!("{}\n{}", output.stdout_if_text(), output.stderr));
    let message = message(&shown);
    let said = first_line(message);
    if output.status.code().is_none() {
        return Error::transient(format!(
            "helm was killed from outside while it should {verb} {release}; is memory short?"
        ));
    }
    if let Some(error) = access(message, &said, attempt) {
        return error;
    }
    let found = hook(message)
        .or_else(|| forbidden(message, namespace))
        .or_else(|| template(message, chart))
        .or_else(|| object(message))
        .or_else(|| chart_itself(message, chart));
    let (reason, culprit, summary, advice) = match found {
        Some(Finding { reason, culprit, summary, advice }) => (reason, culprit, summary, advice),
        None if passes(message) => {
            return Error::transient(format!("helm could not {verb} {release}, which may pass: {said}"));
        }
        None => (
            Reason::ReleaseFailed,
            format!("release {release:?}"),
            format!("Helm could not {verb} the release: {said}"),
            "Read what helm said; `helm template` and `helm install --dry-run=server` show the same on your machine."
                .to_owned(),
        ),
    };
    let evidence = vec![Evidence { title: "helm".to_owned(), text: tail(&shown) }];
    Error::diagnosed(Diagnosis { reason, culprit, summary, advice, evidence })
}

struct Finding {
    reason: Reason,
    culprit: String,
    summary: String,
    advice: String,
}

impl Finding {
    fn new(reason: Reason, culprit: impl Into<String>, summary: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { reason, culprit: culprit.into(), summary: summary.into(), advice: advice.into() }
    }
}

/// Trouble with the API server or the account: nobody's chart is to blame.
fn access(message: &str, said: &str, attempt: &Attempt<'_>) -> Option<Error> {
    let Attempt { verb, release, namespace, .. } = attempt;
    let lower = message.to_ascii_lowercase();
    if lower.starts_with("kubernetes cluster unreachable") {
        if lower.contains("x509:") {
            return Some(Error::invalid(format!(
                "the API server's certificate does not fit, so helm could not {verb} {release}: {said}; \
                 check the cluster's kubeconfig"
            )));
        }
        let why = if lower.contains("provide credentials") {
            "it does not accept the namespace's helm account; the token may have expired"
        } else {
            said
        };
        return Some(Error::transient(format!("the API server did not let helm {verb} {release}: {why}")));
    }
    if message.contains("query: failed to query with labels") && message.contains("is forbidden") {
        return Some(Error::forbidden(format!(
            "the helm account of {namespace} may not read its releases: {said}; install or update charts/seatrial, which holds its role"
        )));
    }
    if message.contains("is in progress") && message.contains("another operation") {
        return Some(Error::transient(format!("another helm is at work on {release}")));
    }
    if message.contains("because it is being terminated") {
        return Some(Error::transient(format!(
            "the namespace {namespace} is being deleted, so helm could not {verb} {release}"
        )));
    }
    if message.contains(&format!("namespaces \"{namespace}\" not found")) {
        return Some(Error::not_found(format!(
            "the namespace {namespace} does not exist, so helm could not {verb} {release}"
        )));
    }
    // What helm says when it is told to stop.
    message
        .starts_with("context canceled")
        .then(|| Error::transient(format!("helm was stopped from outside while it should {verb} {release}")))
}

/// `failed pre-install: resource Job/ns/migrate not ready. status: Failed, message: …` (Helm 4),
/// `failed pre-install: 1 error occurred: * job migrate failed: BackoffLimitExceeded` (Helm 3).
fn hook(message: &str) -> Option<Finding> {
    let event = between(message, "failed ", ":")
        .filter(|event| event.starts_with("pre-") || event.starts_with("post-"))
        .or_else(|| message.find(" hooks failed:").map(|end| message[..end].rsplit(' ').next().unwrap_or_default()))?;
    let culprit = if let Some(resource) = between(message, "resource ", " not ready") {
        let mut parts = resource.split('/');
        format!("hook {} {:?}", parts.next().unwrap_or_default(), parts.next_back().unwrap_or_default())
    } else if let Some(job) = between(message, "job ", " failed") {
        format!("hook Job {job:?}")
    } else if message.contains("timed out waiting") || message.contains("context deadline exceeded") {
        format!("{event} hook")
    } else {
        // A hook that could not even be created: the object is to blame.
        return None;
    };
    let late = !message.contains("status: Failed")
        && (message.contains("deadline exceeded") || message.contains("timed out waiting"));
    let what = if late { "did not end in time" } else { "failed" };
    Some(Finding::new(
        Reason::JobFailed,
        culprit.clone(),
        format!("The {event} {culprit} {what}."),
        "Read the hook's log and events; push a commit that corrects it, or retry the deployment.",
    ))
}

/// `services "web" is forbidden: …`: by quota, by Pod Security, or because the account may not.
fn forbidden(message: &str, namespace: &str) -> Option<Finding> {
    let at = message.find(" is forbidden: ")?;
    let object = object_before(&message[..at]);
    let why = first_line(&message[at + " is forbidden: ".len()..]);
    if why.starts_with("exceeded quota") {
        return Some(Finding::new(
            Reason::Quota,
            object.clone(),
            format!("{object} does not fit into the namespace's quota: {why}."),
            "Ask for less in the chart, or raise quota in .seatrial.yaml on the base branch.",
        ));
    }
    if why.starts_with("violates PodSecurity") {
        return Some(Finding::new(
            Reason::ReleaseFailed,
            object.clone(),
            format!("{object} {why}"),
            "Set the security context that is asked for, or podSecurity: baseline in .seatrial.yaml on the base branch.",
        ));
    }
    let denied = || {
        let verb = between(&why, "cannot ", " resource")?;
        let (place, advice) = if why.contains("at the cluster scope") {
            (
                "which is cluster-wide".to_owned(),
                "A preview is confined to its namespace: leave the object out for previews, by a value of the chart \
                 that the preview's values switch off.",
            )
        } else {
            let other = between(&why, "in the namespace \"", "\"").filter(|other| *other != namespace);
            match other {
                Some(other) => (
                    format!("which is in namespace {other:?}"),
                    "A preview is confined to its namespace: do not set metadata.namespace in the chart.",
                ),
                None => (
                    "which previews may not contain".to_owned(),
                    "Leave the object out for previews: roles, quotas and network policies of the namespace are Seatrial's own.",
                ),
            }
        };
        // Helm looks before it creates, so the verb may be "get".
        let verb = if matches!(verb, "get" | "list" | "patch") { "touch" } else { verb };
        Some(Finding::new(
            Reason::ChartInvalid,
            object.clone(),
            format!("The chart has {object}, {place}; a preview may not {verb} it."),
            advice,
        ))
    };
    denied().or_else(|| {
        Some(Finding::new(
            Reason::ReleaseFailed,
            object.clone(),
            format!("The API server forbids {object}: {why}"),
            "Read the reason the API server gives, and change the object in the chart.",
        ))
    })
}

/// Errors of templates and of the YAML they make, with file and line.
fn template(message: &str, chart: &str) -> Option<Finding> {
    const SIGNS: [&str; 6] = [
        "parse error at (",
        "execution error at (",
        "executing \"",
        "YAML parse error on ",
        "template: ",
        "error converting YAML to JSON",
    ];
    if !SIGNS.iter().any(|sign| message.contains(sign)) {
        return None;
    }
    if message.starts_with("failed to parse ") {
        let file = between(message, "failed to parse ", ": ").unwrap_or_default();
        return Some(Finding::new(
            Reason::ChartInvalid,
            format!("values file {file:?}"),
            format!("The values file is not valid YAML: {}", first_line(message)),
            "Correct the file and push.",
        ));
    }
    let place = message
        .split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"' | ','))
        .map(|word| word.trim_end_matches(':'))
        .find(|word| word.contains("/templates/"));
    let culprit = match place {
        Some(place) => {
            let mut parts = place.splitn(3, ':');
            let file = parts.next().unwrap_or_default();
            match parts.next().filter(|line| line.bytes().all(|byte| byte.is_ascii_digit())) {
                Some(line) => format!("{file} line {line}"),
                None => file.to_owned(),
            }
        }
        None => chart.to_owned(),
    };
    let why = message.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect::<Vec<_>>().join(" ");
    Some(Finding::new(
        Reason::ChartInvalid,
        culprit,
        format!("The chart does not render: {}", first_line(&why)),
        "Correct the template, or give the value it asks for; `helm template` shows the same.",
    ))
}

/// Objects that the API server does not take.
fn object(message: &str) -> Option<Finding> {
    let first = first_line(message);
    if let Some(kind) =
        between(message, "no matches for kind ", "\n").or_else(|| after(message, "no matches for kind "))
    {
        let kind = kind.trim();
        return Some(Finding::new(
            Reason::ChartInvalid,
            format!("kind {kind}"),
            format!("The cluster does not know the kind {kind}."),
            "Install its CustomResourceDefinition in the cluster, or leave the object out for previews.",
        ));
    }
    if let Some(at) = message.find(" is invalid: ") {
        let object = object_before(&message[..at]);
        return Some(Finding::new(
            Reason::ChartInvalid,
            object,
            format!("The API server does not accept it: {first}"),
            "Correct the field in the chart.",
        ));
    }
    if let Some(typed) = between(message, "failed to create typed patch object (", ")") {
        let kind = after(typed, "Kind=").unwrap_or("object");
        let name = typed.split(';').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        return Some(Finding::new(
            Reason::ChartInvalid,
            format!("{kind} {name:?}"),
            format!(
                "{kind} {name:?} has a field that does not exist: {}",
                first_line(after(message, "): ").unwrap_or(message))
            ),
            "Correct the field's name or its indentation in the chart.",
        ));
    }
    if let Some(at) = message.find(" exists and cannot be imported") {
        let object = object_before(message[..at].split(" in namespace").next().unwrap_or_default());
        return Some(Finding::new(
            Reason::ReleaseFailed,
            object.clone(),
            format!("{object} exists already, and belongs to another release or to none."),
            "Delete the preview and deploy it again, or give the object another name.",
        ));
    }
    let webhook = between(message, "admission webhook \"", "\" denied")?;
    Some(Finding::new(
        Reason::ReleaseFailed,
        format!("admission webhook {webhook:?}"),
        format!("The cluster's policy refuses it: {first}"),
        "Change the object as the policy asks; the cluster's operators know the policy.",
    ))
}

/// What is wrong with the chart as a whole, or with the values it was given.
fn chart_itself(message: &str, chart: &str) -> Option<Finding> {
    if message.contains("meet the specifications of the schema") {
        let fields: Vec<&str> = message.lines().map(str::trim).filter(|line| line.starts_with("- ")).take(5).collect();
        return Some(Finding::new(
            Reason::ChartInvalid,
            "values.schema.json",
            format!("The values do not fit the chart's schema: {}", fields.join("; ")),
            "Correct values in .seatrial.yaml on the base branch, the values files, or the chart's schema.",
        ));
    }
    const SIGNS: [&str; 10] = [
        "chart requires kubeVersion",
        "validation: ",
        "Chart.yaml file is missing",
        "charts are not installable",
        "missing in charts/ directory",
        "cannot load ",
        "out of sync with",
        "Too long: must have at most",
        "invalid chart",
        "can't get a valid version for",
    ];
    SIGNS.iter().any(|sign| message.contains(sign)).then(|| {
        Finding::new(
            Reason::ChartInvalid,
            chart,
            format!("Helm does not accept the chart: {}", first_line(message)),
            "Correct the chart; `helm lint` shows the same.",
        )
    })
}

/// Failures of the way to the API server, or of the server itself.
fn passes(message: &str) -> bool {
    const SIGNS: [&str; 21] = [
        "connection refused",
        "connection reset",
        "connection lost",
        "i/o timeout",
        "timeout awaiting",
        "tls handshake timeout",
        "no route to host",
        "network is unreachable",
        "no such host",
        "unexpected eof",
        "broken pipe",
        "context deadline exceeded",
        "etcdserver:",
        "leader changed",
        "too many requests",
        "internal error occurred",
        "currently unable to handle the request",
        "failed calling webhook",
        "client rate limiter",
        "the object has been modified",
        "apiserver is shutting down",
    ];
    let lower = message.to_ascii_lowercase();
    SIGNS.iter().any(|sign| lower.contains(sign)) || lower.trim_end().ends_with(": eof")
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
