//! HTTP/1.1 as a load driver needs it: one connection kept open, requests whose bytes are made
//! before, and answers of which only as much is read as their end needs.
//!
//! <https://www.rfc-editor.org/rfc/rfc9112>

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::Fallible;

/// The first room for what is read; a held connection keeps no more.
const FIRST_ROOM: usize = 2048;

/// A connection that is kept open.
pub struct Conn {
    stream: TcpStream,
    /// What was read and not used yet.
    buffer: Vec<u8>,
}

/// What the head of an answer says.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// Whether a stream of events follows, which may take as long as it likes.
    pub is_stream: bool,
    /// The legacy session that was opened.
    pub session: Option<String>,
    length: usize,
    chunked: bool,
}

impl Conn {
    /// Opens one.
    pub async fn open(address: SocketAddr) -> Fallible<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends a request.
    pub async fn send(&mut self, request: &[u8]) -> Fallible<()> {
        Ok(self.stream.write_all(request).await?)
    }

    /// Sends a request, and reads the answer whole.
    pub async fn ask(&mut self, request: &[u8]) -> Fallible<(Head, Vec<u8>)> {
        self.send(request).await?;
        let head = self.head().await?;
        let body = self.body(&head).await?;
        Ok((head, body))
    }

    /// Reads the head of an answer.
    pub async fn head(&mut self) -> Fallible<Head> {
        let end = self.find(b"\r\n\r\n").await?;
        let head = read_head(&self.buffer[..end])?;
        self.buffer.drain(..end + 4);
        Ok(head)
    }

    /// Reads an answer to its end.
    pub async fn body(&mut self, head: &Head) -> Fallible<Vec<u8>> {
        if !head.chunked {
            return self.take(head.length).await;
        }
        let mut body = Vec::new();
        loop {
            let line = self.find(b"\r\n").await?;
            let text = std::str::from_utf8(&self.buffer[..line])?;
            let size = usize::from_str_radix(text.split(';').next().unwrap_or(text).trim(), 16)?;
            self.buffer.drain(..line + 2);
            let chunk = self.take(size + 2).await?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    async fn take(&mut self, length: usize) -> Fallible<Vec<u8>> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    async fn find(&mut self, what: &[u8]) -> Fallible<usize> {
        let mut from = 0;
        loop {
            if let Some(at) = self.buffer[from..].windows(what.len()).position(|w| w == what) {
                return Ok(from + at);
            }
            from = self.buffer.len().saturating_sub(what.len() - 1);
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Fallible<()> {
        self.buffer.reserve(FIRST_ROOM);
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err("the connection was closed before its answer".into());
        }
        Ok(())
    }
}

fn read_head(bytes: &[u8]) -> Fallible<Head> {
    let text = std::str::from_utf8(bytes)?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or("no status line")?;
    let mut head = Head { status: status.parse()?, ..Head::default() };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.length = value.parse()?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.chunked = value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("content-type") {
            head.is_stream = value.starts_with("text/event-stream");
        } else if name.eq_ignore_ascii_case("mcp-session-id") {
            head.session = Some(value.to_owned());
        }
    }
    Ok(head)
}

/// Whether these bytes stand somewhere in an answer.
pub fn holds(body: &[u8], what: &str) -> bool {
    body.windows(what.len()).any(|window| window == what.as_bytes())
}
