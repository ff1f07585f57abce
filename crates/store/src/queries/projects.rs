//! Projects: which team a repository belongs to, and what is set for it.

use async_trait::async_trait;
use seatrial_preview::RepositoryName;
use seatrial_preview::access::{Project, SecretInfo, SecretName, Visible};
use sqlx::Row as _;

use super::db::{self, Row};
use super::open::Db;
use super::rows::{millis, parsed, time};
use super::secrets;
use super::visible::{Sight, key_visible, repository_visible};
use crate::access::{NewProject, ProjectQueries, SealedSecret};
use crate::effects::Effects;
use crate::error::StoreError;
use crate::views::{Page, PageRequest};

macro_rules! columns {
    () => {
        "repository, team, max_previews, created_at, updated_at"
    };
}

#[async_trait]
impl ProjectQueries for Db {
    async fn create_project(&self, project: &NewProject) -> Result<Option<Project>, StoreError> {
        let created = self.writer.write((project.clone(), self.clock.now()), |c, (project, now)| {
            Box::pin(async move {
                let row = sqlx::query(concat!(
                    "INSERT INTO projects (repository, team, max_previews, created_at, updated_at)
                     SELECT $1, t.name, $3, $4, $4 FROM teams t WHERE t.name = $2
                     ON CONFLICT DO NOTHING RETURNING ",
                    columns!()
                ))
                .bind(project.repository.to_string())
                .bind(project.team.as_str())
                .bind(project.max_previews.map(i64::from))
                .bind(millis(now))
                .fetch_optional(c)
                .await?;
                Ok((row.as_ref().map(read).transpose()?, Effects::none()))
            })
        });
        created.await
    }

    async fn update_project(&self, project: &NewProject) -> Result<Option<Project>, StoreError> {
        let updated = self.writer.write((project.clone(), self.clock.now()), |c, (project, now)| {
            Box::pin(async move {
                let row = sqlx::query(concat!(
                    "UPDATE projects SET team = $2, max_previews = $3, updated_at = $4
                     WHERE repository = $1 AND EXISTS (SELECT 1 FROM teams WHERE name = $2) RETURNING ",
                    columns!()
                ))
                .bind(project.repository.to_string())
                .bind(project.team.as_str())
                .bind(project.max_previews.map(i64::from))
                .bind(millis(now))
                .fetch_optional(c)
                .await?;
                Ok((row.as_ref().map(read).transpose()?, Effects::none()))
            })
        });
        updated.await
    }

    async fn find_project(
        &self,
        visible: &Visible,
        repository: &RepositoryName,
    ) -> Result<Option<Project>, StoreError> {
        let sight = Sight::of(visible);
        let row = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM projects o WHERE o.repository = $1 AND ",
            repository_visible!("o.repository", "$2", "$3", "$4")
        ))
        .bind(repository.to_string())
        .bind(sight.all)
        .bind(db::texts(&sight.teams))
        .bind(sight.repository)
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(read).transpose()
    }

    async fn list_projects(&self, visible: &Visible, page: &PageRequest) -> Result<Page<Project>, StoreError> {
        let (sight, limit) = (Sight::of(visible), page.limit.clamp(1, 200) as usize);
        let rows = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM projects o WHERE ($1 IS NULL OR o.repository > $1) AND ",
            repository_visible!("o.repository", "$2", "$3", "$4"),
            " ORDER BY o.repository LIMIT $5"
        ))
        .bind(&page.after)
        .bind(sight.all)
        .bind(db::texts(&sight.teams))
        .bind(sight.repository)
        .bind(limit as i64 + 1)
        .fetch_all(&self.readers)
        .await?;
        let items = rows.iter().take(limit).map(read).collect::<Result<Vec<_>, _>>()?;
        let next = if rows.len() > limit { items.last().map(|last| last.repository.to_string()) } else { None };
        Ok(Page { items, next })
    }

    async fn delete_project(&self, repository: &RepositoryName) -> Result<bool, StoreError> {
        let deleted = self.writer.write(repository.to_string(), |c, repository| {
            Box::pin(async move {
                let deleted =
                    sqlx::query("DELETE FROM projects WHERE repository = $1").bind(repository).execute(c).await?;
                Ok((deleted.rows_affected() == 1, Effects::none()))
            })
        });
        deleted.await
    }

    async fn sees_key(&self, visible: &Visible, key: &str) -> Result<bool, StoreError> {
        let sight = Sight::of(visible);
        let sees: Option<bool> =
            sqlx::query_scalar(concat!("SELECT ", key_visible!("CAST($1 AS TEXT)", "$2", "$3", "$4")))
                .bind(key)
                .bind(sight.all)
                .bind(db::texts(&sight.teams))
                .bind(sight.repository)
                .fetch_one(&self.readers)
                .await?;
        Ok(sees == Some(true))
    }

    async fn list_secrets(&self, repository: &RepositoryName) -> Result<Vec<SecretInfo>, StoreError> {
        secrets::list(self, repository).await
    }

    async fn put_secret(&self, repository: &RepositoryName, secret: &SealedSecret) -> Result<bool, StoreError> {
        secrets::put(self, repository, secret).await
    }

    async fn delete_secret(&self, repository: &RepositoryName, name: &SecretName) -> Result<bool, StoreError> {
        secrets::delete(self, repository, name).await
    }

    async fn load_secrets(&self, repository: &RepositoryName) -> Result<Vec<SealedSecret>, StoreError> {
        secrets::load(self, repository).await
    }

    async fn list_key_ids(&self) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar("SELECT DISTINCT key_id FROM secrets ORDER BY key_id").fetch_all(&self.readers).await?)
    }

    async fn list_sealed_otherwise(&self, key_id: &str) -> Result<Vec<SealedSecret>, StoreError> {
        secrets::sealed_otherwise(self, key_id).await
    }

    async fn reseal_secret(&self, old: &SealedSecret, new: &SealedSecret) -> Result<(), StoreError> {
        secrets::reseal(self, old, new).await
    }
}

fn read(row: &Row) -> Result<Project, StoreError> {
    let most: Option<i64> = row.try_get("max_previews")?;
    Ok(Project {
        repository: parsed(row, "repository")?,
        team: parsed(row, "team")?,
        max_previews: most.map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}
