//! A stand-in with something of everything in it.

use std::io::Read;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use seatrial_github_standin::{
    AccountKind, Author, CheckView, Control, DEFAULT_TOKEN, HookChange, NewCommit, NewPull, Options, Permission,
    Standin, StatusView, TokenSpec, files,
};
use serde_json::{Value, json};

use crate::calls::{Call, Who};

/// What the calls are about.
pub(crate) struct World {
    standin: Standin,
    http: reqwest::Client,
    installation_token: String,
    pub(crate) head: String,
    pub(crate) repository: u64,
    pub(crate) installation: u64,
    pub(crate) comment: u64,
    pub(crate) spare_comment: u64,
    pub(crate) reaction: u64,
    pub(crate) deployment: u64,
    pub(crate) spare_deployment: u64,
    pub(crate) deployment_status: u64,
    pub(crate) check: u64,
    pub(crate) delivery: u64,
}

const ADMIN: &str = "ghp_admin";

/// An App's token, with a signature nobody checks here.
fn app_token() -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let now = chrono::Utc::now().timestamp();
    format!(
        "{}.{}.{}",
        part(json!({ "alg": "RS256", "typ": "JWT" })),
        part(json!({ "iss": "4242", "iat": now - 30, "exp": now + 300 })),
        URL_SAFE_NO_PAD.encode("signature"),
    )
}

impl World {
    pub(crate) async fn start(listen: &str) -> anyhow::Result<Self> {
        let mut options = Options::default();
        options.tokens.push(TokenSpec {
            token: ADMIN.to_owned(),
            login: "admin".to_owned(),
            permission: Some(Permission::Admin),
        });
        let standin = Standin::start(listen, options).await?;
        let control = standin.control()?;
        let head = fill(&control, standin.url()).await?;
        // The control client has installed the TLS provider this one insists on.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("seatrial-judge")
            .build()?;
        let mut world = Self {
            standin,
            http,
            installation_token: String::new(),
            head,
            repository: 0,
            installation: 0,
            comment: 0,
            spare_comment: 0,
            reaction: 0,
            deployment: 0,
            spare_deployment: 0,
            deployment_status: 0,
            check: 0,
            delivery: 0,
        };
        world.prepare(&control).await?;
        Ok(world)
    }

    pub(crate) fn url(&self) -> &str {
        self.standin.url()
    }

    /// Makes through the API what the calls name by number.
    async fn prepare(&mut self, control: &Control) -> anyhow::Result<()> {
        let repository = "/repos/acme/shop";
        self.repository = self.id_of("GET", repository, None, Who::User).await?;
        let path = format!("{repository}/installation");
        self.installation = self.id_of("GET", &path, None, Who::App).await?;
        let path = format!("/app/installations/{}/access_tokens", self.installation);
        let answer = self.direct("POST", &path, None, Who::App).await?;
        let token = answer["token"].as_str().context("no installation token")?;
        self.installation_token = token.to_owned();
        let comments = format!("{repository}/issues/1/comments");
        let body = json!({ "body": "Preview **ready**" });
        self.comment = self.id_of("POST", &comments, Some(body.clone()), Who::Installation).await?;
        self.spare_comment = self.id_of("POST", &comments, Some(body), Who::User).await?;
        let path = format!("{repository}/issues/comments/{}/reactions", self.comment);
        let body = json!({ "content": "eyes" });
        self.reaction = self.id_of("POST", &path, Some(body), Who::User).await?;
        let path = format!("{repository}/deployments");
        let body = |name: &str| {
            Some(json!({
                "ref": self.head, "environment": name, "required_contexts": [], "auto_merge": false,
            }))
        };
        let (one, two) = (body("preview"), body("spare"));
        self.deployment = self.id_of("POST", &path, one, Who::User).await?;
        self.spare_deployment = self.id_of("POST", &path, two, Who::User).await?;
        let path = format!("{path}/{}/statuses", self.deployment);
        let body = json!({
            "state": "success", "environment_url": "http://preview.localhost/",
            "log_url": "http://localhost/runs/1",
        });
        self.deployment_status = self.id_of("POST", &path, Some(body), Who::User).await?;
        let path = format!("{repository}/check-runs");
        let body = json!({ "name": "preview", "head_sha": self.head });
        self.check = self.id_of("POST", &path, Some(body), Who::Installation).await?;
        control.settle().await?;
        let deliveries = control.deliveries().await?;
        self.delivery = deliveries.first().context("no delivery")?.id;
        Ok(())
    }

    async fn id_of(&self, method: &str, path: &str, body: Option<Value>, who: Who) -> anyhow::Result<u64> {
        let answer = self.direct(method, path, body, who).await?;
        answer["id"].as_u64().with_context(|| format!("{method} {path} has no id: {answer}"))
    }

    async fn direct(&self, method: &str, path: &str, body: Option<Value>, who: Who) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.url());
        let response = self.request(method, &url, body, who)?.send().await?;
        let text = response.text().await?;
        serde_json::from_str(&text).with_context(|| format!("{method} {path}: {text}"))
    }

    fn request(
        &self,
        method: &str,
        url: &str,
        body: Option<Value>,
        who: Who,
    ) -> anyhow::Result<reqwest::RequestBuilder> {
        let token = match who {
            Who::Nobody => None,
            Who::User => Some(DEFAULT_TOKEN.to_owned()),
            Who::Admin => Some(ADMIN.to_owned()),
            Who::App => Some(app_token()),
            Who::Installation => Some(self.installation_token.clone()),
            Who::Stranger => Some("ghp_wrong".to_owned()),
        };
        let mut request = self.http.request(method.parse()?, url).header("Accept", "application/vnd.github+json");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        Ok(request)
    }

    /// Makes a call through the proxy; says what is wrong with request or answer.
    pub(crate) async fn judge(&self, proxy: &str, call: &Call) -> Result<(), String> {
        let url = format!("{proxy}{}", call.path);
        let request =
            self.request(call.method, &url, call.body.clone(), call.who).map_err(|error| error.to_string())?;
        let response = request.send().await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let kind =
            response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let text = response.text().await.map_err(|error| error.to_string())?;
        if kind.starts_with("application/problem+json") {
            return match call.excused {
                Some(field) if only_about(&text, field) => Ok(()),
                _ => Err(text),
            };
        }
        if status != call.status {
            return Err(format!("{status} instead of {}: {text}", call.status));
        }
        Ok(())
    }

    /// The archive, which the proxy would follow by itself to a path it does not know.
    pub(crate) async fn tarball(&self) -> Result<(), String> {
        self.unpack().await.map_err(|error| format!("{error:#}"))
    }

    async fn unpack(&self) -> anyhow::Result<()> {
        let url = format!("{}/repos/acme/shop/tarball/{}", self.url(), self.head);
        let response = self.request("GET", &url, None, Who::User)?.send().await?;
        anyhow::ensure!(response.status() == 302, "{}", response.status());
        let place = response.headers()["location"].to_str()?.to_owned();
        let archive = self.request("GET", &place, None, Who::Nobody)?.send().await?;
        let bytes = archive.error_for_status()?.bytes().await?;
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_ref()));
        let mut found = String::new();
        for entry in archive.entries()? {
            let mut entry = entry?;
            if entry.path()?.ends_with("page.html") {
                entry.read_to_string(&mut found)?;
            }
        }
        anyhow::ensure!(found == "<p>1</p>\n", "page.html says {found:?}");
        Ok(())
    }
}

/// Whether the proxy found nothing but this field at fault.
fn only_about(problem: &str, field: &str) -> bool {
    let problem: Value = serde_json::from_str(problem).unwrap_or_default();
    let found = problem["validation"].as_array();
    found.is_some_and(|found| {
        !found.is_empty()
            && found
                .iter()
                .all(|one| one["location"].as_array().is_some_and(|location| location.iter().any(|part| part == field)))
    })
}

/// Answers the head of the first pull request.
async fn fill(control: &Control, url: &str) -> anyhow::Result<String> {
    let name = "acme/shop";
    control
        .set_webhook(&HookChange {
            // It answers 401, which is a delivery like any other.
            url: Some(format!("{url}/user")),
            secret: Some("secret".to_owned()),
            events: Some(vec!["*".to_owned()]),
            mode: None,
        })
        .await?;
    let text = [("README.md", "Shop\n"), ("chart/Chart.yaml", "name: shop\n")];
    control.repository(name, files(text)).await?;
    control.fork(name, "mona").await?;
    control.set_permission(name, "mona", Permission::Triage).await?;
    let new = NewPull {
        title: "Add a page".to_owned(),
        body: Some("It says hello.".to_owned()),
        author: Author::user("mona"),
        head: "page".to_owned(),
        labels: vec!["preview".to_owned()],
        files: files([("page.html", "<p>1</p>\n")]),
        ..NewPull::default()
    };
    let pull = control.open_pull(name, &new).await?;
    let from_fork = NewPull {
        title: "From a fork".to_owned(),
        head_repository: Some("mona/shop".to_owned()),
        head: "fork".to_owned(),
        author: Author { login: "dependabot[bot]".to_owned(), kind: AccountKind::Bot },
        draft: true,
        files: files([("README.md", "Shop 2\n")]),
        ..NewPull::default()
    };
    control.open_pull(name, &from_fork).await?;
    let merged = NewPull {
        title: "Merged".to_owned(),
        head: "merged".to_owned(),
        files: files([("merged.txt", "1\n")]),
        ..NewPull::default()
    };
    let merged = control.open_pull(name, &merged).await?;
    control.merge(name, merged.number).await?;
    let commit =
        NewCommit { files: files([("page.html", "<p>1</p>\n"), ("more.txt", "more\n")]), ..NewCommit::default() };
    let head = control.push(name, pull.number, &commit).await?;
    let status = StatusView {
        sha: head.clone(),
        state: "success".to_owned(),
        context: "ci".to_owned(),
        description: Some("All green".to_owned()),
        target_url: Some("http://ci.localhost/1".to_owned()),
        creator: "octocat".to_owned(),
    };
    control.set_status(name, &status).await?;
    let check = CheckView {
        sha: head.clone(),
        name: "build".to_owned(),
        status: "completed".to_owned(),
        conclusion: Some("success".to_owned()),
    };
    control.set_check(name, &check).await?;
    Ok(head)
}
