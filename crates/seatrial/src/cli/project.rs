use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, encode};
use super::show::{age, facts, field, table};

#[derive(Debug, Subcommand)]
pub enum Project {
    /// Give a repository to a team. How it is deployed is said by its .seatrial.yaml.
    Add(Add),
    /// The repositories there are.
    List,
    /// One repository.
    Get(Named),
    /// Change what is set for a repository.
    Change(Change),
    /// Take a repository from its team; its secrets go, its previews stay.
    Remove(Named),
    /// Secrets that a repository's previews get.
    #[command(subcommand, arg_required_else_help = true)]
    Secret(Secret),
}

#[derive(Debug, Args)]
pub struct Named {
    /// owner/name
    repository: String,
}

#[derive(Debug, Args)]
pub struct Add {
    #[command(flatten)]
    named: Named,
    /// The team it belongs to.
    #[arg(long)]
    team: String,
    /// How many of its previews may be up at once.
    #[arg(long, value_name = "N")]
    max_previews: Option<u32>,
}

#[derive(Debug, Args)]
pub struct Change {
    #[command(flatten)]
    named: Named,
    /// Another team.
    #[arg(long)]
    team: Option<String>,
    /// How many of its previews may be up at once; 0 takes the limit away.
    #[arg(long, value_name = "N")]
    max_previews: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub enum Secret {
    /// Names of secrets. Their values are never given back.
    List(Named),
    /// Set a secret, from standard input or a file: what is typed as an argument is seen by others.
    Set(SetSecret),
    /// Delete a secret.
    Delete(NamedSecret),
}

#[derive(Debug, Args)]
pub struct NamedSecret {
    #[command(flatten)]
    named: Named,
    /// As in DATABASE_URL.
    name: String,
}

#[derive(Debug, Args)]
pub struct SetSecret {
    #[command(flatten)]
    secret: NamedSecret,
    /// A file with the value; standard input without it. A line end at the end is left out.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Named {
    /// Owner and name are segments of the path.
    fn path(&self, below: &str) -> anyhow::Result<String> {
        let (owner, name) = self
            .repository
            .split_once('/')
            .with_context(|| format!("{:?} is not a repository: write it as owner/name", self.repository))?;
        Ok(format!("/projects/{}/{}{below}", encode(owner), encode(name)))
    }
}

impl NamedSecret {
    fn path(&self) -> anyhow::Result<String> {
        self.named.path(&format!("/secrets/{}", encode(&self.name)))
    }
}

impl Project {
    pub async fn run(self, client: &Client) -> anyhow::Result<()> {
        match self {
            Self::Add(add) => {
                let mut body = json!({ "repository": add.named.repository, "team": add.team });
                if let Some(most) = add.max_previews {
                    body["max_previews"] = json!(most);
                }
                client.answer(&client.post("/projects", Some(body)).await?, show)
            }
            Self::List => {
                let items = client.list("/projects", usize::MAX).await?;
                client.answer(&Value::from(items), |items| {
                    let row = |item: &Value| {
                        let fields = ["/repository", "/team", "/max_previews"].map(|pointer| field(item, pointer));
                        fields.into_iter().chain([age(item, "/updated_at")]).collect()
                    };
                    let rows = items.as_array().map(|items| items.iter().map(row).collect()).unwrap_or_default();
                    table(&["repository", "team", "max previews", "changed"], rows, "There are no projects.")
                })
            }
            Self::Get(named) => client.answer(&client.get(&named.path("")?).await?, show),
            Self::Change(change) => {
                let mut body = json!({});
                if let Some(team) = change.team {
                    body["team"] = json!(team);
                }
                if let Some(most) = change.max_previews {
                    body["max_previews"] = json!(most);
                }
                client.answer(&client.patch(&change.named.path("")?, body).await?, show)
            }
            Self::Remove(named) => {
                let gone = client.delete(&named.path("")?).await?;
                client.answer(&gone, |_| format!("{} is no project any more.", named.repository))
            }
            Self::Secret(secret) => secret.run(client).await,
        }
    }
}

impl Secret {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        match self {
            Self::List(named) => client.answer(&client.get(&named.path("/secrets")?).await?, |list| {
                let row =
                    |item: &Value| vec![field(item, "/name"), age(item, "/updated_at"), field(item, "/updated_by")];
                let rows = list["items"].as_array().map(|items| items.iter().map(row).collect()).unwrap_or_default();
                table(&["secret", "changed", "by"], rows, "It has no secrets.")
            }),
            Self::Set(set) => {
                let value = match &set.file {
                    Some(file) => {
                        std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?
                    }
                    None => {
                        let mut value = String::new();
                        std::io::stdin().read_to_string(&mut value).context("standard input is not text")?;
                        value
                    }
                };
                let value = value.strip_suffix('\n').map_or(&*value, |value| value.strip_suffix('\r').unwrap_or(value));
                let set_to = client.put(&set.secret.path()?, Some(json!({ "value": value }))).await?;
                client.answer(&set_to, |secret| {
                    format!("{} is set; previews get it when they are next deployed.", field(secret, "/name"))
                })
            }
            Self::Delete(secret) => {
                let gone = client.delete(&secret.path()?).await?;
                client.answer(&gone, |_| {
                    format!("{} is gone; previews lose it when they are next deployed.", secret.name)
                })
            }
        }
    }
}

fn show(project: &Value) -> String {
    let known = [
        ("repository", "/repository"),
        ("team", "/team"),
        ("max previews", "/max_previews"),
        ("created", "/created_at"),
        ("changed", "/updated_at"),
    ];
    facts(project, &known)
}
