//! Which preview a request is for. There is one answer or none: a request that names two hosts
//! could be taken for one here and for the other behind us.

use poem::Request;
use poem::http::header;

/// The name under which the client asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// Host and perhaps port, as the client wrote them.
    pub authority: String,
    /// Lower case, without the port and without the dot at the end.
    pub host: String,
}

/// By the request's target (the absolute form of HTTP/1.1, HTTP/2's `:authority`) and by `Host`;
/// whoever sends both must mean the same. What proxies say in `X-Forwarded-Host` and `Forwarded` is
/// not looked at. `None` when nothing, or no single host, is named.
pub(super) fn named(request: &Request) -> Option<Named> {
    let target = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let mut headers = request.headers().get_all(header::HOST).iter();
    let header = match headers.next() {
        Some(value) => Some(value.to_str().ok()?.to_owned()),
        None => None,
    };
    if headers.next().is_some() {
        return None;
    }
    let authority = match (target, header) {
        (Some(target), Some(header)) if host_of(&target) != host_of(&header) => return None,
        (Some(target), _) => target,
        (None, header) => header?,
    };
    let host = host_of(&authority);
    (!host.is_empty()).then_some(Named { authority, host })
}

fn host_of(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use poem::http::Uri;

    use super::*;

    fn host(target: &str, headers: &[&'static str]) -> Option<String> {
        let mut request = Request::builder().uri(target.parse::<Uri>().unwrap()).finish();
        for value in headers {
            request.headers_mut().append(header::HOST, value.parse().unwrap());
        }
        named(&request).map(|named| named.host)
    }

    #[test]
    fn a_host_has_many_spellings() {
        for spelling in
            ["a.localhost", "A.LocalHost", "a.localhost.", "a.localhost:8081", "A.localhost.:80", "a.localhost:"]
        {
            assert_eq!(host("/", &[spelling]).as_deref(), Some("a.localhost"), "{spelling}");
        }
    }

    #[test]
    fn what_only_looks_like_a_host_is_not_it() {
        for other in [
            "a.localhost..",
            ".a.localhost",
            "a.localhost@b",
            "b@a.localhost",
            "a.localhost:x",
            "a.localhost:80:80",
            "a.localhost/x",
            "a.localhost, b",
            "a.localhost b",
        ] {
            assert_ne!(host("/", &[other]).as_deref(), Some("a.localhost"), "{other}");
        }
    }

    #[test]
    fn the_target_may_name_the_host_and_must_not_contradict() {
        assert_eq!(host("http://a.localhost:8081/x", &[]).as_deref(), Some("a.localhost"));
        assert_eq!(host("http://a.localhost/x", &["A.localhost:8081"]).as_deref(), Some("a.localhost"));
        assert_eq!(host("http://a.localhost/x", &["b.localhost"]), None);
        assert_eq!(host("http://b@a.localhost/x", &["a.localhost"]), None);
        assert_eq!(host("/", &["a.localhost", "b.localhost"]), None);
        assert_eq!(host("/", &["a.localhost", "a.localhost"]), None);
        assert_eq!(host("/", &[]), None);
        assert_eq!(host("/", &[""]), None);
    }
}
