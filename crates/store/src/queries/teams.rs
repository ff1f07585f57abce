//! Teams and people.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use seatrial_preview::access::{Account, Member, Person, PersonId, Role, Team, TeamName, Visible};
use sqlx::Row as _;

use super::db::{self, Connection, Row};
use super::open::Db;
use super::rows::{millis, optional_time, parsed, text, time, unsigned};
use super::visible::Sight;
use crate::access::TeamQueries;
use crate::effects::Effects;
use crate::error::StoreError;
use crate::views::{Page, PageRequest};

macro_rules! teams {
    ($condition:literal) => {
        concat!(
            "SELECT t.name, t.created_at, (SELECT count(*) FROM projects p WHERE p.team = t.name) AS projects,
                    (SELECT count(*) FROM memberships m WHERE m.team = t.name) AS members
             FROM teams t WHERE ($1 OR t.name ",
            one_of!("$2"),
            ") AND ",
            $condition
        )
    };
}

const PEOPLE: &str = "SELECT id, login, operator, created_at, seen_at FROM people";

#[async_trait]
impl TeamQueries for Db {
    async fn create_team(&self, name: &TeamName) -> Result<bool, StoreError> {
        let given = (name.to_string(), self.clock.now());
        let created = self.writer.write(given, |c, (name, now)| {
            Box::pin(async move {
                let made = sqlx::query("INSERT INTO teams (name, created_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                    .bind(name)
                    .bind(millis(now))
                    .execute(c)
                    .await?;
                Ok((made.rows_affected() == 1, Effects::none()))
            })
        });
        created.await
    }

    async fn list_teams(&self, visible: &Visible, page: &PageRequest) -> Result<Page<Team>, StoreError> {
        let (sight, limit) = (Sight::of(visible), page.limit.clamp(1, 200) as usize);
        let rows = sqlx::query(teams!("($3 IS NULL OR t.name > $3) ORDER BY t.name LIMIT $4"))
            .bind(sight.all)
            .bind(db::texts(&sight.teams))
            .bind(&page.after)
            .bind(limit as i64 + 1)
            .fetch_all(&self.readers)
            .await?;
        let items = rows.iter().take(limit).map(team).collect::<Result<Vec<_>, _>>()?;
        let next = if rows.len() > limit { items.last().map(|last| last.name.to_string()) } else { None };
        Ok(Page { items, next })
    }

    async fn find_team(&self, visible: &Visible, name: &TeamName) -> Result<Option<Team>, StoreError> {
        let sight = Sight::of(visible);
        let row = sqlx::query(teams!("t.name = $3"))
            .bind(sight.all)
            .bind(db::texts(&sight.teams))
            .bind(name.as_str())
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(team).transpose()
    }

    async fn delete_team(&self, name: &TeamName) -> Result<bool, StoreError> {
        let deleted = self.writer.write(name.to_string(), |c, name| {
            Box::pin(async move {
                let deleted = sqlx::query(
                    "DELETE FROM teams WHERE name = $1 AND NOT EXISTS (SELECT 1 FROM projects WHERE team = $1)",
                )
                .bind(name)
                .execute(c)
                .await?;
                Ok((deleted.rows_affected() == 1, Effects::none()))
            })
        });
        deleted.await
    }

    async fn list_members(&self, team: &TeamName) -> Result<Vec<Member>, StoreError> {
        let rows = sqlx::query(
            "SELECT p.id, p.login, m.role FROM memberships m JOIN people p ON p.id = m.person
             WHERE m.team = $1 ORDER BY p.login",
        )
        .bind(team.as_str())
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| Ok(Member { account: account(row)?, role: parsed(row, "role")? })).collect()
    }

    async fn set_member(&self, team: &TeamName, account: &Account, role: Role) -> Result<bool, StoreError> {
        let given = (team.to_string(), account.clone(), role, self.clock.now());
        let set = self.writer.write(given, |c, (team, account, role, now)| {
            Box::pin(async move {
                let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM teams WHERE name = $1)")
                    .bind(&team)
                    .fetch_one(&mut *c)
                    .await?;
                if exists {
                    ensure(c, &account, None, now).await?;
                    sqlx::query(
                        "INSERT INTO memberships (team, person, role) VALUES ($1, $2, $3)
                         ON CONFLICT (team, person) DO UPDATE SET role = excluded.role",
                    )
                    .bind(&team)
                    .bind(number(account.id)?)
                    .bind(role.as_str())
                    .execute(c)
                    .await?;
                }
                Ok((exists, Effects::none()))
            })
        });
        set.await
    }

    async fn remove_member(&self, team: &TeamName, login: &str) -> Result<bool, StoreError> {
        let given = (team.to_string(), login.to_owned());
        let removed = self.writer.write(given, |c, (team, login)| {
            Box::pin(async move {
                let removed = sqlx::query(
                    "DELETE FROM memberships WHERE team = $1
                       AND person IN (SELECT id FROM people WHERE lower(login) = lower($2))",
                )
                .bind(team)
                .bind(login)
                .execute(c)
                .await?;
                Ok((removed.rows_affected() > 0, Effects::none()))
            })
        });
        removed.await
    }

    async fn ensure_person(&self, account: &Account, seen: bool) -> Result<Person, StoreError> {
        let given = (account.clone(), seen, self.clock.now());
        let person = self.writer.write(given, |c, (account, seen, now)| {
            Box::pin(async move { Ok((ensure(c, &account, seen.then_some(now), now).await?, Effects::none())) })
        });
        person.await
    }

    async fn set_operator(&self, person: PersonId, operator: bool) -> Result<(), StoreError> {
        let set = self.writer.write((number(person)?, operator), |c, (person, operator)| {
            Box::pin(async move {
                sqlx::query("UPDATE people SET operator = $1 WHERE id = $2")
                    .bind(operator)
                    .bind(person)
                    .execute(c)
                    .await?;
                Ok(((), Effects::none()))
            })
        });
        set.await
    }

    async fn list_operators(&self) -> Result<Vec<Person>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{PEOPLE} WHERE operator ORDER BY login")))
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(person).collect()
    }
}

async fn ensure(
    connection: &mut Connection,
    account: &Account,
    seen: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Person, StoreError> {
    let row = sqlx::query(
        "INSERT INTO people (id, login, created_at, seen_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE SET login = excluded.login, seen_at = coalesce(excluded.seen_at, people.seen_at)
         RETURNING id, login, operator, created_at, seen_at",
    )
    .bind(number(account.id)?)
    .bind(text(&account.login))
    .bind(millis(now))
    .bind(seen.map(millis))
    .fetch_one(connection)
    .await?;
    person(&row)
}

pub(super) async fn memberships(db: &Db, of: PersonId) -> Result<Vec<(TeamName, Role)>, StoreError> {
    let rows = sqlx::query("SELECT team, role FROM memberships WHERE person = $1 ORDER BY team")
        .bind(number(of)?)
        .fetch_all(&db.readers)
        .await?;
    rows.iter().map(|row| Ok((parsed(row, "team")?, parsed(row, "role")?))).collect()
}

pub(super) async fn find_person(db: &Db, id: PersonId) -> Result<Option<Person>, StoreError> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{PEOPLE} WHERE id = $1")))
        .bind(number(id)?)
        .fetch_optional(&db.readers)
        .await?;
    row.as_ref().map(person).transpose()
}

pub(super) fn number(PersonId(id): PersonId) -> Result<i64, StoreError> {
    i64::try_from(id).map_err(|_| StoreError::Invalid(format!("{id} is not the number of an account")))
}

fn account(row: &Row) -> Result<Account, StoreError> {
    Ok(Account { id: PersonId(unsigned(row, "id")?), login: row.try_get("login")? })
}

fn person(row: &Row) -> Result<Person, StoreError> {
    Ok(Person {
        account: account(row)?,
        operator: row.try_get("operator")?,
        created_at: time(row, "created_at")?,
        seen_at: optional_time(row, "seen_at")?,
    })
}

fn team(row: &Row) -> Result<Team, StoreError> {
    Ok(Team {
        name: parsed(row, "name")?,
        projects: unsigned(row, "projects")?,
        members: unsigned(row, "members")?,
        created_at: time(row, "created_at")?,
    })
}
