//! Where requests go: what an address says in the head of a request.

use hyper::Uri;
use reqwest::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, USER_AGENT as AGENT};
use rustls::pki_types::ServerName;
use url::{Host, Url};

/// What Placet calls itself.
const USER_AGENT: &str = concat!("placet/", env!("CARGO_PKG_VERSION"));

/// An address, taken apart once for all requests to it.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// As it was written.
    pub(super) url: Url,
    /// What is connected to.
    pub(super) whole: Uri,
    /// What the request line names
    /// (<https://www.rfc-editor.org/rfc/rfc9112#section-3.2.1>).
    pub(super) path: Uri,
}

impl Address {
    /// The address of that URL.
    ///
    /// # Errors
    /// Why nothing can be sent there, in words without the URL: it may hold a secret.
    pub(super) fn of(url: &Url) -> Result<Self, String> {
        let unusable = |_| "the address can't be used".to_owned();
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Ok(Self {
            url: url.clone(),
            whole: url.as_str().parse().map_err(unusable)?,
            path: path.parse().map_err(unusable)?,
        })
    }

    /// Whether TLS is spoken there.
    pub(super) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The name that the server's certificate must have.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(super) fn server_name(&self) -> Result<ServerName<'static>, String> {
        match self.url.host() {
            Some(Host::Domain(name)) => ServerName::try_from(name.to_owned())
                .map_err(|_| "the host has no name that a certificate can have".to_owned()),
            Some(Host::Ipv4(address)) => Ok(ServerName::from(std::net::IpAddr::V4(address))),
            Some(Host::Ipv6(address)) => Ok(ServerName::from(std::net::IpAddr::V6(address))),
            None => Err("the address has no host".to_owned()),
        }
    }
}

/// Adds to the configured headers of an upstream what every request to that URL carries.
pub(super) fn complete(headers: &mut HeaderMap, url: &Url) {
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    // The host of a URL is ASCII.
    if let Ok(host) = HeaderValue::from_str(&host) {
        headers.entry(HOST).or_insert(host);
    }
    headers.entry(AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
    if let Some(credentials) = credentials(url) {
        headers.entry(AUTHORIZATION).or_insert(credentials);
    }
}

/// User and password of an address, as a header
/// (<https://www.rfc-editor.org/rfc/rfc7617#section-2>).
fn credentials(url: &Url) -> Option<HeaderValue> {
    use base64::Engine as _;
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| percent_decoded(text.as_bytes());
    let mut pair = decoded(url.username());
    pair.push(b':');
    pair.extend(decoded(url.password().unwrap_or_default()));
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        if *byte == b'%'
            && let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2))
        {
            out.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
            at += 3;
        } else {
            out.push(*byte);
            at += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(url: &str) -> (Address, HeaderMap) {
        let url = Url::parse(url).unwrap();
        let mut headers = HeaderMap::new();
        complete(&mut headers, &url);
        (Address::of(&url).unwrap(), headers)
    }

    #[test]
    fn the_head_of_a_request_says_path_host_and_user_of_its_address() {
        let (address, headers) = head("http://a%3Ana:s%20t@h.example:8080/mcp/?x=1#f");

        assert_eq!(address.path.to_string(), "/mcp/?x=1");
        assert_eq!(headers[HOST], "h.example:8080");
        assert_eq!(headers[AUTHORIZATION], "Basic YTpuYTpzIHQ=");
        assert!(headers[AUTHORIZATION].is_sensitive());
        assert!(!address.is_https());
    }

    #[test]
    fn what_the_configuration_says_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer t"));
        headers.insert(HOST, HeaderValue::from_static("virtual.example"));

        complete(&mut headers, &Url::parse("https://u:p@h.example/").unwrap());

        assert_eq!(
            (&headers[AUTHORIZATION], &headers[HOST]),
            (&HeaderValue::from_static("Bearer t"), &HeaderValue::from_static("virtual.example"))
        );
        assert_eq!(headers[AGENT], USER_AGENT);
    }
}
