//! Serves HTTP/1.1 on a listener, within limits of time and number.
//!
//! <https://www.rfc-editor.org/rfc/rfc9112>

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{Connection, Connections, Entry, Full, Phase};
use super::event_stream::{Asked, Desk, Resumed};

/// How often connections that took too long are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Pause after the system could not accept a connection: descriptors may be used up.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);

/// What answers the requests.
pub(crate) trait Answers: Clone + Send + Sync + 'static {
    /// Answers one, whose extensions tell its connection's address ([`ConnectInfo`]).
    fn answer(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
}

/// How it is served and stopped.
pub(crate) struct Serving {
    /// Who is connected.
    pub connections: Arc<Connections>,
    /// Largest head of a request, bytes; 431 beyond.
    pub max_head: usize,
    /// Prepares each connection's socket.
    pub prepare: fn(&TcpStream, Duration),
    /// Given to that.
    pub heartbeat: Duration,
    /// No more connections are accepted, and those that are open end with their answer.
    pub stop: CancellationToken,
}

/// Serves until it is stopped and the last connection has ended. Dropped before, it ends all.
pub(crate) async fn serve(listener: TcpListener, answers: impl Answers, serving: Serving) {
    let tracker = TaskTracker::new();
    let over = CancellationToken::new();
    let _over_on_drop = over.clone().drop_guard();
    let connections = Arc::clone(&serving.connections);
    let looks = async {
        loop {
            sleep(LOOK_EVERY).await;
            connections.end_overdue(Instant::now());
        }
    };
    let accepts = async {
        'next: for id in 0.. {
            let (stream, peer) = accept(&listener).await;
            let entry = loop {
                match serving.connections.admit(id, peer.ip(), Instant::now()) {
                    Ok(entry) => break entry,
                    // This one waits, and whoever comes meanwhile, in the system's queue.
                    Err(Full::All) => serving.connections.room().await,
                    Err(Full::Address) => {
                        refuse(&stream);
                        continue 'next;
                    }
                }
            };
            (serving.prepare)(&stream, serving.heartbeat);
            let served = connection(
                stream,
                peer,
                answers.clone(),
                entry,
                serving.stop.clone(),
                serving.max_head,
            );
            let over = over.clone();
            tracker.spawn(async move {
                tokio::select! {
                    () = served => {}
                    () = over.cancelled() => {}
                }
            });
        }
    };
    tokio::select! {
        () = serving.stop.cancelled() => {}
        () = accepts => {}
        () = looks => {}
    }
    drop(listener);
    tracker.close();
    tracker.wait().await;
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // It was gone before it was taken.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::ConnectionRefused
                ) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted now; it is tried again");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Says why there is no room for another from this address, as far as that can be said without
/// waiting, and closes.
fn refuse(stream: &TcpStream) {
    let body = problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "too_many_connections",
        "there are too many connections from this address (server.max_connections_per_address), \
         and each has a request; try again",
    );
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
         retry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.try_write(text.as_bytes());
}

/// A problem document (<https://www.rfc-editor.org/rfc/rfc9457>). Texts need no escapes.
fn problem(status: StatusCode, code: &str, detail: &str) -> String {
    format!(
        r#"{{"type":"about:blank","title":"{}","status":{},"detail":"{detail}","code":"{code}"}}"#,
        status.canonical_reason().unwrap_or_default(),
        status.as_u16()
    )
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    answers: impl Answers,
    entry: Entry,
    stop: CancellationToken,
    max_head: usize,
) {
    let connection = Arc::clone(&entry.connection);
    let within = connection.limits().body;
    let mut io = Resumed::new(Bytes::new(), Heard { stream, connection: Arc::clone(&connection) });
    let mut stops = false;
    loop {
        let (desk, mut taken) = Desk::new();
        let desk = Arc::new(desk);
        let service = service_fn({
            let (answers, connection) = (answers.clone(), Arc::clone(&connection));
            move |request: Request<Incoming>| {
                let on = On { peer, connection: Arc::clone(&connection), desk: Arc::clone(&desk) };
                answer(answers.clone(), request, on, within)
            }
        });
        let mut served = http1::Builder::new()
            .max_header_size(max_head)
            // Its times are watched from outside, where what is idle can also make room.
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(io), service);
        if stops {
            Pin::new(&mut served).graceful_shutdown();
        }
        let stream = loop {
            tokio::select! {
                biased;
                Ok(stream) = &mut taken => break stream,
                _ = &mut served => return,
                () = connection.close.cancelled() => return,
                () = stop.cancelled(), if !stops => {
                    stops = true;
                    Pin::new(&mut served).graceful_shutdown();
                }
            }
        };
        // It has read the request whole, and waits for an answer that it will not get.
        let parts = served.into_parts();
        let (rest, mut heard) = parts.io.into_inner().into_parts();
        let mut ahead = [&parts.read_buf[..], &rest[..]].concat();
        drop((parts.read_buf, rest));
        let written = stream.write(&mut heard, &mut ahead, || stop.is_cancelled());
        let goes_on = tokio::select! {
            goes_on = written => goes_on,
            () = connection.close.cancelled() => return,
        };
        if !goes_on {
            // The client may still read the end.
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut heard).await;
            return;
        }
        io = Resumed::new(Bytes::from(ahead), heard);
    }
}

/// Where a request came in.
struct On {
    peer: SocketAddr,
    connection: Arc<Connection>,
    desk: Arc<Desk<Answering>>,
}

/// One request, on its way through the program.
async fn answer(
    answers: impl Answers,
    request: Request<Incoming>,
    On { peer, connection, desk }: On,
    within: Duration,
) -> Result<Response<Answering>, Infallible> {
    connection.enter(Phase::Body, Instant::now());
    let (asked, came) = (Asked::by(&request), Arc::new(Came::default()));
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(ConnectInfo(peer));
    let body = Arriving {
        body,
        connection: Arc::clone(&connection),
        within,
        deadline: None,
        came: Arc::clone(&came),
    };
    if body.is_end_stream() {
        came.whole.store(true, Ordering::Relaxed);
        connection.read(Instant::now());
    }
    let request = Request::from_parts(parts, Body::new(body));
    let response = match answers.answer(request).await {
        _ if came.late.load(Ordering::Relaxed) => too_late(within),
        response => response,
    };
    connection.read(Instant::now());
    let is_stream = asked.gets_stream(&response) && came.whole.load(Ordering::Relaxed);
    let response = response.map(|body| Answering { body, connection });
    if !is_stream {
        return Ok(response);
    }
    desk.hand(asked, response);
    // It is written by whoever drops this.
    std::future::pending().await
}

fn too_late(within: Duration) -> axum::response::Response {
    let status = StatusCode::REQUEST_TIMEOUT;
    let detail = format!("the body did not come within {within:?} (server.body_timeout)");
    let mut response = (status, problem(status, "body_timeout", &detail)).into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/problem+json");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A connection that notes when something comes.
struct Heard {
    stream: TcpStream,
    connection: Arc<Connection>,
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        if into.filled().len() > before {
            self.connection.heard(Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// The body of a request, which must be whole in time.
struct Arriving {
    body: Incoming,
    connection: Arc<Connection>,
    /// From when somebody begins to read it.
    within: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    came: Arc<Came>,
}

/// How the body of a request came.
#[derive(Debug, Default)]
struct Came {
    /// Not in time.
    late: AtomicBool,
    /// To its end.
    whole: AtomicBool,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        // Nearly all are whole at once. The time of any other counts also while bytes come all the
        // time.
        if !self.body.is_end_stream() && !matches!(polled, Poll::Ready(None)) {
            let within = self.within;
            let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(within)));
            if deadline.as_mut().poll(cx).is_ready() {
                self.came.late.store(true, Ordering::Relaxed);
                let error = io::Error::new(io::ErrorKind::TimedOut, "the body took too long");
                return Poll::Ready(Some(Err(axum::Error::new(error))));
            }
        }
        let frame = ready!(polled);
        if frame.is_none() || self.body.is_end_stream() {
            self.came.whole.store(true, Ordering::Relaxed);
            self.connection.read(Instant::now());
        }
        Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::new)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        // Whoever read it has seen enough.
        self.connection.read(Instant::now());
    }
}

/// The body of an answer. The connection is idle once it is out.
struct Answering {
    body: Body,
    connection: Arc<Connection>,
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.connection.enter(Phase::Idle, Instant::now());
    }
}
