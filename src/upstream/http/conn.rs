//! One connection, driven by whoever waits for something on it: no task of its own, so that a
//! request and its answer pass no queue and wake no thread. Whoever drops it closes it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::io::{Body, Guard, Io};

/// How often a connection is looked at again in one turn, before others have theirs.
const ROUNDS: usize = 16;

/// One connection.
pub(super) struct Conn {
    sender: SendRequest<Body>,
    /// None once it has ended.
    connection: Option<Connection<TokioIo<Io>, Body>>,
    guard: Arc<Guard>,
    turn: Arc<Turn>,
    waker: Waker,
}

impl Conn {
    /// Begins HTTP on these bytes; nothing is sent yet.
    ///
    /// # Errors
    /// That of HTTP.
    pub(super) async fn new(io: Io) -> Result<Box<Self>, hyper::Error> {
        let guard = Arc::clone(&io.guard);
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await?;
        let turn = Arc::<Turn>::default();
        let waker = Waker::from(Arc::clone(&turn));
        Ok(Box::new(Self { sender, connection: Some(connection), guard, turn, waker }))
    }

    /// What guards its writes.
    pub(super) fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    /// Sends one request and reads the head of its answer.
    ///
    /// # Errors
    /// That of HTTP; the request is in it where not a byte of it was sent.
    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        let mut sending = std::pin::pin!(self.sender.try_send_request(request));
        std::future::poll_fn(|cx| self.drive(cx, |cx| sending.as_mut().poll(cx))).await
    }

    /// Moves the connection and then what waits for it, until that is done or neither goes on.
    pub(super) fn drive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut waits: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.turn.begin(cx.waker());
        for _ in 0..ROUNDS {
            self.advance();
            if let Poll::Ready(done) = waits(&mut Context::from_waker(&self.waker)) {
                self.turn.end();
                return Poll::Ready(done);
            }
            if !self.turn.goes_on() {
                return Poll::Pending;
            }
        }
        self.turn.end();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn advance(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let mut cx = Context::from_waker(&self.waker);
        // How it ended is told to the request; one that it had not taken yet is given back as it is
        // dropped.
        if Pin::new(connection).poll(&mut cx).is_ready() {
            self.connection = None;
        }
    }

    /// Whether the answer was read to its end, so that it can take another request.
    pub(super) fn is_free(&mut self) -> bool {
        if !self.sender.is_ready() {
            self.advance();
        }
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Waits for nobody any more, until it is used again.
    pub(super) fn rest(&self) {
        drop(self.turn.task.take());
    }

    /// Whether the peer has neither closed it nor said anything while it was idle: asks the system.
    pub(super) fn is_still_good(&mut self) -> bool {
        self.guard.look();
        self.advance();
        self.connection.is_some() && self.sender.is_ready()
    }
}

/// It is this connection's turn.
const TURN: u8 = 1;
/// Something has come since the connection was looked at.
const WOKEN: u8 = 2;

/// Who is woken. What wakes a connection while it is looked at, as its own parts do each other, has
/// it looked at again at once; waking the task for that would cost as much as the request.
#[derive(Debug, Default)]
struct Turn {
    task: AtomicWaker,
    state: AtomicU8,
}

impl Turn {
    fn begin(&self, task: &Waker) {
        self.task.register(task);
        // All is looked at from here on.
        self.state.store(TURN, Ordering::SeqCst);
    }

    fn end(&self) {
        self.state.store(0, Ordering::SeqCst);
    }

    /// Ends the turn, unless something has come.
    fn goes_on(&self) -> bool {
        let ended = self.state.compare_exchange(TURN, 0, Ordering::SeqCst, Ordering::SeqCst);
        if ended.is_err() {
            self.state.store(TURN, Ordering::SeqCst);
        }
        ended.is_err()
    }
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.fetch_or(WOKEN, Ordering::SeqCst) & TURN == 0 {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn what_comes_during_a_turn_prolongs_it_and_what_comes_after_it_wakes_the_task() {
        let (turn, woken) = (Arc::<Turn>::default(), Arc::<Woken>::default());
        let task = Waker::from(Arc::clone(&woken));

        turn.begin(&task);
        turn.wake_by_ref();
        assert!(turn.goes_on(), "it was woken in its turn");
        assert!(!turn.goes_on(), "and is not again");
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);

        turn.wake_by_ref();
        turn.wake_by_ref();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1, "a task is woken once");
        turn.begin(&task);
        assert!(!turn.goes_on(), "what woke the task is looked at in its turn");
    }
}
