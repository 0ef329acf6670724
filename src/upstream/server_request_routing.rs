//! A question of the server on its way to the client and back: to the request it came with, else
//! to whoever listens on the client's own stream, else it is declined.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::hub::Hub;
use super::{Reply, Said, ServerRequest, message};

/// How far a server may ask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How long a question that belongs to no request waits for a client to listen: servers ask
    /// for roots as soon as they are initialized, before the client's request is on its way.
    pub wait: Duration,
    /// Questions that wait for a client's own stream; more are declined.
    pub waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { wait: Duration::from_secs(3), waiting: 16 }
    }
}

/// The clients' own streams of one instance.
#[derive(Default)]
pub(super) struct Questions {
    listeners: Mutex<Vec<mpsc::Sender<ServerRequest>>>,
    came: Notify,
}

impl Questions {
    fn listeners(&self) -> MutexGuard<'_, Vec<mpsc::Sender<ServerRequest>>> {
        self.listeners.lock().expect("no holder of this lock panics")
    }

    /// A client listens on its own stream.
    pub fn listen(&self, limits: Limits) -> mpsc::Receiver<ServerRequest> {
        let (sender, receiver) = mpsc::channel(limits.waiting.max(1));
        let mut listeners = self.listeners();
        listeners.retain(|l| !l.is_closed());
        listeners.push(sender);
        drop(listeners);
        self.came.notify_waiters();
        receiver
    }

    /// A request began, or a client listens.
    pub fn somebody_came(&self) {
        self.came.notify_waiters();
    }

    /// Gives it to the client that began to listen last; back if nobody takes it.
    fn hand(&self, mut asked: ServerRequest) -> Option<ServerRequest> {
        for listener in self.listeners().iter().rev() {
            match listener.try_send(asked) {
                Ok(()) => return None,
                Err(
                    mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back),
                ) => {
                    asked = back;
                }
            }
        }
        Some(asked)
    }
}

/// A question that has not been answered.
pub(super) struct Question {
    hub: Arc<Hub>,
    id: String,
    asked: ServerRequest,
    answered: oneshot::Receiver<Reply>,
    own: Option<u64>,
}

impl Question {
    /// Of a connection; `own` is the request whose stream it came on.
    pub fn new(
        hub: &Arc<Hub>,
        id: String,
        method: &str,
        params: Option<&str>,
        own: Option<u64>,
    ) -> Self {
        let (asked, answered) = ServerRequest::new(method, params);
        Self { hub: Arc::clone(hub), id, asked, answered, own }
    }

    /// Puts it to the client and waits, at most the upstream's timeout; gives the message for the
    /// server. While it waits the request it came with is not silent: its clock stands still.
    pub async fn answered(self) -> String {
        let Self { hub, id, asked, mut answered, own } = self;
        let method = asked.method.clone();
        let declined = || message::answer_to(&id, &method);
        let Some(heard) = put(&hub, asked, own).await else { return declined() };
        let timeout = hub.common.timeout;
        let deadline = Instant::now() + timeout;
        let mut alive = tokio::time::interval((timeout / 4).max(Duration::from_millis(10)));
        loop {
            tokio::select! {
                reply = &mut answered => {
                    heard.inspect(|h| h.notify_one());
                    return reply.map_or_else(|_| declined(), |r| message::answer_with(&id, &r));
                }
                _ = alive.tick() => if let Some(heard) = &heard {
                    heard.notify_one();
                },
                () = tokio::time::sleep_until(deadline) => return declined(),
                () = hub.common.stop.cancelled() => return declined(),
            }
        }
    }
}

/// Gives the question to a client; what fires at every message about the request it came with, if
/// there is one. None where nobody takes it.
async fn put(
    hub: &Arc<Hub>,
    mut asked: ServerRequest,
    own: Option<u64>,
) -> Option<Option<Arc<Notify>>> {
    let deadline = Instant::now() + hub.common.questions.wait;
    let questions = &hub.audience.questions;
    loop {
        let came = questions.came.notified();
        tokio::pin!(came);
        // Register first, then look, then wait.
        came.as_mut().enable();
        if let Some((to, heard)) = hub.owner(own) {
            return to.try_send(Said::Asked(asked)).is_ok().then_some(Some(heard));
        }
        if own.is_some() {
            return None;
        }
        // Among several agents it can't be said whose it is.
        if !hub.common.shared {
            match questions.hand(asked) {
                None => return Some(None),
                Some(back) => asked = back,
            }
        }
        tokio::select! {
            () = came => {}
            () = tokio::time::sleep_until(deadline) => return None,
            () = hub.common.stop.cancelled() => return None,
        }
    }
}
