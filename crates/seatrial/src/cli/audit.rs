use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Client, query};
use super::show::{field, table};

#[derive(Debug, Subcommand)]
pub enum Audit {
    /// What was done, or tried; the newest first.
    List(List),
}

#[derive(Debug, Args)]
pub struct List {
    /// Only what they did.
    #[arg(long)]
    who: Option<String>,
    /// Only this: preview.deploy, token.create, …
    #[arg(long)]
    action: Option<String>,
    /// Only what was done to this: owner/name#number, a run's id, a team, …
    #[arg(long)]
    target: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

impl Audit {
    pub async fn run(self, client: &Client) -> anyhow::Result<()> {
        let Self::List(list) = self;
        let query = query(&[("who", list.who), ("action", list.action), ("target", list.target)]);
        let items = client.list(&format!("/audit{query}"), list.limit).await?;
        client.answer(&Value::from(items), |items| {
            let row = |item: &Value| {
                ["/at", "/who", "/via", "/address", "/action", "/target", "/outcome"].map(|at| field(item, at)).into()
            };
            let rows = items.as_array().map(|items| items.iter().map(row).collect()).unwrap_or_default();
            let heads = ["at", "who", "via", "from", "action", "target", "outcome"];
            table(&heads, rows, "Nothing has been done yet.")
        })
    }
}
