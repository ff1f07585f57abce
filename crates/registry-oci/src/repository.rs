//! `ghcr.io/acme/shop` taken apart.

use std::fmt;

use seatrial_preview::{Error, Result};

/// A repository of a registry: where the tags of one image, or the versions of one chart, are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Repository {
    host: String,
    name: String,
}

const DOCKER_HUB: &str = "docker.io";

impl Repository {
    /// Reads a name as Docker does: without a registry it is Docker Hub's.
    ///
    /// # Errors
    /// `Invalid` when it is not a repository's name, without tag and digest.
    pub fn parse(text: &str) -> Result<Self> {
        let is_host = |first: &str| first.contains(['.', ':']) || first == "localhost";
        let (host, name) = match text.split_once('/') {
            Some((first, name)) if is_host(first) => (first.to_ascii_lowercase(), name.to_owned()),
            _ => (DOCKER_HUB.to_owned(), text.to_owned()),
        };
        let hub = matches!(host.as_str(), DOCKER_HUB | "index.docker.io" | "registry-1.docker.io");
        let (host, name) = match (hub, name.contains('/')) {
            (true, false) => (DOCKER_HUB.to_owned(), format!("library/{name}")),
            (true, true) => (DOCKER_HUB.to_owned(), name),
            (false, _) => (host, name),
        };
        // All of it becomes part of a URL.
        let host_fits = host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
        let part_fits = |part: &str| {
            let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
            !part.is_empty() && part.bytes().all(allowed) && !part.starts_with(['.', '_', '-'])
        };
        if text.len() <= 255 && host_fits && name.split('/').all(part_fits) {
            Ok(Self { host, name })
        } else {
            Err(Error::invalid(format!(
                "{text:?} is not the name of a repository in a registry, like ghcr.io/acme/shop"
            )))
        }
    }

    /// The registry as people name it.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host that answers for the registry.
    pub(crate) fn api_host(&self) -> &str {
        if self.host == DOCKER_HUB { "registry-1.docker.io" } else { &self.host }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.name)
    }
}

/// A tag or a digest, before it becomes part of a URL.
pub(crate) fn check_reference(text: &str) -> Result<()> {
    let tag = |text: &str| {
        (1..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && !text.starts_with(['.', '-'])
    };
    if tag(text) || is_digest(text) {
        Ok(())
    } else {
        Err(Error::invalid(format!("{text:?} is neither a tag nor a digest")))
    }
}

/// `sha256:` or `sha512:` and its digits.
pub(crate) fn is_digest(text: &str) -> bool {
    let digits = |digits: &str, count| {
        digits.len() == count && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    match text.split_once(':') {
        Some(("sha256", rest)) => digits(rest, 64),
        Some(("sha512", rest)) => digits(rest, 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_docker_reads_them() {
        for (text, host, name) in [
            ("shop", "docker.io", "library/shop"),
            ("acme/shop", "docker.io", "acme/shop"),
            ("docker.io/shop", "docker.io", "library/shop"),
            ("index.docker.io/acme/shop", "docker.io", "acme/shop"),
            ("GHCR.io/acme/shop", "ghcr.io", "acme/shop"),
            ("localhost/shop", "localhost", "shop"),
            ("localhost:5000/a/b/c", "localhost:5000", "a/b/c"),
            ("[::1]:5000/shop", "[::1]:5000", "shop"),
        ] {
            let repository = Repository::parse(text).unwrap();
            assert_eq!((repository.host(), repository.name()), (host, name), "{text}");
        }
        assert_eq!(Repository::parse("shop").unwrap().api_host(), "registry-1.docker.io");
    }

    #[test]
    fn what_would_lead_elsewhere_is_refused() {
        for text in [
            "",
            "/",
            "ghcr.io/",
            "ghcr.io/../x",
            "ghcr.io/a//b",
            "ghcr.io/a:tag",
            "ghcr.io/a@sha256:0",
            "a b",
            "ghcr.io/a?x",
            "ghcr.io/A",
            "user@ghcr.io/a",
            "ghcr.io#x/a",
            "Shop",
        ] {
            assert!(Repository::parse(text).is_err(), "{text}");
        }
        let digest = format!("sha256:{}", "0a".repeat(32));
        for text in ["latest", "_x", "1.2.3_build", &digest] {
            assert!(check_reference(text).is_ok(), "{text}");
        }
        for text in ["", ".", "-x", "../x", "a/b", "a b", "sha256:0a", "é", &digest.to_uppercase(), &"x".repeat(129)] {
            assert!(check_reference(text).is_err(), "{text}");
        }
    }
}
