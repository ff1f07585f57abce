//! The OCI distribution API, read only.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{LINK, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode};
use seatrial_preview::{Error, ErrorKind, Result};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256, Sha512};
use url::Url;

use crate::challenge::{self, Challenge};
use crate::credentials::Credentials;
use crate::outbound::{Answer, Limits, Outbound, Question, is_refusal};
use crate::reach::{Reach, Role};
use crate::repository::{Repository, check_reference, is_digest};

const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
const DIGEST: &str = "docker-content-digest";

/// The specification's own limit for manifests.
const MANIFEST: Limits = Limits { bytes: 4 * 1024 * 1024, time: Duration::from_secs(30) };
const SMALL: Limits = Limits { bytes: 1024 * 1024, time: Duration::from_secs(30) };
/// A repository with more tags than this many pages hold has older ones than anybody looks for.
const MOST_PAGES: usize = 10;
/// How long a token is good for when its registry does not say; also by the specification.
const TOKEN_LIFE: u64 = 60;

/// Registries, asked without credentials where none are given.
#[derive(Debug)]
pub struct Registries {
    outbound: Outbound,
    credentials: Credentials,
    tokens: Mutex<HashMap<Repository, Token>>,
}

#[derive(Debug)]
struct Token {
    /// The whole header.
    text: SecretString,
    until: Instant,
}

/// A manifest, and its digest, which was checked.
#[derive(Debug, Clone)]
pub struct Manifest {
    pub digest: String,
    pub body: Bytes,
}

impl Registries {
    /// # Errors
    /// When there is no TLS provider.
    pub fn new(reach: Reach) -> Result<Self> {
        Ok(Self { outbound: Outbound::new(reach)?, credentials: Credentials::default(), tokens: Mutex::default() })
    }

    /// The registries that ask for a user and password are given these.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        Self { credentials, ..self }
    }

    /// The client underneath, for what is not a registry.
    pub fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    /// The digest behind a tag, without the manifest; `None` when there is no such tag.
    pub(crate) async fn find_digest(&self, repository: &Repository, tag: &str) -> Result<Option<String>> {
        let answer = self.ask(Method::HEAD, repository, &["manifests", tag], MANIFESTS, MANIFEST).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let digest = answer.headers.get(DIGEST).and_then(|digest| digest.to_str().ok()).filter(|text| is_digest(text));
        match digest {
            Some(digest) if answer.status.is_success() => Ok(Some(digest.to_owned())),
            // Some do not say it, and some do not know HEAD.
            None if answer.status.is_success() || answer.status == StatusCode::METHOD_NOT_ALLOWED => {
                Ok(self.find_manifest(repository, tag).await?.map(|manifest| manifest.digest))
            }
            _ => Err(self.error(&answer, repository, &format!("the tags of {}", repository.name()))),
        }
    }

    /// The manifest behind a tag or digest; `None` when there is none.
    ///
    /// # Errors
    /// `Invalid` too when it does not have the digest it was asked by.
    pub async fn find_manifest(&self, repository: &Repository, reference: &str) -> Result<Option<Manifest>> {
        let answer = self.ask(Method::GET, repository, &["manifests", reference], MANIFESTS, MANIFEST).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let body = self.success(answer, repository, &format!("{} {reference}", repository.name()))?;
        let digest = if is_digest(reference) {
            verify(&body, reference, repository)?;
            reference.to_owned()
        } else {
            digest_of(&body)
        };
        Ok(Some(Manifest { digest, body }))
    }

    /// A blob, of at most `limits`.
    ///
    /// # Errors
    /// `Invalid` too when it does not have its digest.
    pub async fn download_blob(&self, repository: &Repository, digest: &str, limits: Limits) -> Result<Bytes> {
        let answer = self.ask(Method::GET, repository, &["blobs", digest], "*/*", limits).await?;
        let body = self.success(answer, repository, &format!("a part of {}", repository.name()))?;
        verify(&body, digest, repository)?;
        Ok(body)
    }

    /// The repository's tags, in the registry's order; `None` when there is no such repository.
    pub async fn list_tags(&self, repository: &Repository) -> Result<Option<Vec<String>>> {
        #[derive(Deserialize)]
        struct Tags {
            tags: Option<Vec<String>>,
        }
        let first = self.url(repository, &["tags", "list"])?;
        let mut next = Some(first.clone());
        let mut tags = Vec::new();
        for _ in 0..MOST_PAGES {
            let Some(url) = next else { break };
            let answer = self.ask_at(Method::GET, repository, &url, "application/json", SMALL).await?;
            if answer.status == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            // `</v2/shop/tags/list?last=x>; rel="next"`
            let link =
                answer.headers.get(LINK).and_then(|link| link.to_str().ok()).filter(|link| link.contains("next"));
            let link = link.and_then(|link| link.split_once('<')?.1.split_once('>'));
            next = link.and_then(|(link, _)| url.join(link).ok()).filter(|next| next.origin() == first.origin());
            let body = self.success(answer, repository, &format!("the tags of {}", repository.name()))?;
            let page: Tags = serde_json::from_slice(&body).map_err(|error| not_understood(repository, &error))?;
            tags.extend(page.tags.unwrap_or_default());
        }
        Ok(Some(tags))
    }

    fn url(&self, repository: &Repository, path: &[&str]) -> Result<Url> {
        let host = repository.api_host();
        let text =
            format!("{}://{host}/v2/{}/{}", self.outbound.reach().scheme(host), repository.name(), path.join("/"));
        Url::parse(&text).map_err(|_| Error::invalid(format!("{} is not a registry's host", repository.host())))
    }

    async fn ask(
        &self,
        method: Method,
        repository: &Repository,
        path: &[&str; 2],
        accept: &'static str,
        limits: Limits,
    ) -> Result<Answer> {
        check_reference(path[1])?;
        self.ask_at(method, repository, &self.url(repository, path)?, accept, limits).await
    }

    /// Asks, fetching a token if one is wanted.
    async fn ask_at(
        &self,
        method: Method,
        repository: &Repository,
        url: &Url,
        accept: &'static str,
        limits: Limits,
    ) -> Result<Answer> {
        // Docker Hub answers under another name than people know it by.
        self.outbound.reach().admit(&self.named(repository)?, Role::Named)?;
        let known = self.known_token(repository);
        let ask = |authorization: Option<SecretString>| {
            let method = method.clone();
            async move {
                let authorization = authorization.as_ref();
                self.outbound.ask(Question { method, url, role: Role::Sent, accept, authorization, limits }).await
            }
        };
        let answer = ask(known).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let wanted: Vec<&str> =
            answer.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|header| header.to_str().ok()).collect();
        if let Some(challenge) = wanted.iter().find_map(|header| challenge::bearer(header)) {
            return ask(Some(self.fetch_token(repository, &challenge).await?)).await;
        }
        match self.basic(repository).filter(|_| wanted.iter().any(|header| challenge::is_basic(header))) {
            Some(basic) => ask(Some(basic)).await,
            None => Ok(answer),
        }
    }

    fn named(&self, repository: &Repository) -> Result<Url> {
        let (scheme, host) = (self.outbound.reach().scheme(repository.host()), repository.host());
        Url::parse(&format!("{scheme}://{host}/"))
            .map_err(|_| Error::invalid(format!("{host} is not a registry's host")))
    }

    fn success(&self, answer: Answer, repository: &Repository, what: &str) -> Result<Bytes> {
        if answer.status.is_success() { Ok(answer.body) } else { Err(self.error(&answer, repository, what)) }
    }

    fn error(&self, answer: &Answer, repository: &Repository, what: &str) -> Error {
        let error = answer.error(repository.host(), what);
        if !is_refusal(&error) {
            return error;
        }
        let advice = match self.credentials.find(repository) {
            None => {
                "Seatrial asks without credentials, so make it public, or give Seatrial some by SEATRIAL_REGISTRY_AUTH_FILE"
            }
            Some(_) => "let the user that Seatrial has there read it",
        };
        Error { message: format!("{error}; {advice}"), ..error }
    }

    fn basic(&self, repository: &Repository) -> Option<SecretString> {
        let pair = self.credentials.find(repository)?;
        Some(format!("Basic {}", pair.expose_secret()).into())
    }

    fn known_token(&self, repository: &Repository) -> Option<SecretString> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        tokens.retain(|_, token| token.until > now);
        tokens.get(repository).map(|token| token.text.clone())
    }

    async fn fetch_token(&self, repository: &Repository, challenge: &Challenge) -> Result<SecretString> {
        #[derive(Deserialize)]
        struct Given {
            token: Option<SecretString>,
            access_token: Option<SecretString>,
            expires_in: Option<u64>,
        }
        let host = repository.host();
        let mut url = Url::parse(&challenge.realm)
            .map_err(|_| Error::invalid(format!("{host} names no address where a token is to be had")))?;
        let scope = challenge.scope.clone().unwrap_or_else(|| format!("repository:{}:pull", repository.name()));
        url.query_pairs_mut().append_pair("scope", &scope);
        if let Some(service) = &challenge.service {
            url.query_pairs_mut().append_pair("service", service);
        }
        // A user and a password go to the token service that the registry names, as with every
        // client, but never in the clear to another host than the registry's own.
        let own = self.url(repository, &["manifests"])?.origin() == url.origin();
        let basic = self.basic(repository).filter(|_| own || url.scheme() == "https");
        let question = Question {
            method: Method::GET,
            url: &url,
            role: Role::Sent,
            accept: "application/json",
            authorization: basic.as_ref(),
            limits: SMALL,
        };
        let answer = self.outbound.ask(question).await?;
        let body = self.success(answer, repository, &format!("a token for {}", repository.name())).map_err(
            |error| match error.kind {
                // A token service that is not there says nothing about the image.
                ErrorKind::NotFound => Error::invalid(error.message),
                _ => error,
            },
        )?;
        let given: Given = serde_json::from_slice(&body).map_err(|error| not_understood(repository, &error))?;
        let text = given
            .token
            .or(given.access_token)
            .filter(|text| !text.expose_secret().is_empty())
            .ok_or_else(|| Error::invalid(format!("{host} gave no token for {}", repository.name())))?;
        let text = SecretString::from(format!("Bearer {}", text.expose_secret()));
        // Renewed a little early, so that none ends on its way.
        let life = given.expires_in.unwrap_or(TOKEN_LIFE).clamp(1, 3600);
        let until = Instant::now() + Duration::from_secs(life * 9 / 10);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(repository.clone(), Token { text: text.clone(), until });
        Ok(text)
    }
}

fn not_understood(repository: &Repository, error: &serde_json::Error) -> Error {
    Error::invalid(format!("{} does not answer as a registry does: {error}", repository.host()))
}

/// The SHA-256 digest, as registries write it.
pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn verify(bytes: &[u8], digest: &str, repository: &Repository) -> Result<()> {
    let real = if digest.starts_with("sha512:") {
        format!("sha512:{}", hex::encode(Sha512::digest(bytes)))
    } else {
        digest_of(bytes)
    };
    if real == digest {
        return Ok(());
    }
    Err(Error::invalid(format!("{} sent something else for {digest} of {}", repository.host(), repository.name())))
}

#[cfg(test)]
#[path = "registries_tests.rs"]
mod tests;
