//! The health check: the application answers as it should, several times in a row (FR-016).

use std::time::Duration;

use futures::TryStreamExt;
use seatrial_engine::{Context, Failure};
use seatrial_preview::environment::{Environment, ServiceTarget};
use seatrial_preview::failure::{Diagnosis, Evidence, Reason};
use seatrial_preview::ports::{Fact, LogQuery, ProbeAnswer};
use seatrial_preview::{Error, Result as PortResult, settings};
use serde::{Deserialize, Serialize};

use crate::World;
use crate::failures::failure;

/// Between two questions.
const ASK_EVERY: Duration = Duration::from_millis(300);

/// What the check found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Health {
    pub(crate) target: Option<ServiceTarget>,
    /// Why nothing was asked.
    pub(crate) skipped: Option<String>,
}

/// Finds the application's service and asks it until it has answered well often enough. A
/// release without any service is not asked, unless the settings name one.
pub(crate) async fn check_health(
    world: &World,
    cx: &Context,
    environment: &Environment,
    check: &settings::Health,
) -> Result<Health, Failure> {
    let namespace = &environment.namespace;
    let target = match world.cluster.find_target(namespace, check.service.as_deref(), check.port).await {
        Ok(target) => target,
        Err(e) if e.is_not_found() && check.service.is_none() => {
            let skipped = "The release has no service, so there is nothing to open and no health check.".to_owned();
            return Ok(Health { target: None, skipped: Some(skipped) });
        }
        Err(e) => return Err(failure(unclear_target(e))),
    };
    world.environments.remember(environment.id, Fact::Target(target.clone())).await.map_err(failure)?;
    let mut last = Err(Error::transient("it was not asked"));
    let asking = async {
        let mut good = 0;
        loop {
            last = world.cluster.probe(namespace, &target, &check.path).await;
            match &last {
                Ok(answer) if answer.status == check.status => good += 1,
                _ => good = 0,
            }
            if good >= check.successes {
                return;
            }
            cx.progress(format!("{good}/{} good answers{}", check.successes, seen(&last)));
            tokio::time::sleep(if good > 0 { ASK_EVERY / 3 } else { ASK_EVERY }).await;
        }
    };
    if tokio::time::timeout(check.timeout, asking).await.is_ok() {
        return Ok(Health { target: Some(target), skipped: None });
    }
    if last.as_ref().is_err_and(Error::is_transient) {
        // Is it the application that does not answer, or Kubernetes that cannot be asked? The latter
        // says nothing about the application.
        world.cluster.find_target(namespace, check.service.as_deref(), check.port).await.map_err(failure)?;
    }
    let evidence = evidence(world, environment, &last).await;
    Err(failure(Error::diagnosed(Diagnosis {
        reason: Reason::HealthCheck,
        culprit: format!("service \"{}\"", target.service),
        summary: format!(
            "The health check GET {} on port {} did not get {} {} times in a row within {:?}{}.",
            check.path,
            target.port,
            check.status,
            check.successes,
            check.timeout,
            seen(&last)
        ),
        advice: "Look at the application's log below. Mend the application, or `health` in .seatrial.yaml if it asks for the wrong thing, then push or retry.".to_owned(),
        evidence,
    })))
}

fn unclear_target(error: Error) -> Error {
    if error.is_transient() {
        return error;
    }
    Error::diagnosed(Diagnosis {
        reason: Reason::HealthCheck,
        culprit: ".seatrial.yaml health.service".to_owned(),
        summary: error.message,
        advice: "Name the service and its port under `health` in .seatrial.yaml on the base branch.".to_owned(),
        evidence: Vec::new(),
    })
}

fn seen(last: &PortResult<ProbeAnswer>) -> String {
    match last {
        Ok(answer) => format!("; the last answer was {}", answer.status),
        Err(e) => format!("; the last question failed: {e}"),
    }
}

async fn evidence(world: &World, environment: &Environment, last: &PortResult<ProbeAnswer>) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    if let Ok(answer) = last {
        evidence.push(Evidence { title: format!("Last answer ({})", answer.status), text: answer.body.clone() });
    }
    let query = LogQuery { tail: Some(20), ..LogQuery::default() };
    let lines = async {
        let chunks: Vec<_> = world.cluster.logs(&environment.namespace, query).await?.try_collect().await?;
        Ok::<_, Error>(String::from_utf8_lossy(&chunks.concat()).into_owned())
    };
    // Logs help, but the answer above is evidence enough.
    if let Ok(Ok(text)) = tokio::time::timeout(Duration::from_secs(5), lines).await {
        evidence.push(Evidence { title: "Last log lines".to_owned(), text });
    }
    evidence
}
