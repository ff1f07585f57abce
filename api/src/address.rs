//! From where a request comes: the peer, or, behind a proxy that is trusted, whom it names.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use poem::Request;
use poem::http::HeaderMap;

/// The client's address. What `X-Forwarded-For` says counts only as far as trusted proxies wrote
/// it: from the right, the first address that is none of theirs.
pub(crate) fn client(request: &Request, proxies: &[IpNet]) -> Option<IpAddr> {
    let peer = request.remote_addr().as_socket_addr().map(SocketAddr::ip)?;
    Some(seen_through(peer, request.headers(), proxies))
}

fn seen_through(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let trusted = |address: IpAddr| proxies.iter().any(|net| net.contains(&address.to_canonical()));
    let mut seen = peer.to_canonical();
    let named = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let named: Vec<&str> = named.flat_map(|value| value.split(',')).map(str::trim).collect();
    for name in named.iter().rev() {
        if !trusted(seen) {
            break;
        }
        let Ok(address) = name.parse::<IpAddr>() else { break };
        seen = address.to_canonical();
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let proxies: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "203.0.113.9, 198.51.100.7".parse().unwrap());
        headers.append("x-forwarded-for", "10.0.0.2".parse().unwrap());
        let seen = |peer: &str| seen_through(peer.parse().unwrap(), &headers, &proxies).to_string();
        assert_eq!(seen("10.0.0.1"), "198.51.100.7", "what is left of it, anybody can write");
        assert_eq!(seen("::ffff:10.0.0.1"), "198.51.100.7");
        assert_eq!(seen("192.0.2.1"), "192.0.2.1", "no proxy of ours");
        assert_eq!(seen_through("10.0.0.1".parse().unwrap(), &HeaderMap::new(), &proxies).to_string(), "10.0.0.1");
    }
}
