//! Streams of events, written to their connection here. A stream may be quiet for an hour, and hyper
//! keeps sixteen kilobytes of buffers for each connection meanwhile; this keeps none. What is not a
//! stream is hyper's, before it and after it on the same connection.
//!
//! The answer is HTTP/1.1 in chunks (<https://www.rfc-editor.org/rfc/rfc9112#section-7.1>).

use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, ready};

use axum::http::{HeaderMap, Method, Request, Response, Version, header};
use bytes::{Buf as _, Bytes};
use hyper::body::{Body as HttpBody, Frame};
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::oneshot;

/// Bytes that are gathered before they are written.
const GATHERED: usize = 16 << 10;
/// Bytes of the client's next request that are read while a stream is written; then no more.
const AHEAD: usize = 8 << 10;
/// Bytes read at once.
const READ: usize = 1 << 10;

/// An answer that is taken out of hyper's hands.
pub(super) struct Stream<B> {
    response: Response<B>,
    /// Whether the connection goes on after it.
    keeps: bool,
}

/// Where such an answer is handed over: by the service, which then never answers hyper.
pub(super) struct Desk<B>(Mutex<Option<oneshot::Sender<Stream<B>>>>);

/// Whether an answer to a request of this kind can be written here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    is_fit: bool,
    keeps: bool,
}

impl Asked {
    /// Looks at the request, before it goes on its way.
    pub(super) fn by<T>(request: &Request<T>) -> Self {
        let is_fit = request.version() == Version::HTTP_11 && request.method() != Method::HEAD;
        Self { is_fit, keeps: !closes(request.headers()) }
    }

    /// Whether this answer to it is a stream of events.
    pub(super) fn gets_stream<B>(self, response: &Response<B>) -> bool {
        let kind = response.headers().get(header::CONTENT_TYPE);
        self.is_fit
            && response.status().is_success()
            && !response.headers().contains_key(header::CONTENT_LENGTH)
            && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
    }
}

/// Whether a message says that its connection ends with it
/// (<https://www.rfc-editor.org/rfc/rfc9112#section-9.6>).
fn closes(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|value| {
        let mut options = value.as_bytes().split(|byte| *byte == b',');
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    })
}

impl<B> Desk<B> {
    /// A desk, and where to wait at it.
    pub(super) fn new() -> (Self, oneshot::Receiver<Stream<B>>) {
        let (hand, taken) = oneshot::channel();
        (Self(Mutex::new(Some(hand))), taken)
    }

    /// Hands a stream over.
    pub(super) fn hand(&self, asked: Asked, response: Response<B>) {
        let keeps = asked.keeps && !closes(response.headers());
        let hand = self.0.lock().expect("no holder of this lock panics").take();
        if let Some(hand) = hand {
            // Whoever took it would be gone with the connection.
            let _ = hand.send(Stream { response, keeps });
        }
    }
}

impl<B> Stream<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    /// Writes it to its end. What the client sent ahead is added to `ahead`. True where the connection
    /// may go on.
    pub(super) async fn write(
        self,
        io: &mut (impl AsyncRead + AsyncWrite + Unpin),
        ahead: &mut Vec<u8>,
        stops: impl Fn() -> bool,
    ) -> bool {
        let keeps = self.keeps && !stops();
        let (head, body) = self.response.into_parts();
        let mut out = Vec::with_capacity(512);
        put_head(&mut out, &head.headers, head.status.as_str(), keeps);
        let mut writing = Writing { io, body, ahead, out, end: None };
        loop {
            std::future::poll_fn(|cx| writing.gather(cx)).await;
            let out = std::mem::take(&mut writing.out);
            if writing.io.write_all(&out).await.is_err() || writing.io.flush().await.is_err() {
                return false;
            }
            match writing.end {
                None => {}
                Some(End::Whole) => return keeps && !stops(),
                Some(End::Broken) => return false,
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum End {
    Whole,
    /// The client is gone, or the body failed.
    Broken,
}

struct Writing<'a, I, B> {
    io: &'a mut I,
    body: B,
    ahead: &'a mut Vec<u8>,
    out: Vec<u8>,
    end: Option<End>,
}

impl<I, B> Writing<'_, I, B>
where
    I: AsyncRead + Unpin,
    B: HttpBody<Data = Bytes> + Unpin,
{
    /// Ready when there is something to write, or it is over.
    fn gather(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.end.is_none() && self.out.len() < GATHERED {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => put(&mut self.out, frame),
                Poll::Ready(Some(Err(_))) => self.end = Some(End::Broken),
                Poll::Ready(None) => {
                    self.out.extend_from_slice(b"0\r\n\r\n");
                    self.end = Some(End::Whole);
                }
                Poll::Pending => break,
            }
        }
        if self.end.is_none() && self.out.is_empty() {
            ready!(self.listen(cx));
            self.end = Some(End::Broken);
        }
        Poll::Ready(())
    }

    /// Ready when the client is gone.
    fn listen(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.ahead.len() < AHEAD {
            let mut bytes = [0; READ];
            let mut into = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut *self.io).poll_read(cx, &mut into)) {
                Ok(()) if !into.filled().is_empty() => self.ahead.extend_from_slice(into.filled()),
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }
}

/// Status line and headers.
fn put_head(out: &mut Vec<u8>, headers: &HeaderMap, status: &str, keeps: bool) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_bytes());
    out.extend_from_slice(b" OK\r\n");
    let mut line = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    };
    for (name, value) in headers {
        if name != header::CONNECTION && name != header::TRANSFER_ENCODING {
            line(name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if !headers.contains_key(header::DATE) {
        line(b"date", date(OffsetDateTime::now_utc()).as_bytes());
    }
    if !keeps {
        line(b"connection", b"close");
    }
    line(b"transfer-encoding", b"chunked");
    out.extend_from_slice(b"\r\n");
}

/// One chunk; trailers are left out.
fn put(out: &mut Vec<u8>, frame: Frame<Bytes>) {
    let Ok(mut data) = frame.into_data() else { return };
    // An empty one would be the last.
    if data.has_remaining() {
        out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        out.extend_from_slice(&data);
        data.clear();
        out.extend_from_slice(b"\r\n");
    }
}

/// As HTTP writes it (<https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7>).
fn date(at: OffsetDateTime) -> String {
    let (day, month) = (at.weekday().to_string(), at.month().to_string());
    format!(
        "{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
        &day[..3],
        at.day(),
        &month[..3],
        at.year(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// What came ahead of its time, before what comes now.
pub(super) struct Resumed<I> {
    ahead: Bytes,
    pub(super) io: I,
}

impl<I> Resumed<I> {
    /// `io`, of which these bytes were read already.
    pub(super) fn new(ahead: Bytes, io: I) -> Self {
        Self { ahead, io }
    }

    /// The bytes that are still to be read of those.
    pub(super) fn into_parts(self) -> (Bytes, I) {
        (self.ahead, self.io)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Resumed<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, into);
        }
        let length = self.ahead.len().min(into.remaining());
        into.put_slice(&self.ahead.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Resumed<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use futures_util::stream;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn streamed(frames: &[&'static str]) -> Response<Body> {
        let frames: Vec<_> =
            frames.iter().map(|f| Ok::<_, Infallible>(Bytes::from_static(f.as_bytes()))).collect();
        Response::builder()
            .header(header::CONTENT_TYPE, "text/event-stream")
            .header(header::DATE, "now")
            .body(Body::from_stream(stream::iter(frames)))
            .unwrap()
    }

    fn asked(by: axum::http::request::Builder) -> Asked {
        Asked::by(&by.body(()).unwrap())
    }

    #[tokio::test]
    async fn a_stream_is_written_in_chunks_and_the_connection_goes_on_with_what_came_ahead() {
        let (mut client, mut server) = tokio::io::duplex(1 << 10);
        client.write_all(b"GET /next").await.unwrap();
        let (desk, taken) = Desk::new();
        desk.hand(asked(Request::get("/")), streamed(&["data: 1\n\n", "", "data: 2\n\n"]));
        let mut ahead = Vec::new();

        let goes_on = taken.await.unwrap().write(&mut server, &mut ahead, || false).await;

        assert!(goes_on);
        let mut next = Resumed::new(Bytes::from(ahead), server);
        let mut read = [0; 9];
        next.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"GET /next");
        drop(next);
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ndate: now\r\n\
             transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn a_client_that_goes_ends_a_quiet_stream_and_what_it_sends_meanwhile_does_not() {
        let (mut client, mut server) = tokio::io::duplex(1 << 14);
        let (desk, taken) = Desk::new();
        let quiet = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        desk.hand(asked(Request::get("/")), streamed(&[]).map(|_| quiet));
        let writes = tokio::spawn(async move {
            let mut ahead = Vec::new();
            let goes_on = taken.await.unwrap().write(&mut server, &mut ahead, || false).await;
            (goes_on, ahead)
        });
        client.write_all(b"POST").await.unwrap();
        let mut head = [0; 15];
        client.read_exact(&mut head).await.unwrap();

        drop(client);

        assert_eq!(writes.await.unwrap(), (false, b"POST".to_vec()));
    }

    #[test]
    fn only_streams_of_events_in_answer_to_http_1_1_are_taken() {
        let stream = streamed(&[]);
        let plain = Response::builder().body(Body::empty()).unwrap();

        assert!(asked(Request::get("/")).gets_stream(&stream));
        assert!(!asked(Request::get("/")).gets_stream(&plain));
        assert!(!asked(Request::head("/")).gets_stream(&stream));
        assert!(!asked(Request::get("/").version(Version::HTTP_10)).gets_stream(&stream));
        let closing = Request::get("/").header("connection", "x, Close");
        assert!(asked(Request::get("/")).keeps && !asked(closing).keeps);
    }

    #[test]
    fn the_date_is_that_of_http() {
        let at = OffsetDateTime::from_unix_timestamp(784_111_777).unwrap();

        assert_eq!(date(at), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
