//! `placet approvals watch`: every change as the broker tells it, also after a lost connection, which
//! goes on after the last change that was told. Where that can't be, it says so.

use std::time::Duration;

use futures_util::StreamExt as _;

use crate::cli::{Failure, Global, complain, say};
use crate::domain::json;

use super::client::Client;
use super::line;

/// Longest line of the stream, bytes; the broker's own limits are far below.
pub(super) const MAX_LINE: usize = 64 << 20;

/// First and longest pause before connecting again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Prints changes until interrupted. A connection that is lost later is opened again.
///
/// # Errors
/// The first connection fails, or an event is longer than [`MAX_LINE`].
pub(super) async fn run(global: &Global, client: &Client) -> Result<(), Failure> {
    let mut response = client.stream("/api/v1/events", None).await?;
    let mut last = None;
    loop {
        let mut events = Events::default();
        let mut stream = response.bytes_stream();
        while let Some(Ok(chunk)) = stream.next().await {
            for data in events.feed(&chunk)? {
                print(global, &data);
            }
            if std::mem::take(&mut events.missed) {
                complain("more changed than is told one by one; see `placet approvals list`");
            }
        }
        last = events.last.or(last);
        complain("the connection was lost; connecting again");
        let mut pause = PAUSES.0;
        response = loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
            if let Ok(response) = client.stream("/api/v1/events", last.as_deref()).await {
                break response;
            }
        };
    }
}

fn print(global: &Global, data: &str) {
    if global.json {
        say(data);
    } else if let Ok(node) = json::parse_own(data) {
        say(&line(&node));
    }
}

/// Puts chunks together to events; only those called `approval` are told.
#[derive(Debug, Default)]
struct Events {
    pending: Vec<u8>,
    kind: String,
    data: Option<String>,
    /// The id of the last event.
    last: Option<String>,
    /// Whether the broker said that something was missed.
    missed: bool,
}

impl Events {
    /// The data of every event that the chunk completes.
    fn feed(&mut self, chunk: &[u8]) -> Result<Vec<String>, Failure> {
        self.pending.extend_from_slice(chunk);
        let mut done = Vec::new();
        while let Some(end) = self.pending.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            self.line(line.trim_end_matches(['\r', '\n']), &mut done);
        }
        if self.pending.len() + self.data.as_ref().map_or(0, String::len) > MAX_LINE {
            return Err(Failure::failed("the server sent an event without end"));
        }
        Ok(done)
    }

    fn line(&mut self, line: &str, done: &mut Vec<String>) {
        if line.is_empty() {
            let kind = std::mem::take(&mut self.kind);
            self.missed |= kind == "missed";
            if let Some(data) = self.data.take().filter(|_| kind == "approval") {
                done.push(data);
            }
        } else if let Some(kind) = line.strip_prefix("event:") {
            kind.trim_start().clone_into(&mut self.kind);
        } else if let Some(id) = line.strip_prefix("id:") {
            self.last = Some(id.trim().to_owned());
        } else if let Some(more) = line.strip_prefix("data:") {
            let more = more.strip_prefix(' ').unwrap_or(more);
            match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(more);
                }
                None => self.data = Some(more.to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_from_any_chunks() {
        let text = ": hello\n\nevent: approval\r\ndata: {\"a\":\ndata: 1}\n\nevent: other\n\
                    data: x\n\ndata: y\n\nevent: approval\ndata: {}\n\n";
        for size in [1, 7, 1000] {
            let mut events = Events::default();
            let mut all = Vec::new();

            for chunk in text.as_bytes().chunks(size) {
                all.extend(events.feed(chunk).unwrap());
            }

            assert_eq!(all, ["{\"a\":\n1}", "{}"], "{size}");
        }
    }

    #[test]
    fn the_last_id_and_what_was_missed_are_known() {
        let mut events = Events::default();

        let told =
            events.feed(b"id: 7\nevent: approval\ndata: {}\n\nid: 9\nevent: missed\ndata: {}\n\n");

        assert_eq!(told.unwrap(), ["{}"]);
        assert_eq!((events.last.as_deref(), events.missed), (Some("9"), true));
    }

    #[test]
    fn an_event_without_end_is_given_up_at_the_named_limit() {
        let mut events = Events::default();

        assert!(events.feed(&vec![b'x'; MAX_LINE]).is_ok());
        assert!(events.feed(b"x").is_err());
    }
}
