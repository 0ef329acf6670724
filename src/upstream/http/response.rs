//! An answer as it comes: its head, and its body for as long as somebody reads it. The connection
//! is driven by the reader; a body that is dropped before its end takes it along.

use std::pin::Pin;
use std::sync::Arc;

use hyper::StatusCode;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::http::response::Parts;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

use super::super::message;
use super::conn::Conn;
use super::pool::Pool;
use crate::domain::error_text::in_full;

/// An answer of which the head was read.
pub(super) struct Response {
    head: Parts,
    body: Incoming,
    /// None once the body was read to its end or broke.
    conn: Option<Box<Conn>>,
    /// Where the connection is kept afterwards.
    pool: Option<Arc<Pool>>,
    /// The body was waited for once.
    waited: bool,
}

impl Response {
    /// The answer on that connection, which goes to the pool afterwards.
    pub(super) fn new(
        response: hyper::Response<Incoming>,
        conn: Box<Conn>,
        pool: Option<&Arc<Pool>>,
    ) -> Self {
        let (head, body) = response.into_parts();
        let pool = pool.map(Arc::clone);
        let mut response = Self { head, body, conn: Some(conn), pool, waited: false };
        if response.body.is_end_stream() {
            response.ended();
        }
        response
    }

    /// Its status.
    pub(super) fn status(&self) -> StatusCode {
        self.head.status
    }

    /// Its headers.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Whether the head says that the body is a stream of events.
    pub(super) fn is_event_stream(&self) -> bool {
        let kind = self.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        kind.is_some_and(|kind| {
            let essence = kind.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("text/event-stream")
        })
    }

    /// The next bytes of the body; none at its end.
    ///
    /// # Errors
    /// Why it broke, in words.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let Some(conn) = &mut self.conn else { return Ok(None) };
            let (body, waited) = (&mut self.body, &mut self.waited);
            let frame = std::future::poll_fn(|cx| {
                let came = conn.drive(cx, |cx| Pin::new(&mut *body).poll_frame(cx));
                if came.is_ready() || std::mem::replace(waited, true) {
                    return came;
                }
                // The head came alone.
                conn.guard().acknowledge();
                conn.drive(cx, |cx| Pin::new(&mut *body).poll_frame(cx))
            });
            match frame.await {
                None => self.ended(),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
                    // Trailers say nothing here.
                    Ok(_) | Err(_) => {}
                },
                Some(Err(error)) => {
                    self.conn = None;
                    return Err(message::printable(&in_full(&error)));
                }
            }
        }
    }

    /// Needs nothing more of the body: the connection is kept, and used again once its end has come.
    pub(super) fn finish(mut self) {
        if let (Some(conn), Some(pool)) = (self.conn.take(), self.pool) {
            pool.put(conn, Some(self.body));
        }
    }

    fn ended(&mut self) {
        if let (Some(mut conn), Some(pool)) = (self.conn.take(), &self.pool)
            && conn.is_free()
        {
            pool.put(conn, None);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::task::{Context, Poll, Waker};

    use socket2::SockRef;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::io::{Body, Guarded, Io};
    use super::*;

    #[tokio::test]
    async fn a_head_that_comes_alone_is_acknowledged_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = stream.into_std().unwrap();
        let socket = stream.try_clone().unwrap();
        let io = Io::plain(Guarded::new(TcpStream::from_std(stream).unwrap(), &Arc::default()));
        let mut conn = Conn::new(io).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let request = hyper::Request::builder().header("host", "h").body(Body::empty()).unwrap();
        let answered = async {
            let mut buffer = [0; 256];
            let _ = server.read(&mut buffer).await.unwrap();
            server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await.unwrap();
        };
        let (head, ()) = tokio::join!(conn.send(request), answered);
        let mut response = Response::new(head.map_err(|_| "no answer").unwrap(), conn, None);
        let socket = SockRef::from(&socket);
        socket.set_tcp_quickack(false).unwrap();

        let mut chunk = Box::pin(response.chunk());
        let polled = chunk.as_mut().poll(&mut Context::from_waker(Waker::noop()));

        assert_eq!(polled, Poll::Pending);
        assert!(socket.tcp_quickack().unwrap());
        server.write_all(b"{}").await.unwrap();
        assert_eq!(chunk.await.unwrap().as_deref(), Some(&b"{}"[..]));
    }
}
