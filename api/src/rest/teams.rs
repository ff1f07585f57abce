use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::errors::{ListError, ReadError, WriteError, parse};
use super::text::Text;
use super::{Tag, page};
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::{Member, MemberList, Role, Team, TeamPage};

pub(crate) struct Teams;

/// A team to be made.
#[derive(Object)]
#[oai(example)]
struct NewTeam {
    /// 1 to 40 of `a-z`, `0-9` and `-`.
    name: Text,
}

impl Example for NewTeam {
    fn example() -> Self {
        Self { name: "payments".into() }
    }
}

/// What somebody is to be in a team.
#[derive(Object)]
#[oai(example)]
struct NewRole {
    role: Role,
}

impl Example for NewRole {
    fn example() -> Self {
        Self { role: Role::Developer }
    }
}

#[derive(ApiResponse)]
enum TeamCreated {
    /// It was made.
    #[oai(status = 201)]
    Created(
        Json<Team>,
        /// The team.
        #[oai(header = "Location")]
        String,
    ),
}

#[derive(ApiResponse)]
pub(super) enum Gone {
    /// It is gone.
    #[oai(status = 204)]
    Gone,
}

#[OpenApi(prefix_path = "/teams", tag = "Tag::Access")]
impl Teams {
    /// List teams
    ///
    /// Those one is in, by name; all of them for operators.
    #[oai(path = "/", method = "get", operation_id = "listTeams")]
    async fn list(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// The `next` of the page before.
        after: Query<Option<String>>,
        /// How many at most.
        #[oai(validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<Option<u32>>,
    ) -> Result<Json<TeamPage>, ListError> {
        Ok(Json(api.operations.list_teams(&caller.0.0, &page(after, limit)).await?.into()))
    }

    /// Make a team
    ///
    /// For operators.
    #[oai(path = "/", method = "post", operation_id = "createTeam")]
    async fn create(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        body: Json<NewTeam>,
    ) -> Result<TeamCreated, WriteError> {
        let team = api.operations.create_team(&caller.0.0, &parse("name", &body.name)?).await?;
        let location = format!("/api/v1/teams/{}", team.name);
        Ok(TeamCreated::Created(Json(team.into()), location))
    }

    /// Get a team
    ///
    /// For its members, and operators.
    #[oai(path = "/:team", method = "get", operation_id = "getTeam")]
    async fn get(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        team: Path<String>,
    ) -> Result<Json<Team>, ReadError> {
        Ok(Json(api.operations.get_team(&caller.0.0, &parse("team", &team)?).await?.into()))
    }

    /// Delete a team
    ///
    /// Its memberships and tokens go with it. Refused while it owns projects. For operators.
    #[oai(path = "/:team", method = "delete", operation_id = "deleteTeam")]
    async fn delete(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        team: Path<String>,
    ) -> Result<Gone, WriteError> {
        api.operations.delete_team(&caller.0.0, &parse("team", &team)?).await?;
        Ok(Gone::Gone)
    }

    /// List a team's members
    ///
    /// By login, with what each may do.
    #[oai(path = "/:team/members", method = "get", operation_id = "listMembers")]
    async fn members(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        team: Path<String>,
    ) -> Result<Json<MemberList>, ReadError> {
        let members = api.operations.list_members(&caller.0.0, &parse("team", &team)?).await?;
        Ok(Json(MemberList { items: members.into_iter().map(Member::from).collect() }))
    }

    /// Make somebody a member
    ///
    /// Or give a member another role. GitHub is asked whose the login is now: a login that somebody
    /// else takes later gives them nothing. For maintainers of the team.
    #[oai(path = "/:team/members/:login", method = "put", operation_id = "setMember")]
    async fn set_member(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        team: Path<String>,
        /// On GitHub.
        login: Path<String>,
        body: Json<NewRole>,
    ) -> Result<Json<Member>, WriteError> {
        let team = parse("team", &team)?;
        Ok(Json(api.operations.set_member(&caller.0.0, &team, &login, body.role.into()).await?.into()))
    }

    /// Take somebody out of a team
    ///
    /// For maintainers of the team.
    #[oai(path = "/:team/members/:login", method = "delete", operation_id = "removeMember")]
    async fn remove_member(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        team: Path<String>,
        /// On GitHub, as last seen.
        login: Path<String>,
    ) -> Result<Gone, WriteError> {
        api.operations.remove_member(&caller.0.0, &parse("team", &team)?, &login).await?;
        Ok(Gone::Gone)
    }
}
