//! One connection, driven by whoever waits for something on it: no task of its own, so that a
//! request and its answer pass no queue and wake no thread. Whoever drops it closes it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures_util::task::AtomicWaker;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::io::{Body, Guard, Io};

/// How often a connection is looked at again in one turn, before others have theirs.
const ROUNDS: usize = 16;
/// Pieces that may come after what was waited for, before the connection is given up.
const TAIL_FRAMES: usize = 16;

/// One connection.
pub(super) struct Conn {
    sender: SendRequest<Body>,
    /// None once it has ended.
    connection: Option<Connection<TokioIo<Io>, Body>>,
    /// The end of the last answer, which nobody needs: it must have come before the next request.
    tail: Option<Incoming>,
    guard: Arc<Guard>,
    turn: Arc<Turn>,
    waker: Waker,
}

/// Whether a connection can be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// It can.
    Good,
    /// The end of its last answer has not come.
    NotYet,
    /// The peer closed it, or said something that nobody asked for.
    Gone,
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
        Ok(Box::new(Self { sender, connection: Some(connection), tail: None, guard, turn, waker }))
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

    /// Waits for nobody any more, until it is used again; `tail` is what is left of its answer.
    pub(super) fn rest(&mut self, tail: Option<Incoming>) {
        self.tail = tail;
        drop(self.turn.task.take());
    }

    /// Whether it can be used again: asks the system, since the runtime may not know yet.
    pub(super) fn fit(&mut self) -> Fit {
        self.guard.look();
        match self.tail.take() {
            None => self.advance(),
            Some(mut tail) => {
                let mut cx = Context::from_waker(Waker::noop());
                let mut more = 0..TAIL_FRAMES;
                let ended = self.drive(&mut cx, |cx| {
                    while let Some(frame) = ready!(Pin::new(&mut tail).poll_frame(cx)) {
                        if frame.is_err() || more.next().is_none() {
                            return Poll::Ready(false);
                        }
                    }
                    Poll::Ready(true)
                });
                self.turn.task.take();
                match ended {
                    Poll::Ready(true) => return if self.is_free() { Fit::Good } else { Fit::Gone },
                    Poll::Ready(false) => return Fit::Gone,
                    Poll::Pending => self.tail = Some(tail),
                }
            }
        }
        match (self.connection.is_some(), self.tail.is_some()) {
            (true, true) => Fit::NotYet,
            (true, false) if self.sender.is_ready() => Fit::Good,
            _ => Fit::Gone,
        }
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
