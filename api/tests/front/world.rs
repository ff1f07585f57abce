use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, Mac};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use seatrial_api::{ApiConfig, Serving, SignIn, serve, serve_gateway};
use seatrial_engine::{
    AttemptOutcome, Claim, ClaimRequest, Clock, Context, Entry, Failure, FinishedAttempt, Limits, Registry, RunId,
    StepKey, SystemClock, Transition, WorkerId, Workflow, WorkflowVersions,
};
use seatrial_forge_github::{GithubSignIn, SignInConfig, webhook};
use seatrial_operations::{AccessConfig, Keyring, Operations, Parts, Vault, WebhookDecoder};
use seatrial_preview::environment::ServiceTarget;
use seatrial_preview::failure::{Diagnosis, Evidence, FailureSnapshot, Reason};
use seatrial_preview::life::Capacity;
use seatrial_preview::naming::UrlTemplate;
use seatrial_preview::ports::{Fact, Identities};
use seatrial_preview::pull_request::{Base, Head, PullRequest, PullRequestState};
use seatrial_preview::{EnvironmentId, PullRequestRef};
use seatrial_store::{Store, StoreOptions};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;
use url::Url;

use crate::standins::{StandInCluster, StandInForge};
use seatrial_preview::access::Visible;

pub const TOKEN: &str = "an-operators-token-of-some-length";
const SECRET: &str = "webhook secret";
pub const SHA: &str = "3f2c1ab94c1d5e6f7a8b9c0d1e2f3a4b5c6d7e8f";

/// A front that runs, and what stands behind it.
pub struct World {
    pub store: Store,
    pub cluster: Arc<StandInCluster>,
    pub forge: Arc<StandInForge>,
    pub front: Serving,
    pub gateway: Serving,
    pub client: Client,
    pub operations: Arc<Operations>,
    folder: TempDir,
}

/// The steps of a deployment, for what is still to come.
struct Up;

impl Workflow for Up {
    const NAME: &'static str = "preview_up";
    const VERSION: u32 = 1;
    const STEPS: &'static [&'static str] = &["admit", "namespace", "release", "rollout", "health", "report"];
    type Input = Value;
    type Output = ();
    async fn run(&self, _: Context, _: Value) -> Result<(), Failure> {
        Ok(())
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with_token(Some(TOKEN)).await
    }

    pub async fn with_token(token: Option<&str>) -> Self {
        Self::with(token, false, None).await
    }

    /// One whose gateway asks for sign-in.
    pub async fn with_sign_in() -> Self {
        Self::with(Some(TOKEN), true, None).await
    }

    /// One where people sign in with this GitHub.
    pub async fn with_github(url: &str, client_secret: &str) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let url: Url = url.parse().unwrap();
        let config = SignInConfig {
            web_url: url.clone(),
            api_url: url,
            client_id: seatrial_github_standin::DEFAULT_CLIENT_ID.to_owned(),
            client_secret: client_secret.to_owned().into(),
        };
        Self::with(Some(TOKEN), false, Some(Arc::new(GithubSignIn::new(config).unwrap()))).await
    }

    async fn with(token: Option<&str>, sign_in: bool, identities: Option<Arc<dyn Identities>>) -> Self {
        // Somebody else may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Store::open(StoreOptions {
            url: format!("sqlite://{}", folder.path().join("seatrial.db").display()),
            preview_url: UrlTemplate::parse("http://pr-{number}-{repo}.localhost:8081").unwrap(),
            clock: clock.clone(),
        })
        .await
        .unwrap();
        let (cluster, forge) = (Arc::new(StandInCluster::default()), Arc::new(StandInForge::default()));
        let secret = SecretString::from(SECRET);
        let operations = Arc::new(Operations::new(Parts {
            store: store.clone(),
            cluster: cluster.clone(),
            forge: forge.clone(),
            webhook: WebhookDecoder {
                verify: Box::new(move |raw, header| {
                    webhook::verify(&secret, raw, header).map_err(|error| error.to_string())
                }),
                parse: Box::new(webhook::parse),
            },
            registry: Registry::new().with(Up),
            access: AccessConfig { bootstrap_token: token.map(SecretString::from), identities },
            vault: Vault::open(store.clone(), Some(keyring())).await.unwrap(),
            capacity: Capacity::default(),
            clock,
        }));
        let anywhere = "127.0.0.1:0".parse().unwrap();
        // GitHub sends people back to an address that must be known before it is listened on.
        let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let forever = std::future::pending::<()>;
        let sign_in = |pages: &str| sign_in.then(|| SignIn::new(b"a secret", pages.parse().unwrap()));
        let config = ApiConfig {
            gateway_sign_in: sign_in("http://unused.example"),
            public_url: Some(format!("http://{listen}").parse().unwrap()),
            ..ApiConfig::default()
        };
        let front = serve(listen, operations.clone(), config, forever()).await.unwrap();
        let pages = format!("http://{}", front.address);
        let gateway = serve_gateway(anywhere, operations.clone(), sign_in(&pages), forever()).await.unwrap();
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .no_proxy()
            .build()
            .unwrap();
        Self { store, cluster, forge, front, gateway, client, operations, folder }
    }

    /// All that is in the database's files, as bytes.
    pub fn on_disk(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.folder.path()).unwrap();
        files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.front.address)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path)).bearer_auth(TOKEN)
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path)).bearer_auth(TOKEN)
    }

    pub fn patch(&self, path: &str) -> RequestBuilder {
        self.client.patch(self.url(path)).bearer_auth(TOKEN)
    }

    /// The JSON of a GET that succeeds.
    pub async fn read(&self, path: &str) -> Value {
        let response = self.get(path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    /// A session's cookie, got as a browser gets it.
    pub async fn sign_in(&self) -> String {
        let response = self
            .client
            .post(self.url("/sign-in"))
            .header("origin", self.url(""))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={TOKEN}"))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        let cookie = response.headers()["set-cookie"].to_str().unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }

    pub async fn page(&self, path: &str) -> String {
        let cookie = self.sign_in().await;
        let response = self.client.get(self.url(path)).header("cookie", cookie).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.text().await.unwrap()
    }

    /// Sends a webhook, signed as GitHub signs.
    pub async fn deliver(&self, id: &str, event: &str, body: &[u8]) -> Response {
        self.webhook(id, event, body, Some(&sign(body))).await
    }

    pub async fn webhook(&self, id: &str, event: &str, body: &[u8], signature: Option<&str>) -> Response {
        let mut request = self
            .client
            .post(self.url("/api/webhooks/github"))
            .header("x-github-delivery", id)
            .header("x-github-event", event)
            .body(body.to_vec());
        if let Some(signature) = signature {
            request = request.header("x-hub-signature-256", signature);
        }
        request.send().await.unwrap()
    }

    /// A pull request that was opened, as GitHub tells it. Its run is queued.
    pub async fn opened(&self, number: u64, title: &str) -> (EnvironmentId, RunId) {
        let body = pull_request_event("opened", number, title);
        let response = self.deliver(&format!("delivery-{number}"), "pull_request", &body).await;
        let status = response.status();
        let receipt: Value = response.json().await.unwrap();
        assert_eq!(status, StatusCode::ACCEPTED, "{receipt}");
        let run = receipt["run"].as_str().unwrap().parse().unwrap();
        let environment = self.store.find_environment_of(&Visible::All, &at(number)).await.unwrap().unwrap();
        (environment.environment.id, run)
    }

    pub async fn claim(&self) -> Claim {
        let now = SystemClock.now();
        let request = ClaimRequest {
            worker: WorkerId::new("worker-1"),
            workflows: ["preview_up", "preview_down", "preview_wake"]
                .map(|name| WorkflowVersions { name: name.to_owned(), versions: 1..=9 })
                .to_vec(),
            limit: 1,
            limits: Limits::default(),
            now,
            lease_until: now + Duration::from_secs(600),
        };
        self.store.claim(&request).await.unwrap().pop().unwrap()
    }

    /// Journals steps, one after the other, and perhaps the run's end.
    pub async fn record(&self, claim: &Claim, finished: Vec<FinishedAttempt>, transition: Option<Transition>) {
        let at = SystemClock.now();
        let entry = Entry {
            run: claim.id,
            row: claim.row,
            key: claim.key.clone(),
            epoch: claim.epoch,
            parent: None,
            at,
            lease_until: at + Duration::from_secs(600),
            open: Vec::new(),
            finished,
            children: Vec::new(),
            transition,
        };
        self.store.record(entry).await.unwrap();
    }

    /// Takes the queued run to the end of the named steps.
    pub async fn work(&self, steps: &[(&str, u64)]) -> Claim {
        let claim = self.claim().await;
        let mut at = SystemClock.now() - Duration::from_millis(steps.iter().map(|(_, ms)| ms).sum());
        for (position, (name, ms)) in steps.iter().enumerate() {
            let key = key(name);
            let position = u32::try_from(position).unwrap();
            let started_at = at;
            at += Duration::from_millis(*ms);
            let succeeded = FinishedAttempt {
                key,
                position,
                attempt: 1,
                started_at,
                finished_at: at,
                outcome: AttemptOutcome::Succeeded,
                output: Some(json!({ "done": name })),
                failure: None,
                retry_at: None,
            };
            self.record(&claim, vec![succeeded], None).await;
        }
        claim
    }

    /// A preview that runs.
    pub async fn running(&self, number: u64, title: &str) -> EnvironmentId {
        let (id, _) = self.opened(number, title).await;
        let claim = self.work(&[("admit", 40), ("namespace", 320), ("release", 2_100), ("rollout", 5_400)]).await;
        for fact in
            [Fact::Target(ServiceTarget { service: "shop".to_owned(), port: 8080 }), Fact::Live(SHA.parse().unwrap())]
        {
            self.store.remember(id, fact).await.unwrap();
        }
        self.record(&claim, Vec::new(), Some(Transition::Succeeded(json!(null)))).await;
        id
    }

    /// A preview whose container crashes.
    pub async fn failed(&self, number: u64, title: &str) -> (EnvironmentId, RunId) {
        let (id, run) = self.opened(number, title).await;
        let claim = self.work(&[("admit", 35), ("namespace", 280), ("release", 1_900)]).await;
        let at = SystemClock.now();
        let failure = Failure::permanent("container \"web\" of pod \"shop-7d9f\" crashes: exit code 1");
        self.record(
            &claim,
            vec![failed_attempt("rollout", 3, failure.clone(), None)],
            Some(Transition::Failed(failure)),
        )
        .await;
        self.store.remember(id, Fact::Failed(diagnosis())).await.unwrap();
        let snapshot = FailureSnapshot {
            taken_at: at,
            step: "rollout".to_owned(),
            diagnosis: Some(diagnosis()),
            pods: vec![crate::standins::pod("shop-7d9f", "waiting: CrashLoopBackOff", false)],
            events: Vec::new(),
            logs: Vec::new(),
            manifest: Some("kind: Deployment\n".to_owned()),
        };
        self.store.keep_snapshot(id, run.0, &snapshot).await.unwrap();
        (id, run)
    }
}

fn keyring() -> Keyring {
    Keyring::parse(&SecretString::from("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=")).unwrap()
}

pub fn key(name: &str) -> StepKey {
    StepKey { scope: String::new(), name: name.to_owned(), occurrence: 0 }
}

pub fn diagnosis() -> Diagnosis {
    Diagnosis {
        reason: Reason::ContainerCrash,
        culprit: "container \"web\" of pod \"shop-7d9f\"".to_owned(),
        summary: "The container crashes at start: exit code 1 after 2 s.".to_owned(),
        advice: "Read its last log lines, correct what they name, and push.".to_owned(),
        evidence: vec![Evidence {
            title: "Last log lines".to_owned(),
            text: "loading configuration\n</pre><script>alert('log')</script>\npanic: DATABASE_URL is not set"
                .to_owned(),
        }],
    }
}

pub fn at(number: u64) -> PullRequestRef {
    PullRequestRef { repository: "acme/shop".parse().unwrap(), number }
}

pub fn pull_request(number: u64, title: &str) -> PullRequest {
    PullRequest {
        at: at(number),
        title: title.to_owned(),
        author: "mia".to_owned(),
        author_is_bot: false,
        draft: false,
        state: PullRequestState::Open,
        head: Head {
            sha: SHA.parse().unwrap(),
            branch: "checkout-redesign".to_owned(),
            repository: Some("acme/shop".parse().unwrap()),
        },
        base: Base { branch: "main".to_owned(), sha: SHA.parse().unwrap() },
        labels: Vec::new(),
        html_url: format!("https://github.example/acme/shop/pull/{number}"),
    }
}

pub fn pull_request_event(action: &str, number: u64, title: &str) -> Vec<u8> {
    let repository = json!({ "full_name": "acme/shop" });
    let state = if action == "closed" { "closed" } else { "open" };
    let event = json!({
        "action": action,
        "number": number,
        "repository": repository,
        "pull_request": {
            "number": number, "title": title, "state": state, "draft": false, "merged": false,
            "user": { "login": "mia", "type": "User" }, "labels": [],
            "html_url": format!("https://github.example/acme/shop/pull/{number}"),
            "head": { "ref": "checkout-redesign", "sha": SHA, "repo": repository },
            "base": { "ref": "main", "sha": SHA, "repo": repository },
        },
    });
    serde_json::to_vec(&event).unwrap()
}

pub fn sign(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// That a response is a problem of this status and code, with a sentence.
pub async fn assert_problem(response: Response, status: u16, code: &str) -> Value {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.status().as_u16(), status);
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["type"], format!("urn:seatrial:problem:{code}"));
    assert!(problem["title"].is_string() && problem["detail"].as_str().is_some_and(|detail| detail.len() > 10));
    problem
}

/// The first attempt of a step, which failed just now.
pub fn failed_attempt(
    name: &str,
    position: u32,
    failure: Failure,
    retry_at: Option<chrono::DateTime<chrono::Utc>>,
) -> FinishedAttempt {
    let at = SystemClock.now();
    FinishedAttempt {
        key: key(name),
        position,
        attempt: 1,
        started_at: at,
        finished_at: at,
        outcome: AttemptOutcome::Failed,
        output: None,
        failure: Some(failure),
        retry_at,
    }
}
