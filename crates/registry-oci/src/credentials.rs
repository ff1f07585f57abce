//! What registries are asked with.

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use seatrial_preview::{Error, Result};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::repository::Repository;

/// Users and passwords by registry. Every repository that Seatrial serves may use them, so they are
/// to be read-only ones.
#[derive(Clone, Default)]
pub struct Credentials {
    by_host: HashMap<String, SecretString>,
}

impl Credentials {
    /// Reads the `auths` of a Docker configuration, which is also what a Kubernetes secret of the
    /// type `kubernetes.io/dockerconfigjson` holds.
    ///
    /// # Errors
    /// `Invalid` names the registry whose entry cannot be used. Never says what is in it.
    pub fn parse(config: &SecretString) -> Result<Self> {
        #[derive(Deserialize)]
        struct Config {
            #[serde(default)]
            auths: HashMap<String, Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            #[serde(default)]
            auth: String,
            #[serde(default)]
            username: String,
            #[serde(default)]
            password: String,
        }
        let config: Config = serde_json::from_str(config.expose_secret())
            // The reason may quote what must not be shown.
            .map_err(|_| {
                Error::invalid("the registries' credentials are not a Docker configuration: JSON with `auths`")
            })?;
        let mut by_host = HashMap::new();
        for (host, Entry { auth, username, password }) in config.auths {
            let pair = if auth.is_empty() {
                format!("{username}:{password}")
            } else {
                let decoded = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                decoded.unwrap_or_default()
            };
            if pair.split_once(':').is_none_or(|(user, password)| user.is_empty() || password.is_empty()) {
                return Err(Error::invalid(format!(
                    "the credentials of {host:?} have no user and password; credential helpers are not supported"
                )));
            }
            by_host.insert(name(&host), SecretString::from(STANDARD.encode(pair)));
        }
        Ok(Self { by_host })
    }

    /// The value of `Authorization: Basic` for the registry.
    pub(crate) fn find(&self, repository: &Repository) -> Option<&SecretString> {
        self.by_host.get(repository.host())
    }
}

/// The registry of an entry, whose name may be written as an address: `https://index.docker.io/v1/`.
fn name(entry: &str) -> String {
    let bare = entry.split_once("://").map_or(entry, |(_, rest)| rest);
    let host = bare.split('/').next().unwrap_or_default().to_ascii_lowercase();
    // Known as the images' names know it.
    Repository::parse(&format!("{host}/x")).map_or(host, |repository| repository.host().to_owned())
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_host.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Credentials> {
        Credentials::parse(&text.into())
    }

    #[test]
    fn a_docker_configuration_is_read() {
        let auth = STANDARD.encode("user:pass:word");
        let text = format!(
            r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{auth}"}}, "GHCR.io": {{"username": "u", "password": "p"}}, "localhost:5000": {{"auth": "{auth}"}}}}, "credsStore": "x"}}"#
        );
        let credentials = parse(&text).unwrap();
        for (image, pair) in
            [("acme/shop", "user:pass:word"), ("ghcr.io/acme/shop", "u:p"), ("localhost:5000/x", "user:pass:word")]
        {
            let found = credentials.find(&Repository::parse(image).unwrap()).unwrap();
            assert_eq!(found.expose_secret(), STANDARD.encode(pair), "{image}");
        }
        assert!(credentials.find(&Repository::parse("quay.io/x").unwrap()).is_none());
        assert!(credentials.find(&Repository::parse("localhost:5001/x").unwrap()).is_none());
        let shown = format!("{credentials:?}");
        assert!(shown.contains("docker.io") && !shown.contains(&auth) && !shown.contains("pass"), "{shown}");
        assert!(parse("{}").unwrap().by_host.is_empty());
    }

    #[test]
    fn what_cannot_be_used_is_named_but_not_shown() {
        for text in [
            "hushhush",
            r#"{"auths": {"ghcr.io": {}}}"#,
            r#"{"auths": {"ghcr.io": {"auth": "hushhush"}}}"#,
            r#"{"auths": {"ghcr.io": {"username": "hushhush"}}}"#,
            r#"{"auths": "hushhush"}"#,
        ] {
            let error = parse(text).unwrap_err();
            assert!(!error.message.contains("hushhush"), "{error}");
            assert!(error.message.contains("ghcr.io") || error.message.contains("Docker configuration"), "{error}");
        }
    }
}
