//! One running child: what writes to it, what reads from it, and what waits for its end.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use super::super::child::{Spec, Tail, group_of, obituary, read_stderr, sweep, wind_down};
use super::super::common::Common;
use super::super::hub::{Hub, OnCancel, attend, next_id};
use super::super::listeners::Listeners;
use super::super::{Gate, Reply, UpstreamError};
use super::read::{Marks, read};
use super::unread::{self, Written};
use super::writing::{Line, write};
use crate::domain::upstream_health::Trouble;
use crate::protocol::jsonrpc;

/// Lines that wait to be written; beyond, requests wait and side messages are dropped.
const MAX_QUEUE: usize = 64;
/// How long a child that closed its output has to be gone.
const LEAVING: Duration = Duration::from_millis(100);
/// How long the rest of a dead child's output is read.
const DRAIN: Duration = Duration::from_millis(500);

/// A connection to a running child; dropping it ends the child.
pub(super) struct Conn {
    pub hub: Arc<Hub>,
    pub born: Instant,
    out: mpsc::Sender<Line>,
    /// The connection is of no more use; the child is on its way out.
    stop: CancellationToken,
    /// The child and its group are gone.
    ended: CancellationToken,
    last_words: Arc<Mutex<String>>,
    marks: Arc<Marks>,
    _stop_on_drop: DropGuard,
}

impl Conn {
    /// Starts a child.
    ///
    /// # Errors
    /// Why it can't be started, in words.
    pub(super) fn start(
        spec: &Spec,
        common: &Arc<Common>,
        listeners: &Arc<Listeners>,
    ) -> Result<Arc<Self>, String> {
        let mut child = spec.start()?;
        let stdin = child.stdin.take().expect("standard input is piped");
        let stdout = child.stdout.take().expect("standard output is piped");
        let stderr = child.stderr.take().expect("standard error is piped");
        let hub = Hub::new(common, listeners);
        let stop = common.stop.child_token();
        let ended = CancellationToken::new();
        let last_words = Arc::new(Mutex::new("the server process ended".to_owned()));
        let (out, lines) = mpsc::channel(MAX_QUEUE);
        let tail = Arc::new(Tail::default());
        let marks = Arc::<Marks>::default();
        let tracker = &common.tracker;
        let writer = tracker.spawn(write(stdin, lines, Arc::clone(&hub), stop.clone()));
        let name = common.name.clone();
        let readers = [
            tracker.spawn(read(
                stdout,
                Arc::clone(&hub),
                out.downgrade(),
                stop.clone(),
                Arc::clone(&marks),
            )),
            tracker.spawn(read_stderr(name, stderr, Arc::clone(&tail))),
        ];
        tracker.spawn(supervise(
            child,
            Pipes { writer, readers, tail },
            Arc::clone(&hub),
            stop.clone(),
            ended.clone(),
            Arc::clone(&last_words),
            Arc::clone(&marks),
        ));
        Ok(Arc::new(Self {
            hub,
            born: Instant::now(),
            out,
            ended,
            last_words,
            marks,
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        }))
    }

    /// The handshake is done: from here on it is told if the child ends by itself.
    pub(super) fn is_ready(&self) {
        self.marks.newsworthy.store(true, Ordering::SeqCst);
    }

    /// Whether the child did what it is there for: it answered a request.
    pub(super) fn has_served(&self) -> bool {
        self.marks.served.load(Ordering::SeqCst)
    }

    /// Whether it ended by itself and without a fault.
    pub(super) fn has_finished(&self) -> bool {
        self.marks.finished.load(Ordering::SeqCst)
    }

    /// Whether it can take no more requests.
    pub(super) fn is_broken(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until it can take no more requests.
    pub(super) async fn broken(&self) {
        self.stop.cancelled().await;
    }

    /// Fires when it can take no more requests.
    pub(super) fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Waits until the child and its group are gone.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Ends the child and waits until it is gone.
    pub(super) async fn close(&self) {
        self.marks.newsworthy.store(false, Ordering::SeqCst);
        self.stop.cancel();
        self.ended().await;
    }

    /// How the child ended, in words.
    pub(super) fn obituary(&self) -> String {
        self.last_words.lock().expect("no holder of this lock panics").clone()
    }

    /// The error of a request that was written and got no answer.
    pub(super) fn lost(&self) -> UpstreamError {
        UpstreamError::Lost(self.obituary())
    }

    /// Queues a request, one line of JSON.
    ///
    /// # Errors
    /// [`UpstreamError::NotSent`] where the child has ended.
    pub(super) async fn write(
        &self,
        id: u64,
        text: String,
        gate: Option<Arc<dyn Gate>>,
    ) -> Result<(), UpstreamError> {
        let line = Line { text, id: Some(id), gate };
        let gone = || UpstreamError::NotSent(self.obituary());
        tokio::select! {
            // `supervise` tells every waiting request of the child's end, queued ones too.
            sent = self.out.send(line) => sent.map_err(|_| gone()),
            () = self.ended.cancelled() => Err(gone()),
        }
    }

    /// Sends a notification or an answer, if there is room.
    pub(super) fn send(&self, text: String) {
        if self.out.try_send(Line { text, id: None, gate: None }).is_err() {
            debug!(upstream = %self.hub.common.name, "a side message was dropped");
        }
    }

    /// Sends a request of Placet's own, to which the child may be silent as long as `patience`.
    ///
    /// # Errors
    /// [`UpstreamError::NotSent`] or [`UpstreamError::Lost`], also once that time is over.
    pub(super) async fn ask(
        &self,
        method: &str,
        params: &str,
        patience: Duration,
    ) -> Result<Reply, UpstreamError> {
        let mut route = self.hub.open(next_id(), None);
        let heard = Arc::clone(&route.heard);
        let line = jsonrpc::request(route.id, method, Some(params));
        let work = async {
            self.write(route.id, line, None).await?;
            (&mut route.answer).await.unwrap_or_else(|_| Err(self.lost()))
        };
        let asked =
            attend(work, &heard, patience, None, &CancellationToken::new(), || OnCancel::Wait)
                .await;
        if asked.is_err() && self.is_broken() {
            self.ended().await;
        }
        asked
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.marks.newsworthy.store(false, Ordering::SeqCst);
    }
}

/// The tasks at a child's three pipes, and the last lines of its standard error.
struct Pipes {
    writer: JoinHandle<(ChildStdin, Written)>,
    readers: [JoinHandle<()>; 2],
    tail: Arc<Tail>,
}

/// Waits for the child's end, or brings it about, and tells every request that still waits.
async fn supervise(
    mut child: Child,
    pipes: Pipes,
    hub: Arc<Hub>,
    stop: CancellationToken,
    ended: CancellationToken,
    last_words: Arc<Mutex<String>>,
    marks: Arc<Marks>,
) {
    let group = group_of(&child);
    let mut by_itself = tokio::select! {
        status = child.wait() => Some(status.ok()),
        () = stop.cancelled() => None,
    };
    stop.cancel();
    // Once it is gone no request can be queued any more: all that wait are told below.
    let stdin = pipes.writer.await.ok();
    if by_itself.is_none() && marks.left.load(Ordering::SeqCst) {
        // A process that ends closes its output a moment before it is gone.
        by_itself = timeout(LEAVING, child.wait()).await.ok().map(Result::ok);
    }
    let mark_unread = || {
        if let Some((stdin, written)) = &stdin
            && let Some(left) = unread::left_in(stdin)
        {
            hub.mark_unread(&written.unread(left));
        }
    };
    let status = if let Some(status) = by_itself {
        sweep(group).await;
        mark_unread();
        marks.finished.store(status.is_some_and(|s| s.success()), Ordering::SeqCst);
        status
    } else {
        // It may have closed its input before it ended, as the writer noticed.
        mark_unread();
        // That closes its input.
        drop(stdin);
        let status = wind_down(&mut child, group).await;
        sweep(group).await;
        status
    };
    for mut reader in pipes.readers {
        if timeout(DRAIN, &mut reader).await.is_err() {
            reader.abort();
        }
    }
    let words = obituary(status, pipes.tail.last());
    let finished = marks.finished.load(Ordering::SeqCst) && marks.served.load(Ordering::SeqCst);
    if hub.common.stop.is_cancelled() {
        debug!(upstream = %hub.common.name, "child ended");
    } else {
        debug!(upstream = %hub.common.name, "{words}");
        // One that leaves in order after its work is no trouble: the next request starts another.
        if marks.newsworthy.load(Ordering::SeqCst) && !finished {
            hub.common.health.failed(Trouble::Ended, &words);
        }
    }
    words.clone_into(&mut last_words.lock().expect("no holder of this lock panics"));
    hub.fail_all(&words);
    ended.cancel();
}
