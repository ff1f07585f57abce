use anyhow::{Context as _, bail};
use chrono::{TimeDelta, Utc};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::{Client, encode};
use super::show::{age, field, table};

#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token. Its value is shown once.
    Create(Create),
    /// The tokens there are, without their values.
    List,
    /// Refuse a token from now on.
    Revoke(Named),
}

#[derive(Debug, Args)]
pub struct Create {
    /// What it is for: "deploys from CI".
    name: String,
    /// What it may be used for.
    #[arg(long, value_enum, default_value = "read")]
    scope: Scope,
    /// The team whose projects it is for; an operator's token without it.
    #[arg(long)]
    team: Option<String>,
    /// For how long it is valid: 12h, 90d; for ever without it.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    expires: Option<TimeDelta>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scope {
    /// Looking.
    Read,
    /// Deploying, retrying, deleting, too.
    Deploy,
    /// Everything in the team; without a team, everything.
    Admin,
}

#[derive(Debug, Args)]
pub struct Named {
    /// The token's id, as "token list" shows it.
    #[arg(value_name = "TOKEN")]
    id: String,
}

impl Token {
    pub async fn run(self, client: &Client) -> anyhow::Result<()> {
        match self {
            Self::Create(create) => create.run(client).await,
            Self::List => {
                let items = client.list("/tokens", usize::MAX).await?;
                client.answer(&Value::from(items), |items| {
                    let row = |item: &Value| {
                        let state = if item["revoked_at"].is_string() { "revoked" } else { "valid" };
                        let fields = ["/id", "/name", "/scope", "/team", "/created_by"].map(|at| field(item, at));
                        let used = age(item, "/last_used_at");
                        fields.into_iter().chain([used, field(item, "/expires_at"), state.to_owned()]).collect()
                    };
                    let rows = items.as_array().map(|items| items.iter().map(row).collect()).unwrap_or_default();
                    let heads = ["token", "name", "scope", "team", "by", "used", "expires", "state"];
                    table(&heads, rows, "There are no tokens.")
                })
            }
            Self::Revoke(Named { id }) => {
                let revoked = client.delete(&format!("/tokens/{}", encode(&id))).await?;
                client.answer(&revoked, |token| format!("{} is revoked.", field(token, "/name")))
            }
        }
    }
}

impl Create {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let scope = self.scope.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let mut body = json!({ "name": self.name, "scope": scope });
        if let Some(team) = self.team {
            body["team"] = json!(team);
        }
        if let Some(life) = self.expires {
            body["expires_at"] = json!(Utc::now() + life);
        }
        let made = client.post("/tokens", Some(body)).await?;
        if !client.json {
            // Only the value on standard output, so that it can be put where it belongs.
            eprintln!("This is shown once. Send it as \"Authorization: Bearer …\", or set SEATRIAL_TOKEN to it:");
        }
        client.answer(&made, |made| field(made, "/value"))
    }
}

/// A whole number with `m`, `h` or `d`.
fn duration(text: &str) -> anyhow::Result<TimeDelta> {
    const HOW: &str = "write a whole number and m, h or d, as in 90d";
    let units = [('m', 1), ('h', 60), ('d', 24 * 60)];
    let found = units.iter().find_map(|(unit, minutes)| Some((text.strip_suffix(*unit)?, *minutes)));
    let (number, minutes) = found.context(HOW)?;
    let number: i64 = number.parse().context(HOW)?;
    match number.checked_mul(minutes).and_then(TimeDelta::try_minutes) {
        Some(time) if number > 0 && time <= TimeDelta::days(3_650) => Ok(time),
        _ => bail!("must be from 1m to 3650d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("90d").unwrap(), TimeDelta::days(90));
        assert_eq!(duration("12h").unwrap(), TimeDelta::hours(12));
        for bad in ["", "d", "90", "0d", "-1d", "3651d", "1.5h", "9999999999999999999d", "ü"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
