use anyhow::Context as _;
use clap::{Args, Subcommand};
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::client::{Client, encode, query};
use super::show::{age, clean, facts, field, json as show_json, table, text};

#[derive(Debug, Subcommand)]
pub enum Preview {
    /// The previews there are.
    List(List),
    /// One preview, and why it is not ready when it is not.
    Get(Named),
    /// Deploy the newest commit of a pull request, whether it has a preview already or not.
    Deploy(Long),
    /// Let the failed run go on at its first failed step.
    Retry(Long),
    /// What its containers say.
    Logs(Logs),
    /// Scale it to zero; opening it wakes it.
    Sleep(Long),
    /// Give a sleeping one its replicas back.
    Wake(Long),
    /// Say how long it is kept although nobody uses it.
    Keep(Keep),
    /// Uninstall it, and wait until everything it had is gone.
    Delete(Long),
}

#[derive(Debug, Args)]
pub struct List {
    /// queued, deploying, running, sleeping, failed, refused, deleting or deleted.
    #[arg(long)]
    state: Option<String>,
    /// owner/name
    #[arg(long)]
    repository: Option<String>,
    /// Text in the title, branch, author, namespace or repository.
    #[arg(long)]
    text: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

#[derive(Debug, Args)]
pub struct Named {
    /// owner/name#number, its namespace (pr-…), or its id.
    #[arg(value_name = "PREVIEW")]
    name: String,
}

#[derive(Debug, Args)]
pub struct Long {
    #[command(flatten)]
    named: Named,
    /// Stay until it is done; the exit code says how it went.
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Args)]
pub struct Logs {
    #[command(flatten)]
    named: Named,
    /// Go on with lines as they come.
    #[arg(long, short)]
    follow: bool,
    /// The newest pod without it.
    #[arg(long)]
    pod: Option<String>,
    /// The pod's first container without it.
    #[arg(long)]
    container: Option<String>,
    /// Of the container's previous life.
    #[arg(long)]
    previous: bool,
    /// Only the last so many lines.
    #[arg(long, value_name = "LINES")]
    tail: Option<u32>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Kept {
    /// Until its pull request is closed.
    #[arg(long, conflicts_with = "unpin")]
    pin: bool,
    /// Not for ever any more.
    #[arg(long)]
    unpin: bool,
    /// At least so many hours from now, 720 at most.
    #[arg(long = "for", value_name = "HOURS")]
    hours: Option<u32>,
}

#[derive(Debug, Args)]
pub struct Keep {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    kept: Kept,
}

impl Named {
    fn path(&self, below: &str) -> String {
        format!("/previews/{}{below}", encode(&self.name))
    }
}

impl Preview {
    pub async fn run(self, client: &Client) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run(client).await,
            Self::Get(named) => get(client, &named).await,
            Self::Deploy(Long { named, wait }) => {
                let body = named.name.split_once('#').map(|(repository, number)| (repository, number.parse::<u64>()));
                let answer = match body {
                    Some((repository, Ok(number))) => {
                        client.post("/previews", Some(json!({ "repository": repository, "number": number }))).await?
                    }
                    _ => client.post(&named.path("/deploy"), None).await?,
                };
                client.started(&answer, wait).await
            }
            Self::Retry(Long { named, wait }) => {
                client.started(&client.post(&named.path("/retry"), None).await?, wait).await
            }
            Self::Sleep(Long { named, wait }) => {
                client.started(&client.post(&named.path("/sleep"), None).await?, wait).await
            }
            Self::Wake(Long { named, wait }) => {
                client.started(&client.post(&named.path("/wake"), None).await?, wait).await
            }
            Self::Delete(Long { named, wait }) => client.started(&client.delete(&named.path("")).await?, wait).await,
            Self::Keep(keep) => keep.run(client).await,
            Self::Logs(logs) => logs.run(client).await,
        }
    }
}

impl List {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let query = query(&[("state", self.state), ("repository", self.repository), ("text", self.text)]);
        let items = client.list(&format!("/previews{query}"), self.limit).await?;
        client.answer(&Value::from(items), |items| {
            let row = |item: &Value| {
                vec![
                    format!("{}#{}", field(item, "/repository"), field(item, "/number")),
                    field(item, "/state"),
                    field(item, "/head_sha").chars().take(7).collect(),
                    age(item, "/updated_at"),
                    field(item, "/url"),
                    field(item, "/title").chars().take(50).collect(),
                ]
            };
            let rows = items.as_array().map(|items| items.iter().map(row).collect()).unwrap_or_default();
            table(&["preview", "state", "commit", "changed", "url", "title"], rows, "There are no previews.")
        })
    }
}

async fn get(client: &Client, named: &Named) -> anyhow::Result<()> {
    let preview = client.get(&named.path("")).await?;
    if client.json {
        return show_json(&preview);
    }
    let why = client.get(&named.path("/why-not-ready")).await?;
    let mut lines = facts(
        &preview,
        &[
            ("title", "/title"),
            ("state", "/state"),
            ("url", "/url"),
            ("namespace", "/namespace"),
            ("branch", "/branch"),
            ("author", "/author"),
            ("commit", "/head_sha"),
            ("live", "/live_sha"),
            ("changed", "/updated_at"),
            ("id", "/id"),
        ],
    );
    if why["ready"] == false {
        for part in ["summary", "advice"] {
            if let Some(sentence) = why[part].as_str() {
                lines.push_str(&format!("\n\n{}", clean(sentence)));
            }
        }
    }
    text(&lines)
}

impl Keep {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let mut body = json!({});
        if self.kept.pin || self.kept.unpin {
            body["pinned"] = json!(self.kept.pin);
        }
        if let Some(hours) = self.kept.hours {
            body["for_hours"] = json!(hours);
        }
        let preview = client.patch(&self.named.path("/life"), body).await?;
        client.answer(&preview, |preview| {
            let at = facts(preview, &[("pinned", "/pinned"), ("deleted, if unused, at", "/expires_at")]);
            format!("{}\n{at}", field(preview, "/namespace"))
        })
    }
}

impl Logs {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let query = query(&[
            ("pod", self.pod),
            ("container", self.container),
            ("previous", self.previous.then(|| "true".to_owned())),
            ("tail", self.tail.map(|tail| tail.to_string())),
            ("follow", self.follow.then(|| "true".to_owned())),
        ]);
        let mut stream = client.stream(&self.named.path(&format!("/logs{query}"))).await?;
        let mut rest = Vec::new();
        while let Some(piece) = stream.next().await {
            rest.extend_from_slice(&piece.context("the log broke off")?);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                self::line(&String::from_utf8_lossy(&line), self.follow)?;
            }
        }
        if rest.is_empty() { Ok(()) } else { line(&String::from_utf8_lossy(&rest), self.follow) }
    }
}

/// Followed lines come as server-sent events.
fn line(line: &str, follow: bool) -> anyhow::Result<()> {
    if !follow {
        return text(&clean(line.trim_end()));
    }
    let Some(event) = line.strip_prefix("data:").and_then(|data| serde_json::from_str::<Value>(data).ok()) else {
        return Ok(());
    };
    match (event["line"].as_str(), event["end"].as_str()) {
        (Some(line), _) => text(&clean(line)),
        (None, Some(end)) => {
            eprintln!("{}", clean(end));
            Ok(())
        }
        (None, None) => Ok(()),
    }
}
