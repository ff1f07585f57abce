//! Where a redirect may lead. Credentials stay with the API's own host.

use seatrial_preview::{Error, Result};
use url::Url;

/// The next request after a redirect.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// On the API's own host: path and query, asked with credentials.
    Api(String),
    /// On the host that serves archives: asked without credentials.
    Archive(Url),
}

/// Takes a `Location` apart. `from` is the URL that was asked.
pub(crate) fn next(api: &Url, from: &Url, location: &str) -> Result<Hop> {
    let target = from
        .join(location)
        .map_err(|_| Error::invalid("GitHub redirected to an address that is not a URL".to_owned()))?;
    if target.scheme() != api.scheme() || !target.username().is_empty() || target.password().is_some() {
        return Err(refused(&target));
    }
    if target.origin() == api.origin() {
        return Ok(Hop::Api(match target.query() {
            Some(query) => format!("{}?{query}", target.path()),
            None => target.path().to_owned(),
        }));
    }
    let host = api.host_str().unwrap_or_default();
    let archive = format!("codeload.{}", host.strip_prefix("api.").unwrap_or(host));
    if target.host_str() == Some(archive.as_str()) && target.port() == api.port() {
        return Ok(Hop::Archive(target));
    }
    Err(refused(&target))
}

fn refused(target: &Url) -> Error {
    Error::forbidden(format!(
        "GitHub redirected to {}, which is neither its API nor its archive host; this is not followed",
        target.origin().ascii_serialization()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(api: &str, location: &str) -> Result<Hop> {
        let api: Url = api.parse().unwrap();
        let from = api.join("/repos/o/r/tarball/abc").unwrap();
        next(&api, &from, location)
    }

    #[test]
    fn the_api_itself_is_asked_with_credentials() {
        let same = Hop::Api("/repositories/1/tarball/abc?x=1".to_owned());
        assert_eq!(hop("https://api.github.com", "https://api.github.com/repositories/1/tarball/abc?x=1"), Ok(same));
        assert_eq!(hop("http://127.0.0.1:9000", "/elsewhere"), Ok(Hop::Api("/elsewhere".to_owned())));
    }

    #[test]
    fn archives_are_asked_without_credentials() {
        let url = "https://codeload.github.com/o/r/legacy.tar.gz/abc?token=t";
        assert_eq!(hop("https://api.github.com", url), Ok(Hop::Archive(url.parse().unwrap())));
        let url = "https://codeload.git.example.org/o/r";
        assert_eq!(hop("https://git.example.org/api/v3", url), Ok(Hop::Archive(url.parse().unwrap())));
    }

    #[test]
    fn everything_else_is_refused() {
        for location in [
            "https://evil.example/",
            "http://api.github.com/x",
            "https://api.github.com:8443/x",
            "https://codeload.github.com.evil.example/x",
            "https://codeload.github.com:444/x",
            "https://api.github.com@evil.example/x",
            "https://user:password@api.github.com/x",
            "https://169.254.169.254/latest",
            "file:///etc/passwd",
        ] {
            assert!(hop("https://api.github.com", location).is_err(), "{location}");
        }
    }
}
