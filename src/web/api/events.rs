//! `GET /events`: every change of an approval, as it happens.
//!
//! Each event has the number of its change as its `id`. Changes are read from the store in the order
//! of their numbers, so that none is left out, whichever broker made it; hints only make it quick.
//! Who comes back with `Last-Event-ID` is told what changed meanwhile
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html#the-last-event-id-header>), or,
//! where that is too much or the number means nothing here, `event: missed`: then the list is to be
//! read anew.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::broadcast;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::config::Reviewer;
use crate::domain::approval::ApprovalId;
use crate::store::StoreError;
use crate::store::changes::Change;

use super::super::Web;
use super::super::error::Problem;
use super::super::extract::{Reader, still_reads};
use super::masked;

/// How often the store is asked without a hint: other brokers give none.
const POLL: Duration = Duration::from_secs(1);

/// Most changes read at once; the rest is read when these are told.
const PAGE: u32 = 200;

/// Who missed more changes than these is told to read the list anew.
pub(crate) const MAX_RESUMED: i64 = 10_000;

/// After how many polls it is asked again whether the reader may still read.
const ASK_AGAIN: u32 = 10;

/// A comment this often keeps connections open that nothing happens on.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

struct Listener {
    web: Web,
    reader: Reviewer,
    headers: HeaderMap,
    polls: u32,
    hints: broadcast::Receiver<ApprovalId>,
    hinting: bool,
    poll: Interval,
    /// The number up to which changes were read.
    at: i64,
    /// Whether there may be more than was read.
    more: bool,
    ready: VecDeque<Out>,
}

enum Out {
    Changed(Box<Change>),
    /// Something was missed, up to this number.
    Missed(i64),
}

enum Wake {
    Hint,
    Poll,
    Over,
}

/// Streams changes that the reader may see, masked.
///
/// # Errors
/// `unavailable`: the store can't be read.
pub(crate) async fn stream(
    State(web): State<Web>,
    Reader(reader): Reader,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let hints = web.broker.hints().listen();
    let last = web.broker.last_change().await?;
    let (at, missed) = place(&headers, last);
    let listener = Listener {
        hints,
        hinting: true,
        reader,
        headers,
        polls: 0,
        poll,
        at,
        more: at < last,
        ready: missed.then_some(Out::Missed(last)).into_iter().collect(),
        web,
    };
    let events = stream::unfold(listener, |mut listener| async move {
        let event = match listener.next().await? {
            Out::Changed(change) => Event::default()
                .id(change.seq.to_string())
                .event("approval")
                .data(masked(&listener.web, &change.approval)),
            Out::Missed(at) => {
                Event::default().id(at.to_string()).event("missed").data("{\"reload\":true}")
            }
        };
        Some((Ok::<_, Infallible>(event), listener))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// Where the stream begins, and whether something was missed before that.
fn place(headers: &HeaderMap, last: i64) -> (i64, bool) {
    let Some(id) = headers.get("last-event-id") else { return (last, false) };
    let seen = id.to_str().ok().and_then(|id| id.trim().parse::<i64>().ok());
    match seen {
        Some(seen) if (0..=last).contains(&seen) && last - seen <= MAX_RESUMED => (seen, false),
        _ => (last, true),
    }
}

impl Listener {
    /// The next event; none when the program ends, or the reader may read no more.
    async fn next(&mut self) -> Option<Out> {
        loop {
            if let Some(out) = self.ready.pop_front() {
                return Some(out);
            }
            if !self.more {
                match self.wake().await {
                    Wake::Over => return None,
                    Wake::Hint => {}
                    Wake::Poll => {
                        self.polls += 1;
                        if self.polls.is_multiple_of(ASK_AGAIN)
                            && !still_reads(&self.web, &self.reader, &self.headers).await
                        {
                            return None;
                        }
                    }
                }
            }
            if let Err(error) = self.read().await {
                self.more = false;
                tracing::warn!(%error, "events are late: the store can't be read");
            }
        }
    }

    async fn wake(&mut self) -> Wake {
        tokio::select! {
            () = self.web.shutdown.cancelled() => Wake::Over,
            hint = self.hints.recv(), if self.hinting => {
                match hint {
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => self.hinting = false,
                }
                // One look finds what all of them are about.
                while self.hinting && self.hints.try_recv().is_ok() {}
                Wake::Hint
            },
            _ = self.poll.tick() => Wake::Poll,
        }
    }

    async fn read(&mut self) -> Result<(), StoreError> {
        // What is seen after this has a greater number.
        let last = self.web.broker.last_change().await?;
        let changes = self.web.broker.changes_for(&self.reader, self.at, PAGE).await?;
        self.more = changes.len() >= PAGE as usize;
        if let Some(change) = changes.last() {
            self.at = change.seq;
        }
        if !self.more {
            self.at = self.at.max(last);
        }
        for change in changes {
            if change.approval.may_be_seen_by(self.reader.person()) {
                self.ready.push_back(Out::Changed(Box::new(change)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_goes_on_where_they_were_and_is_told_when_that_can_not_be() {
        let from = |id: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("last-event-id", axum::http::HeaderValue::from_static(id));
            place(&headers, 20_000)
        };

        assert_eq!(place(&HeaderMap::new(), 20_000), (20_000, false));
        assert_eq!(from("19999"), (19_999, false));
        assert_eq!(from("10000"), (10_000, false));
        for other in ["9999", "20001", "-1", "apr_1", ""] {
            assert_eq!(from(other), (20_000, true), "{other}");
        }
    }
}
