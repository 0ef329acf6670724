//! The address a request comes from, for limits. A proxy is believed only if it is configured.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap};

/// The client's address: the peer's, or, where the peer is a trusted proxy, the last address in
/// `X-Forwarded-For` that is not one. Of an IPv6 address it is the network, since whoever has one
/// address has all of it (<https://www.rfc-editor.org/rfc/rfc6177>).
pub(crate) fn address(headers: &HeaderMap, peer: IpAddr, trusted: &[IpAddr]) -> IpAddr {
    let peer = peer.to_canonical();
    if !trusted.contains(&peer) {
        return network(peer);
    }
    let forwarded: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .collect();
    // From the right: what stands further left was written by whoever called the proxy.
    let mut client = peer;
    for hop in forwarded.iter().rev() {
        let Ok(hop) = hop.trim().parse::<IpAddr>() else { break };
        client = hop.to_canonical();
        if !trusted.contains(&client) {
            break;
        }
    }
    network(client)
}

/// The network of 64 bits that an IPv6 address is in.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// The client's address of a request, by the peer that the server noted in its extensions.
pub(crate) fn of_request(
    headers: &HeaderMap,
    extensions: &Extensions,
    trusted: &[IpAddr],
) -> IpAddr {
    let peer = extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
    address(headers, peer, trusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(forwarded: &str, peer: &str, trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        let trusted: Vec<IpAddr> = trusted.iter().map(|t| t.parse().unwrap()).collect();
        address(&headers, peer.parse().unwrap(), &trusted).to_string()
    }

    #[test]
    fn all_addresses_of_a_network_are_one_client() {
        assert_eq!(seen("", "2001:db8:1:2:3:4:5:6", &[]), "2001:db8:1:2::");
        assert_eq!(seen("2001:db8:9::7", "10.0.0.1", &["10.0.0.1"]), "2001:db8:9::");
        assert_eq!(seen("", "::ffff:10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn forwarded_addresses_count_only_from_trusted_proxies() {
        assert_eq!(seen("9.9.9.9", "10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(seen("9.9.9.9", "10.0.0.1", &["10.0.0.1"]), "9.9.9.9");
        assert_eq!(seen("1.1.1.1, 9.9.9.9", "10.0.0.1", &["10.0.0.1"]), "9.9.9.9");
        assert_eq!(seen("9.9.9.9, 10.0.0.2", "10.0.0.1", &["10.0.0.1", "10.0.0.2"]), "9.9.9.9");
        assert_eq!(seen("nonsense", "10.0.0.1", &["10.0.0.1"]), "10.0.0.1");
    }
}
