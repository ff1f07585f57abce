//! The control API from Rust.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::auth::Permission;
use crate::control::types::{
    Author, CheckView, CommentView, DeliveryView, DeploymentView, Fault, Files, HookChange, Made, NewCommit,
    NewPackage, NewPull, NewRepository, PullView, RepositoryView, RequestView, Seed, StatusView, TokenSpec, UserView,
};

/// Drives a stand-in, in this process or another.
#[derive(Clone, Debug)]
pub struct Control {
    base: String,
    http: reqwest::Client,
}

impl Control {
    /// For the stand-in at this address, such as `http://127.0.0.1:4010`.
    pub fn new(base: &str) -> anyhow::Result<Self> {
        Ok(Self { base: base.trim_end_matches('/').to_owned(), http: crate::server::http_client()? })
    }

    async fn call<T: DeserializeOwned>(&self, method: &str, path: &str, body: Option<Value>) -> anyhow::Result<T> {
        let url = format!("{}/_control/{path}", self.base);
        let mut request = self.http.request(method.parse()?, &url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.with_context(|| url.clone())?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{method} {url} was answered with {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("{method} {url}: {text}"))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.call("GET", path, None).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: impl Serialize) -> anyhow::Result<T> {
        self.call("POST", path, Some(serde_json::to_value(body)?)).await
    }

    async fn put(&self, path: &str, body: impl Serialize) -> anyhow::Result<()> {
        let body = serde_json::to_value(body)?;
        self.call::<Value>("PUT", path, Some(body)).await.map(drop)
    }

    async fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.call::<Value>("DELETE", path, None).await.map(drop)
    }

    /// Adds tokens, repositories and pull requests.
    pub async fn seed(&self, seed: &Seed) -> anyhow::Result<()> {
        self.post::<Value>("seed", seed).await.map(drop)
    }

    /// Makes a repository.
    pub async fn create_repository(&self, new: &NewRepository) -> anyhow::Result<RepositoryView> {
        self.post("repositories", new).await
    }

    /// Makes a public repository `owner/name` with these files on `main`.
    pub async fn repository(&self, name: &str, files: Files) -> anyhow::Result<RepositoryView> {
        let (owner, name) = name.split_once('/').context("a name is owner/name")?;
        self.create_repository(&NewRepository {
            owner: owner.to_owned(),
            name: name.to_owned(),
            files,
            ..NewRepository::default()
        })
        .await
    }

    /// All repositories.
    pub async fn repositories(&self) -> anyhow::Result<Vec<RepositoryView>> {
        self.get("repositories").await
    }

    /// Removes `owner/name`.
    pub async fn remove_repository(&self, name: &str) -> anyhow::Result<()> {
        self.delete(&format!("repositories/{name}")).await
    }

    /// Gives a repository another name; the owner stays.
    pub async fn rename(&self, name: &str, to: &str) -> anyhow::Result<RepositoryView> {
        self.post(&format!("repositories/{name}/rename"), json!({ "name": to })).await
    }

    /// Gives a repository to another account; the name stays.
    pub async fn transfer(&self, name: &str, owner: &str) -> anyhow::Result<RepositoryView> {
        self.post(&format!("repositories/{name}/transfer"), json!({ "owner": owner })).await
    }

    /// Copies a repository to another owner, under the same name.
    pub async fn fork(&self, name: &str, owner: &str) -> anyhow::Result<RepositoryView> {
        self.post(&format!("repositories/{name}/fork"), json!({ "owner": owner })).await
    }

    /// Commits to a branch; answers the new hash.
    pub async fn commit(&self, name: &str, new: &NewCommit) -> anyhow::Result<String> {
        let made: Made = self.post(&format!("repositories/{name}/commits"), new).await?;
        Ok(made.sha)
    }

    /// Makes or moves a branch; answers its commit.
    pub async fn branch(&self, name: &str, branch: &str, from: &str) -> anyhow::Result<String> {
        let body = json!({ "name": branch, "from": from });
        let made: Made = self.post(&format!("repositories/{name}/branches"), body).await?;
        Ok(made.sha)
    }

    /// Removes a branch; pull requests from it close.
    pub async fn delete_branch(&self, name: &str, branch: &str) -> anyhow::Result<()> {
        let branch = crate::text::encode(branch);
        self.delete(&format!("repositories/{name}/branches/{branch}")).await
    }

    /// Sets what someone may do.
    pub async fn set_permission(&self, name: &str, login: &str, permission: Permission) -> anyhow::Result<()> {
        let login = crate::text::encode(login);
        let path = format!("repositories/{name}/collaborators/{login}");
        self.put(&path, json!({ "permission": permission })).await
    }

    /// Opens a pull request.
    pub async fn open_pull(&self, name: &str, new: &NewPull) -> anyhow::Result<PullView> {
        self.post(&format!("repositories/{name}/pulls"), new).await
    }

    /// All pull requests of a repository.
    pub async fn pulls(&self, name: &str) -> anyhow::Result<Vec<PullView>> {
        self.get(&format!("repositories/{name}/pulls")).await
    }

    /// One pull request.
    pub async fn pull(&self, name: &str, number: u64) -> anyhow::Result<PullView> {
        self.get(&format!("repositories/{name}/pulls/{number}")).await
    }

    /// Commits to a pull request's branch; answers the new head.
    pub async fn push(&self, name: &str, number: u64, new: &NewCommit) -> anyhow::Result<String> {
        let path = format!("repositories/{name}/pulls/{number}/push");
        let made: Made = self.post(&path, new).await?;
        Ok(made.sha)
    }

    async fn act(&self, name: &str, number: u64, action: &str, body: Value) -> anyhow::Result<PullView> {
        self.post(&format!("repositories/{name}/pulls/{number}/{action}"), body).await
    }

    /// Closes without merging.
    pub async fn close(&self, name: &str, number: u64) -> anyhow::Result<PullView> {
        self.act(name, number, "close", json!({})).await
    }

    /// Opens again.
    pub async fn reopen(&self, name: &str, number: u64) -> anyhow::Result<PullView> {
        self.act(name, number, "reopen", json!({})).await
    }

    /// Merges.
    pub async fn merge(&self, name: &str, number: u64) -> anyhow::Result<PullView> {
        self.act(name, number, "merge", json!({})).await
    }

    /// Says it is ready for review.
    pub async fn ready(&self, name: &str, number: u64) -> anyhow::Result<PullView> {
        self.act(name, number, "ready", json!({})).await
    }

    /// Makes a draft of it.
    pub async fn draft(&self, name: &str, number: u64) -> anyhow::Result<PullView> {
        self.act(name, number, "draft", json!({})).await
    }

    /// Puts labels on it.
    pub async fn label(&self, name: &str, number: u64, labels: &[&str]) -> anyhow::Result<PullView> {
        self.act(name, number, "label", json!({ "labels": labels })).await
    }

    /// Takes labels off it.
    pub async fn unlabel(&self, name: &str, number: u64, labels: &[&str]) -> anyhow::Result<PullView> {
        self.act(name, number, "unlabel", json!({ "labels": labels })).await
    }

    /// Gives it another title.
    pub async fn retitle(&self, name: &str, number: u64, title: &str) -> anyhow::Result<PullView> {
        self.act(name, number, "edit", json!({ "title": title })).await
    }

    /// Sends it to another base branch.
    pub async fn retarget(&self, name: &str, number: u64, base: &str) -> anyhow::Result<PullView> {
        self.act(name, number, "edit", json!({ "base": base })).await
    }

    /// Comments as someone.
    pub async fn comment(&self, name: &str, number: u64, by: &Author, body: &str) -> anyhow::Result<CommentView> {
        let path = format!("repositories/{name}/pulls/{number}/comments");
        self.post(&path, json!({ "by": by, "body": body })).await
    }

    /// Comments as a person with this login.
    pub async fn comment_as(&self, name: &str, number: u64, login: &str, body: &str) -> anyhow::Result<CommentView> {
        self.comment(name, number, &Author::user(login), body).await
    }

    /// Comments with their history, deleted ones included.
    pub async fn comments(&self, name: &str, number: u64) -> anyhow::Result<Vec<CommentView>> {
        self.get(&format!("repositories/{name}/pulls/{number}/comments")).await
    }

    /// Sets a commit status.
    pub async fn set_status(&self, name: &str, status: &StatusView) -> anyhow::Result<()> {
        self.post::<Value>(&format!("repositories/{name}/statuses"), status).await.map(drop)
    }

    /// All statuses ever set, in order.
    pub async fn statuses(&self, name: &str) -> anyhow::Result<Vec<StatusView>> {
        self.get(&format!("repositories/{name}/statuses")).await
    }

    /// Sets a check run, as CI does.
    pub async fn set_check(&self, name: &str, check: &CheckView) -> anyhow::Result<()> {
        self.post::<Value>(&format!("repositories/{name}/checks"), check).await.map(drop)
    }

    /// Starts a check run on a commit, or ends it with a conclusion, as CI does.
    pub async fn create_check_run(
        &self,
        name: &str,
        sha: &str,
        check: &str,
        conclusion: Option<&str>,
    ) -> anyhow::Result<()> {
        let status = if conclusion.is_some() { "completed" } else { "in_progress" };
        self.set_check(
            name,
            &CheckView {
                sha: sha.to_owned(),
                name: check.to_owned(),
                status: status.to_owned(),
                conclusion: conclusion.map(String::from),
            },
        )
        .await
    }

    /// Says that CI has pushed an image to GitHub's own registry (`registry_package published`).
    pub async fn publish_package(&self, name: &str, package: &str, tag: &str) -> anyhow::Result<()> {
        let new = NewPackage { name: package.to_owned(), tag: tag.to_owned() };
        self.post::<Value>(&format!("repositories/{name}/packages"), new).await.map(drop)
    }

    /// All check runs as they are.
    pub async fn checks(&self, name: &str) -> anyhow::Result<Vec<CheckView>> {
        self.get(&format!("repositories/{name}/checks")).await
    }

    /// All deployments, in order.
    pub async fn deployments(&self, name: &str) -> anyhow::Result<Vec<DeploymentView>> {
        self.get(&format!("repositories/{name}/deployments")).await
    }

    /// Changes the webhook's settings.
    pub async fn set_webhook(&self, change: &HookChange) -> anyhow::Result<()> {
        self.put("webhook", change).await
    }

    /// Sends events to this address, signed with this secret.
    pub async fn webhook(&self, url: &str, secret: &str) -> anyhow::Result<()> {
        self.set_webhook(&HookChange {
            url: Some(url.to_owned()),
            secret: Some(secret.to_owned()),
            ..HookChange::default()
        })
        .await
    }

    /// Sends a `ping` for a repository.
    pub async fn ping(&self, name: &str) -> anyhow::Result<()> {
        self.post::<Value>("webhook/ping", json!({ "repository": name })).await.map(drop)
    }

    /// Sends held events in this order; all of them, and further ones at once, where none is named.
    pub async fn release(&self, ids: &[u64]) -> anyhow::Result<()> {
        self.post::<Value>("webhook/release", json!({ "ids": ids })).await.map(drop)
    }

    /// All attempts to deliver, in order.
    pub async fn deliveries(&self) -> anyhow::Result<Vec<DeliveryView>> {
        self.get("deliveries").await
    }

    /// Delivers the same event once more.
    pub async fn redeliver(&self, id: u64) -> anyhow::Result<DeliveryView> {
        self.post(&format!("deliveries/{id}/redeliver"), json!({})).await
    }

    /// Waits until no delivery is under way.
    pub async fn settle(&self) -> anyhow::Result<()> {
        self.post::<Value>("deliveries/settle", json!({})).await.map(drop)
    }

    /// Requests to the API, in order.
    pub async fn requests(&self) -> anyhow::Result<Vec<RequestView>> {
        self.get("requests").await
    }

    /// How many requests there were of each `METHOD path`.
    pub async fn request_counts(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        self.get("requests/counts").await
    }

    /// Forgets the requests so far.
    pub async fn clear_requests(&self) -> anyhow::Result<()> {
        self.delete("requests").await
    }

    /// Adds a fault to the queue.
    pub async fn fault(&self, fault: &Fault) -> anyhow::Result<()> {
        self.post::<Value>("faults", fault).await.map(drop)
    }

    /// Faults still to happen.
    pub async fn faults(&self) -> anyhow::Result<Vec<Fault>> {
        self.get("faults").await
    }

    /// Takes all faults back.
    pub async fn clear_faults(&self) -> anyhow::Result<()> {
        self.delete("faults").await
    }

    /// Moves the stand-in's clock.
    pub async fn advance_clock(&self, by: Duration) -> anyhow::Result<()> {
        let body = json!({ "advance_seconds": by.as_secs() });
        self.post::<Value>("clock", body).await.map(drop)
    }

    /// Sets the hourly limit of every caller and starts the hour anew.
    pub async fn set_rate_limit(&self, limit: u64) -> anyhow::Result<()> {
        self.put("limits", json!({ "limit": limit })).await
    }

    /// Adds a personal token.
    pub async fn add_token(&self, spec: &TokenSpec) -> anyhow::Result<()> {
        self.put("tokens", spec).await
    }

    /// Takes a token away, a personal one or an installation's.
    pub async fn revoke_token(&self, token: &str) -> anyhow::Result<()> {
        self.delete(&format!("tokens/{token}")).await
    }

    /// Makes a person's account, if there is none of that name.
    pub async fn user(&self, login: &str) -> anyhow::Result<UserView> {
        self.call("PUT", &format!("users/{}", crate::text::encode(login)), Some(json!({}))).await
    }

    /// Sets what the App signs people in with. Where no callback URL is registered, any will do.
    pub async fn set_client(&self, id: &str, secret: &str, callback_urls: &[&str]) -> anyhow::Result<()> {
        self.put("app", json!({ "client_id": id, "client_secret": secret, "callback_urls": callback_urls })).await
    }

    /// Sets what the App's installations may do.
    pub async fn set_app_permissions(&self, permissions: &BTreeMap<String, String>) -> anyhow::Result<()> {
        self.put("app", json!({ "permissions": permissions })).await
    }

    /// Checks the App's signatures with this PEM public key from now on.
    pub async fn set_app_key(&self, pem: &str) -> anyhow::Result<()> {
        self.put("app", json!({ "public_key": pem })).await
    }

    /// Looks again after every change until `found` answers something.
    pub async fn wait_for<T, F>(&self, patience: Duration, mut found: F) -> anyhow::Result<T>
    where
        F: AsyncFnMut(&Self) -> anyhow::Result<Option<T>>,
    {
        let until = Instant::now() + patience;
        let mut seen = 0;
        loop {
            if let Some(result) = found(self).await? {
                return Ok(result);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("what was waited for did not come in {patience:?}");
            }
            let wait = left.as_millis().min(5_000);
            let answer: Value = self.get(&format!("changes?after={seen}&timeout_ms={wait}")).await?;
            seen = answer["version"].as_u64().unwrap_or(seen);
        }
    }

    /// Waits for a comment, not deleted, that contains this text.
    pub async fn wait_comment(
        &self,
        name: &str,
        number: u64,
        text: &str,
        patience: Duration,
    ) -> anyhow::Result<CommentView> {
        let waited = self
            .wait_for(patience, async |control: &Self| {
                let comments = control.comments(name, number).await?;
                Ok(comments.into_iter().find(|one| one.deleted_at.is_none() && one.body.contains(text)))
            })
            .await;
        match waited {
            Ok(comment) => Ok(comment),
            Err(error) => {
                let comments = self.comments(name, number).await?;
                Err(error.context(format!("no comment says {text:?}; there are {comments:#?}")))
            }
        }
    }
}
