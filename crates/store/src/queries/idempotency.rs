//! Answers to writes that may be sent again.

use async_trait::async_trait;
use sqlx::Row as _;

use super::open::Db;
use super::rows::millis;
use crate::access::{Begun, Hash, IdempotencyQueries, KeptAnswer};
use crate::effects::Effects;
use crate::error::StoreError;

/// How long answers are kept, in milliseconds.
const KEPT: i64 = 24 * 3_600_000;
/// A write that has not been answered for so long was cut off: the key is free again.
const CUT_OFF: i64 = 5 * 60_000;

#[async_trait]
impl IdempotencyQueries for Db {
    async fn begin_write(&self, who: &str, key: &str, fingerprint: &Hash) -> Result<Begun, StoreError> {
        let given = (who.to_owned(), key.to_owned(), *fingerprint, millis(self.clock.now()));
        let begun = self.writer.write(given, |c, (who, key, fingerprint, now)| {
            Box::pin(async move {
                sqlx::query("DELETE FROM idempotency WHERE created_at < $1 OR (status IS NULL AND created_at < $2)")
                    .bind(now - KEPT)
                    .bind(now - CUT_OFF)
                    .execute(&mut *c)
                    .await?;
                let taken = sqlx::query(
                    "INSERT INTO idempotency (who, key, fingerprint, created_at) VALUES ($1, $2, $3, $4)
                     ON CONFLICT DO NOTHING",
                )
                .bind(&who)
                .bind(&key)
                .bind(&fingerprint[..])
                .bind(now)
                .execute(&mut *c)
                .await?;
                if taken.rows_affected() == 1 {
                    return Ok((Begun::Fresh, Effects::none()));
                }
                let row = sqlx::query(
                    "SELECT fingerprint, status, headers, body FROM idempotency WHERE who = $1 AND key = $2",
                )
                .bind(&who)
                .bind(&key)
                .fetch_one(c)
                .await?;
                let begun = if row.try_get::<&[u8], _>("fingerprint")? != fingerprint {
                    Begun::Other
                } else {
                    match row.try_get::<Option<i64>, _>("status")? {
                        None => Begun::AtWork,
                        Some(status) => {
                            let headers: Option<String> = row.try_get("headers")?;
                            let (location, content_type) =
                                super::rows::json(headers.as_deref().unwrap_or("[null,null]"))?;
                            Begun::Answered(KeptAnswer {
                                status: u16::try_from(status).unwrap_or(500),
                                location,
                                content_type,
                                body: row.try_get::<Option<Vec<u8>>, _>("body")?.unwrap_or_default(),
                            })
                        }
                    }
                };
                Ok((begun, Effects::none()))
            })
        });
        begun.await
    }

    async fn finish_write(&self, who: &str, key: &str, answer: &KeptAnswer) -> Result<(), StoreError> {
        let given = (who.to_owned(), key.to_owned(), answer.clone());
        let finished = self.writer.write(given, |c, (who, key, answer)| {
            Box::pin(async move {
                sqlx::query("UPDATE idempotency SET status = $1, headers = $2, body = $3 WHERE who = $4 AND key = $5")
                    .bind(i64::from(answer.status))
                    .bind(super::rows::to_json(&(answer.location, answer.content_type))?)
                    .bind(answer.body)
                    .bind(who)
                    .bind(key)
                    .execute(c)
                    .await?;
                Ok(((), Effects::none()))
            })
        });
        finished.await
    }

    async fn abandon_write(&self, who: &str, key: &str) -> Result<(), StoreError> {
        let abandoned = self.writer.write((who.to_owned(), key.to_owned()), |c, (who, key)| {
            Box::pin(async move {
                sqlx::query("DELETE FROM idempotency WHERE who = $1 AND key = $2 AND status IS NULL")
                    .bind(who)
                    .bind(key)
                    .execute(c)
                    .await?;
                Ok(((), Effects::none()))
            })
        });
        abandoned.await
    }
}
