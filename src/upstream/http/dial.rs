//! Opens connections: DNS, TCP and TLS.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use tokio_rustls::TlsConnector;
use tower_service::Service as _;

use super::address::Address;
use super::conn::Conn;
use super::io::{Guarded, Io};
use crate::domain::error_text::in_full;

/// After so long without a sign of the peer the system probes a connection, three times.
const PROBE_AFTER: Duration = Duration::from_secs(15);
/// How long the system tries to bring bytes to the peer.
const UNHEARD: Duration = Duration::from_secs(30);

/// Opens connections to one server. No proxy of the environment is asked.
pub(super) struct Dialer {
    connector: HttpConnector,
    tls: Option<TlsConnector>,
    connect_timeout: Duration,
}

impl Dialer {
    /// `connect_timeout` is how long DNS, TCP and TLS may take together.
    pub(super) fn new(connect_timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect_timeout));
        connector.set_keepalive(Some(PROBE_AFTER));
        connector.set_keepalive_interval(Some(PROBE_AFTER));
        connector.set_keepalive_retries(Some(3));
        #[cfg(target_os = "linux")]
        connector.set_tcp_user_timeout(Some(UNHEARD));
        Self { connector, tls: tls(), connect_timeout }
    }

    /// Opens a connection; nothing of HTTP is sent yet.
    ///
    /// # Errors
    /// Why there is none, in words without the URL.
    pub(super) async fn dial(&self, address: &Address) -> Result<Box<Conn>, String> {
        let connected = tokio::time::timeout(self.connect_timeout, self.connect(address));
        let io = connected
            .await
            .unwrap_or_else(|_| Err(format!("no connection within {:?}", self.connect_timeout)))?;
        Conn::new(io).await.map_err(|error| in_full(&error))
    }

    async fn connect(&self, address: &Address) -> Result<Io, String> {
        let connected = self.connector.clone().call(address.whole.clone()).await;
        let stream = connected.map_err(|error| in_full(&error))?.into_inner();
        let plain = Guarded::new(stream, &Arc::default());
        if !address.is_https() {
            return Ok(Io::plain(plain));
        }
        let Some(tls) = &self.tls else {
            return Err("there are no certificates to trust".to_owned());
        };
        let stream = tls.connect(address.server_name()?, plain).await;
        Ok(Io::tls(stream.map_err(|error| format!("TLS: {}", in_full(&error)))?))
    }
}

/// Trust as the system has it; none on a machine without any certificates, which can still talk
/// plain HTTP.
fn tls() -> Option<TlsConnector> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .ok()?;
    let verifier = rustls_platform_verifier::Verifier::new(provider)
        .inspect_err(|error| {
            tracing::warn!("no certificates to trust, https upstreams can't be reached: {error}");
        })
        .ok()?;
    let mut config = config
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(TlsConnector::from(Arc::new(config)))
}
