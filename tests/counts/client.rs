//! HTTP/1.1 on one kept connection, for a thread that waits.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for anything that must happen; only ever reached by a failing test.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// A kept connection.
pub struct Conn(BufReader<TcpStream>);

/// The head of a request or an answer.
#[derive(Debug)]
pub struct Head(String);

impl Head {
    /// The value of a header.
    pub fn value(&self, name: &str) -> Option<&str> {
        let lines = self.0.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// Its first line.
    pub fn first(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }
}

impl Conn {
    /// Opens one.
    pub fn open(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).unwrap())
    }

    /// One that was accepted.
    pub fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LONGEST_WAIT)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// The next head; empty when there will be none.
    pub fn head(&mut self) -> Head {
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") && self.0.read_line(&mut text).unwrap_or(0) > 0 {}
        Head(text)
    }

    /// What follows that head.
    pub fn body(&mut self, head: &Head) -> String {
        let mut body = Vec::new();
        if let Some(length) = head.value("content-length") {
            body.resize(length.parse().unwrap(), 0);
            self.0.read_exact(&mut body).unwrap();
        }
        while head.value("transfer-encoding") == Some("chunked") {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            let begin = body.len();
            body.resize(begin + size + 2, 0);
            self.0.read_exact(&mut body[begin..]).unwrap();
            body.truncate(begin + size);
            if size == 0 {
                break;
            }
        }
        String::from_utf8(body).unwrap()
    }

    /// Sends a request, and reads its answer whole.
    pub fn ask(&mut self, request: &[u8]) -> String {
        self.send(request);
        let head = self.head();
        self.body(&head)
    }
}
