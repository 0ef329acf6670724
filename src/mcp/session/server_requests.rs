//! Server requests put to legacy clients: requests of ours on a stream of theirs, answered by a POST of
//! the same session (<https://modelcontextprotocol.io/specification/2025-11-25/basic#messages>).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use crate::upstream::Reply;

/// Session and raw id.
type Key = (String, String);

/// Server requests that no client has answered.
#[derive(Debug, Default)]
pub(crate) struct Open(Mutex<HashMap<Key, oneshot::Sender<Reply>>>);

impl Open {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, oneshot::Sender<Reply>>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// Waits for the answer to `id` (raw JSON) in a session, until the server request is dropped.
    pub(crate) fn ask(self: &Arc<Self>, session: &str, id: &str) -> Waiting {
        let key = (session.to_owned(), id.to_owned());
        let (sender, answer) = oneshot::channel();
        self.lock().insert(key.clone(), sender);
        Waiting { open: Arc::clone(self), key, answer }
    }

    /// Takes an answer that a client posted in this very session; it is dropped where no server request
    /// of that id waits.
    pub(crate) fn answer(&self, session: &str, id: &str, reply: Reply) {
        if let Some(waits) = self.lock().remove(&(session.to_owned(), id.to_owned())) {
            let _ = waits.send(reply);
        }
    }
}

/// A server request that waits for its answer; dropping it forgets it.
#[derive(Debug)]
pub(crate) struct Waiting {
    open: Arc<Open>,
    key: Key,
    /// Receives the client's result or error.
    pub(crate) answer: oneshot::Receiver<Reply>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.open.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_counts_only_in_the_session_that_was_asked() {
        let open = Arc::<Open>::default();
        let mut waiting = open.ask("a", "\"q\"");

        open.answer("b", "\"q\"", Reply::Result("{\"from\":\"b\"}".into()));
        assert!(waiting.answer.try_recv().is_err());
        open.answer("a", "\"q\"", Reply::Result("{\"from\":\"a\"}".into()));

        assert_eq!(waiting.answer.try_recv().unwrap(), Reply::Result("{\"from\":\"a\"}".into()));
        drop(waiting);
        assert!(open.lock().is_empty());
    }
}
