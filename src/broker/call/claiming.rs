//! What a hold does about its call once that is approved: it claims it, and follows the execution.

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use crate::store::StoreError;
use crate::upstream::ServerMessage;

use super::changes::POLL;
use super::execute::{Done, Execution};

/// A claim on its way. When it is dropped, what is not claimed yet will not be.
#[derive(Debug)]
pub(super) struct Claiming {
    pub(super) task: JoinHandle<Result<Option<Execution>, StoreError>>,
    pub(super) _over: DropGuard,
}

/// What happens to a call that is claimed or executed.
pub(super) enum Event {
    /// The claim was decided.
    Claimed,
    Server(ServerMessage),
    Done(Done),
    /// The execution's task is gone without a word; the store knows.
    Vanished,
}

/// The claim and execution of one hold.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) claiming: Option<Claiming>,
    pub(super) execution: Option<Execution>,
    /// Whether this hold executed its call, now or before.
    pub(super) executed_here: bool,
    /// When it may be claimed again, after the store failed.
    pub(super) not_before: Instant,
}

impl Default for Work {
    fn default() -> Self {
        let not_before = Instant::now();
        Self { claiming: None, execution: None, executed_here: false, not_before }
    }
}

impl Work {
    /// Whether a claim or an execution is under way.
    pub(super) const fn is_under_way(&self) -> bool {
        self.claiming.is_some() || self.execution.is_some()
    }

    /// The next event. What the upstream said is passed on before how the call ended.
    pub(super) async fn next(&mut self) -> Event {
        if self.claiming.is_some() {
            self.claimed().await;
            return Event::Claimed;
        }
        let Some(execution) = &mut self.execution else { return std::future::pending().await };
        // The upstream may keep its end of the notifications open for longer than the call.
        tokio::select! {
            biased;
            Some(note) = execution.notifications.recv() => Event::Server(note),
            done = &mut execution.done => done.map_or(Event::Vanished, Event::Done),
        }
    }

    /// Resolves when the claim is decided; never where there is none.
    pub(super) async fn claimed(&mut self) {
        let Some(claiming) = &mut self.claiming else { return std::future::pending().await };
        let claimed = (&mut claiming.task).await;
        self.claiming = None;
        match claimed {
            Ok(Ok(Some(started))) => {
                self.execution = Some(started);
                self.executed_here = true;
            }
            // Somebody else has it, or it may not run; the row says.
            Ok(Ok(None)) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "an approved call could not be claimed");
                self.not_before = Instant::now() + POLL;
            }
            Err(error) => {
                tracing::error!(%error, "an approved call could not be claimed");
                self.not_before = Instant::now() + POLL;
            }
        }
    }
}
