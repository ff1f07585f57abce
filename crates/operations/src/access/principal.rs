use std::net::IpAddr;

use seatrial_preview::RepositoryName;
use seatrial_preview::access::{PersonId, Role, Scope, TeamName, TokenId, Visible};
use seatrial_store::access::{Hash, SessionOwner};

use crate::error::OperationError;

/// Who asks, by which way, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    name: String,
    /// Unique, unlike the name.
    id: String,
    rights: Rights,
    /// What a session of theirs rests on; those without it cannot have one.
    owner: Option<SessionOwner>,
    via: Via,
    address: Option<IpAddr>,
}

/// The way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Rest,
    Mcp,
    Page,
    Cli,
    Comment,
}

impl Via {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Mcp => "mcp",
            Self::Page => "page",
            Self::Cli => "cli",
            Self::Comment => "comment",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Everything, up to what the scope of a token allows.
    Operator(Role),
    /// In some teams.
    Member(Vec<(TeamName, Role)>),
    /// Somebody with write access, on a pull request of the repository.
    Contributor(RepositoryName),
}

impl Principal {
    pub(crate) fn bootstrap(hash: Hash) -> Self {
        Self {
            name: "operator".to_owned(),
            id: "bootstrap".to_owned(),
            rights: Rights::Operator(Role::Maintainer),
            owner: Some(SessionOwner::Bootstrap(hash)),
            via: Via::Rest,
            address: None,
        }
    }

    pub(crate) fn token(id: TokenId, name: &str, scope: Scope, team: Option<TeamName>) -> Self {
        let name = match &team {
            Some(team) => format!("token {name} of team {team}"),
            None => format!("token {name}"),
        };
        let rights = match team {
            Some(team) => Rights::Member(vec![(team, scope.role())]),
            None => Rights::Operator(scope.role()),
        };
        let owner = Some(SessionOwner::Token(id));
        Self { name, id: format!("token:{id}"), rights, owner, via: Via::Rest, address: None }
    }

    pub(crate) fn person(id: PersonId, login: &str, operator: bool, teams: Vec<(TeamName, Role)>) -> Self {
        let rights = if operator { Rights::Operator(Role::Maintainer) } else { Rights::Member(teams) };
        let owner = Some(SessionOwner::Person(id));
        let id = format!("person:{}", id.0);
        Self { name: login.to_owned(), id, rights, owner, via: Via::Page, address: None }
    }

    /// Somebody who commented on a pull request; GitHub was asked whether they may write.
    pub(crate) fn of_github(login: &str, repository: &RepositoryName) -> Self {
        Self {
            name: format!("{login} on GitHub"),
            id: format!("github:{login}"),
            rights: Rights::Contributor(repository.clone()),
            owner: None,
            via: Via::Comment,
            address: None,
        }
    }

    /// Somebody at the machine, who has the database in hand anyway.
    pub fn local(user: &str) -> Self {
        Self {
            name: format!("{user} at the command line"),
            id: format!("local:{user}"),
            rights: Rights::Operator(Role::Maintainer),
            owner: None,
            via: Via::Cli,
            address: None,
        }
    }

    #[must_use]
    pub fn coming(mut self, via: Via, address: Option<IpAddr>) -> Self {
        (self.via, self.address) = (via, address);
        self
    }

    /// For logs, the audit log, and the trigger of what was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells callers apart whose names are alike.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn via(&self) -> Via {
        self.via
    }

    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    pub(crate) fn owner(&self) -> Option<&SessionOwner> {
        self.owner.as_ref()
    }

    /// Whose rows they see.
    pub fn visible(&self) -> Visible {
        match &self.rights {
            Rights::Operator(_) => Visible::All,
            Rights::Member(teams) => Visible::Teams(teams.iter().map(|(team, _)| team.clone()).collect()),
            Rights::Contributor(repository) => Visible::Repository(repository.clone()),
        }
    }

    /// The teams they are in, with their roles; an operator is in none and may everything.
    pub fn teams(&self) -> &[(TeamName, Role)] {
        match &self.rights {
            Rights::Member(teams) => teams,
            _ => &[],
        }
    }

    /// What an operator's credentials allow; `None` for others.
    pub fn operator_role(&self) -> Option<Role> {
        match &self.rights {
            Rights::Operator(role) => Some(*role),
            _ => None,
        }
    }

    pub fn is_operator(&self) -> bool {
        self.operator_role() == Some(Role::Maintainer)
    }

    /// That they have this role, or a greater one, where a team owns what is asked for.
    pub(crate) fn check(&self, needed: Role, team: Option<&TeamName>, what: &str) -> Result<(), OperationError> {
        let has = match &self.rights {
            Rights::Operator(role) => Some(*role),
            Rights::Contributor(_) => Some(Role::Developer),
            Rights::Member(teams) => teams.iter().find(|(name, _)| Some(name) == team).map(|(_, role)| *role),
        };
        if has.is_some_and(|has| has >= needed) {
            return Ok(());
        }
        let whom = team.map_or_else(|| "Seatrial".to_owned(), |team| format!("team {team}"));
        let present = has.map_or("none", Role::as_str);
        Err(OperationError::Forbidden(format!(
            "{what} needs the role {} in {whom}, and {} has {present}: ask a maintainer of it or an operator",
            needed.as_str(),
            self.name
        )))
    }

    /// That they are an operator, with credentials for everything.
    pub(crate) fn check_operator(&self, what: &str) -> Result<(), OperationError> {
        if self.is_operator() {
            return Ok(());
        }
        let name = &self.name;
        Err(OperationError::Forbidden(format!("{what} is for operators, and {name} is none: ask one of them")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(name: &str) -> TeamName {
        name.parse().unwrap()
    }

    #[test]
    fn a_token_can_do_what_its_scope_says_in_its_team() {
        let token = |scope, of: Option<&str>| Principal::token(TokenId(uuid::Uuid::nil()), "ci", scope, of.map(team));
        let deploy = token(Scope::Deploy, Some("payments"));
        assert!(deploy.check(Role::Developer, Some(&team("payments")), "deploying").is_ok());
        assert!(deploy.check(Role::Maintainer, Some(&team("payments")), "changing").is_err());
        assert!(deploy.check(Role::Viewer, Some(&team("search")), "looking").is_err());
        assert!(deploy.check(Role::Viewer, None, "looking").is_err(), "what belongs to no team is the operators'");
        assert!(token(Scope::Admin, Some("payments")).check_operator("making a team").is_err());

        let reads = token(Scope::Read, None);
        assert_eq!(reads.visible(), Visible::All);
        assert!(reads.check(Role::Viewer, Some(&team("search")), "looking").is_ok());
        assert!(reads.check(Role::Developer, Some(&team("search")), "deploying").is_err());
        assert!(reads.check_operator("making a team").is_err());
        assert!(token(Scope::Admin, None).check_operator("making a team").is_ok());
    }

    #[test]
    fn a_contributor_sees_one_repository() {
        let repository: RepositoryName = "acme/shop".parse().unwrap();
        let ada = Principal::of_github("ada", &repository);
        assert_eq!(ada.visible(), Visible::Repository(repository));
        assert!(ada.check(Role::Developer, Some(&team("payments")), "deploying").is_ok());
        assert!(ada.check(Role::Maintainer, Some(&team("payments")), "changing").is_err());
        assert!(ada.check_operator("making a team").is_err());
    }

    #[test]
    fn a_refusal_says_what_is_needed_and_of_whom() {
        let ada = Principal::person(PersonId(7), "ada", false, vec![(team("payments"), Role::Viewer)]);
        let refused = ada.check(Role::Developer, Some(&team("payments")), "deploying acme/shop#7").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "deploying acme/shop#7 needs the role developer in team payments, and ada has viewer: ask a maintainer of it or an operator"
        );
    }
}
