//! What writes lines to a child, one after the other. A line with a gate passes it when its turn has
//! come, and each write asks the leave again directly before the system is called: the process may
//! have stood still in between, and may have been given up for dead.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::io::{AsyncWrite as _, AsyncWriteExt as _};
use tokio::process::ChildStdin;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::super::gate::TOO_LATE;
use super::super::hub::Hub;
use super::super::{Gate, Leave};
use super::unread::Written;

/// One message to a child.
pub(super) struct Line {
    pub(super) text: String,
    /// The request this is, if it is one.
    pub(super) id: Option<u64>,
    /// What it must pass directly before it is written.
    pub(super) gate: Option<Arc<dyn Gate>>,
}

/// Writes lines until the connection ends; gives back the child's input, and what was written.
pub(super) async fn write(
    mut stdin: ChildStdin,
    mut lines: mpsc::Receiver<Line>,
    hub: Arc<Hub>,
    stop: CancellationToken,
) -> (ChildStdin, Written) {
    let mut written = Written::default();
    loop {
        let line = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            line = lines.recv() => line,
        };
        let Some(Line { text, id, gate }) = line else { break };
        let leave = match gate {
            None => None,
            Some(gate) => {
                let passed = tokio::select! {
                    () = stop.cancelled() => break,
                    passed = gate.pass() => passed,
                };
                match passed {
                    Ok(leave) => Some(leave),
                    Err(why) => {
                        hub.refuse(id, &why);
                        continue;
                    }
                }
            }
        };
        // White space between tokens may hold line ends; inside strings they can't stand raw.
        let mut text =
            if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], " ") } else { text };
        text.push('\n');
        match id {
            Some(id) => hub.mark_written(id),
            None => hub.mark_aside(),
        }
        written.begin(id, text.len());
        let mut rest = text.as_bytes();
        let whole = async {
            while !rest.is_empty() {
                let count = write_some(&mut stdin, rest, leave.as_ref()).await?;
                written.took(count);
                rest = &rest[count..];
            }
            stdin.flush().await.map_err(Unwritten::Closed)
        };
        let whole = tokio::select! {
            () = stop.cancelled() => break,
            whole = whole => whole,
        };
        match whole {
            Ok(()) => {}
            Err(Unwritten::Late) => {
                let is_begun = rest.len() < text.len();
                hub.refuse(id, TOO_LATE);
                written.give_up();
                if is_begun {
                    // Whatever came next would go on with the line.
                    debug!(upstream = %hub.common.name, "the child is ended in the middle of a line");
                    stop.cancel();
                    break;
                }
            }
            Err(Unwritten::Closed(error)) => {
                debug!(upstream = %hub.common.name, "the child takes no more input: {error}");
                stop.cancel();
                break;
            }
        }
    }
    (stdin, written)
}

/// Why a line was not written.
enum Unwritten {
    /// The leave to send it was over.
    Late,
    /// The child takes no more.
    Closed(std::io::Error),
}

/// Writes as much as the pipe takes. The leave is asked directly before the system is; JSON without
/// its end is none, but the line's end alone changes nothing any more.
async fn write_some(
    stdin: &mut ChildStdin,
    rest: &[u8],
    leave: Option<&Leave>,
) -> Result<usize, Unwritten> {
    poll_fn(|cx| {
        if rest.len() > 1 && leave.is_some_and(|leave| !leave.is_good()) {
            return Poll::Ready(Err(Unwritten::Late));
        }
        Pin::new(&mut *stdin).poll_write(cx, rest).map_err(Unwritten::Closed)
    })
    .await
}
