//! What a child says: messages of one line or several, told from everything else that it may print.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::BufReader;
use tokio::process::ChildStdout;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::super::Reply;
use super::super::child::read_line;
use super::super::hub::{Hub, Received, Said};
use super::super::message::{self, Incoming, Unreadable, Whose};
use super::super::server_request_routing;
use super::joined::Joined;
use super::oversized::{self, Oversized};
use super::writing::Line;
use crate::domain::json;
use crate::protocol::{code, jsonrpc};

/// What is known of a child's life.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// The handshake is done, and nobody on our side ends the child: its end is news.
    pub newsworthy: AtomicBool,
    /// It answered a request after the handshake.
    pub served: AtomicBool,
    /// It closed its output by itself.
    pub left: AtomicBool,
    /// It ended by itself with exit code 0.
    pub finished: AtomicBool,
}

/// Reads messages to the end of the child's output.
pub(super) async fn read(
    stdout: ChildStdout,
    hub: Arc<Hub>,
    out: mpsc::WeakSender<Line>,
    stop: CancellationToken,
    marks: Arc<Marks>,
) {
    let mut reader = BufReader::with_capacity(64 * 1024, stdout);
    let mut line = Vec::new();
    let limit = hub.common.max_message;
    let mut begun: Option<Joined> = None;
    loop {
        let mut end = oversized::End::default();
        let read = {
            let next = read_line(&mut reader, limit, &mut line, |left| end.push(left));
            tokio::pin!(next);
            loop {
                let until = begun.as_ref().map(Joined::until);
                tokio::select! {
                    biased;
                    read = &mut next => break read,
                    () = sleep_until(until) => broken_off(&hub, begun.take()),
                }
            }
        };
        match read {
            Ok(Some(false)) => {}
            Ok(Some(true)) => {
                too_large(&hub, &line, end);
                line = Vec::new();
                continue;
            }
            Ok(None) | Err(_) => break,
        }
        let line = json::without_mark(&line);
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let found = message::read_bytes(line);
        // A whole message at the beginning of a line is no part of one that began before.
        let is_alone = found.is_ok() && line.first().is_some_and(|b| matches!(b, b'{' | b'['));
        if !is_alone && let Some(mut joined) = begun.take() {
            if joined.len_with(line) > limit {
                too_large(&hub, &joined.into_text(), oversized::End::default());
            } else if joined.push(line) {
                let text = joined.into_text();
                heard(&hub, &out, &marks, message::read_bytes(&text), &text);
            } else {
                begun = Some(joined);
            }
            continue;
        }
        broken_off(&hub, begun.take());
        begun = if found.is_err() { Joined::begin(line) } else { None };
        if begun.is_none() {
            heard(&hub, &out, &marks, found, line);
        }
    }
    broken_off(&hub, begun);
    marks.left.store(true, Ordering::SeqCst);
    stop.cancel();
}

/// Waits until then, or for ever.
async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// What was read of a text goes where it belongs.
fn heard(
    hub: &Arc<Hub>,
    out: &mpsc::WeakSender<Line>,
    marks: &Marks,
    found: Result<Vec<Incoming>, Unreadable>,
    text: &[u8],
) {
    match found {
        Ok(messages) => {
            for incoming in messages {
                if matches!(incoming, Incoming::Answer { .. })
                    && marks.newsworthy.load(Ordering::SeqCst)
                {
                    marks.served.store(true, Ordering::SeqCst);
                }
                respond(hub, out, hub.receive(incoming, None));
            }
        }
        Err(what) => skipped(hub, &what, text),
    }
}

/// A text is no message. The request that it seems to answer is told at once.
fn skipped(hub: &Hub, what: &Unreadable, text: &[u8]) {
    let why = format!("the answer is unreadable: {}", what.why);
    match what.id {
        Some(id) => hub.fail(id, &why),
        None if message::seems_a_message(text) => {
            hub.unreadable(what);
            hub.answers_some(Said::Unreadable(why));
        }
        None => {
            debug!(upstream = %hub.common.name, "a line of output that is no message was skipped");
        }
    }
}

/// The lines of a message were not followed by its end.
fn broken_off(hub: &Hub, begun: Option<Joined>) {
    let Some(text) = begun.map(Joined::into_text) else { return };
    if let Err(what) = message::read_bytes(&text) {
        skipped(hub, &what, &text);
    }
}

/// A message is larger than it may be: the request it answers, if it is an answer, fails alone.
fn too_large(hub: &Arc<Hub>, beginning: &[u8], end: oversized::End) {
    let limit = hub.common.max_message;
    let whose = oversized::look(json::without_mark(beginning), end);
    let why = format!("a message is larger than {limit} bytes (server.max_result)");
    warn!(upstream = %hub.common.name, "{why}, it was skipped");
    let text = format!("the upstream answered, but its answer was left out: {why}");
    let error = jsonrpc::error_object(code::INTERNAL_ERROR, &text, None);
    match whose {
        Oversized::Answer(id) => {
            let to = Whose::Request(id);
            hub.receive(Incoming::Answer { to, reply: Reply::Error(error) }, None);
        }
        Oversized::SomeAnswer => hub.answers_some(Said::Error(error)),
        Oversized::Other => {}
    }
}

/// Answers what the server asked, now or once the client has.
fn respond(hub: &Arc<Hub>, out: &mpsc::WeakSender<Line>, received: Received) {
    let say = |hub: &Hub, out: &mpsc::WeakSender<Line>, text| {
        if let Some(out) = out.upgrade()
            && out.try_send(Line { text, id: None, gate: None }).is_err()
        {
            debug!(upstream = %hub.common.name, "an answer to the server was dropped");
        }
    };
    match received {
        Received::Respond(text) => say(hub, out, text),
        Received::ForClient(question) => {
            let (again, out) = (Arc::clone(hub), out.clone());
            hub.common.tracker.spawn(async move {
                say(&again, &out, server_request_routing::answered(&again, question).await);
            });
        }
        Received::Nothing | Received::Answer(_) => {}
    }
}
