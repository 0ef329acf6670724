//! Which `Host` and `Origin` this server answers to: the wall against DNS rebinding and against
//! other sites' pages.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use url::Url;

use super::error::{Code, Problem};
use crate::config::Server;
use crate::protocol::header_name;

/// Paths that load balancers call by IP address; any `Host` may do so.
const OPEN_PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// The hosts and origins that this server answers to.
#[derive(Debug, Clone)]
pub(crate) struct Hosts {
    names: BTreeSet<String>,
    origins: BTreeSet<String>,
    mcp_origins: BTreeSet<String>,
}

impl Hosts {
    /// The hosts and origins of the configuration; `bound` is the address really listened on, since
    /// the configured port may be 0.
    pub(crate) fn new(server: &Server, bound: SocketAddr) -> Self {
        let mut hosts: BTreeSet<String> =
            server.allowed_hosts.iter().filter_map(|h| plain_host(h)).collect();
        hosts.extend(plain_host(&bound.to_string()));
        hosts.extend(plain_host(&SocketAddr::new(server.listen.ip(), bound.port()).to_string()));
        if bound.ip().is_loopback() {
            let port = bound.port();
            for name in ["localhost", "127.0.0.1", "[::1]"] {
                hosts.extend(plain_host(&format!("{name}:{port}")));
            }
        }
        let public_host = host_of(&server.public_url);
        let mut origins: BTreeSet<String> = hosts
            .iter()
            .filter(|host| Some(*host) != public_host.as_ref())
            .flat_map(|host| [format!("http://{host}"), format!("https://{host}")])
            .collect();
        origins.insert(server.public_url.origin().ascii_serialization());
        hosts.extend(public_host);
        let mcp_origins = server.allowed_origins.iter().map(|o| plain_origin(o)).collect();
        Self { names: hosts, origins, mcp_origins }
    }

    /// Whether a request with this `Host` is for us.
    pub(crate) fn knows_host(&self, host: &str) -> bool {
        // Nearly every request names it plainly.
        self.names.contains(host) || plain_host(host).is_some_and(|host| self.names.contains(&host))
    }

    /// Whether this `Origin` is one of our own pages.
    pub(crate) fn knows_origin(&self, origin: &str) -> bool {
        self.origins.contains(&plain_origin(origin))
    }

    /// Whether this `Origin` may use the MCP face.
    pub(crate) fn knows_mcp_origin(&self, origin: &str) -> bool {
        self.knows_origin(origin) || self.mcp_origins.contains(&plain_origin(origin))
    }

    /// The answer to a request of which it is not clear what host it is for or which of two headers
    /// counts, or that is for another host or of a foreign origin; none for any other.
    pub(crate) fn refused(&self, request: &Request) -> Option<Response> {
        if let Some(why) = unclear(request) {
            return Some(Problem::new(Code::BadRequest, why).into_response());
        }
        if let Some(name) = repeated(request.headers()) {
            let why = format!("send one {name} header, not several");
            return Some(Problem::new(Code::BadRequest, why).into_response());
        }
        let why = self.refusal(request.uri(), request.headers())?;
        Some(Problem::new(Code::Forbidden, why).into_response())
    }

    fn refusal(&self, uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
        // Which host is meant was looked at before; here whether it is one of ours.
        if OPEN_PATHS.contains(&uri.path()) {
            return None;
        }
        let host = match headers.get(header::HOST) {
            Some(value) => value.to_str().ok(),
            None => uri.authority().map(axum::http::uri::Authority::as_str),
        };
        if !host.is_some_and(|h| self.knows_host(h)) {
            return Some(
                "this server does not answer to that Host; add it to server.allowed_hosts",
            );
        }
        let origin = headers.get(header::ORIGIN)?;
        let Ok(origin) = origin.to_str() else { return Some("the Origin is not readable") };
        let fine = if uri.path() == "/mcp" || uri.path().starts_with("/mcp/") {
            self.knows_mcp_origin(origin)
        } else {
            // `null` names no origin (https://www.rfc-editor.org/rfc/rfc6454#section-7.3);
            // the pages' forms carry a token of their own.
            origin == "null" || self.knows_origin(origin)
        };
        (!fine).then_some("requests from that Origin are refused")
    }
}

/// Headers of which each may stand once in a request: of two, the first would count here and the last
/// elsewhere. `Host` is looked at with the request's own address, and several cookies or forwarded
/// addresses are lists, which are read whole.
const ONCE: [&str; 9] = [
    "authorization",
    "content-type",
    "origin",
    "placet-via",
    header_name::SESSION_ID,
    header_name::PROTOCOL_VERSION,
    header_name::METHOD,
    header_name::NAME,
    header_name::LAST_EVENT_ID,
];

/// Which header stands in a request several times that may be there once.
fn repeated(headers: &HeaderMap) -> Option<&HeaderName> {
    if headers.len() == headers.keys_len() {
        return None;
    }
    headers.keys().find(|name| {
        let once =
            ONCE.contains(&name.as_str()) || name.as_str().starts_with(header_name::PARAM_PREFIX);
        once && headers.get_all(*name).iter().nth(1).is_some()
    })
}

/// Why it can't be told which host a request is for: servers, proxies and caches could each read it
/// otherwise (<https://www.rfc-editor.org/rfc/rfc9112#section-3.2>).
fn unclear(request: &Request) -> Option<&'static str> {
    let (uri, headers) = (request.uri(), request.headers());
    let mut named = headers.get_all(header::HOST).iter();
    let host = named.next();
    if named.next().is_some() {
        return Some("send one Host header, not several");
    }
    match (host, uri.authority()) {
        (Some(host), Some(target)) => {
            let same = host.to_str().ok().and_then(plain_host) == plain_host(target.as_str());
            (!same).then_some("the Host header names another host than the request's own address")
        }
        // HTTP/1.0 knows no Host, and HTTP/2 has it in the request's own address.
        (None, _) if request.version() == Version::HTTP_11 => Some("send a Host header"),
        _ => None,
    }
}

/// Refuses requests of which it is not clear what host they are for or which of two headers counts,
/// for a foreign `Host` or from a foreign `Origin`; for the whole application.
pub(crate) async fn host_guard(
    State(hosts): State<Arc<Hosts>>,
    request: Request,
    next: Next,
) -> Response {
    match hosts.refused(&request) {
        Some(refused) => refused,
        None => next.run(request).await,
    }
}

/// Lower case, without a default port, without user names or paths.
fn plain_host(host: &str) -> Option<String> {
    let url = Url::parse(&format!("http://{host}/")).ok()?;
    let bare = url.path() == "/" && url.username().is_empty() && url.password().is_none();
    host_of(&url).filter(|_| bare && !host.is_empty() && url.query().is_none())
}

fn host_of(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(match url.port() {
        None | Some(80 | 443) => host.to_owned(),
        Some(port) => format!("{host}:{port}"),
    })
}

fn plain_origin(origin: &str) -> String {
    Url::parse(origin).map_or_else(|_| origin.to_owned(), |u| u.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    fn hosts(listen: &str, public_url: &str) -> Hosts {
        let text = format!(
            r#"
            [server]
            listen = "{listen}"
            public_url = "{public_url}"
            allowed_hosts = ["Placet.internal:8443"]
            allowed_origins = ["https://inspector.example.org"]
            [[agents]]
            name = "bot"
            token = "agent-token-agent-token"
            [[reviewers]]
            name = "ana"
            token = "ana-token-ana-token-ana"
            "#
        );
        Hosts::new(&config(&text).server, listen.parse().unwrap())
    }

    #[test]
    fn on_loopback_every_name_of_it_is_ours_with_the_right_port_only() {
        let hosts = hosts("127.0.0.1:8420", "http://127.0.0.1:8420");

        for host in ["127.0.0.1:8420", "LOCALHOST:8420", "[::1]:8420", "placet.internal:8443"] {
            assert!(hosts.knows_host(host), "{host}");
        }
        for host in ["localhost", "localhost:1", "evil.example", "a@localhost:8420", ""] {
            assert!(!hosts.knows_host(host), "{host}");
        }
    }

    #[test]
    fn a_public_address_is_known_with_and_without_its_default_port() {
        let hosts = hosts("0.0.0.0:8420", "https://placet.example.org");

        assert!(hosts.knows_host("placet.example.org"));
        assert!(hosts.knows_host("placet.example.org:443"));
        assert!(hosts.knows_origin("https://placet.example.org"));
        assert!(!hosts.knows_origin("http://placet.example.org"));
        assert!(!hosts.knows_host("localhost:8420"));
    }

    #[test]
    fn allowed_origins_are_for_the_mcp_face_alone() {
        let hosts = hosts("127.0.0.1:8420", "http://127.0.0.1:8420");

        assert!(hosts.knows_mcp_origin("https://inspector.example.org"));
        assert!(!hosts.knows_origin("https://inspector.example.org"));
        assert!(hosts.knows_origin("http://localhost:8420"));
        assert!(!hosts.knows_mcp_origin("null"));
    }

    fn unclear_of(target: &str, named: &[&str], version: Version) -> Option<&'static str> {
        let mut request = Request::builder().uri(target).version(version);
        for host in named {
            request = request.header(header::HOST, *host);
        }
        unclear(&request.body(axum::body::Body::empty()).unwrap())
    }

    #[test]
    fn several_hosts_no_host_and_hosts_that_differ_are_not_read() {
        let (one, two, old) = (Version::HTTP_11, Version::HTTP_2, Version::HTTP_10);
        for (target, named, version) in [
            ("/", &["localhost:8420", "localhost:8420"][..], one),
            ("/", &["localhost:8420", "evil.example"], one),
            ("/healthz", &["a", "b"], old),
            ("/", &[], one),
            ("http://localhost:8420/", &[], one),
            ("http://evil.example/", &["localhost:8420"], one),
            ("http://localhost:8420/", &["evil.example"], two),
        ] {
            assert!(unclear_of(target, named, version).is_some(), "{target} {named:?}");
        }
        for (target, named, version) in [
            ("/", &["localhost:8420"][..], one),
            ("http://LOCALHOST:8420/", &["localhost:8420"], one),
            ("http://localhost:8420/", &[], two),
            ("/healthz", &[], old),
        ] {
            assert_eq!(unclear_of(target, named, version), None, "{target} {named:?}");
        }
    }

    #[test]
    fn health_is_answered_whatever_the_host_says() {
        let hosts = hosts("127.0.0.1:8420", "http://127.0.0.1:8420");
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "10.1.2.3".parse().unwrap());

        assert_eq!(hosts.refusal(&"/healthz".parse().unwrap(), &headers), None);
        assert!(hosts.refusal(&"/".parse().unwrap(), &headers).is_some());
    }
}
