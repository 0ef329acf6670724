//! Where a webhook may connect to. Unless its notifier says otherwise, only to public addresses:
//! a literal host is judged before the request, a name by every address it resolves to, and only
//! addresses judged fine are handed to the connector, so a name can't change in between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;
use url::{Host, Url};

/// Why a host is not connected to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Refused {
    /// The address is not a public one.
    #[error(
        "{address} is {what} address; set allow_private_network = true if it is meant to be reached"
    )]
    NotPublic {
        /// The address.
        address: IpAddr,
        /// What it is, with its article.
        what: &'static str,
    },
    /// Neither name nor address.
    #[error("the URL has no host")]
    NoHost,
    /// Not http or https.
    #[error("only http and https are spoken, not {0}")]
    Scheme(String),
}

/// Judges a URL before it is requested. Names pass: their addresses are judged when they resolve.
///
/// # Errors
/// [`Refused`], when the scheme is not http or https, there is no host, or its literal address is
/// not public.
pub(crate) fn check(url: &Url) -> Result<(), Refused> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Refused::Scheme(url.scheme().to_owned()));
    }
    // `Url` has already read the decimal, octal and hexadecimal spellings of an address.
    match url.host() {
        None => Err(Refused::NoHost),
        Some(Host::Domain(_)) => Ok(()),
        Some(Host::Ipv4(address)) => judge(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => judge(IpAddr::V6(address)),
    }
}

/// What is special about an address, with its article; none for a public one.
pub(crate) fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    }
}

fn judge(address: IpAddr) -> Result<(), Refused> {
    special(address).map_or(Ok(()), |what| Err(Refused::NotPublic { address, what }))
}

/// The special ranges of IPv4, after <https://www.rfc-editor.org/rfc/rfc6890#section-2.2.2>, and
/// multicast.
fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("an unspecified"),
        [127, ..] => Some("a loopback"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("a private"),
        [100, 64..=127, ..] => Some("a shared (carrier NAT)"),
        [169, 254, ..] => Some("a link-local"),
        [192, 0, 0, _] => Some("a protocol-assignment"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("a documentation"),
        [192, 88, 99, _] => Some("a relay"),
        [198, 18..=19, ..] => Some("a benchmarking"),
        [224..=239, ..] => Some("a multicast"),
        [255, 255, 255, 255] => Some("a broadcast"),
        [240..=255, ..] => Some("a reserved"),
        _ => None,
    }
}

/// The special ranges of IPv6, after <https://www.rfc-editor.org/rfc/rfc6890#section-2.2.3>,
/// multicast, and what embeds or borrows an IPv4 address.
fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(v4) = address.to_ipv4_mapped() {
        return special_v4(v4);
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("an unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback"),
        [0x64, 0xff9b, ..] => Some("a NAT64"),
        [0xfc00..=0xfdff, ..] => Some("a unique-local"),
        [0xfe80..=0xfebf, ..] => Some("a link-local"),
        [0xfec0..=0xfeff, ..] => Some("a site-local"),
        [0xff00..=0xffff, ..] => Some("a multicast"),
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Some("a documentation"),
        // Teredo and other protocol assignments carry or borrow addresses of their own.
        [0x2001, 0..=0x01ff, ..] => Some("a protocol-assignment"),
        [0x2002, ..] => Some("a 6to4"),
        [0x2000..=0x3fff, ..] => None,
        // Global unicast is 2000::/3; everything else is unassigned or embeds something.
        _ => Some("a reserved"),
    }
}

/// Resolves names with the system's resolver and keeps public addresses only.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let addresses = public(&found)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The public ones among resolved addresses; an error naming the first of them if none is.
fn public(found: &[SocketAddr]) -> Result<Vec<SocketAddr>, Refused> {
    let fine: Vec<SocketAddr> =
        found.iter().copied().filter(|a| special(a.ip()).is_none()).collect();
    match found.first() {
        Some(first) if fine.is_empty() => judge(first.ip()).map(|()| fine),
        _ => Ok(fine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_address_is_refused_however_it_is_spelled() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:10.0.0.1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::1]",
            "[100::1]",
            "[2001::1]",
            "[2001:db8::1]",
            "[2002:7f00:1::]",
            "[3fff::1]",
            "[fc00::1]",
            "[fd12:3456::1]",
            "[fe80::1]",
            "[fec0::1]",
            "[ff02::1]",
        ] {
            let url = Url::parse(&format!("http://{host}/hook")).unwrap();

            assert!(matches!(check(&url), Err(Refused::NotPublic { .. })), "{host}");
        }
    }

    #[test]
    fn public_addresses_and_names_pass() {
        for host in [
            "8.8.8.8",
            "100.63.255.255",
            "172.32.0.1",
            "[2606:4700::1111]",
            "[::ffff:8.8.8.8]",
            "hooks.example.org",
        ] {
            let url = Url::parse(&format!("https://{host}/hook")).unwrap();

            assert_eq!(check(&url), Ok(()), "{host}");
        }
    }

    #[test]
    fn other_schemes_are_refused() {
        let url = Url::parse("ftp://hooks.example.org/").unwrap();

        assert_eq!(check(&url), Err(Refused::Scheme("ftp".into())));
    }

    #[test]
    fn only_public_ones_of_the_resolved_addresses_are_used() {
        let inside: SocketAddr = "10.0.0.1:0".parse().unwrap();
        let outside: SocketAddr = "8.8.8.8:0".parse().unwrap();

        assert_eq!(public(&[inside, outside]), Ok(vec![outside]));
        assert_eq!(
            public(&[inside]),
            Err(Refused::NotPublic { address: inside.ip(), what: "a private" })
        );
    }

    #[tokio::test]
    async fn a_name_of_this_machine_does_not_resolve() {
        let refused = PublicOnly.resolve("localhost".parse().unwrap()).await.map(|_| ());

        assert!(refused.unwrap_err().to_string().contains("loopback"));
    }
}
