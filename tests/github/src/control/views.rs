//! The state as the control API shows it.

use crate::checks::CheckRun;
use crate::comments::Comment;
use crate::control::types::{
    CheckView, CommentView, DeliveryView, DeploymentView, Edit, PullView, RepositoryView, StatusView, UserView,
};
use crate::deployments::Deployment;
use crate::hooks::Delivery;
use crate::pulls::Pull;
use crate::state::{Repository, State};
use crate::statuses::Status;
use crate::users::User;

pub(crate) fn repository(one: &Repository) -> RepositoryView {
    RepositoryView {
        id: one.id,
        owner: one.owner.clone(),
        name: one.name.clone(),
        private: one.private,
        default_branch: one.default_branch.clone(),
        branches: one.branches.clone(),
    }
}

pub(crate) fn pull(state: &State, repository: &Repository, one: &Pull) -> PullView {
    let word = if one.merged.is_some() { "merged" } else { one.state() };
    PullView {
        number: one.number,
        title: one.title.clone(),
        state: word.to_owned(),
        draft: one.draft,
        author: one.author.clone(),
        head_branch: one.head.branch.clone(),
        head_sha: one.head.sha.clone(),
        base_branch: one.base.branch.clone(),
        labels: one.labels.clone(),
        html_url: state.pull_page(repository, one.number),
    }
}

pub(crate) fn comment(one: &Comment) -> CommentView {
    CommentView {
        id: one.id,
        author: one.author.clone(),
        body: one.body().to_owned(),
        created_at: one.created_at,
        updated_at: one.updated_at,
        deleted_at: one.deleted_at,
        history: one
            .versions
            .iter()
            .map(|version| Edit { at: version.at, by: version.by.clone(), body: version.body.clone() })
            .collect(),
        reactions: one.reactions.iter().map(|reaction| format!("{}: {}", reaction.login, reaction.content)).collect(),
    }
}

pub(crate) fn status(one: &Status) -> StatusView {
    StatusView {
        sha: one.sha.clone(),
        state: one.state.clone(),
        context: one.context.clone(),
        description: one.description.clone(),
        target_url: one.target_url.clone(),
        creator: one.creator.clone(),
    }
}

pub(crate) fn check(one: &CheckRun) -> CheckView {
    CheckView {
        sha: one.sha.clone(),
        name: one.name.clone(),
        status: one.status.clone(),
        conclusion: one.conclusion.clone(),
    }
}

pub(crate) fn deployment(one: &Deployment) -> DeploymentView {
    DeploymentView {
        id: one.id,
        sha: one.sha.clone(),
        reference: one.reference.clone(),
        environment: one.environment.clone(),
        state: one.state().to_owned(),
        environment_url: one
            .statuses
            .iter()
            .rev()
            .map(|status| status.environment_url.clone())
            .find(|url| !url.is_empty()),
        states: one.statuses.iter().map(|status| status.state.clone()).collect(),
        payload: one.payload.clone(),
        transient: one.transient,
    }
}

pub(crate) fn delivery(one: &Delivery) -> DeliveryView {
    DeliveryView {
        id: one.id,
        guid: one.guid.clone(),
        event: one.event.to_owned(),
        action: one.action.clone(),
        repository: one.repository,
        redelivery: one.redelivery,
        at: one.at,
        status_code: one.outcome.as_ref().map(|outcome| outcome.code),
        payload: serde_json::from_str(&one.body).unwrap_or_default(),
    }
}

pub(crate) fn user(one: &User) -> UserView {
    UserView { id: one.id, login: one.login.clone(), kind: one.kind }
}
