//! The bytes of one connection, over TCP or TLS, and what is asked before they are written or read:
//! the leave of an approved call before each write, and the system itself whether a connection that
//! was idle is still there.

use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::super::Leave;
use super::super::gate::TOO_LATE;

/// What the parts of one connection know of each other.
#[derive(Debug, Default)]
pub(super) struct Guard {
    leave: OnceLock<Leave>,
    /// The body was handed to the connection.
    handed: AtomicBool,
    /// The whole request was written: from here on nothing is refused.
    whole: AtomicBool,
    refused: AtomicBool,
    /// The next read asks the system, whatever the runtime knows.
    looks: AtomicBool,
    /// The next read has the system acknowledge at once what came.
    acknowledges: AtomicBool,
}

impl Guard {
    /// Gives leave to write the only request of this connection.
    pub(super) fn allow(&self, leave: Leave) {
        // Set once, before that request.
        let _ = self.leave.set(leave);
    }

    /// Whether a write was refused.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::SeqCst)
    }

    /// Has the next read ask the system. The runtime learns of a peer's end when it looks for events,
    /// which may be after the connection is used again.
    pub(super) fn look(&self) {
        self.looks.store(true, Ordering::Relaxed);
    }

    /// Has the next read tell the peer that what came has arrived. A server that writes the head and
    /// the body of its answer apart, and lets the system gather small writes, sends the body only then;
    /// by itself the system waits up to 40 ms for something to send along.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc9293#section-3.8.6.3>,
    /// <https://www.rfc-editor.org/rfc/rfc896>
    pub(super) fn acknowledge(&self) {
        self.acknowledges.store(true, Ordering::Relaxed);
    }

    /// Asked directly before each write.
    fn check(&self) -> io::Result<()> {
        let Some(leave) = self.leave.get() else { return Ok(()) };
        if self.whole.load(Ordering::SeqCst) || leave.is_good() {
            return Ok(());
        }
        self.refused.store(true, Ordering::SeqCst);
        Err(io::Error::new(io::ErrorKind::TimedOut, TOO_LATE))
    }
}

/// The body of a request.
pub(super) struct Body {
    bytes: Option<Bytes>,
    /// Who wants to know that it was handed over.
    guard: Option<Arc<Guard>>,
}

impl Body {
    /// One of these bytes.
    pub(super) fn of(bytes: Bytes) -> Self {
        Self { bytes: Some(bytes), guard: None }
    }

    /// None at all.
    pub(super) fn empty() -> Self {
        Self { bytes: None, guard: None }
    }

    /// Tells that guard when it was handed over.
    pub(super) fn guarded(self, guard: &Arc<Guard>) -> Self {
        Self { guard: Some(Arc::clone(guard)), ..self }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let bytes = self.bytes.take();
        if let Some(guard) = &self.guard {
            guard.handed.store(true, Ordering::SeqCst);
        }
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
pub(super) struct Guarded {
    stream: TcpStream,
    guard: Arc<Guard>,
}

impl Guarded {
    pub(super) fn new(stream: TcpStream, guard: &Arc<Guard>) -> Self {
        Self { stream, guard: Arc::clone(guard) }
    }

    /// What the system has to read; none where there is nothing.
    fn read_now(&self, buffer: &mut ReadBuf<'_>) -> Option<io::Result<()>> {
        let socket = SockRef::from(&self.stream);
        let read = match socket.peek(&mut [MaybeUninit::uninit()]) {
            // Its end: nothing is read.
            Ok(0) => Ok(0),
            Ok(_) => (&*socket).read(buffer.initialize_unfilled()),
            Err(error) => Err(error),
        };
        match read {
            Ok(count) => {
                buffer.advance(count);
                Some(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.guard.looks.load(Ordering::Relaxed) {
            self.guard.looks.store(false, Ordering::Relaxed);
            if let Some(read) = self.read_now(buffer) {
                return Poll::Ready(read);
            }
        }
        if self.guard.acknowledges.load(Ordering::Relaxed) {
            self.guard.acknowledges.store(false, Ordering::Relaxed);
            // Where a system knows no such wish, the answer comes a little later.
            #[cfg(target_os = "linux")]
            let _ = SockRef::from(&self.stream).set_tcp_quickack(true);
        }
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
pub(super) struct Io {
    stream: Stream,
    pub(super) guard: Arc<Guard>,
}

#[derive(Debug)]
enum Stream {
    Plain(Guarded),
    Tls(Box<tokio_rustls::client::TlsStream<Guarded>>),
}

impl Io {
    /// One over the socket itself.
    pub(super) fn plain(socket: Guarded) -> Self {
        let guard = Arc::clone(&socket.guard);
        Self { stream: Stream::Plain(socket), guard }
    }

    /// One over TLS.
    pub(super) fn tls(stream: tokio_rustls::client::TlsStream<Guarded>) -> Self {
        let guard = Arc::clone(&stream.get_ref().0.guard);
        Self { stream: Stream::Tls(Box::new(stream)), guard }
    }

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
