//! Secrets of projects. What is read and written here is sealed.

use seatrial_preview::RepositoryName;
use seatrial_preview::access::{SecretInfo, SecretName};
use sqlx::Row as _;

use super::db::Row;
use super::open::Db;
use super::rows::{millis, parsed, text, time};
use crate::access::SealedSecret;
use crate::effects::Effects;
use crate::error::StoreError;

macro_rules! columns {
    () => {
        "id, name, key_id, nonce, ciphertext, updated_by"
    };
}

pub(super) async fn list(db: &Db, repository: &RepositoryName) -> Result<Vec<SecretInfo>, StoreError> {
    let rows = sqlx::query("SELECT name, updated_at, updated_by FROM secrets WHERE repository = $1 ORDER BY name")
        .bind(repository.to_string())
        .fetch_all(&db.readers)
        .await?;
    let info = |row: &Row| {
        Ok(SecretInfo {
            name: parsed(row, "name")?,
            updated_at: time(row, "updated_at")?,
            updated_by: row.try_get("updated_by")?,
        })
    };
    rows.iter().map(info).collect()
}

/// A new value is a new row, with an id of its own: what was sealed for one is of no use in another.
pub(super) async fn put(db: &Db, repository: &RepositoryName, secret: &SealedSecret) -> Result<bool, StoreError> {
    let given = (repository.to_string(), secret.clone(), db.clock.now());
    let put = db.writer.write(given, |c, (repository, secret, now)| {
        Box::pin(async move {
            sqlx::query("DELETE FROM secrets WHERE repository = $1 AND name = $2")
                .bind(&repository)
                .bind(secret.name.as_str())
                .execute(&mut *c)
                .await?;
            let put = sqlx::query(
                "INSERT INTO secrets (id, repository, name, key_id, nonce, ciphertext, updated_at, updated_by)
                 SELECT $1, p.repository, $3, $4, $5, $6, $7, $8 FROM projects p WHERE p.repository = $2",
            )
            .bind(secret.id)
            .bind(&repository)
            .bind(secret.name.as_str())
            .bind(&secret.key_id)
            .bind(&secret.nonce)
            .bind(&secret.ciphertext)
            .bind(millis(now))
            .bind(text(&secret.updated_by))
            .execute(c)
            .await?;
            Ok((put.rows_affected() == 1, Effects::none()))
        })
    });
    put.await
}

pub(super) async fn delete(db: &Db, repository: &RepositoryName, name: &SecretName) -> Result<bool, StoreError> {
    let deleted = db.writer.write((repository.to_string(), name.to_string()), |c, (repository, name)| {
        Box::pin(async move {
            let deleted = sqlx::query("DELETE FROM secrets WHERE repository = $1 AND name = $2")
                .bind(repository)
                .bind(name)
                .execute(c)
                .await?;
            Ok((deleted.rows_affected() == 1, Effects::none()))
        })
    });
    deleted.await
}

pub(super) async fn load(db: &Db, repository: &RepositoryName) -> Result<Vec<SealedSecret>, StoreError> {
    let rows = sqlx::query(concat!("SELECT ", columns!(), " FROM secrets WHERE repository = $1 ORDER BY name"))
        .bind(repository.to_string())
        .fetch_all(&db.readers)
        .await?;
    rows.iter().map(sealed).collect()
}

pub(super) async fn sealed_otherwise(db: &Db, key_id: &str) -> Result<Vec<SealedSecret>, StoreError> {
    let rows = sqlx::query(concat!("SELECT ", columns!(), " FROM secrets WHERE key_id <> $1 ORDER BY id LIMIT 100"))
        .bind(key_id)
        .fetch_all(&db.readers)
        .await?;
    rows.iter().map(sealed).collect()
}

pub(super) async fn reseal(db: &Db, old: &SealedSecret, new: &SealedSecret) -> Result<(), StoreError> {
    let resealed = db.writer.write((old.clone(), new.clone()), |c, (old, new)| {
        Box::pin(async move {
            sqlx::query(
                "UPDATE secrets SET key_id = $1, nonce = $2, ciphertext = $3 WHERE id = $4 AND key_id = $5 AND nonce = $6",
            )
            .bind(&new.key_id)
            .bind(&new.nonce)
            .bind(&new.ciphertext)
            .bind(old.id)
            .bind(&old.key_id)
            .bind(&old.nonce)
            .execute(c)
            .await?;
            Ok(((), Effects::none()))
        })
    });
    resealed.await
}

fn sealed(row: &Row) -> Result<SealedSecret, StoreError> {
    Ok(SealedSecret {
        id: row.try_get("id")?,
        name: parsed(row, "name")?,
        key_id: row.try_get("key_id")?,
        nonce: row.try_get("nonce")?,
        ciphertext: row.try_get("ciphertext")?,
        updated_by: row.try_get("updated_by")?,
    })
}
