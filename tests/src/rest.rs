//! Seatrial's REST API, as far as tests look through it.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

/// A client with the operator's token.
#[derive(Clone, Debug)]
pub struct Rest {
    base: String,
    token: String,
    http: reqwest::Client,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Queued,
    Running,
    Waiting,
    Succeeded,
    Failed,
    Cancelled,
}

impl RunState {
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// A run with its journal.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: String,
    pub workflow: String,
    pub state: RunState,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    /// How often a worker took it.
    pub claims: i64,
    pub error: Option<String>,
    pub cancel_reason: Option<String>,
    /// Those that have begun, in the order in which they began.
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    Planned,
    Pending,
    Running,
    Retrying,
    Waiting,
    Succeeded,
    Failed,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    pub name: String,
    #[serde(default)]
    pub scope: Option<String>,
    pub state: StepStatus,
    #[serde(default)]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub finished_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub attempts: Vec<Attempt>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Attempt {
    pub started_at: DateTime<Utc>,
    #[serde(default)]
    pub outcome: Option<String>,
}

impl Step {
    /// From its first attempt to its end.
    pub fn took(&self) -> Option<Duration> {
        (self.finished_at? - self.started_at?).to_std().ok()
    }
}

impl Run {
    /// A step of the run's own story.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.name == name && step.scope.is_none())
    }

    /// `admit 1, release 2`: the steps that have begun and how often each was tried.
    pub fn summary(&self) -> String {
        let steps: Vec<_> = self
            .steps
            .iter()
            .map(|step| format!("{} {:?} after {}", step.name, step.state, step.attempts.len()))
            .collect();
        format!("{} {} {:?} [{}] {:?}", self.workflow, self.id, self.state, steps.join(", "), self.error)
    }
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct RunJson {
    id: String,
    workflow: String,
    state: RunState,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    claims: i64,
    error: Option<String>,
    cancel_reason: Option<String>,
}

#[derive(Deserialize)]
struct DetailJson {
    run: RunJson,
    steps: Vec<Step>,
}

/// One line of the stream of events.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Event {
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) text: Option<String>,
}

impl Rest {
    pub(crate) fn new(base: &str, token: &str, http: reqwest::Client) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), token: token.to_owned(), http }
    }

    /// One request below `/api/v1`; answers status and body.
    pub async fn call(&self, method: Method, path: &str) -> Result<(StatusCode, String)> {
        let url = format!("{}/api/v1{path}", self.base);
        let answer =
            self.http.request(method, &url).bearer_auth(&self.token).send().await.with_context(|| url.clone())?;
        Ok((answer.status(), answer.text().await?))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let (status, body) = self.call(Method::GET, path).await?;
        ensure!(status.is_success(), "GET {path} was answered with {status}: {body}");
        serde_json::from_str(&body).with_context(|| format!("GET {path}: {body}"))
    }

    /// The runs of a pull request, `owner/name#number`, oldest first, with their journals.
    pub async fn runs(&self, key: &str) -> Result<Vec<Run>> {
        let page: Page<RunJson> = self.get(&format!("/runs?limit=100&key={}", encode(key))).await?;
        stream::iter(page.items.into_iter().rev())
            .then(|run| async move { self.run(&run.id).await })
            .try_collect()
            .await
    }

    pub async fn run(&self, id: &str) -> Result<Run> {
        let DetailJson { run, mut steps } = self.get(&format!("/runs/{id}")).await?;
        steps.retain(|step| step.state != StepStatus::Planned);
        Ok(Run {
            id: run.id,
            workflow: run.workflow,
            state: run.state,
            created_at: run.created_at,
            finished_at: run.finished_at,
            claims: run.claims,
            error: run.error,
            cancel_reason: run.cancel_reason,
            steps,
        })
    }

    /// The preview by its namespace.
    pub async fn preview(&self, namespace: &str) -> Result<Value> {
        self.get(&format!("/previews/{namespace}")).await
    }

    /// What was kept of the preview's newest failure.
    pub async fn failure(&self, namespace: &str) -> Result<Value> {
        self.get(&format!("/previews/{namespace}/failure")).await
    }

    /// Ids of the deliveries that were stored.
    pub async fn deliveries(&self) -> Result<Vec<String>> {
        let page: Page<Value> = self.get("/deliveries?limit=200").await?;
        Ok(page.items.iter().filter_map(|delivery| Some(delivery["id"].as_str()?.to_owned())).collect())
    }

    /// Ids of all deliveries that were stored and begin so, and how many of them started a run.
    pub async fn deliveries_marked(&self, mark: &str) -> Result<(HashSet<String>, usize)> {
        let (mut ids, mut starts, mut after) = (HashSet::new(), 0, String::new());
        loop {
            let page: Page<Value> = self.get(&format!("/deliveries?limit=200{after}")).await?;
            for delivery in &page.items {
                if let Some(id) = delivery["id"].as_str().filter(|id| id.starts_with(mark)) {
                    starts += usize::from(delivery["run"].is_string() && ids.insert(id.to_owned()));
                    ids.insert(id.to_owned());
                }
            }
            match page.next {
                Some(next) => after = format!("&after={}", encode(&next)),
                None => return Ok((ids, starts)),
            }
        }
    }

    /// Lets the preview's failed run go on; answers the run's id.
    pub async fn retry(&self, namespace: &str) -> Result<String> {
        self.ask(Method::POST, &format!("/previews/{namespace}/retry"), None).await
    }

    /// Deploys a pull request, whether it has a preview or not; answers the run's id.
    pub async fn deploy(&self, repository: &str, number: u64) -> Result<String> {
        self.ask(Method::POST, "/previews", Some(json!({ "repository": repository, "number": number }))).await
    }

    /// Starts the preview's teardown; answers the run's id.
    pub async fn delete(&self, namespace: &str) -> Result<String> {
        self.ask(Method::DELETE, &format!("/previews/{namespace}"), None).await
    }

    /// Puts the preview to sleep, or wakes it: `sleep`, `wake`; answers the run's id.
    pub async fn act(&self, namespace: &str, verb: &str) -> Result<String> {
        self.ask(Method::POST, &format!("/previews/{namespace}/{verb}"), None).await
    }

    /// Asks a run to stop.
    pub async fn cancel(&self, run: &str) -> Result<()> {
        let (status, body) = self.call(Method::POST, &format!("/runs/{run}/cancel")).await?;
        ensure!(status.is_success(), "the cancellation was answered with {status}: {body}");
        Ok(())
    }

    /// Changes something at once.
    pub async fn write(&self, method: Method, path: &str, body: Value) -> Result<()> {
        let request = self.http.request(method, format!("{}/api/v1{path}", self.base)).bearer_auth(&self.token);
        let answer = request.json(&body).send().await?;
        let (status, body) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{path} was answered with {status}: {body}");
        Ok(())
    }

    /// Asks for long work; answers the id of its run.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<String> {
        let mut request = self.http.request(method, format!("{}/api/v1{path}", self.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let (status, body) = (answer.status(), answer.text().await?);
        ensure!(status == StatusCode::ACCEPTED, "{path} was answered with {status}: {body}");
        let requested: Value = serde_json::from_str(&body)?;
        Ok(requested["run"].as_str().with_context(|| format!("no run in {body}"))?.to_owned())
    }

    /// The last lines of the preview's log.
    pub async fn logs(&self, namespace: &str) -> Result<String> {
        let (status, body) = self.call(Method::GET, &format!("/previews/{namespace}/logs?tail=50")).await?;
        ensure!(status.is_success(), "the logs were answered with {status}: {body}");
        Ok(body)
    }

    /// Why the preview is not ready.
    pub async fn why_not_ready(&self, namespace: &str) -> Result<Value> {
        self.get(&format!("/previews/{namespace}/why-not-ready")).await
    }

    /// What happens to a pull request's runs from now on.
    pub(crate) async fn events(&self, key: &str) -> Result<impl Stream<Item = Result<Event>> + use<>> {
        let url = format!("{}/api/v1/events?key={}", self.base, encode(key));
        let answer = self.http.get(&url).bearer_auth(&self.token).send().await?;
        ensure!(answer.status().is_success(), "GET {url} was answered with {}", answer.status());
        let lines = stream::unfold((answer, Vec::new()), |(mut answer, mut rest)| async move {
            loop {
                if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    return Some((Ok(String::from_utf8_lossy(&line).trim_end().to_owned()), (answer, rest)));
                }
                match answer.chunk().await {
                    Ok(Some(chunk)) => rest.extend_from_slice(&chunk),
                    Ok(None) => return None,
                    Err(error) => return Some((Err(anyhow::Error::new(error)), (answer, rest))),
                }
            }
        });
        Ok(lines.filter_map(|line| async move {
            match line {
                Ok(line) => Some(serde_json::from_str(line.strip_prefix("data:")?.trim()).context("an event")),
                Err(error) => Some(Err(error)),
            }
        }))
    }
}

fn encode(text: &str) -> String {
    // A URL knows best how a query is written.
    let mut url = Url::parse("http://x/").expect("a constant that is a URL");
    url.query_pairs_mut().append_pair("k", text);
    url.query().unwrap_or_default().trim_start_matches("k=").to_owned()
}
