use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Client, encode, query};
use super::show::{age, clean, facts, field, table};

/// How often a run is looked at that is waited for.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub enum Run {
    /// The newest runs.
    List(List),
    /// One run and its steps.
    Show(Named),
    /// Ask a run to stop at its next safe point.
    Cancel(Named),
    /// Let a failed or cancelled run go on.
    Retry(Retry),
}

#[derive(Debug, Args)]
pub struct List {
    /// queued, running, waiting, succeeded, failed or cancelled.
    #[arg(long)]
    state: Option<String>,
    /// preview_up, preview_down, preview_sleep, preview_wake, command, reconcile or sweep.
    #[arg(long)]
    workflow: Option<String>,
    /// owner/name#number
    #[arg(long)]
    key: Option<String>,
    /// Text in the key, the workflow or the failure.
    #[arg(long)]
    text: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

#[derive(Debug, Args)]
pub struct Named {
    /// The run's id.
    #[arg(value_name = "RUN")]
    id: String,
}

#[derive(Debug, Args)]
pub struct Retry {
    #[command(flatten)]
    named: Named,
    /// The step to begin with, as "run show" names it; the first failed one without it.
    #[arg(long, value_name = "STEP")]
    from: Option<String>,
}

impl Run {
    pub async fn run(self, client: &Client) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run(client).await,
            Self::Show(Named { id }) => client.answer(&client.get(&format!("/runs/{}", encode(&id))).await?, show),
            Self::Cancel(Named { id }) => {
                let run = client.post(&format!("/runs/{}/cancel", encode(&id)), None).await?;
                client.answer(&run, |run| format!("Run {} stops at its next safe point.", field(run, "/run/id")))
            }
            Self::Retry(Retry { named: Named { id }, from }) => {
                let path = format!("/runs/{}/retry{}", encode(&id), query(&[("from", from)]));
                let run = client.post(&path, None).await?;
                client.answer(&run, |run| format!("Run {} goes on.", field(run, "/run/id")))
            }
        }
    }
}

impl List {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let query =
            query(&[("state", self.state), ("workflow", self.workflow), ("key", self.key), ("text", self.text)]);
        let items = client.list(&format!("/runs{query}"), self.limit).await?;
        client.answer(&Value::from(items), |items| {
            let row = |item: &Value| {
                let fields = ["/id", "/workflow", "/state", "/key", "/step"].map(|pointer| field(item, pointer));
                fields.into_iter().chain([age(item, "/created_at")]).collect()
            };
            let rows = items.as_array().map(|items| items.iter().map(row).collect()).unwrap_or_default();
            table(&["run", "workflow", "state", "key", "step", "created"], rows, "There are no runs.")
        })
    }
}

fn show(run: &Value) -> String {
    let head = facts(
        run,
        &[
            ("run", "/run/id"),
            ("workflow", "/run/workflow"),
            ("state", "/run/state"),
            ("key", "/run/key"),
            ("created", "/run/created_at"),
            ("finished", "/run/finished_at"),
            ("waits for", "/run/wait_reason"),
            ("cancelled", "/run/cancel_reason"),
        ],
    );
    let row = |step: &Value| {
        let attempts = step["attempts"].as_array().map_or(0, Vec::len);
        vec![
            name(step),
            field(step, "/state"),
            step["took_ms"].as_u64().map_or_else(|| "–".to_owned(), |ms| format!("{:.1}s", ms as f64 / 1000.0)),
            attempts.to_string(),
        ]
    };
    let rows = run["steps"].as_array().map(|steps| steps.iter().map(row).collect()).unwrap_or_default();
    let steps = table(&["step", "state", "took", "attempts"], rows, "It has not begun.");
    let failure = run.pointer("/run/error").and_then(Value::as_str);
    let failure = failure.map(|why| format!("\n\n{}", clean(why))).unwrap_or_default();
    format!("{head}\n\n{steps}{failure}")
}

/// As "run retry --from" takes it.
fn name(step: &Value) -> String {
    let scope = step["scope"].as_str().map(|scope| format!("{scope}/")).unwrap_or_default();
    let occurrence = step["occurrence"].as_u64().filter(|number| *number > 0);
    let occurrence = occurrence.map(|number| format!("[{number}]")).unwrap_or_default();
    clean(&format!("{scope}{}{occurrence}", step["name"].as_str().unwrap_or_default()))
}

/// The run, once it has ended.
pub async fn wait(client: &Client, id: &str) -> anyhow::Result<Value> {
    loop {
        let run = client.get(&format!("/runs/{}", encode(id))).await?;
        if matches!(run["run"]["state"].as_str(), Some("succeeded" | "failed" | "cancelled")) {
            return Ok(run);
        }
        tokio::time::sleep(EVERY).await;
    }
}
