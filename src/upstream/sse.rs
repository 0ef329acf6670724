//! Server-sent events, read as bytes arrive. One event is bounded, comments vanish, and the last
//! id and the server's reconnection time are remembered for resuming a legacy stream.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery>

use std::time::Duration;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Its type; `message` where none was given.
    pub kind: String,
    /// Its data, lines joined by a line feed; may be empty.
    pub data: Vec<u8>,
}

/// An event grew beyond the limit it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge;

/// Reads a stream piece by piece.
#[derive(Debug)]
pub(super) struct Parser {
    limit: usize,
    line: Vec<u8>,
    after_cr: bool,
    first_line: bool,
    kind: String,
    data: Vec<u8>,
    has_data: bool,
    pending_id: Option<String>,
    /// The id of the last event that had one.
    pub last_id: Option<String>,
    /// How long the server asks to wait before coming back.
    pub retry: Option<Duration>,
}

impl Parser {
    /// Reads events of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            after_cr: false,
            first_line: true,
            kind: String::new(),
            data: Vec::new(),
            has_data: false,
            pending_id: None,
            last_id: None,
            retry: None,
        }
    }

    /// Forgets an unfinished event, as at the start of a new stream; keeps id and retry.
    pub(super) fn restart(&mut self) {
        let fresh = Self::new(self.limit);
        let (last_id, retry) = (self.last_id.take(), self.retry.take());
        *self = Self { last_id, retry, ..fresh };
    }

    /// Takes the next bytes and adds what they complete to `events`.
    ///
    /// # Errors
    /// [`TooLarge`] once an event has more bytes than the limit; the stream is then of no more use.
    pub(super) fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), TooLarge> {
        let mut bytes = bytes;
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = &bytes[..end.unwrap_or(bytes.len())];
            if self.line.len() + self.data.len() + part.len() > self.limit + FIELD_ROOM {
                return Err(TooLarge);
            }
            let Some(end) = end else {
                self.line.extend_from_slice(part);
                return Ok(());
            };
            if self.line.is_empty() {
                events.extend(self.end_line(part)?);
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(part);
                events.extend(self.end_line(&line)?);
                line.clear();
                self.line = line;
            }
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
        }
        Ok(())
    }

    /// The event that has begun and was not ended: its server may have forgotten the empty line.
    pub(super) fn unfinished(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.end_line(&line).ok()?;
        }
        // Its id stays unknown: what comes back after it must come back.
        self.pending_id = None;
        self.end_event()
    }

    fn end_line(&mut self, line: &[u8]) -> Result<Option<Event>, TooLarge> {
        let line = match line.strip_prefix("\u{feff}".as_bytes()) {
            Some(rest) if self.first_line => rest,
            _ => line,
        };
        self.first_line = false;
        if line.is_empty() {
            return Ok(self.end_event());
        }
        let (name, value) = match line.iter().position(|b| *b == b':') {
            Some(0) => return Ok(None),
            Some(at) => {
                let value = &line[at + 1..];
                (&line[..at], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &line[line.len()..]),
        };
        match name {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
                if self.data.len() > self.limit {
                    return Err(TooLarge);
                }
            }
            b"event" => self.kind = String::from_utf8_lossy(value).into_owned(),
            b"id" if !value.contains(&0) => {
                self.pending_id = Some(String::from_utf8_lossy(value).into_owned());
            }
            b"retry" => {
                let millis = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
                self.retry = millis.map(Duration::from_millis).or(self.retry);
            }
            _ => {}
        }
        Ok(None)
    }

    fn end_event(&mut self) -> Option<Event> {
        if let Some(id) = self.pending_id.take() {
            self.last_id = Some(id).filter(|id| !id.is_empty());
        }
        let kind = std::mem::take(&mut self.kind);
        let data = std::mem::take(&mut self.data);
        let kind = if kind.is_empty() { "message".to_owned() } else { kind };
        std::mem::take(&mut self.has_data).then_some(Event { kind, data })
    }
}

/// Bytes a line may have beyond its data: the field name.
const FIELD_ROOM: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parser: &mut Parser, text: &str) -> Vec<String> {
        let mut events = Vec::new();
        // Byte by byte: a stream may be cut anywhere.
        for byte in text.as_bytes() {
            parser.push(&[*byte], &mut events).unwrap();
        }
        events
            .into_iter()
            .map(|e| format!("{}={}", e.kind, String::from_utf8(e.data).unwrap()))
            .collect()
    }

    #[test]
    fn events_are_read_whatever_ends_their_lines() {
        let mut parser = Parser::new(100);

        let events = read(
            &mut parser,
            "\u{feff}: hello\r\n\r\ndata: a\r\ndata:b\r\n\r\nevent: x\rdata: c\r\rdata\n\ndata: cut",
        );

        assert_eq!(events, ["message=a\nb", "x=c", "message="]);
    }

    #[test]
    fn ids_and_retry_are_remembered_once_their_event_is_whole() {
        let mut parser = Parser::new(100);

        read(&mut parser, "id: 7\nretry: 250\ndata:\n\nid: 8\ndata: unfinished\n");

        assert_eq!(parser.last_id.as_deref(), Some("7"));
        assert_eq!(parser.retry, Some(Duration::from_millis(250)));
    }

    #[test]
    fn an_event_that_nothing_ends_can_still_be_asked_for() {
        let mut parser = Parser::new(100);
        read(&mut parser, "id: 7\ndata: a\n\nid: 8\nevent: x\ndata: {\ndata: }");

        let unfinished = parser.unfinished();

        assert_eq!(unfinished, Some(Event { kind: "x".to_owned(), data: b"{\n}".to_vec() }));
        assert_eq!(parser.unfinished(), None);
        assert_eq!(parser.last_id.as_deref(), Some("7"));
    }

    #[test]
    fn an_event_is_bounded_over_all_its_lines() {
        let mut events = Vec::new();

        let whole = Parser::new(10).push(b"data: 0123456789\n\n", &mut events);
        let long = Parser::new(10).push(b"data: 01234\ndata: 56789\n\n", &mut events);
        let endless = Parser::new(10).push(&[b'x'; 100], &mut events);

        assert_eq!((whole, events.len()), (Ok(()), 1));
        assert_eq!((long, endless), (Err(TooLarge), Err(TooLarge)));
    }
}
