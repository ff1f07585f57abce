//! Who did what.

use async_trait::async_trait;
use seatrial_preview::access::Visible;
use sqlx::Row as _;

use super::db::{self, Row};
use super::open::Db;
use super::rows::{millis, parsed, text, time};
use super::runs::cursor;
use super::visible::{Sight, repository_visible};
use crate::access::AuditQueries;
use crate::effects::Effects;
use crate::error::StoreError;
use crate::views::{AuditEntry, AuditFilter, Page, PageRequest};

#[async_trait]
impl AuditQueries for Db {
    async fn write_audit(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        let written = self.writer.write(entry.clone(), |c, entry| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO audit (at, who, via, address, action, target, repository, team, outcome, detail)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                )
                .bind(millis(entry.at))
                .bind(text(&entry.who))
                .bind(&entry.via)
                .bind(&entry.address)
                .bind(&entry.action)
                .bind(text(&entry.target))
                .bind(entry.repository.as_ref().map(ToString::to_string))
                .bind(entry.team.as_ref().map(ToString::to_string))
                .bind(&entry.outcome)
                .bind(entry.detail.as_deref().map(text))
                .execute(c)
                .await?;
                Ok(((), Effects::none()))
            })
        });
        written.await
    }

    async fn list_audit(
        &self,
        visible: &Visible,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditEntry>, StoreError> {
        let before = page.after.as_deref().map(cursor).transpose()?;
        let (sight, limit) = (Sight::of(visible), page.limit.clamp(1, 200) as usize);
        let rows = sqlx::query(concat!(
            "SELECT seq, at, who, via, address, action, target, repository, team, outcome, detail FROM audit a
             WHERE ($1 IS NULL OR a.seq < $1) AND ($2 IS NULL OR a.who = $2) AND ($3 IS NULL OR a.action = $3)
               AND ($4 IS NULL OR a.target = $4) AND ($5 IS NULL OR a.at >= $5) AND ($6 IS NULL OR a.at < $6)
               AND (a.team ",
            one_of!("$8"),
            " OR ",
            repository_visible!("a.repository", "$7", "$8", "$9"),
            ") ORDER BY a.seq DESC LIMIT $10"
        ))
        .bind(before)
        .bind(&filter.who)
        .bind(&filter.action)
        .bind(&filter.target)
        .bind(filter.since.map(millis))
        .bind(filter.until.map(millis))
        .bind(sight.all)
        .bind(db::texts(&sight.teams))
        .bind(sight.repository)
        .bind(limit as i64 + 1)
        .fetch_all(&self.readers)
        .await?;
        let items = rows.iter().take(limit).map(read).collect::<Result<Vec<_>, _>>()?;
        let next = if rows.len() > limit { items.last().map(|last| last.seq.to_string()) } else { None };
        Ok(Page { items, next })
    }
}

fn read(row: &Row) -> Result<AuditEntry, StoreError> {
    let (repository, team): (Option<&str>, Option<&str>) = (row.try_get("repository")?, row.try_get("team")?);
    Ok(AuditEntry {
        seq: row.try_get("seq")?,
        at: time(row, "at")?,
        who: row.try_get("who")?,
        via: row.try_get("via")?,
        address: row.try_get("address")?,
        action: row.try_get("action")?,
        target: row.try_get("target")?,
        repository: repository.is_some().then(|| parsed(row, "repository")).transpose()?,
        team: team.is_some().then(|| parsed(row, "team")).transpose()?,
        outcome: row.try_get("outcome")?,
        detail: row.try_get("detail")?,
    })
}
