//! `GET /events`: every change of an approval, as it happens.
//!
//! Hints make it quick; a poll of the store once a second makes it complete, other brokers'
//! changes included. A change may be told twice; while the stream lasts, none is left out.

use std::collections::{HashMap, VecDeque};
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
use crate::domain::approval::{Approval, ApprovalId};
use crate::domain::time::Timestamp;
use crate::store::{Filter, StoreError};

use super::super::Web;
use super::super::extract::{Reader, still_reads};
use super::masked;

/// How often the store is asked.
const POLL: Duration = Duration::from_secs(1);

/// How far back a poll looks beyond the one before: clocks of several brokers differ.
const OVERLAP: Duration = Duration::from_secs(5);

/// Most changes that one poll reads.
const MAX_CHANGES: u32 = 1_000;

/// How many approvals' last told version is remembered.
const MAX_TOLD: usize = 4_096;

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
    since: Timestamp,
    told: HashMap<ApprovalId, (i64, bool)>,
    ready: VecDeque<Approval>,
}

enum Wake {
    Changed(ApprovalId),
    Poll,
    Over,
}

/// Streams changes that the reader may see, masked.
pub(crate) async fn stream(
    State(web): State<Web>,
    Reader(reader): Reader,
    headers: HeaderMap,
) -> Response {
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut listener = Listener {
        hints: web.broker.hints().listen(),
        hinting: true,
        since: web.broker.now(),
        reader,
        headers,
        polls: 0,
        poll,
        told: HashMap::new(),
        ready: VecDeque::new(),
        web,
    };
    listener.remember_present().await;
    let events = stream::unfold(listener, |mut listener| async move {
        let approval = listener.next().await?;
        let event = Event::default().event("approval").data(masked(&listener.web, &approval));
        Some((Ok::<_, Infallible>(event), listener))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

impl Listener {
    /// Remembers what changed just before the stream began: the overlap finds it again, and it must
    /// not be told.
    async fn remember_present(&mut self) {
        if let Ok(changed) = self.changed().await {
            for approval in changed {
                self.told.insert(approval.id.clone(), (approval.version, approval.waiting));
            }
        }
    }

    /// The next change; none when the program ends, or the reader may read no more.
    async fn next(&mut self) -> Option<Approval> {
        loop {
            if let Some(approval) = self.ready.pop_front() {
                return Some(approval);
            }
            let changed = match self.wake().await {
                Wake::Over => return None,
                Wake::Changed(id) => {
                    self.web.broker.get(&id).await.map(|found| found.into_iter().collect())
                }
                Wake::Poll => {
                    self.polls += 1;
                    if self.polls.is_multiple_of(ASK_AGAIN)
                        && !still_reads(&self.web, &self.reader, &self.headers).await
                    {
                        return None;
                    }
                    self.poll().await
                }
            };
            match changed {
                Ok(changed) => self.queue(changed),
                Err(error) => tracing::warn!(%error, "events are late: the store can't be read"),
            }
        }
    }

    async fn wake(&mut self) -> Wake {
        tokio::select! {
            () = self.web.shutdown.cancelled() => Wake::Over,
            hint = self.hints.recv(), if self.hinting => match hint {
                Ok(id) => Wake::Changed(id),
                // What was missed is found by the poll.
                Err(broadcast::error::RecvError::Lagged(_)) => Wake::Poll,
                Err(broadcast::error::RecvError::Closed) => {
                    self.hinting = false;
                    Wake::Poll
                }
            },
            _ = self.poll.tick() => Wake::Poll,
        }
    }

    async fn poll(&mut self) -> Result<Vec<Approval>, StoreError> {
        let asked_at = self.web.broker.now();
        let changed = self.changed().await?;
        self.since = asked_at;
        Ok(changed)
    }

    async fn changed(&self) -> Result<Vec<Approval>, StoreError> {
        let filter = Filter {
            changed_since: Some(self.since.minus(OVERLAP)),
            limit: MAX_CHANGES,
            ..Filter::default()
        };
        self.web.broker.list_for(&self.reader, filter).await
    }

    fn queue(&mut self, changed: Vec<Approval>) {
        if self.told.len() > MAX_TOLD {
            self.told.clear();
        }
        for approval in changed {
            let state = (approval.version, approval.waiting);
            let theirs = approval.may_be_seen_by(self.reader.person());
            if !theirs || self.told.get(&approval.id) == Some(&state) {
                continue;
            }
            self.told.insert(approval.id.clone(), state);
            self.ready.push_back(approval);
        }
    }
}
