use chrono::{DateTime, Utc};
use poem_openapi::Object;
use schemars::JsonSchema;
use seatrial_operations::views;
use serde::Serialize;

/// Something that was done, or tried.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct AuditEntry {
    pub at: DateTime<Utc>,
    /// A login, a token's name, or `operator` for the bootstrap token.
    pub who: String,
    /// The way in: `rest`, `mcp`, `page`, `cli`, `comment`.
    pub via: String,
    /// The address they came from, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// `preview.deploy`, `token.create`, …
    pub action: String,
    /// `owner/name#number`, a run's id, a team, …
    pub target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// `done`, or the code of the error.
    pub outcome: String,
    /// What was asked, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A page of the audit log, the newest first.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct AuditPage {
    pub items: Vec<AuditEntry>,
    /// Give it as `after` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl From<views::AuditEntry> for AuditEntry {
    fn from(entry: views::AuditEntry) -> Self {
        Self {
            at: entry.at,
            who: entry.who,
            via: entry.via,
            address: entry.address,
            action: entry.action,
            target: entry.target,
            repository: entry.repository.map(|name| name.to_string()),
            team: entry.team.map(String::from),
            outcome: entry.outcome,
            detail: entry.detail,
        }
    }
}

impl From<views::Page<views::AuditEntry>> for AuditPage {
    fn from(page: views::Page<views::AuditEntry>) -> Self {
        Self { items: page.items.into_iter().map(AuditEntry::from).collect(), next: page.next }
    }
}
