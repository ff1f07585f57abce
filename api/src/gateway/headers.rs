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
const FORWARDED: [&str; 11] = [
    "forwarded",
    "x-forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-original-host",
    "x-real-ip",
];

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

/// Says who asks, for which host, and how: `url` is the preview's own, so that it is right too
/// where somebody else ends TLS before us.
pub(super) fn set_forwarded(headers: &mut HeaderMap, client: Option<std::net::IpAddr>, host: &str, url: &str) {
    for name in FORWARDED {
        headers.remove(name);
    }
    let url = url::Url::parse(url).ok();
    let scheme = if url.as_ref().is_some_and(|url| url.scheme() == "https") { "https" } else { "http" };
    if let Some(port) = url.and_then(|url| url.port_or_known_default()) {
        headers.insert("x-forwarded-port", HeaderValue::from(port));
    }
    headers.append(header::VIA, HeaderValue::from_static("1.1 seatrial"));
    if let Some(client) = client.and_then(|client| HeaderValue::from_str(&client.to_string()).ok()) {
        headers.insert("x-forwarded-for", client);
    }
    if let Ok(host) = HeaderValue::from_str(host) {
        headers.insert("x-forwarded-host", host);
    }
    headers.insert("x-forwarded-proto", HeaderValue::from_static(scheme));
}

/// Whether the client wants to go on as a WebSocket. No other protocol is changed to: in HTTP/2
/// without TLS (`h2c`), say, requests would go past us unseen.
pub(super) fn wants_websocket(headers: &HeaderMap) -> bool {
    let named = |name: HeaderName, token: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(token))
    };
    named(header::CONNECTION, "upgrade") && named(header::UPGRADE, "websocket")
}

/// HTTP/2 may send cookies in several fields, HTTP/1.1 has one (RFC 9113, 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else { return };
    let mut joined = [first.as_bytes(), second.as_bytes()].join(b"; ".as_slice());
    for cookie in cookies {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, joined);
    }
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
        let mut headers = map(&[
            ("x-forwarded-for", "6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
            ("x-forwarded-host", "b.example"),
            ("x-forwarded-prefix", "/b"),
        ]);
        headers.insert("via", HeaderValue::from_static("1.0 other"));
        set_forwarded(&mut headers, Some([1, 2, 3, 4].into()), "a.example:8081", "https://a.example");
        assert_eq!(headers.get_all("via").iter().collect::<Vec<_>>(), ["1.0 other", "1.1 seatrial"]);
        headers.remove("via");
        let expected = map(&[
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-host", "a.example:8081"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", "443"),
        ]);
        assert_eq!(headers, expected);
    }

    #[test]
    fn an_upgrade_must_be_asked_for_twice_and_be_a_websocket() {
        let wants = |connection, upgrade| wants_websocket(&map(&[("connection", connection), ("upgrade", upgrade)]));
        assert!(wants("keep-alive, Upgrade", "WebSocket"));
        assert!(!wants("keep-alive", "websocket"));
        assert!(!wants("upgrade, http2-settings", "h2c"));
        assert!(!wants_websocket(&map(&[("connection", "upgrade")])));
    }

    #[test]
    fn cookies_become_one() {
        let mut headers = map(&[("cookie", "a=1"), ("x", "1")]);
        join_cookies(&mut headers);
        assert_eq!(headers, map(&[("cookie", "a=1"), ("x", "1")]));
        headers.append("cookie", HeaderValue::from_static("b=2"));
        headers.append("cookie", HeaderValue::from_static("c=3"));
        join_cookies(&mut headers);
        assert_eq!(headers, map(&[("cookie", "a=1; b=2; c=3"), ("x", "1")]));
    }
}
