//! Tokens, sessions, and the code of the first start.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use seatrial_preview::access::{PersonId, Token, TokenId, Visible};
use sqlx::Row as _;
use uuid::Uuid;

use super::db::{self, Row};
use super::open::Db;
use super::rows::{millis, optional_time, parsed, text, time};
use super::teams;
use super::visible::Sight;
use crate::access::{Hash, Session, SessionOwner, TokenQueries};
use crate::effects::Effects;
use crate::error::StoreError;
use crate::views::{Page, PageRequest};

macro_rules! columns {
    () => {
        "id, name, scope, team, created_by, created_at, expires_at, last_used_at, revoked_at"
    };
}

#[async_trait]
impl TokenQueries for Db {
    async fn create_token(&self, token: &Token, hash: &Hash) -> Result<(), StoreError> {
        let created = self.writer.write((token.clone(), *hash), |c, (token, hash)| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO tokens (id, hash, name, scope, team, created_by, created_at, expires_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                )
                .bind(token.id.0)
                .bind(&hash[..])
                .bind(text(&token.name))
                .bind(token.scope.as_str())
                .bind(token.team.as_ref().map(ToString::to_string))
                .bind(text(&token.created_by))
                .bind(millis(token.created_at))
                .bind(token.expires_at.map(millis))
                .execute(c)
                .await?;
                Ok(((), Effects::none()))
            })
        });
        created.await
    }

    async fn find_token(&self, hash: &Hash) -> Result<Option<Token>, StoreError> {
        let row = sqlx::query(concat!("SELECT ", columns!(), " FROM tokens WHERE hash = $1"))
            .bind(&hash[..])
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(token).transpose()
    }

    async fn list_tokens(&self, visible: &Visible, page: &PageRequest) -> Result<Page<Token>, StoreError> {
        let (sight, limit) = (Sight::of(visible), page.limit.clamp(1, 200) as usize);
        let after = page.after.as_deref().map(cursor).transpose()?;
        let rows = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM tokens t WHERE ($1 OR t.team ",
            one_of!("$2"),
            ") AND ($3 IS NULL OR (t.created_at, t.id) < (SELECT created_at, id FROM tokens WHERE id = $3))
              ORDER BY t.created_at DESC, t.id DESC LIMIT $4"
        ))
        .bind(sight.all)
        .bind(db::texts(&sight.teams))
        .bind(after)
        .bind(limit as i64 + 1)
        .fetch_all(&self.readers)
        .await?;
        let items = rows.iter().take(limit).map(token).collect::<Result<Vec<_>, _>>()?;
        let next = if rows.len() > limit { items.last().map(|last| last.id.to_string()) } else { None };
        Ok(Page { items, next })
    }

    async fn revoke_token(&self, visible: &Visible, id: TokenId) -> Result<Option<Token>, StoreError> {
        let revoked = self.writer.write((Sight::of(visible), id, self.clock.now()), |c, (sight, id, now)| {
            Box::pin(async move {
                let row = sqlx::query(concat!(
                    "UPDATE tokens SET revoked_at = coalesce(revoked_at, $1) WHERE id = $2 AND ($3 OR team ",
                    one_of!("$4"),
                    ") RETURNING ",
                    columns!()
                ))
                .bind(millis(now))
                .bind(id.0)
                .bind(sight.all)
                .bind(db::texts(&sight.teams))
                .fetch_optional(c)
                .await?;
                Ok((row.as_ref().map(token).transpose()?, Effects::none()))
            })
        });
        revoked.await
    }

    async fn touch_token(&self, id: TokenId) -> Result<(), StoreError> {
        let touched = self.writer.write((id, self.clock.now()), |c, (id, now)| {
            Box::pin(async move {
                sqlx::query("UPDATE tokens SET last_used_at = $1 WHERE id = $2")
                    .bind(millis(now))
                    .bind(id.0)
                    .execute(c)
                    .await?;
                Ok(((), Effects::none()))
            })
        });
        touched.await
    }

    async fn open_session(&self, hash: &Hash, of: &SessionOwner, until: DateTime<Utc>) -> Result<(), StoreError> {
        let given = (*hash, of.clone(), until, self.clock.now());
        let opened = self.writer.write(given, |c, (hash, of, until, now)| {
            Box::pin(async move {
                let (person, token, bootstrap) = match of {
                    SessionOwner::Person(person) => (Some(teams::number(person)?), None, None),
                    SessionOwner::Token(token) => (None, Some(token.0), None),
                    SessionOwner::Bootstrap(hash) => (None, None, Some(hash.to_vec())),
                };
                sqlx::query("DELETE FROM sessions WHERE expires_at <= $1").bind(millis(now)).execute(&mut *c).await?;
                sqlx::query(
                    "INSERT INTO sessions (hash, person, token, bootstrap, created_at, expires_at)
                     VALUES ($1, $2, $3, $4, $5, $6)",
                )
                .bind(&hash[..])
                .bind(person)
                .bind(token)
                .bind(bootstrap)
                .bind(millis(now))
                .bind(millis(until))
                .execute(c)
                .await?;
                Ok(((), Effects::none()))
            })
        });
        opened.await
    }

    async fn find_session(&self, hash: &Hash) -> Result<Option<Session>, StoreError> {
        let row = sqlx::query("SELECT person, token, bootstrap FROM sessions WHERE hash = $1 AND expires_at > $2")
            .bind(&hash[..])
            .bind(millis(self.clock.now()))
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else { return Ok(None) };
        if let Some(person) = row.try_get::<Option<i64>, _>("person")? {
            let person = PersonId(person.unsigned_abs());
            let Some(found) = teams::find_person(self, person).await? else { return Ok(None) };
            return Ok(Some(Session::Person(found, teams::memberships(self, person).await?)));
        }
        if let Some(id) = row.try_get::<Option<Uuid>, _>("token")? {
            let row = sqlx::query(concat!("SELECT ", columns!(), " FROM tokens WHERE id = $1"))
                .bind(id)
                .fetch_optional(&self.readers)
                .await?;
            return Ok(row.as_ref().map(token).transpose()?.map(Session::Token));
        }
        let bootstrap: Option<Vec<u8>> = row.try_get("bootstrap")?;
        Ok(bootstrap.and_then(|hash| hash.try_into().ok()).map(Session::Bootstrap))
    }

    async fn end_session(&self, hash: &Hash) -> Result<(), StoreError> {
        let ended = self.writer.write(*hash, |c, hash| {
            Box::pin(async move {
                sqlx::query("DELETE FROM sessions WHERE hash = $1").bind(&hash[..]).execute(c).await?;
                Ok(((), Effects::none()))
            })
        });
        ended.await
    }

    async fn has_operator(&self) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM people WHERE operator)
                 OR EXISTS (SELECT 1 FROM tokens WHERE team IS NULL AND scope = 'admin' AND revoked_at IS NULL
                                                   AND (expires_at IS NULL OR expires_at > $1))",
        )
        .bind(millis(self.clock.now()))
        .fetch_one(&self.readers)
        .await?)
    }

    async fn offer_setup(&self, hash: &Hash, until: DateTime<Utc>) -> Result<(), StoreError> {
        let offered = self.writer.write((*hash, until), |c, (hash, until)| {
            Box::pin(async move {
                sqlx::query("DELETE FROM setup").execute(&mut *c).await?;
                sqlx::query("INSERT INTO setup (hash, expires_at) VALUES ($1, $2)")
                    .bind(&hash[..])
                    .bind(millis(until))
                    .execute(c)
                    .await?;
                Ok(((), Effects::none()))
            })
        });
        offered.await
    }

    async fn is_setup_offered(&self, hash: &Hash) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM setup WHERE hash = $1 AND expires_at > $2)")
            .bind(&hash[..])
            .bind(millis(self.clock.now()))
            .fetch_one(&self.readers)
            .await?)
    }

    async fn use_setup(&self, hash: &Hash) -> Result<bool, StoreError> {
        let used = self.writer.write((*hash, self.clock.now()), |c, (hash, now)| {
            Box::pin(async move {
                let used = sqlx::query("DELETE FROM setup WHERE hash = $1 AND expires_at > $2")
                    .bind(&hash[..])
                    .bind(millis(now))
                    .execute(c)
                    .await?;
                Ok((used.rows_affected() == 1, Effects::none()))
            })
        });
        used.await
    }
}

fn cursor(text: &str) -> Result<Uuid, StoreError> {
    text.parse().map_err(|_| {
        StoreError::Invalid(format!("{text:?} is not a page's cursor: take it from `next` of the page before"))
    })
}

fn token(row: &Row) -> Result<Token, StoreError> {
    let team: Option<&str> = row.try_get("team")?;
    Ok(Token {
        id: TokenId(row.try_get("id")?),
        name: row.try_get("name")?,
        scope: parsed(row, "scope")?,
        team: team.is_some().then(|| parsed(row, "team")).transpose()?,
        created_by: row.try_get("created_by")?,
        created_at: time(row, "created_at")?,
        expires_at: optional_time(row, "expires_at")?,
        last_used_at: optional_time(row, "last_used_at")?,
        revoked_at: optional_time(row, "revoked_at")?,
    })
}
