//! Teams, their members, and operators.

use seatrial_preview::access::{Member, Person, Role, Team, TeamName};
use seatrial_store::views::{Page, PageRequest};
use serde_json::json;

use crate::access::Principal;
use crate::audit::Act;
use crate::error::{OperationError, Port};
use crate::operations::{Operations, PATIENCE};
use crate::previews::{check, of_page};

impl Operations {
    /// The teams one is in; all of them for operators.
    pub async fn list_teams(&self, who: &Principal, page: &PageRequest) -> Result<Page<Team>, OperationError> {
        check(page)?;
        self.store.list_teams(&who.visible(), page).await.map_err(|error| of_page(error, page))
    }

    pub async fn get_team(&self, who: &Principal, name: &TeamName) -> Result<Team, OperationError> {
        self.store.find_team(&who.visible(), name).await?.ok_or_else(|| no_team(name))
    }

    /// For operators.
    pub async fn create_team(&self, who: &Principal, name: &TeamName) -> Result<Team, OperationError> {
        self.audited(who, Act::new("team.create", name).team(name), async {
            who.check_operator("making a team")?;
            if !self.store.create_team(name).await? {
                return Err(OperationError::conflict("team_exists", format!("there is a team {name} already")));
            }
            self.get_team(who, name).await
        })
        .await
    }

    /// For operators. Its memberships and tokens go with it.
    pub async fn delete_team(&self, who: &Principal, name: &TeamName) -> Result<(), OperationError> {
        self.audited(who, Act::new("team.delete", name).team(name), async {
            self.get_team(who, name).await?;
            who.check_operator("deleting a team")?;
            if !self.store.delete_team(name).await? {
                return Err(OperationError::conflict(
                    "team_has_projects",
                    format!("team {name} still owns projects: delete them or give them to another team first"),
                ));
            }
            Ok(())
        })
        .await
    }

    pub async fn list_members(&self, who: &Principal, team: &TeamName) -> Result<Vec<Member>, OperationError> {
        self.get_team(who, team).await?;
        Ok(self.store.list_members(team).await?)
    }

    /// Makes somebody on GitHub a member, or gives them another role. For the team's maintainers.
    pub async fn set_member(
        &self,
        who: &Principal,
        team: &TeamName,
        login: &str,
        role: Role,
    ) -> Result<Member, OperationError> {
        let act = Act::new("team.member.set", format!("{team}/{login}"));
        let act = act.team(team).detail(json!({ "role": role }));
        self.audited(who, act, async {
            self.get_team(who, team).await?;
            who.check(Role::Maintainer, Some(team), "changing members")?;
            // By number, not by login: logins change hands.
            let account = self.ask(Port::Forge, PATIENCE, self.forge.find_account(login)).await?;
            let account = account.ok_or_else(|| no_account(login))?;
            if !self.store.set_member(team, &account, role).await? {
                return Err(no_team(team));
            }
            Ok(Member { account, role })
        })
        .await
    }

    /// For the team's maintainers. Somebody who is no member is `NotFound`.
    pub async fn remove_member(&self, who: &Principal, team: &TeamName, login: &str) -> Result<(), OperationError> {
        self.audited(who, Act::new("team.member.remove", format!("{team}/{login}")).team(team), async {
            self.get_team(who, team).await?;
            who.check(Role::Maintainer, Some(team), "changing members")?;
            if !self.store.remove_member(team, login).await? {
                return Err(OperationError::not_found(
                    "member_not_found",
                    format!("{login} is not a member of team {team}"),
                ));
            }
            Ok(())
        })
        .await
    }

    /// Who sees and does everything. For operators.
    pub async fn list_operators(&self, who: &Principal) -> Result<Vec<Person>, OperationError> {
        who.check_operator("listing operators")?;
        Ok(self.store.list_operators().await?)
    }

    /// Makes somebody on GitHub an operator, or no longer one. For operators.
    pub async fn set_operator(&self, who: &Principal, login: &str, operator: bool) -> Result<Person, OperationError> {
        let action = if operator { "operator.add" } else { "operator.remove" };
        self.audited(who, Act::new(action, login), async {
            who.check_operator("changing operators")?;
            let account = self.ask(Port::Forge, PATIENCE, self.forge.find_account(login)).await?;
            let account = account.ok_or_else(|| no_account(login))?;
            let person = self.store.ensure_person(&account, false).await?;
            self.store.set_operator(account.id, operator).await?;
            Ok(Person { operator, ..person })
        })
        .await
    }
}

fn no_account(login: &str) -> OperationError {
    OperationError::not_found("login_not_found", format!("nobody on GitHub has the login {login:?}"))
}

pub(crate) fn no_team(name: &TeamName) -> OperationError {
    OperationError::not_found("team_not_found", format!("there is no team {name}, or you are not in it"))
}
