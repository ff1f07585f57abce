use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::{Client, encode};
use super::show::{age, field, table};

#[derive(Debug, Subcommand)]
pub enum Team {
    /// The teams there are.
    List,
    /// Make a team.
    Create(Named),
    /// Delete a team that owns no projects; its memberships and tokens go with it.
    Delete(Named),
    /// Who is in a team.
    Members(Named),
    /// Make somebody a member, or give a member another role.
    Add(Add),
    /// Take somebody out.
    Remove(Member),
}

#[derive(Debug, Args)]
pub struct Named {
    /// The team's name: a-z, 0-9 and '-'.
    team: String,
}

#[derive(Debug, Args)]
pub struct Member {
    #[command(flatten)]
    named: Named,
    /// Their login on GitHub.
    login: String,
}

#[derive(Debug, Args)]
pub struct Add {
    #[command(flatten)]
    member: Member,
    /// What they may do.
    #[arg(long, value_enum, default_value = "developer")]
    role: Role,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    /// Looks: previews, runs, logs, deliveries.
    Viewer,
    /// Deploys, retries, cancels, deletes; approves a fork's commit.
    Developer,
    /// Changes the project, its secrets, its team's members and tokens.
    Maintainer,
}

#[derive(Debug, Subcommand)]
pub enum Operator {
    /// The operators there are.
    List,
    /// Make somebody on GitHub an operator.
    Add(Login),
    /// Make somebody an operator no longer.
    Remove(Login),
}

#[derive(Debug, Args)]
pub struct Login {
    /// Their login on GitHub.
    login: String,
}

impl Team {
    pub async fn run(self, client: &Client) -> anyhow::Result<()> {
        let of = |Named { team }: &Named, below: &str| format!("/teams/{}{below}", encode(team));
        match self {
            Self::List => {
                let items = client.list("/teams", usize::MAX).await?;
                client.answer(&Value::from(items), |items| {
                    let row = |item: &Value| {
                        let fields = ["/name", "/members", "/projects"].map(|pointer| field(item, pointer));
                        fields.into_iter().chain([age(item, "/created_at")]).collect()
                    };
                    table(&["team", "members", "projects", "created"], rows(items, row), "There are no teams.")
                })
            }
            Self::Create(Named { team }) => {
                let made = client.post("/teams", Some(json!({ "name": team }))).await?;
                client.answer(&made, |team| {
                    let name = field(team, "/name");
                    format!("Team {name} is made. Next: \"seatrial project add owner/name --team {name}\".")
                })
            }
            Self::Delete(named) => {
                client.answer(&client.delete(&of(&named, "")).await?, |_| format!("Team {} is gone.", named.team))
            }
            Self::Members(named) => client.answer(&client.get(&of(&named, "/members")).await?, |list| {
                let row = |item: &Value| ["/login", "/role", "/github_id"].map(|pointer| field(item, pointer)).into();
                table(&["login", "role", "github id"], rows(&list["items"], row), "Nobody is in it.")
            }),
            Self::Add(Add { member: Member { named, login }, role }) => {
                let path = of(&named, &format!("/members/{}", encode(&login)));
                let role = role.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
                let member = client.put(&path, Some(json!({ "role": role }))).await?;
                client.answer(&member, |member| {
                    format!("{} is {} of team {}.", field(member, "/login"), field(member, "/role"), named.team)
                })
            }
            Self::Remove(Member { named, login }) => {
                let gone = client.delete(&of(&named, &format!("/members/{}", encode(&login)))).await?;
                client.answer(&gone, |_| format!("{login} is not in team {} any more.", named.team))
            }
        }
    }
}

impl Operator {
    pub async fn run(self, client: &Client) -> anyhow::Result<()> {
        match self {
            Self::List => client.answer(&client.get("/operators").await?, |list| {
                let row = |item: &Value| vec![field(item, "/login"), field(item, "/github_id"), age(item, "/seen_at")];
                table(&["login", "github id", "signed in"], rows(&list["items"], row), "There are none yet.")
            }),
            Self::Add(Login { login }) => {
                let added = client.put(&format!("/operators/{}", encode(&login)), None).await?;
                client.answer(&added, |person| format!("{} is an operator.", field(person, "/login")))
            }
            Self::Remove(Login { login }) => {
                let gone = client.delete(&format!("/operators/{}", encode(&login))).await?;
                client.answer(&gone, |_| format!("{login} is no operator any more."))
            }
        }
    }
}

pub async fn whoami(client: &Client) -> anyhow::Result<()> {
    client.answer(&client.get("/me").await?, |me| {
        let mut text = field(me, "/name");
        if me["operator"] == true {
            text.push_str("\nan operator: sees every team's");
        }
        let row = |item: &Value| format!("\n{} of team {}", field(item, "/role"), field(item, "/team"));
        text.extend(me["teams"].as_array().into_iter().flatten().map(row));
        text
    })
}

fn rows(items: &Value, row: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    items.as_array().map(|items| items.iter().map(row).collect()).unwrap_or_default()
}
