//! One request to GitHub, with its limits: time, size, redirects, and what an error means.
//!
//! Every request passes two gates, that of its credentials' rate limit and the circuit breaker of
//! the API's host. What they turn away is a transient error with the time to wait, so the engine's
//! durable retry waits. Nothing is repeated in here but one thing: a request whose installation
//! token GitHub has taken back, once, with a new token.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::{BodyExt, combinators::BoxBody};
use seatrial_preview::{Error, ErrorKind, RepositoryName, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use crate::access::{Access, Grant, Key, Reach};
use crate::breaker::{Breaker, FAILURES};
use crate::failure::{self, Doing};
use crate::limits::{Limits, RateLimit, Turn};
use crate::redirect::{self, Hop};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// A whole archive may take longer than one request; each piece of it may not.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(300);
const JSON_LIMIT: usize = 8 * 1024 * 1024;
const MOST_REDIRECTS: usize = 4;
/// A token this old may lack permissions that the App was given since.
const STALE_PERMISSIONS: Duration = Duration::from_secs(60);

pub(crate) const JSON: &str = "application/vnd.github+json";

type Response = http::Response<BoxBody<Bytes, octocrab::Error>>;

/// Whose credentials a request needs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum On<'a> {
    /// The account's own: the token's, or the App's.
    Account,
    /// All that one installation of the App was given.
    Installation(u64),
    /// One repository.
    Repository(&'a RepositoryName),
}

/// A request.
pub(crate) struct Call<'a> {
    pub(crate) on: On<'a>,
    pub(crate) doing: Doing<'a>,
    pub(crate) method: Method,
    /// Path and query, below the API's address.
    pub(crate) path: String,
    pub(crate) accept: &'static str,
    pub(crate) body: Option<serde_json::Value>,
}

impl<'a> Call<'a> {
    pub(crate) fn get(on: On<'a>, doing: Doing<'a>, path: String) -> Self {
        Self { on, doing, method: Method::GET, path, accept: JSON, body: None }
    }
}

/// A successful answer, read to its end.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self, doing: Doing<'_>) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::invalid(format!("GitHub's answer to the request to {} is not understood: {error}", doing.what))
        })
    }
}

pub(crate) struct Client {
    api: Url,
    access: Access,
    login: OnceCell<String>,
    limits: Limits,
    breaker: Breaker,
}

impl Client {
    pub(crate) fn new(api: Url, access: Access) -> Self {
        Self { api, access, login: OnceCell::new(), limits: Limits::default(), breaker: Breaker::default() }
    }

    pub(crate) fn rate_limit(&self) -> Option<RateLimit> {
        self.limits.seen()
    }

    /// Asks, and reads an answer of at most 8 MiB.
    pub(crate) async fn send(&self, call: &Call<'_>) -> Result<Answer> {
        self.fetch(call, JSON_LIMIT, REQUEST_TIMEOUT).await
    }

    /// Asks for a file of at most `limit` bytes; `Invalid` when it is larger.
    pub(crate) async fn download(&self, call: &Call<'_>, limit: usize) -> Result<Answer> {
        self.fetch(call, limit, DOWNLOAD_TIMEOUT).await
    }

    pub(crate) fn is_app(&self) -> bool {
        self.access.is_app()
    }

    /// The login under which comments of ours appear.
    pub(crate) async fn login(&self) -> Result<&str> {
        #[derive(Deserialize)]
        struct User {
            login: String,
        }
        #[derive(Deserialize)]
        struct App {
            slug: String,
        }
        let find = || async {
            let doing = Doing { what: "say whose the credentials are", permission: "Metadata: read" };
            let path = if self.access.is_app() { "/app" } else { "/user" };
            let answer = self.send(&Call::get(On::Account, doing, path.to_owned())).await?;
            Ok(if self.access.is_app() {
                format!("{}[bot]", answer.json::<App>(doing)?.slug)
            } else {
                answer.json::<User>(doing)?.login
            })
        };
        self.login.get_or_try_init(find).await.map(String::as_str)
    }

    async fn fetch(&self, call: &Call<'_>, limit: usize, patience: Duration) -> Result<Answer> {
        let mut key = self.key(call).await?;
        for renewed in [false, true] {
            let deadline = Deadline::after(patience);
            let (response, _) = self.follow(&key, call, deadline).await?;
            let refused = response.status() == StatusCode::UNAUTHORIZED;
            if refused && !renewed && key.reject(Duration::ZERO, Instant::now()).await {
                key = self.key(call).await?;
                continue;
            }
            let result = self.read(&key, call.doing, response, limit, deadline).await;
            if result.as_ref().is_err_and(|error| error.kind == ErrorKind::Forbidden) {
                key.reject(STALE_PERMISSIONS, Instant::now()).await;
            }
            return result;
        }
        // The second turn always returns.
        Err(Error::forbidden(format!("GitHub does not accept new credentials to {}", call.doing.what)))
    }

    /// The credentials for the call; a token is asked for when there is none, or it is about to
    /// expire. Who needs the same one meanwhile waits for it.
    async fn key(&self, call: &Call<'_>) -> Result<Key> {
        let grant = match call.on {
            On::Account => None,
            On::Installation(id) => self.access.installation(id).await,
            On::Repository(_) if !self.access.is_app() => None,
            On::Repository(repository) => match self.access.known(repository).await {
                Some(grant) => Some(grant),
                None => Some(self.find_installation(repository).await?),
            },
        };
        let Some(grant) = grant else { return Ok(self.access.account()) };
        let mut token = grant.token.lock().await;
        if let Some(key) = self.access.key(&grant, &token, Instant::now()) {
            return Ok(key);
        }
        match self.load_token(&grant, call.doing).await {
            Ok((text, life)) => {
                self.access.keep(&mut token, &text, life, Instant::now())?;
                self.access
                    .key(&grant, &token, Instant::now())
                    .ok_or_else(|| Error::transient("the token that GitHub gave has expired at once; check the clock"))
            }
            Err(error) => {
                if !error.is_transient() {
                    self.access.forget(&grant).await;
                }
                Err(error)
            }
        }
    }

    async fn find_installation(&self, repository: &RepositoryName) -> Result<Arc<Grant>> {
        #[derive(Deserialize)]
        struct Installation {
            id: u64,
        }
        let _search = self.access.search().await;
        if let Some(found) = self.access.known(repository).await {
            return Ok(found);
        }
        let what = format!("find the App's installation for {repository}");
        let doing = Doing { what: &what, permission: "Metadata: read" };
        let call = Call::get(On::Account, doing, format!("/repos/{repository}/installation"));
        let (key, deadline) = (self.access.account(), Deadline::after(REQUEST_TIMEOUT));
        let (response, path) = self.follow(&key, &call, deadline).await?;
        let answer = self.read(&key, doing, response, JSON_LIMIT, deadline).await.map_err(|error| {
            match error.is_not_found() {
                true => Error::not_found(format!(
                    "the GitHub App is not installed for {repository}, or the repository does not exist; \
                     install the App for it"
                )),
                false => error,
            }
        })?;
        // A former name leads to the repository by its number, which the token is then limited to.
        let number = path.strip_prefix("/repositories/").and_then(|rest| rest.split_once('/')?.0.parse().ok());
        let reach = number.map_or_else(|| Reach::Name(repository.name().to_owned()), Reach::Number);
        Ok(self.access.learn(repository, answer.json::<Installation>(doing)?.id, reach).await)
    }

    /// A new token of the grant, and how long it lives by GitHub's clock.
    async fn load_token(&self, grant: &Grant, doing: Doing<'_>) -> Result<(String, Duration)> {
        #[derive(Deserialize)]
        struct Token {
            token: String,
            expires_at: DateTime<Utc>,
        }
        let what = format!("issue the App a token to {}", doing.what);
        let doing = Doing { what: &what, ..doing };
        let call = Call {
            on: On::Account,
            doing,
            method: Method::POST,
            path: format!("/app/installations/{}/access_tokens", grant.installation),
            accept: JSON,
            body: Some(grant.request()),
        };
        let (key, deadline) = (self.access.account(), Deadline::after(REQUEST_TIMEOUT));
        let (response, _) = self.follow(&key, &call, deadline).await?;
        let answer = self.read(&key, doing, response, JSON_LIMIT, deadline).await?;
        // The answer holds a secret: what is wrong with it is not told.
        let Token { token, expires_at } = serde_json::from_slice(&answer.body)
            .map_err(|_| Error::invalid(format!("GitHub's answer to the request to {what} is not understood")))?;
        let life = expires_at - failure::server_time(&answer.headers);
        Ok((token, life.to_std().unwrap_or_default()))
    }

    /// Asks, and follows the redirects that may be followed. Answers the path that was asked last,
    /// too.
    async fn follow(&self, key: &Key, call: &Call<'_>, deadline: Deadline) -> Result<(Response, String)> {
        let mut method = call.method.clone();
        let mut path = call.path.clone();
        let mut asked = self.absolute(&path)?;
        for _ in 0..MOST_REDIRECTS {
            let body = call.body.as_ref().filter(|_| method != Method::GET);
            let response = self.once(key, call, &method, &path, body, deadline).await?;
            let moved = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let Some(location) = response.headers().get(header::LOCATION).filter(|_| moved) else {
                return Ok((response, path));
            };
            let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
            // What a browser does: only 307 and 308 keep the method. GitHub sends 307 for writes
            // to a repository that was renamed.
            if !matches!(response.status().as_u16(), 307 | 308) && method != Method::GET {
                return Err(Error::conflict(format!(
                    "GitHub says the address to {} has moved; the repository may have been renamed",
                    call.doing.what
                )));
            }
            match redirect::next(&self.api, &asked, &location)? {
                Hop::Api(next) => {
                    asked = self.api.join(&next).map_err(|error| Error::invalid(error.to_string()))?;
                    path = next;
                }
                Hop::Archive(next) => {
                    // octocrab adds its credentials for the API's own host only.
                    path = next.to_string();
                    asked = next;
                    method = Method::GET;
                }
            }
        }
        Err(Error::invalid(format!(
            "GitHub redirected more than {MOST_REDIRECTS} times on the request to {}",
            call.doing.what
        )))
    }

    fn absolute(&self, path: &str) -> Result<Url> {
        let base = self.api.as_str().trim_end_matches('/');
        format!("{base}{path}")
            .parse()
            .map_err(|error| Error::invalid(format!("{path:?} is not a path of GitHub's API: {error}")))
    }

    /// One request, through both gates.
    async fn once(
        &self,
        key: &Key,
        call: &Call<'_>,
        method: &Method,
        path: &str,
        body: Option<&serde_json::Value>,
        deadline: Deadline,
    ) -> Result<Response> {
        let doing = call.doing;
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, call.accept)
            .header("x-github-api-version", "2022-11-28");
        let request = key
            .octocrab
            .build_request(request, body)
            .map_err(|_| Error::invalid(format!("the request to {} cannot be written as HTTP", doing.what)))?;
        // Archives come from another host, which has no such limit.
        if !path.starts_with('/') {
            let answer = timeout_at(deadline.next(), key.octocrab.execute(request)).await;
            return answer.map_err(|_| deadline.passed(doing))?.map_err(|error| failure::no_answer(doing, error));
        }
        let wait = self.turn(key, *method != Method::GET, doing)?;
        if !wait.is_zero() {
            sleep(wait).await;
            // The gate may have been closed meanwhile.
            self.turn(key, false, doing)?;
        }
        let permit = self.breaker.admit(Instant::now()).map_err(|wait| {
            Error::transient(format!(
                "GitHub did not answer {FAILURES} requests in a row; it will be asked to {} in {} s",
                doing.what,
                wait.as_secs().max(1)
            ))
            .retry_after(wait)
        })?;
        let answer = match timeout_at(deadline.next(), key.octocrab.execute(request)).await {
            Err(_) => Err(deadline.passed(doing)),
            Ok(Err(error)) => Err(failure::no_answer(doing, error)),
            Ok(Ok(response)) => Ok(response),
        };
        match &answer {
            Ok(response) if !failure::is_outage(response.status()) => permit.answered(),
            // Our own key cannot sign, say: GitHub was not asked.
            Err(error) if !error.is_transient() => drop(permit),
            _ => permit.failed(Instant::now()),
        }
        let response = answer?;
        self.limits.note(key.holder, response.headers(), Instant::now());
        Ok(response)
    }

    /// The gate of the rate limits: how long to wait here, mostly not at all.
    fn turn(&self, key: &Key, write: bool, doing: Doing<'_>) -> Result<Duration> {
        match self.limits.turn(key.holder, write, Instant::now()) {
            Turn::After(wait) => Ok(wait),
            Turn::Closed(wait) => Err(Error::transient(format!(
                "GitHub's rate limit is used up, so GitHub will be asked to {} in {} s",
                doing.what,
                wait.as_secs().max(1)
            ))
            .retry_after(wait)),
        }
    }

    /// Reads the answer to its end, or turns it into the error it is.
    async fn read(
        &self,
        key: &Key,
        doing: Doing<'_>,
        response: Response,
        limit: usize,
        deadline: Deadline,
    ) -> Result<Answer> {
        let (head, mut body) = response.into_parts();
        let success = head.status.is_success() && head.status != StatusCode::ACCEPTED;
        let limit = if success { limit } else { JSON_LIMIT };
        let mut collected = BytesMut::new();
        while let Some(frame) = timeout_at(deadline.next(), body.frame()).await.map_err(|_| deadline.passed(doing))? {
            let frame = frame.map_err(|error| failure::no_answer(doing, error))?;
            if let Ok(data) = frame.into_data() {
                if collected.len() + data.len() > limit {
                    return Err(Error::invalid(format!(
                        "what GitHub sent to {} is larger than {} KiB, which is the limit",
                        doing.what,
                        limit / 1024
                    )));
                }
                collected.extend_from_slice(&data);
            }
        }
        let body = collected.freeze();
        if success {
            return Ok(Answer { headers: head.headers, body });
        }
        let refusal = failure::refusal(doing, head.status, &head.headers, &body);
        if let Some((kind, wait)) = refusal.exceeded {
            self.limits.exceeded(key.holder, kind, wait, Instant::now());
        }
        Err(refusal.error)
    }
}

/// The end of one call, and of each piece of it.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    end: Instant,
    patience: Duration,
}

impl Deadline {
    fn after(patience: Duration) -> Self {
        Self { end: Instant::now() + patience, patience }
    }

    /// When the next piece must have come.
    fn next(self) -> Instant {
        self.end.min(Instant::now() + REQUEST_TIMEOUT)
    }

    fn passed(self, doing: Doing<'_>) -> Error {
        let patience = if Instant::now() < self.end { REQUEST_TIMEOUT } else { self.patience };
        Error::transient(format!("GitHub took longer than {} s to {}", patience.as_secs(), doing.what))
    }
}
