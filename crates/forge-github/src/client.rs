//! One request to GitHub, with its limits: time, size, redirects, and what an error means.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::{BodyExt, combinators::BoxBody};
use octocrab::Octocrab;
use seatrial_preview::{Error, RepositoryName, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use url::Url;

use crate::access::Access;
use crate::failure::{self, Doing};
use crate::redirect::{self, Hop};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// A whole archive may take longer than one request; each piece of it may not.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(300);
const JSON_LIMIT: usize = 8 * 1024 * 1024;
const MOST_REDIRECTS: usize = 4;

pub(crate) const JSON: &str = "application/vnd.github+json";

type Response = http::Response<BoxBody<Bytes, octocrab::Error>>;

/// What GitHub last said about our use of its API (FR-014).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    pub limit: u64,
    pub remaining: u64,
    pub resets_at: DateTime<Utc>,
}

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
    rate_limit: Mutex<Option<RateLimit>>,
}

impl Client {
    pub(crate) fn new(api: Url, access: Access) -> Self {
        Self { api, access, login: OnceCell::new(), rate_limit: Mutex::new(None) }
    }

    pub(crate) fn rate_limit(&self) -> Option<RateLimit> {
        *self.rate_limit.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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
            let answer = within(doing, REQUEST_TIMEOUT, async {
                let response = self.once(self.access.account(), doing, &Method::GET, path, JSON, None).await?;
                self.read(doing, response, JSON_LIMIT).await
            })
            .await?;
            Ok(if self.access.is_app() {
                format!("{}[bot]", answer.json::<App>(doing)?.slug)
            } else {
                answer.json::<User>(doing)?.login
            })
        };
        self.login.get_or_try_init(find).await.map(String::as_str)
    }

    async fn fetch(&self, call: &Call<'_>, limit: usize, patience: Duration) -> Result<Answer> {
        let result = within(call.doing, patience, async {
            let octocrab = self.octocrab(call).await?;
            let response = self.follow(&octocrab, call).await?;
            self.read(call.doing, response, limit).await
        })
        .await;
        if let Err(error) = &result
            && matches!(error.kind, seatrial_preview::ErrorKind::NotFound | seatrial_preview::ErrorKind::Forbidden)
            && let On::Repository(repository) = call.on
        {
            self.access.forget(repository).await;
        }
        result
    }

    /// The client with the credentials for the repository.
    async fn octocrab(&self, call: &Call<'_>) -> Result<Arc<Octocrab>> {
        #[derive(Deserialize)]
        struct Installation {
            id: u64,
        }
        let repository = match call.on {
            On::Account => return Ok(Arc::new(self.access.account().clone())),
            On::Installation(id) => return self.access.installation(id).await,
            On::Repository(repository) => repository,
        };
        if let Some(octocrab) = self.access.known(repository).await {
            return Ok(octocrab);
        }
        let what = format!("find the App's installation for {repository}");
        let doing = Doing { what: &what, permission: "Metadata: read" };
        let path = format!("/repos/{repository}/installation");
        let response = self.once(self.access.account(), doing, &Method::GET, &path, JSON, None).await?;
        let answer = self.read(doing, response, JSON_LIMIT).await.map_err(|error| match error.is_not_found() {
            true => Error::not_found(format!(
                "the GitHub App is not installed for {repository}, or the repository does not exist; \
                 install the App for it"
            )),
            false => error,
        })?;
        self.access.learn(repository, answer.json::<Installation>(doing)?.id).await
    }

    /// Asks, and follows the redirects that may be followed.
    async fn follow(&self, octocrab: &Octocrab, call: &Call<'_>) -> Result<Response> {
        let mut method = call.method.clone();
        let mut path = call.path.clone();
        let mut asked = self.absolute(&path)?;
        for _ in 0..MOST_REDIRECTS {
            let body = call.body.as_ref().filter(|_| method != Method::GET);
            let response = self.once(octocrab, call.doing, &method, &path, call.accept, body).await?;
            let moved = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let Some(location) = response.headers().get(header::LOCATION).filter(|_| moved) else {
                return Ok(response);
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

    async fn once(
        &self,
        octocrab: &Octocrab,
        doing: Doing<'_>,
        method: &Method,
        path: &str,
        accept: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Response> {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, accept)
            .header("x-github-api-version", "2022-11-28");
        let request = octocrab
            .build_request(request, body)
            .map_err(|_| Error::invalid(format!("the request to {} cannot be written as HTTP", doing.what)))?;
        let response = timeout(REQUEST_TIMEOUT, octocrab.execute(request))
            .await
            .map_err(|_| too_slow(doing, REQUEST_TIMEOUT))?
            .map_err(|error| failure::no_answer(doing, error))?;
        self.note(response.headers());
        Ok(response)
    }

    /// Reads the answer to its end, or turns it into the error it is.
    async fn read(&self, doing: Doing<'_>, response: Response, limit: usize) -> Result<Answer> {
        let (head, mut body) = response.into_parts();
        let success = head.status.is_success() && head.status != StatusCode::ACCEPTED;
        let limit = if success { limit } else { JSON_LIMIT };
        let mut collected = BytesMut::new();
        while let Some(frame) =
            timeout(REQUEST_TIMEOUT, body.frame()).await.map_err(|_| too_slow(doing, REQUEST_TIMEOUT))?
        {
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
            Ok(Answer { headers: head.headers, body })
        } else {
            Err(failure::refusal(doing, head.status, &head.headers, &body))
        }
    }

    fn note(&self, headers: &HeaderMap) {
        let number = |name| failure::seconds(headers, name).map(|value| value.as_secs());
        // Other resources (search, GraphQL) have limits of their own.
        let core = headers.get("x-ratelimit-resource").is_none_or(|value| value == "core");
        if core
            && let (Some(limit), Some(remaining), Some(reset)) =
                (number("x-ratelimit-limit"), number("x-ratelimit-remaining"), number("x-ratelimit-reset"))
            && let Some(resets_at) = i64::try_from(reset).ok().and_then(|reset| DateTime::from_timestamp(reset, 0))
        {
            *self.rate_limit.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
                Some(RateLimit { limit, remaining, resets_at });
        }
    }
}

async fn within<T>(doing: Doing<'_>, patience: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(patience, work).await.unwrap_or_else(|_| Err(too_slow(doing, patience)))
}

fn too_slow(doing: Doing<'_>, patience: Duration) -> Error {
    Error::transient(format!("GitHub took longer than {} s to {}", patience.as_secs(), doing.what))
}
