use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Client, encode, query};
use super::show::{age, clean, facts, field, table};

#[derive(Debug, Subcommand)]
pub enum Delivery {
    /// What GitHub sent, the newest first.
    List(List),
    /// One delivery with its payload.
    Get(Named),
    /// Do what a delivery asks for once more.
    Redeliver(Named),
}

#[derive(Debug, Args)]
pub struct List {
    /// Only of this event: pull_request.
    #[arg(long)]
    event: Option<String>,
    /// owner/name
    #[arg(long)]
    repository: Option<String>,
    /// Only those that started a run (true), or that did not (false).
    #[arg(long, value_name = "BOOL")]
    started: Option<bool>,
    /// At most so many.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

#[derive(Debug, Args)]
pub struct Named {
    /// The delivery's id.
    #[arg(value_name = "DELIVERY")]
    id: String,
}

impl Delivery {
    pub async fn run(self, client: &Client) -> anyhow::Result<()> {
        match self {
            Self::List(list) => {
                let started = list.started.map(|started| started.to_string());
                let query = query(&[("event", list.event), ("repository", list.repository), ("started", started)]);
                let items = client.list(&format!("/deliveries{query}"), list.limit).await?;
                client.answer(&Value::from(items), |items| {
                    let row = |item: &Value| {
                        let led_to = ["/run", "/ignored"].map(|at| field(item, at));
                        let led_to = led_to.into_iter().find(|text| text != "–").unwrap_or_else(|| "–".to_owned());
                        let fields = ["/id", "/event", "/action", "/pull_request"].map(|at| field(item, at));
                        fields.into_iter().chain([led_to, age(item, "/received_at")]).collect()
                    };
                    let rows = items.as_array().map(|items| items.iter().map(row).collect()).unwrap_or_default();
                    let heads = ["delivery", "event", "action", "pull request", "led to", "received"];
                    table(&heads, rows, "Nothing has come yet.")
                })
            }
            Self::Get(Named { id }) => {
                let delivery = client.get(&format!("/deliveries/{}", encode(&id))).await?;
                client.answer(&delivery, |delivery| {
                    let known = [
                        ("delivery", "/delivery/id"),
                        ("event", "/delivery/event"),
                        ("action", "/delivery/action"),
                        ("pull request", "/delivery/pull_request"),
                        ("run", "/delivery/run"),
                        ("ignored", "/delivery/ignored"),
                        ("received", "/delivery/received_at"),
                    ];
                    let payload = delivery["payload"].as_str().unwrap_or_default();
                    format!("{}\n\n{}", facts(delivery, &known), clean(payload))
                })
            }
            Self::Redeliver(Named { id }) => {
                let receipt = client.post(&format!("/deliveries/{}/redeliver", encode(&id)), None).await?;
                client.answer(&receipt, |receipt| {
                    let known = [("delivery", "/delivery"), ("run", "/run"), ("started nothing", "/ignored")];
                    facts(receipt, &known)
                })
            }
        }
    }
}
