//! The port: each operation is one or two requests.

use std::borrow::Cow;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use seatrial_preview::ports::{CommitStatus, DeploymentStatus, Forge, NewDeployment};
use seatrial_preview::pull_request::PullRequest;
use seatrial_preview::{CommentId, DeploymentId, Error, HeadSha, PullRequestRef, RepositoryName, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::STATUS_CONTEXT;
use crate::access::{Access, Auth};
use crate::client::{Answer, Call, Client, JSON, RateLimit};
use crate::failure::{Doing, bounded};
use crate::pull_request::PullRequestJson;

const FILE_LIMIT: usize = 1024 * 1024;
const SOURCE_LIMIT: usize = 64 * 1024 * 1024;
/// GitHub's limit for descriptions.
const DESCRIPTION_LIMIT: usize = 140;
/// States of a deployment after which it is not there any more, or never was.
const ENDED: [&str; 3] = ["inactive", "failure", "error"];
const PAGE: usize = 100;
const MOST_PAGES: usize = 300;

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
        self.client.send(&Call { repository, doing, method: Method::GET, path, accept: JSON, body: None }).await
    }

    async fn write(
        &self,
        repository: &RepositoryName,
        doing: Doing<'_>,
        method: Method,
        path: String,
        body: Value,
    ) -> Result<Answer> {
        self.client.send(&Call { repository, doing, method, path, accept: JSON, body: Some(body) }).await
    }
}

#[derive(Deserialize)]
struct Identified {
    id: u64,
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

#[async_trait]
impl Forge for GithubForge {
    async fn load_pull_request(&self, at: &PullRequestRef) -> Result<PullRequest> {
        let what = format!("read pull request {at}");
        let doing = Doing { what: &what, permission: "Pull requests: read" };
        let path = format!("/repos/{}/pulls/{}", at.repository, at.number);
        self.get(&at.repository, doing, path).await?.json::<PullRequestJson>(doing)?.try_into()
    }

    async fn find_file(&self, repository: &RepositoryName, git_ref: &str, path: &str) -> Result<Option<String>> {
        let what = format!("read {path} of {repository} at {git_ref}");
        let doing = Doing { what: &what, permission: "Contents: read" };
        let call = Call {
            repository,
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
                let what = format!("read {repository}");
                let doing = Doing { what: &what, permission: "Contents: read" };
                self.get(repository, doing, format!("/repos/{repository}")).await?;
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
            repository,
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
        let answer = self.write(&at.repository, doing, Method::POST, path, json!({ "body": body })).await?;
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
        let call = Call { repository, doing, method: Method::DELETE, path, accept: JSON, body: None };
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
        let answer =
            self.write(repository, doing, Method::POST, format!("/repos/{repository}/deployments"), body).await?;
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
