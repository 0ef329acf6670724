//! Posts an approved call: over a connection of its own, since a kept one may be half dead and then
//! nobody knows whether the call arrived; and through its gate, which is passed when the connection
//! stands. From then on every write to the socket asks the leave it gave, directly before the system
//! is called, until the whole request was written. A request of which a write was refused is not
//! whole at the server, which so can't have run it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use hyper::client::conn::http1;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use reqwest::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, USER_AGENT as AGENT};
use reqwest::{Method, Response};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service as _;
use url::{Host, Url};

use super::super::gate::TOO_LATE;
use super::super::{Gate, Leave, UpstreamError, message};
use crate::domain::error_text::in_full;

/// What Placet calls itself.
pub(super) const USER_AGENT: &str = concat!("placet/", env!("CARGO_PKG_VERSION"));
/// After so long without a sign of the peer the system probes a connection, three times.
const PROBE_AFTER: Duration = Duration::from_secs(15);
/// How long the system tries to bring bytes to the peer.
const UNHEARD: Duration = Duration::from_secs(30);

/// Opens a connection for each request.
pub(super) struct Once {
    connector: HttpConnector,
    tls: Option<TlsConnector>,
    connect_timeout: Duration,
}

impl Once {
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

    /// Posts `body` (JSON) through the gate and gives back the response, its body not yet read.
    ///
    /// # Errors
    /// [`UpstreamError::NotSent`] where the server can't have read the whole of it, else
    /// [`UpstreamError::Lost`].
    pub(super) async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: String,
        gate: Option<&Arc<dyn Gate>>,
    ) -> Result<Response, UpstreamError> {
        let not_sent = |why: String| UpstreamError::NotSent(message::printable(&why));
        let request = request(url, headers, body).map_err(not_sent)?;
        let guard = request.body().guard.clone();
        let connected = tokio::time::timeout(self.connect_timeout, self.connect(url, &guard));
        let io = connected
            .await
            .unwrap_or_else(|_| Err(format!("no connection within {:?}", self.connect_timeout)))
            .map_err(not_sent)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(io)).await.map_err(|error| not_sent(in_full(&error)))?;
        tokio::spawn(async move {
            // How it ended is told to the request.
            let _ = connection.await;
        });
        if let Some(gate) = gate {
            // Set once, before the only request of this connection.
            let _ = guard.leave.set(gate.pass().await.map_err(not_sent)?);
        }
        match sender.try_send_request(request).await {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                Ok(Response::from(hyper::Response::from_parts(parts, reqwest::Body::wrap(body))))
            }
            Err(_) if guard.is_refused() => Err(not_sent(TOO_LATE.to_owned())),
            Err(failed) => {
                let unsent = failed.message().is_some();
                let why = message::printable(&in_full(failed.error()));
                Err(if unsent { not_sent(why) } else { UpstreamError::Lost(why) })
            }
        }
    }

    async fn connect(&self, url: &Url, guard: &Arc<Guard>) -> Result<Io, String> {
        let uri: Uri = url.as_str().parse().map_err(|_| "the address can't be used".to_owned())?;
        let connected = self.connector.clone().call(uri).await.map_err(|error| in_full(&error))?;
        let plain = Guarded { stream: connected.into_inner(), guard: Arc::clone(guard) };
        let guard = Arc::clone(guard);
        if url.scheme() != "https" {
            return Ok(Io { stream: Stream::Plain(plain), guard });
        }
        let Some(tls) = &self.tls else {
            return Err("there are no certificates to trust".to_owned());
        };
        let name = match url.host() {
            Some(Host::Domain(name)) => ServerName::try_from(name.to_owned())
                .map_err(|_| "the host has no name that a certificate can have".to_owned())?,
            Some(Host::Ipv4(address)) => ServerName::from(std::net::IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => ServerName::from(std::net::IpAddr::V6(address)),
            None => return Err("the address has no host".to_owned()),
        };
        let stream =
            tls.connect(name, plain).await.map_err(|error| format!("TLS: {}", in_full(&error)))?;
        Ok(Io { stream: Stream::Tls(Box::new(stream)), guard })
    }
}

/// Trust as the HTTP client has it; none on a machine without any certificates.
fn tls() -> Option<TlsConnector> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .ok()?;
    let verifier = rustls_platform_verifier::Verifier::new(provider).ok()?;
    let mut config = config
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(TlsConnector::from(Arc::new(config)))
}

/// The POST in origin form
/// (<https://www.rfc-editor.org/rfc/rfc9112#section-3.2.1>).
fn request(url: &Url, headers: HeaderMap, body: String) -> Result<hyper::Request<Body>, String> {
    let text = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let uri: Uri = text.parse().map_err(|_| "the address can't be used".to_owned())?;
    let guard = Arc::<Guard>::default();
    let mut request = hyper::Request::new(Body { bytes: Some(Bytes::from(body)), guard });
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    let own = request.headers_mut();
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let host = HeaderValue::from_str(&host).map_err(|_| "the host can't be used".to_owned())?;
    own.entry(HOST).or_insert(host);
    own.entry(AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
    if let Some(credentials) = credentials(url) {
        own.entry(AUTHORIZATION).or_insert(credentials);
    }
    Ok(request)
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

/// What the parts of one exchange know of each other.
#[derive(Debug, Default)]
struct Guard {
    leave: OnceLock<Leave>,
    /// The body was handed to the connection.
    handed: AtomicBool,
    /// The whole request was written: from here on nothing is refused.
    whole: AtomicBool,
    refused: AtomicBool,
}

impl Guard {
    fn is_refused(&self) -> bool {
        self.refused.load(Ordering::SeqCst)
    }

    /// Asked directly before each write.
    fn check(&self) -> io::Result<()> {
        if self.whole.load(Ordering::SeqCst) || self.leave.get().is_none_or(Leave::is_good) {
            return Ok(());
        }
        self.refused.store(true, Ordering::SeqCst);
        Err(io::Error::new(io::ErrorKind::TimedOut, TOO_LATE))
    }
}

/// The body of the request.
struct Body {
    bytes: Option<Bytes>,
    guard: Arc<Guard>,
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let bytes = self.bytes.take();
        self.guard.handed.store(true, Ordering::SeqCst);
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// The socket.
#[derive(Debug)]
struct Guarded {
    stream: TcpStream,
    guard: Arc<Guard>,
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.guard.check()?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.guard.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The connection as HTTP sees it, over the socket or over TLS.
#[derive(Debug)]
struct Io {
    stream: Stream,
    guard: Arc<Guard>,
}

#[derive(Debug)]
enum Stream {
    Plain(Guarded),
    Tls(Box<tokio_rustls::client::TlsStream<Guarded>>),
}

impl Io {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut (dyn ReadWrite + Unpin + Send)> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream),
            Stream::Tls(stream) => Pin::new(&mut **stream),
        }
    }
}

trait ReadWrite: AsyncRead + AsyncWrite {}
impl<T: AsyncRead + AsyncWrite> ReadWrite for T {}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    /// HTTP flushes when it has handed over all it has: once the body was among that, the whole
    /// request is with the system.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.as_mut().stream().poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) && self.guard.handed.load(Ordering::SeqCst) {
            self.guard.whole.store(true, Ordering::SeqCst);
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}
