//! The port: each operation is one or two requests.

use std::borrow::Cow;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use seatrial_preview::access::{Account, PersonId};
use seatrial_preview::ports::{Check, CommitStatus, DeploymentStatus, Forge, NewDeployment, Reaction};
use seatrial_preview::pull_request::PullRequest;
use seatrial_preview::{CommentId, DeploymentId, Error, ErrorKind, HeadSha, PullRequestRef, RepositoryName, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::STATUS_CONTEXT;
use crate::access::{Access, Auth};
use crate::checks::{CheckRuns, Statuses, newest};
use crate::client::{Answer, Call, Client, JSON, On};
use crate::failure::{Doing, bounded};
use crate::limits::RateLimit;
use crate::pull_request::PullRequestJson;

const FILE_LIMIT: usize = 1024 * 1024;
const SOURCE_LIMIT: usize = 64 * 1024 * 1024;
/// GitHub's limit for descriptions.
const DESCRIPTION_LIMIT: usize = 140;
/// States of a deployment after which it is not there any more, or never was.
const ENDED: [&str; 3] = ["inactive", "failure", "error"];
/// GitHub's lists are up to date after a second or two.
const SETTLING: Duration = Duration::from_secs(3);
const PAGE: usize = 100;
const MOST_PAGES: usize = 300;
/// Each is asked for its pull requests every few minutes.
const MOST_REPOSITORIES: usize = 1000;
/// GitHub lists no more.
const MOST_FILES: usize = 3000;

/// How to reach GitHub.
#[derive(Debug, Clone)]
pub struct GithubConfig {
    /// `https://api.github.com`, or `https://HOST/api/v3` of a GitHub Enterprise Server.
    pub api_url: Url,
    pub auth: Auth,
}

/// GitHub by its REST API.
pub struct GithubForge {
    client: Client,
}

impl GithubForge {
    /// Makes the client; nothing is asked of GitHub yet. `Invalid` when the credentials cannot be
    /// used at all. Must be called within a tokio runtime, after a rustls provider was installed.
    pub fn new(config: GithubConfig) -> Result<Self> {
        let access = Access::new(&config.api_url, config.auth)?;
        Ok(Self { client: Client::new(config.api_url, access) })
    }

    /// Asks GitHub, once, whose the credentials are: the login under which comments appear.
    pub async fn load_login(&self) -> Result<&str> {
        self.client.login().await
    }

    /// What GitHub last said about our use of its API; `None` before the first answer.
    pub fn rate_limit(&self) -> Option<RateLimit> {
        self.client.rate_limit()
    }

    async fn get(&self, repository: &RepositoryName, doing: Doing<'_>, path: String) -> Result<Answer> {
        self.client.send(&Call::get(On::Repository(repository), doing, path)).await
    }

    /// `NotFound` when the repository is not there, or may not be seen: GitHub answers 404 for
    /// both, and for anything below it.
    async fn ensure_visible(&self, repository: &RepositoryName, permission: &str) -> Result<()> {
        let what = format!("read {repository}");
        self.get(repository, Doing { what: &what, permission }, format!("/repos/{repository}")).await?;
        Ok(())
    }

    /// All pages of a list, which `list` takes out of each. `Invalid`, with the advice, when there
    /// is more than `most`.
    async fn list<T, P>(
        &self,
        on: On<'_>,
        doing: Doing<'_>,
        path: &str,
        list: impl Fn(P) -> Vec<T> + Send + Sync,
        (most, advice): (usize, &str),
    ) -> Result<Vec<T>>
    where
        T: Send,
        P: DeserializeOwned + Send,
    {
        let and = if path.contains('?') { '&' } else { '?' };
        let mut found = Vec::new();
        for page in 1.. {
            let path = format!("{path}{and}per_page={PAGE}&page={page}");
            let page = list(self.client.send(&Call::get(on, doing, path)).await?.json::<P>(doing)?);
            let last = page.len() < PAGE;
            found.extend(page);
            if found.len() > most {
                return Err(Error::invalid(format!("there are more than {most} to {}; {advice}", doing.what)));
            }
            if last {
                break;
            }
        }
        Ok(found)
    }

    /// What each installation of the App was given; those that are suspended give nothing.
    /// Where the App is installed and works.
    async fn installations(&self) -> Result<Vec<Installation>> {
        let doing = Doing { what: "list the App's installations", permission: "Metadata: read" };
        let advice = "limit the App to fewer accounts";
        let mut installations: Vec<Installation> =
            self.list(On::Account, doing, "/app/installations", |page| page, (MOST_REPOSITORIES, advice)).await?;
        installations.retain(|one| one.suspended_at.is_none());
        Ok(installations)
    }

    async fn list_of_app(&self) -> Result<Vec<RepositoryName>> {
        #[derive(Deserialize)]
        struct Given {
            repositories: Vec<RepositoryJson>,
        }
        let mut found = Vec::new();
        for installation in self.installations().await? {
            let what = format!("list the repositories of the App's installation {}", installation.id);
            let doing = Doing { what: &what, permission: "Metadata: read" };
            let given: Vec<RepositoryJson> = self
                .list(
                    On::Installation(installation.id),
                    doing,
                    "/installation/repositories",
                    |page: Given| page.repositories,
                    (MOST_REPOSITORIES, "limit the App's installation to the repositories that are to have previews"),
                )
                .await?;
            found.extend(given.into_iter().map(|repository| repository.full_name));
        }
        Ok(found)
    }

    /// What the token may push to: on all else it could not report.
    async fn list_of_token(&self) -> Result<Vec<RepositoryName>> {
        let doing = Doing { what: "list the repositories of the token", permission: "Metadata: read" };
        let advice = "use a GitHub App, or a token that is limited to the repositories that are to have previews";
        let found: Vec<RepositoryJson> =
            self.list(On::Account, doing, "/user/repos", |page| page, (MOST_REPOSITORIES, advice)).await?;
        let ours = found.into_iter().filter(|repository| repository.permissions.push);
        Ok(ours.map(|repository| repository.full_name).collect())
    }

    async fn write(
        &self,
        repository: &RepositoryName,
        doing: Doing<'_>,
        method: Method,
        path: String,
        body: Value,
    ) -> Result<Answer> {
        self.client
            .send(&Call { on: On::Repository(repository), doing, method, path, accept: JSON, body: Some(body) })
            .await
    }
}

#[derive(Deserialize)]
struct Identified {
    id: u64,
}

#[derive(Deserialize)]
struct RepositoryJson {
    full_name: RepositoryName,
    /// Only told to people, not to Apps.
    #[serde(default)]
    permissions: Permissions,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Permissions {
    push: bool,
}

#[derive(Deserialize)]
struct Changed {
    filename: String,
    #[serde(default)]
    previous_filename: Option<String>,
}

#[derive(Deserialize)]
struct Role {
    /// `admin`, `write`, `read` or `none`; finer roles are rounded down to these.
    permission: String,
}

#[derive(Deserialize)]
struct Stated {
    state: String,
}

#[derive(Deserialize)]
struct Comment {
    id: u64,
    body: Option<String>,
    user: Option<Author>,
}

#[derive(Deserialize)]
struct Author {
    login: String,
}

#[derive(Deserialize)]
struct Installation {
    id: u64,
    #[serde(default)]
    suspended_at: Option<String>,
}

/// Whether somebody could have this login. Logins end up in URLs.
fn may_be_login(login: &str) -> bool {
    let possible = |byte: u8| byte.is_ascii_alphanumeric() || b"-_[]".contains(&byte);
    (1..=100).contains(&login.len()) && login.bytes().all(possible)
}

#[async_trait]
impl Forge for GithubForge {
    async fn load_pull_request(&self, at: &PullRequestRef) -> Result<PullRequest> {
        let what = format!("read pull request {at}");
        let doing = Doing { what: &what, permission: "Pull requests: read" };
        let path = format!("/repos/{}/pulls/{}", at.repository, at.number);
        self.get(&at.repository, doing, path).await?.json::<PullRequestJson>(doing)?.try_into()
    }

    async fn list_repositories(&self) -> Result<Vec<RepositoryName>> {
        let mut found = if self.client.is_app() { self.list_of_app().await? } else { self.list_of_token().await? };
        found.sort();
        // Pages shift while repositories come and go.
        found.dedup();
        Ok(found)
    }

    async fn list_open_pull_requests(&self, repository: &RepositoryName) -> Result<Vec<PullRequest>> {
        let what = format!("list the open pull requests of {repository}");
        let doing = Doing { what: &what, permission: "Pull requests: read" };
        let path = format!("/repos/{repository}/pulls?state=open&sort=created&direction=asc");
        let most = (MOST_PAGES * PAGE, "close some");
        let open: Vec<PullRequestJson> = self.list(On::Repository(repository), doing, &path, |page| page, most).await?;
        let mut open = open.into_iter().map(PullRequest::try_from).collect::<Result<Vec<_>>>()?;
        open.dedup_by_key(|pull| pull.at.number);
        Ok(open)
    }

    async fn list_changed_files(&self, at: &PullRequestRef) -> Result<Vec<String>> {
        let what = format!("list the files that {at} changes");
        let doing = Doing { what: &what, permission: "Pull requests: read" };
        let path = format!("/repos/{}/pulls/{}/files", at.repository, at.number);
        let most = (MOST_FILES, "filter by something else than paths");
        let changed: Vec<Changed> = self.list(On::Repository(&at.repository), doing, &path, |page| page, most).await?;
        Ok(changed.into_iter().flat_map(|file| [Some(file.filename), file.previous_filename]).flatten().collect())
    }

    async fn find_check(&self, repository: &RepositoryName, sha: &HeadSha, name: &str) -> Result<Option<Check>> {
        let on = On::Repository(repository);
        let what = format!("list the check runs {} of {repository} at {}", bounded(name, 100), sha.short());
        let doing = Doing { what: &what, permission: "Checks: read" };
        let query = Serializer::new(String::new()).append_pair("check_name", name).finish();
        let path = format!("/repos/{repository}/commits/{sha}/check-runs?{query}");
        let most = (MOST_PAGES * PAGE, "give the check a name of its own");
        let runs = self.list(on, doing, &path, |page: CheckRuns| page.check_runs, most).await;
        let what = format!("list the statuses of {repository} at {}", sha.short());
        let doing = Doing { what: &what, permission: "Commit statuses: read" };
        let path = format!("/repos/{repository}/commits/{sha}/status");
        match runs {
            Ok(runs) => {
                let statuses = self.list(on, doing, &path, |page: Statuses| page.statuses, most).await?;
                Ok(newest(name, runs, statuses))
            }
            // Fine-grained tokens cannot read check runs, but statuses.
            Err(error) if error.kind == ErrorKind::Forbidden => {
                let statuses = self.list(on, doing, &path, |page: Statuses| page.statuses, most).await?;
                newest(name, Vec::new(), statuses).map(Some).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn can_write(&self, repository: &RepositoryName, login: &str) -> Result<bool> {
        if !may_be_login(login) {
            return Ok(false);
        }
        let what = format!("ask what {login} may do in {repository}");
        let doing = Doing { what: &what, permission: "Metadata: read" };
        let path = format!("/repos/{repository}/collaborators/{}/permission", percent_encode(login));
        match self.get(repository, doing, path).await {
            Ok(answer) => Ok(matches!(answer.json::<Role>(doing)?.permission.as_str(), "admin" | "write")),
            Err(error) if error.is_not_found() => {
                // Nobody has that login, unless it is the repository that is not there.
                self.ensure_visible(repository, "Metadata: read").await?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn find_account(&self, login: &str) -> Result<Option<Account>> {
        #[derive(Deserialize)]
        struct User {
            id: u64,
            login: String,
        }
        if !may_be_login(login) {
            return Ok(None);
        }
        // An App's own key opens nothing but the App's pages.
        let on = match self.client.is_app() {
            true => self.installations().await?.first().map_or(On::Account, |one| On::Installation(one.id)),
            false => On::Account,
        };
        let what = format!("look for the account {login}");
        let doing = Doing { what: &what, permission: "Metadata: read" };
        match self.client.send(&Call::get(on, doing, format!("/users/{}", percent_encode(login)))).await {
            Ok(answer) => {
                let User { id, login } = answer.json(doing)?;
                Ok(Some(Account { id: PersonId(id), login }))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn react(&self, repository: &RepositoryName, comment: CommentId, reaction: Reaction) -> Result<()> {
        let what = format!("react to comment {} of {repository}", comment.0);
        let doing = Doing { what: &what, permission: "Pull requests: write" };
        let content = match reaction {
            Reaction::ThumbsUp => "+1",
            Reaction::Confused => "confused",
        };
        let path = format!("/repos/{repository}/issues/comments/{}/reactions", comment.0);
        self.write(repository, doing, Method::POST, path, json!({ "content": content })).await?;
        Ok(())
    }

    async fn find_file(&self, repository: &RepositoryName, git_ref: &str, path: &str) -> Result<Option<String>> {
        let what = format!("read {path} of {repository} at {git_ref}");
        let doing = Doing { what: &what, permission: "Contents: read" };
        let call = Call {
            on: On::Repository(repository),
            doing,
            method: Method::GET,
            path: format!(
                "/repos/{repository}/contents/{}?{}",
                encoded_path(path)?,
                Serializer::new(String::new()).append_pair("ref", git_ref).finish()
            ),
            accept: "application/vnd.github.raw+json",
            body: None,
        };
        let answer = match self.client.download(&call, FILE_LIMIT).await {
            Ok(answer) => answer,
            Err(error) if error.is_not_found() && !error.message.contains("No commit found for the ref") => {
                // GitHub says 404 for repositories one may not see, too.
                self.ensure_visible(repository, "Contents: read").await?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let listing = answer
            .headers
            .get(http::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/json"));
        if listing {
            return Err(Error::invalid(format!("{path} of {repository} at {git_ref} is a folder; a file is expected")));
        }
        match String::from_utf8(answer.body.into()) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Error::invalid(format!("{path} of {repository} at {git_ref} is not text in UTF-8"))),
        }
    }

    async fn download_source(&self, repository: &RepositoryName, sha: &HeadSha) -> Result<Bytes> {
        let what = format!("download {repository} at {}", sha.short());
        let call = Call {
            on: On::Repository(repository),
            doing: Doing { what: &what, permission: "Contents: read" },
            method: Method::GET,
            path: format!("/repos/{repository}/tarball/{sha}"),
            accept: JSON,
            body: None,
        };
        Ok(self.client.download(&call, SOURCE_LIMIT).await?.body)
    }

    async fn find_comments(&self, at: &PullRequestRef, marker: &str) -> Result<Vec<CommentId>> {
        let what = format!("list the comments of {at}");
        let doing = Doing { what: &what, permission: "Pull requests: read" };
        let ours = self.client.login().await?;
        let mut found = Vec::new();
        for page in 1..=MOST_PAGES {
            let path = format!("/repos/{}/issues/{}/comments?per_page={PAGE}&page={page}", at.repository, at.number);
            let comments: Vec<Comment> = self.get(&at.repository, doing, path).await?.json(doing)?;
            let with_marker = comments.iter().filter(|comment| {
                comment.user.as_ref().is_some_and(|user| user.login.eq_ignore_ascii_case(ours))
                    && comment.body.as_ref().is_some_and(|body| body.contains(marker))
            });
            found.extend(with_marker.map(|comment| CommentId(comment.id)));
            if comments.len() < PAGE {
                return Ok(found);
            }
        }
        Err(Error::invalid(format!("{at} has more than {} comments; they are not searched", MOST_PAGES * PAGE)))
    }

    async fn create_comment(&self, at: &PullRequestRef, body: &str) -> Result<CommentId> {
        let what = format!("comment on {at}");
        let doing = Doing { what: &what, permission: "Pull requests: write" };
        let path = format!("/repos/{}/issues/{}/comments", at.repository, at.number);
        let answer = self
            .write(&at.repository, doing, Method::POST, path, json!({ "body": body }))
            .await
            .map_err(perhaps_made)?;
        Ok(CommentId(answer.json::<Identified>(doing)?.id))
    }

    async fn update_comment(&self, repository: &RepositoryName, comment: CommentId, body: &str) -> Result<()> {
        let what = format!("edit comment {} of {repository}", comment.0);
        let doing = Doing { what: &what, permission: "Pull requests: write" };
        let path = format!("/repos/{repository}/issues/comments/{}", comment.0);
        self.write(repository, doing, Method::PATCH, path, json!({ "body": body })).await?;
        Ok(())
    }

    async fn delete_comment(&self, repository: &RepositoryName, comment: CommentId) -> Result<()> {
        let what = format!("delete comment {} of {repository}", comment.0);
        let doing = Doing { what: &what, permission: "Pull requests: write" };
        let path = format!("/repos/{repository}/issues/comments/{}", comment.0);
        let call =
            Call { on: On::Repository(repository), doing, method: Method::DELETE, path, accept: JSON, body: None };
        match self.client.send(&call).await {
            Err(e) if e.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    async fn ensure_deployment(&self, deployment: &NewDeployment) -> Result<DeploymentId> {
        let NewDeployment { repository, sha, environment, description } = deployment;
        let what = format!("record a deployment of {repository} at {} to {environment}", sha.short());
        let doing = Doing { what: &what, permission: "Deployments: write" };
        let query = Serializer::new(String::new())
            .append_pair("sha", sha.as_str())
            .append_pair("environment", environment)
            .append_pair("per_page", "1")
            .finish();
        let existing: Vec<Identified> =
            self.get(repository, doing, format!("/repos/{repository}/deployments?{query}")).await?.json(doing)?;
        if let Some(existing) = existing.first() {
            return Ok(DeploymentId(existing.id));
        }
        let body = json!({
            "ref": sha.as_str(),
            "environment": environment,
            "description": bounded(description, DESCRIPTION_LIMIT),
            "auto_merge": false,
            "required_contexts": [],
            // GitHub ends a preview's earlier deployments by itself when a later one succeeds, but
            // spares those that say that their environment will go away.
            "transient_environment": false,
            "production_environment": false,
        });
        let path = format!("/repos/{repository}/deployments");
        let answer = self.write(repository, doing, Method::POST, path, body).await.map_err(perhaps_made)?;
        Ok(DeploymentId(answer.json::<Identified>(doing)?.id))
    }

    async fn set_deployment_status(
        &self,
        repository: &RepositoryName,
        deployment: DeploymentId,
        status: &DeploymentStatus,
    ) -> Result<()> {
        let what = format!("set the status of deployment {} of {repository}", deployment.0);
        let doing = Doing { what: &what, permission: "Deployments: write" };
        let mut body = json!({ "state": status.state, "description": bounded(&status.description, DESCRIPTION_LIMIT) });
        set(&mut body, "environment_url", &status.environment_url);
        set(&mut body, "log_url", &status.log_url);
        let path = format!("/repos/{repository}/deployments/{}/statuses", deployment.0);
        self.write(repository, doing, Method::POST, path, body).await?;
        Ok(())
    }

    async fn end_deployments(
        &self,
        repository: &RepositoryName,
        environment: &str,
        status: &DeploymentStatus,
    ) -> Result<()> {
        let what = format!("list the deployments of {repository} to {environment}");
        let doing = Doing { what: &what, permission: "Deployments: read" };
        let query = Serializer::new(String::new()).append_pair("environment", environment).finish();
        for page in 1..=MOST_PAGES {
            let path = format!("/repos/{repository}/deployments?{query}&per_page={PAGE}&page={page}");
            let found: Vec<Identified> = self.get(repository, doing, path).await?.json(doing)?;
            for Identified { id } in &found {
                let path = format!("/repos/{repository}/deployments/{id}/statuses?per_page=1");
                let newest: Vec<Stated> = self.get(repository, doing, path).await?.json(doing)?;
                let ended = newest.first().is_some_and(|newest| ENDED.contains(&newest.state.as_str()));
                if !ended {
                    self.set_deployment_status(repository, DeploymentId(*id), status).await?;
                }
            }
            if found.len() < PAGE {
                break;
            }
        }
        Ok(())
    }

    async fn set_commit_status(&self, repository: &RepositoryName, sha: &HeadSha, status: &CommitStatus) -> Result<()> {
        let what = format!("set the status of commit {} of {repository}", sha.short());
        let doing = Doing { what: &what, permission: "Commit statuses: write" };
        let mut body = json!({
            "state": status.state,
            "description": bounded(&status.description, DESCRIPTION_LIMIT),
            "context": STATUS_CONTEXT,
        });
        set(&mut body, "target_url", &status.target_url);
        self.write(repository, doing, Method::POST, format!("/repos/{repository}/statuses/{sha}"), body).await?;
        Ok(())
    }
}

/// What was to be made may have been, though the answer was lost. Whoever repeats looks for it
/// first, and GitHub's lists may show it a moment later.
fn perhaps_made(error: Error) -> Error {
    if error.is_transient() && error.retry_after.is_none() { error.retry_after(SETTLING) } else { error }
}

/// GitHub refuses `null` where it expects a URL.
fn set(body: &mut Value, name: &str, url: &Option<String>) {
    if let Some(url) = url {
        body[name] = Value::from(url.as_str());
    }
}

/// A repository's path as part of a URL: it cannot leave `/contents/`.
fn encoded_path(path: &str) -> Result<String> {
    let parts: Vec<Cow<'_, str>> = path
        .split('/')
        .map(|part| match part {
            "" | "." | ".." => Err(Error::invalid(format!("{path:?} is not the path of a file in a repository"))),
            part => Ok(percent_encode(part)),
        })
        .collect::<Result<_>>()?;
    Ok(parts.join("/"))
}

fn percent_encode(part: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    if part.bytes().all(plain) {
        return Cow::Borrowed(part);
    }
    let encode = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    Cow::Owned(part.bytes().map(encode).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_contents() {
        assert_eq!(encoded_path(".seatrial.yaml").unwrap(), ".seatrial.yaml");
        assert_eq!(encoded_path("a b/c?d#e%2e.yaml").unwrap(), "a%20b/c%3Fd%23e%252e.yaml");
        assert_eq!(encoded_path("ü.yaml").unwrap(), "%C3%BC.yaml");
        for path in ["", "/etc/passwd", "a/../../b", "./a", "a//b", "a/"] {
            assert!(encoded_path(path).is_err(), "{path}");
        }
    }
}
