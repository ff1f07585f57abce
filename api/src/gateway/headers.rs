//! What a proxy must change about headers.

use poem::http::header::{self, HeaderName};
use poem::http::{HeaderMap, HeaderValue};

/// They are about one connection, not about the request (RFC 9110, 7.6.1).
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What proxies say about the client. Whoever comes here could have made it up.
const FORWARDED: [&str; 6] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-real-ip"];

/// Cuts what was meant for this hop, also what `Connection` names.
pub(super) fn cut_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Says who asks, for which host, and how.
pub(super) fn set_forwarded(
    headers: &mut HeaderMap,
    client: Option<std::net::IpAddr>,
    host: &str,
    scheme: &'static str,
) {
    for name in FORWARDED {
        headers.remove(name);
    }
    if let Some(client) = client.and_then(|client| HeaderValue::from_str(&client.to_string()).ok()) {
        headers.insert("x-forwarded-for", client);
    }
    if let Ok(host) = HeaderValue::from_str(host) {
        headers.insert("x-forwarded-host", host);
    }
    headers.insert("x-forwarded-proto", HeaderValue::from_static(scheme));
}

/// The protocol the client wants to change to, as a WebSocket does.
pub(super) fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let connection = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let mut named = connection.flat_map(|value| value.split(','));
    let asked = named.any(|name| name.trim().eq_ignore_ascii_case("upgrade"));
    headers.get(header::UPGRADE).filter(|_| asked).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn what_connection_names_is_cut_too() {
        let mut headers = map(&[("connection", "close, X-Secret"), ("x-secret", "1"), ("te", "trailers"), ("x", "1")]);
        cut_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("x", "1")]));
    }

    #[test]
    fn forwarded_headers_from_outside_are_not_believed() {
        let mut headers =
            map(&[("x-forwarded-for", "6.6.6.6"), ("x-real-ip", "6.6.6.6"), ("forwarded", "for=6.6.6.6")]);
        set_forwarded(&mut headers, Some([1, 2, 3, 4].into()), "a.example:80", "http");
        let expected =
            map(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-host", "a.example:80"), ("x-forwarded-proto", "http")]);
        assert_eq!(headers, expected);
    }

    #[test]
    fn an_upgrade_must_be_asked_for_twice() {
        assert!(wanted_upgrade(&map(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")])).is_some());
        assert!(wanted_upgrade(&map(&[("upgrade", "websocket")])).is_none());
        assert!(wanted_upgrade(&map(&[("connection", "upgrade")])).is_none());
    }
}
