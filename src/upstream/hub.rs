//! Where a message of an upstream goes: to the request that waits for it, or to everybody who
//! listens.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::common::Common;
use super::listeners::Listeners;
use super::marks;
use super::message::{self, Incoming, Whose};
use super::{Notifications, Reply, ServerRequest, UpstreamError};
use crate::domain::json;

mod notices;
mod outgoing;
mod unsaid;

pub(super) use outgoing::outgoing_params;
pub(super) use unsaid::Said;
use unsaid::Unsaid;

/// Ids of requests, unique over all connections, so that they serve as progress tokens too.
pub(super) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Routes the messages of one connection.
pub(super) struct Hub {
    pub common: Arc<Common>,
    pub listeners: Arc<Listeners>,
    routes: Mutex<HashMap<u64, Slot>>,
    /// Our `subscriptions/listen` requests, and the set of resources each was asked with.
    listens: Mutex<HashMap<u64, u64>>,
    /// Answers that do not say to what.
    unsaid: Mutex<Unsaid>,
}

struct Slot {
    notifications: Option<Notifications>,
    heard: Arc<Notify>,
    answer: oneshot::Sender<Result<Reply, UpstreamError>>,
    written: bool,
    /// How many messages that get no answer were written before it.
    asides: u64,
    logs: bool,
}

/// What is left to do with a message.
pub(super) enum Received {
    /// There is nothing left to do.
    Nothing,
    /// It answers the request whose stream it came on.
    Answer(Reply),
    /// The server asked something that Placet answers itself; this is the message to send.
    Respond(String),
    /// The server asked the client something; the answer comes later.
    ForClient(OpenRequest),
}

/// A request of the server that has not been answered.
pub(super) struct OpenRequest {
    /// The server's id of it, raw JSON.
    pub id: String,
    pub asked: ServerRequest,
    pub answered: oneshot::Receiver<Reply>,
    /// The request of ours on whose stream it came.
    pub own: Option<u64>,
}

/// A waiting request; dropping it forgets the request.
pub(super) struct Route {
    hub: Arc<Hub>,
    pub id: u64,
    /// Fires at every message about the request.
    pub heard: Arc<Notify>,
    /// The answer, where it comes over a channel that all requests share.
    pub answer: oneshot::Receiver<Result<Reply, UpstreamError>>,
}

impl Drop for Route {
    fn drop(&mut self) {
        let unanswered = self.hub.routes().remove(&self.id).is_some();
        if unanswered {
            self.hub.unsaid().given_up(self.id);
        }
    }
}

impl Hub {
    /// A connection of that upstream; what belongs to no request goes to the listeners.
    pub(super) fn new(common: &Arc<Common>, listeners: &Arc<Listeners>) -> Arc<Self> {
        Arc::new(Self {
            common: Arc::clone(common),
            listeners: Arc::clone(listeners),
            routes: Mutex::default(),
            listens: Mutex::default(),
            unsaid: Mutex::default(),
        })
    }

    fn routes(&self) -> MutexGuard<'_, HashMap<u64, Slot>> {
        self.routes.lock().expect("no holder of this lock panics")
    }

    /// Starts to wait for what belongs to request `id`.
    pub(super) fn open(self: &Arc<Self>, id: u64, notifications: Option<Notifications>) -> Route {
        let heard = Arc::new(Notify::new());
        let (sender, answer) = oneshot::channel();
        let slot = Slot {
            notifications,
            heard: Arc::clone(&heard),
            answer: sender,
            written: false,
            asides: 0,
            logs: false,
        };
        self.routes().insert(id, slot);
        self.listeners.server_requests.somebody_came();
        Route { hub: Arc::clone(self), id, heard, answer }
    }

    fn unsaid(&self) -> MutexGuard<'_, Unsaid> {
        self.unsaid.lock().expect("no holder of this lock panics")
    }

    /// Notes that from here on the server may have read the request.
    pub(super) fn mark_written(&self, id: u64) {
        let asides = self.unsaid().asides();
        if let Some(slot) = self.routes().get_mut(&id) {
            (slot.written, slot.asides) = (true, asides);
        }
    }

    /// Notes that a message that gets no answer was written.
    pub(super) fn mark_aside(&self) {
        self.unsaid().aside();
    }

    /// Notes that the server certainly has not read these requests.
    pub(super) fn mark_unread(&self, ids: &[u64]) {
        let mut routes = self.routes();
        for id in ids {
            if let Some(slot) = routes.get_mut(id) {
                slot.written = false;
            }
        }
    }

    /// The requests that the server may have read and not answered.
    fn open_requests(&self) -> BTreeSet<u64> {
        let routes = self.routes();
        let listens = self.listens();
        let open = routes.iter().filter(|(id, s)| s.written && !listens.contains_key(id));
        open.map(|(id, _)| *id).collect()
    }

    /// Something came that answers a request and does not say which.
    pub(super) fn answers_some(&self, said: Said) {
        let open = self.open_requests();
        let settled = self.unsaid().came(said, open);
        self.settle(settled);
    }

    fn settle(&self, settled: unsaid::Settled) {
        for (id, said) in settled {
            match said {
                Said::Error(raw) => {
                    if let Some(slot) = self.routes().remove(&id) {
                        // A request that no longer waits needs no answer.
                        let _ = slot.answer.send(Ok(Reply::Error(raw)));
                    }
                }
                Said::Unreadable(why) => self.fail(id, &why),
            }
        }
    }

    /// Notes that the request wants log messages.
    pub(super) fn mark_logs(&self, id: u64) {
        if let Some(slot) = self.routes().get_mut(&id) {
            slot.logs = true;
        }
    }

    /// The connection is gone: every waiting request ends, as lost if it was written.
    pub(super) fn fail_all(&self, why: &str) {
        for (_, slot) in self.routes().drain() {
            let error = if slot.written {
                UpstreamError::Lost(why.to_owned())
            } else {
                UpstreamError::NotSent(why.to_owned())
            };
            // A request that no longer waits needs no error.
            let _ = slot.answer.send(Err(error));
        }
    }

    /// A request must not be sent: it ends now, if it is one.
    pub(super) fn refuse(&self, id: Option<u64>, why: &str) {
        if let Some(slot) = id.and_then(|id| self.routes().remove(&id)) {
            let _ = slot.answer.send(Err(UpstreamError::NotSent(why.to_owned())));
        }
    }

    /// An answer came that can't be read: its request ends now.
    pub(super) fn fail(&self, id: u64, why: &str) {
        if let Some(slot) = self.routes().remove(&id) {
            let _ = slot.answer.send(Err(UpstreamError::Lost(why.to_owned())));
        }
    }

    /// Sends a message where it belongs; `own` is the request whose stream it came on.
    pub(super) fn receive(self: &Arc<Self>, incoming: Incoming, own: Option<u64>) -> Received {
        if let Some(id) = own {
            self.touch(id);
        }
        match marks::without_ours(incoming) {
            Incoming::Answer { to: Whose::Request(id), reply } if Some(id) == own => {
                Received::Answer(reply)
            }
            Incoming::Answer { to: Whose::Unsaid, reply: Reply::Error(raw) } => {
                let said = message::error_text(&raw);
                warn!(upstream = %self.common.name, "an error came without an id: {said}");
                let open = self.open_requests();
                let settled = self.unsaid().error(&raw, open);
                self.settle(settled);
                Received::Nothing
            }
            Incoming::Answer { to, reply } => {
                let slot = match to {
                    Whose::Request(id) => self.routes().remove(&id),
                    Whose::Unsaid | Whose::Nobody => None,
                };
                let known = slot.as_ref().map(|slot| slot.asides);
                // A request that no longer waits needs no answer.
                if slot.is_none_or(|slot| slot.answer.send(Ok(reply)).is_err()) {
                    debug!(upstream = %self.common.name, "an answer that nobody waits for");
                }
                if let (Whose::Request(id), Some(asides)) = (to, known) {
                    let settled = self.unsaid().answered(id, asides);
                    self.settle(settled);
                }
                Received::Nothing
            }
            Incoming::Request { id, method, params }
                if params.as_deref().is_none_or(|p| json::parse(p).is_ok())
                    && self.listeners.features.take(&method, params.as_deref()) =>
            {
                let (asked, answered) = ServerRequest::new(&method, params.as_deref());
                Received::ForClient(OpenRequest { id, asked, answered, own })
            }
            Incoming::Request { id, method, .. } => {
                debug!(
                    upstream = %self.common.name,
                    method = %message::printable(&method),
                    "a request of the server is answered by Placet itself"
                );
                Received::Respond(message::answer_to(&id, &method))
            }
            Incoming::Notification(notification) => {
                self.notified(notification, own);
                Received::Nothing
            }
        }
    }

    fn touch(&self, id: u64) {
        if let Some(slot) = self.routes().get(&id) {
            slot.heard.notify_one();
        }
    }

    /// Where a server request goes that came beside the requests: to the one asked last of those whose
    /// client listens. None where the connection serves several agents: whose it is can't be said.
    pub(super) fn owner(&self, own: Option<u64>) -> Option<(Notifications, Arc<Notify>)> {
        let routes = self.routes();
        let id = if let Some(id) = own {
            id
        } else {
            let mut asking = routes.iter().filter(|(_, s)| s.notifications.is_some());
            let (latest, _) = asking.clone().max_by_key(|(id, _)| **id)?;
            if self.common.shared && asking.nth(1).is_some() {
                return None;
            }
            *latest
        };
        let slot = routes.get(&id)?;
        Some((slot.notifications.clone()?, Arc::clone(&slot.heard)))
    }

    /// Reports a text of the upstream that is no message.
    pub(super) fn unreadable(&self, what: &message::Unreadable) {
        warn!(upstream = %self.common.name, "an unreadable message was skipped: {}", what.why);
    }
}

/// What to do when the caller cancels while waiting.
pub(super) enum OnCancel {
    /// Stop waiting, with this error.
    Return(UpstreamError),
    /// Go on waiting: an answer still counts.
    Wait,
}

/// How long a late answer is still awaited.
pub(super) const LATE_ANSWER: Duration = Duration::from_hours(1);

/// Waits for `work`, at most `timeout` since it began or `heard` last fired. Where there is an
/// `overdue`, it is cancelled then, and the answer awaited [`LATE_ANSWER`] longer.
///
/// # Errors
/// That of `work` or of `on_cancel`; [`UpstreamError::Lost`] once the time is over.
pub(super) async fn attend<T, E: From<UpstreamError>>(
    work: impl Future<Output = Result<T, E>>,
    heard: &Notify,
    timeout: Duration,
    overdue: Option<&CancellationToken>,
    cancel: &CancellationToken,
    on_cancel: impl Fn() -> OnCancel,
) -> Result<T, E> {
    let mut work = std::pin::pin!(work);
    let mut deadline = Instant::now() + timeout;
    // Set anew only once it fires: most calls are answered before.
    let mut timer = std::pin::pin!(tokio::time::sleep_until(deadline));
    let mut cancelling = std::pin::pin!(cancel.cancelled());
    let mut cancelled = false;
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = heard.notified() => deadline = Instant::now() + timeout,
            () = &mut cancelling, if !cancelled => {
                cancelled = true;
                if let OnCancel::Return(error) = on_cancel() {
                    return Err(error.into());
                }
            }
            () = &mut timer => {
                if Instant::now() < deadline {
                    timer.as_mut().reset(deadline);
                    continue;
                }
                if let Some(overdue) = overdue.filter(|o| !o.is_cancelled()) {
                    overdue.cancel();
                    deadline = Instant::now() + LATE_ANSWER;
                    timer.as_mut().reset(deadline);
                    continue;
                }
                let why = format!("no message about it for {timeout:?} (the upstream's timeout)");
                return Err(UpstreamError::Lost(why).into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::super::{ClientCapabilities, ServerMessage};
    use super::*;

    fn hub() -> Arc<Hub> {
        let tracker = TaskTracker::new();
        let common = Common::new("u", Duration::from_secs(1), 1000, None, &tracker);
        Hub::new(&Arc::new(common), &Listeners::new(ClientCapabilities::default(), false))
    }

    #[tokio::test]
    async fn progress_reaches_its_request_and_everything_else_everybody() {
        let hub = hub();
        let (to, mut own) = tokio::sync::mpsc::channel(1);
        let mut all = hub.listeners.events.subscribe();
        let route = hub.open(7, Some(to));
        let progress =
            r#"{"method":"notifications/progress","params":{"progressToken":7,"progress":0.50}}"#;
        let log = r#"{"method":"notifications/message","params":{"level":"info"}}"#;

        for text in [progress, log] {
            for incoming in message::read(text).unwrap() {
                hub.receive(incoming, None);
            }
        }

        let ServerMessage::Notification(got) = own.try_recv().unwrap() else {
            panic!("a question")
        };
        assert_eq!(got.params.as_deref(), Some(r#"{"progressToken":7,"progress":0.50}"#));
        assert_eq!(all.try_recv().unwrap().method, "notifications/message");
        drop(route);
        assert!(hub.routes().is_empty());
    }

    #[tokio::test]
    async fn a_broken_connection_loses_only_what_was_written() {
        let hub = hub();
        let (mut written, mut waiting) = (hub.open(1, None), hub.open(2, None));
        hub.mark_written(1);

        hub.fail_all("gone");

        assert!(matches!(written.answer.try_recv().unwrap(), Err(UpstreamError::Lost(_))));
        assert!(matches!(waiting.answer.try_recv().unwrap(), Err(UpstreamError::NotSent(_))));
    }

    #[tokio::test]
    async fn every_message_about_a_call_resets_its_clock() {
        let (heard, cancel) = (Notify::new(), CancellationToken::new());
        let slow = async {
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_millis(250)).await;
                heard.notify_one();
            }
            Ok::<_, UpstreamError>("done")
        };
        let patience = Duration::from_millis(750);

        let kept = attend(slow, &heard, patience, None, &cancel, || OnCancel::Wait).await;
        let silent: Result<(), UpstreamError> =
            attend(std::future::pending(), &heard, patience, None, &cancel, || OnCancel::Wait)
                .await;

        assert_eq!(kept.unwrap(), "done");
        assert!(matches!(silent, Err(UpstreamError::Lost(_))));
    }
}
