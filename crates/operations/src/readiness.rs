use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Mutex;

use crate::error::Port;
use crate::operations::Operations;

/// The cluster is asked for its version at most this often.
const FRESH: TimeDelta = TimeDelta::seconds(15);
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether requests can be served, and what each answer rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Readiness {
    pub checks: Vec<Check>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    pub name: &'static str,
    pub ok: bool,
    /// Without it nothing can be accepted. Without the others, what was accepted waits.
    pub required: bool,
    pub detail: String,
}

impl Readiness {
    /// Webhooks and requests can be taken and will not be lost.
    pub fn is_ready(&self) -> bool {
        self.checks.iter().all(|check| check.ok || !check.required)
    }
}

/// The last answer of the cluster, and when it was given.
#[derive(Default)]
pub(crate) struct ClusterVersion(Mutex<Option<Answered>>);

struct Answered {
    at: DateTime<Utc>,
    answer: Result<String, String>,
}

impl Operations {
    pub async fn readiness(&self) -> Readiness {
        let (database, cluster) = tokio::join!(self.check_database(), self.check_cluster());
        Readiness { checks: vec![database, cluster] }
    }

    async fn check_database(&self) -> Check {
        let answer = tokio::select! {
            answer = self.store.ping() => answer.map_err(|error| error.to_string()),
            () = self.clock.sleep(PATIENCE) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        let ok = answer.is_ok();
        let detail = answer.err().unwrap_or_else(|| "answers".to_owned());
        Check { name: "database", ok, required: true, detail }
    }

    async fn check_cluster(&self) -> Check {
        let answer = self.last_cluster_version().await;
        let ok = answer.is_ok();
        let detail = answer.unwrap_or_else(|error| error);
        Check { name: "cluster", ok, required: false, detail }
    }

    /// The cluster's version as it said a moment ago, or why it did not.
    pub(crate) async fn last_cluster_version(&self) -> Result<String, String> {
        let now = self.now();
        let mut last = self.cluster_version.0.lock().await;
        match &*last {
            Some(Answered { at, answer }) if now - *at < FRESH => answer.clone(),
            _ => {
                let answer = self.ask(Port::Cluster, PATIENCE, self.cluster.version()).await;
                let answer = answer.map_err(|error| error.to_string());
                *last = Some(Answered { at: now, answer: answer.clone() });
                answer
            }
        }
    }
}
