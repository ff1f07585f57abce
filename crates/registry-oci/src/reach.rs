//! Which hosts may be asked, and how.

use seatrial_preview::{Error, Result};
use url::{Host, Url};

use crate::address::is_public;

/// What the operator allows. The default allows every public host by https, and nothing else.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    named: Vec<Pattern>,
    private: Vec<Pattern>,
    plain_http: Vec<Pattern>,
}

/// Who said that a host should be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A repository's settings: the list of allowed hosts applies.
    Named,
    /// A registry or a chart repository that was allowed: for its tokens, blobs and archives, which
    /// often lie elsewhere. The rules for addresses and for plain http apply all the same.
    Sent,
}

/// How an allowed host is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// At public addresses only.
    Public,
    /// Wherever its name leads.
    Anywhere,
}

/// `ghcr.io`, `localhost:5000`, `*.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    host: String,
    port: Option<u16>,
    below: bool,
}

impl Reach {
    /// - `named`: the only hosts that settings may name; empty allows all.
    /// - `private`: hosts that may be at loopback, link-local and private addresses.
    /// - `plain_http`: hosts that are asked by http instead of https.
    ///
    /// A host without a port means the usual port, `*.` any name below.
    ///
    /// # Errors
    /// `Invalid` names the entry that is not a host.
    pub fn new(named: &[String], private: &[String], plain_http: &[String]) -> Result<Self> {
        let read = |list: &[String]| list.iter().map(|text| Pattern::read(text)).collect::<Result<Vec<_>>>();
        Ok(Self { named: read(named)?, private: read(private)?, plain_http: read(plain_http)? })
    }

    /// `http` for the hosts that are to be asked so, else `https`.
    pub fn scheme(&self, host: &str) -> &'static str {
        let plain = Url::parse(&format!("http://{host}")).is_ok_and(|url| fits(&self.plain_http, &url));
        if plain { "http" } else { "https" }
    }

    /// # Errors
    /// `Forbidden`, with the setting that would allow it.
    pub(crate) fn admit(&self, url: &Url, role: Role) -> Result<Way> {
        let host = shown(url);
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::forbidden(format!("an address of {host} has a user in it, which is not used")));
        }
        if url.scheme() != "https" && !(url.scheme() == "http" && fits(&self.plain_http, url)) {
            return Err(Error::forbidden(format!(
                "{host} is not asked by {}, only by https; Seatrial's operator can allow plain http for it with SEATRIAL_REGISTRY_HTTP_HOSTS",
                url.scheme()
            )));
        }
        if role == Role::Named && !self.named.is_empty() && !fits(&self.named, url) {
            return Err(Error::forbidden(format!(
                "{host} is not one of the hosts that images and charts may come from; Seatrial's operator can add it to SEATRIAL_REGISTRY_HOSTS"
            )));
        }
        if fits(&self.private, url) {
            return Ok(Way::Anywhere);
        }
        // Names are looked at when they are resolved.
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            _ => None,
        };
        if literal.is_some_and(|address| !is_public(address)) {
            return Err(private(&host));
        }
        Ok(Way::Public)
    }
}

/// What is said of a host whose addresses are all private.
pub(crate) fn private(host: &str) -> Error {
    Error::forbidden(format!(
        "{host} is at a private address, which is not asked; Seatrial's operator can allow it with SEATRIAL_REGISTRY_PRIVATE_HOSTS"
    ))
}

/// Host and port of a URL, for people.
pub(crate) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or("an address without a host");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn fits(patterns: &[Pattern], url: &Url) -> bool {
    patterns.iter().any(|pattern| pattern.fits(url))
}

impl Pattern {
    fn read(text: &str) -> Result<Self> {
        let wrong = || {
            Error::invalid(format!("{text:?} is not a host: write it like ghcr.io, localhost:5000 or *.example.com"))
        };
        let (below, rest) = text.strip_prefix("*.").map_or((false, text), |rest| (true, rest));
        let url = Url::parse(&format!("http://{rest}")).map_err(|_| wrong())?;
        let plain = rest.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
        let host = url.host_str().filter(|_| plain).ok_or_else(wrong)?.to_owned();
        // The URL forgets a port that is http's own.
        let port = if url.port().is_none() && rest.ends_with(":80") { Some(80) } else { url.port() };
        Ok(Self { host, port, below })
    }

    fn fits(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let host_fits = if self.below {
            host.strip_suffix(self.host.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        } else {
            host == self.host
        };
        host_fits
            && match self.port {
                None => url.port().is_none(),
                port => port == url.port_or_known_default(),
            }
    }
}

#[cfg(test)]
mod tests {
    use seatrial_preview::ErrorKind;

    use super::*;

    fn list(hosts: &[&str]) -> Vec<String> {
        hosts.iter().map(ToString::to_string).collect()
    }

    fn admit(reach: &Reach, url: &str, role: Role) -> Option<Way> {
        match reach.admit(&url.parse().unwrap(), role) {
            Ok(way) => Some(way),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Forbidden, "{error}");
                None
            }
        }
    }

    #[test]
    fn by_default_everything_public_and_only_by_https() {
        let reach = Reach::default();
        for url in ["https://ghcr.io/v2/", "https://1.1.1.1/", "https://example.com:8443/", "https://localhost/"] {
            // Of names the resolver decides.
            assert_eq!(admit(&reach, url, Role::Named), Some(Way::Public), "{url}");
        }
        for url in [
            "http://ghcr.io/",
            "https://127.0.0.1/",
            "https://[::1]:5000/",
            "https://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest/meta-data",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://user@ghcr.io/",
            "ftp://ghcr.io/",
            "file:///etc/passwd",
        ] {
            assert_eq!(admit(&reach, url, Role::Named), None, "{url}");
            assert_eq!(admit(&reach, url, Role::Sent), None, "{url}");
        }
    }

    #[test]
    fn what_is_listed_is_allowed_and_no_other_port_of_it() {
        let reach = Reach::new(
            &list(&["ghcr.io", "*.example.com", "127.0.0.1:5000"]),
            &list(&["127.0.0.1:5000", "registry.internal"]),
            &list(&["127.0.0.1:5000"]),
        )
        .unwrap();
        let named = |url| admit(&reach, url, Role::Named);
        assert_eq!(named("https://ghcr.io/"), Some(Way::Public));
        assert_eq!(named("https://a.b.example.com/"), Some(Way::Public));
        assert_eq!(named("http://127.0.0.1:5000/"), Some(Way::Anywhere));
        for url in [
            "https://ghcr.io:8443/",
            "https://example.com/",
            "https://.example.com/",
            "https://badexample.com/",
            "https://ghcr.io.evil.example/",
            "http://127.0.0.1:5001/",
            "http://127.0.0.1/",
            "https://registry.internal/",
        ] {
            assert_eq!(named(url), None, "{url}");
        }
        // Where a registry sends us is not on the list, but under the same rules for addresses.
        assert_eq!(admit(&reach, "https://cdn.elsewhere.example/", Role::Sent), Some(Way::Public));
        assert_eq!(admit(&reach, "https://registry.internal/", Role::Sent), Some(Way::Anywhere));
        assert_eq!(admit(&reach, "http://cdn.elsewhere.example/", Role::Sent), None);
        assert_eq!((reach.scheme("127.0.0.1:5000"), reach.scheme("ghcr.io")), ("http", "https"));
    }

    #[test]
    fn ports_and_entries_are_read_strictly() {
        let reach =
            Reach::new(&list(&["localhost:80", "[::1]:5000", "b.example:443"]), &[], &list(&["localhost:80"])).unwrap();
        assert_eq!(admit(&reach, "http://localhost/", Role::Named), Some(Way::Public));
        assert_eq!(admit(&reach, "https://b.example/", Role::Named), Some(Way::Public));
        assert_eq!(admit(&reach, "https://localhost/", Role::Named), None, "that is port 443");
        for entry in [
            "",
            "*",
            "*.",
            "https://ghcr.io",
            "ghcr.io/acme",
            "a b",
            "user@ghcr.io",
            "ghcr.io:x",
            "a,b",
            "*.*.example.com",
        ] {
            let error = Reach::new(&list(&[entry]), &[], &[]).unwrap_err();
            assert!(error.message.contains("is not a host"), "{entry}: {error}");
        }
    }
}
