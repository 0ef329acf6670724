//! A bounded queue with one reader, that takes room only for what is in it. A channel of tokio's
//! takes room for 32 values at once; of what one held request says in an hour, one is on its way.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use tokio::sync::Notify;

use super::until;

/// A queue of at most `most` values.
pub(crate) fn queue<T>(most: usize) -> (Sender<T>, Receiver<T>) {
    let state = State { values: VecDeque::new(), most, senders: 1, is_closed: false, reader: None };
    let all = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() });
    (Sender(Arc::clone(&all)), Receiver(all))
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    /// There may be room, or nobody reads any more.
    changed: Notify,
}

#[derive(Debug)]
struct State<T> {
    values: VecDeque<T>,
    most: usize,
    senders: usize,
    is_closed: bool,
    reader: Option<Waker>,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

/// Why a value was not taken, with the value.
#[derive(Debug)]
pub(crate) enum Refused<T> {
    /// There is no room.
    Full(T),
    /// Nobody reads any more.
    Closed(T),
}

/// The end that is written to.
#[derive(Debug)]
pub(crate) struct Sender<T>(Arc<Shared<T>>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.senders -= 1;
        let reader = if state.senders == 0 { state.reader.take() } else { None };
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl<T> Sender<T> {
    /// Puts a value in, if there is room.
    ///
    /// # Errors
    /// [`Refused`], with the value, where there is none or nobody reads.
    pub(crate) fn try_send(&self, value: T) -> Result<(), Refused<T>> {
        let mut state = self.0.lock();
        if state.is_closed {
            return Err(Refused::Closed(value));
        }
        if state.values.len() >= state.most {
            return Err(Refused::Full(value));
        }
        state.values.push_back(value);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    /// Puts a value in as soon as there is room; false where nobody reads any more.
    pub(crate) async fn send(&self, value: T) -> bool {
        let mut value = Some(value);
        until(&self.0.changed, || match self.try_send(value.take()?) {
            Ok(()) => Some(true),
            Err(Refused::Closed(_)) => Some(false),
            Err(Refused::Full(back)) => {
                value = Some(back);
                None
            }
        })
        .await
    }

    /// Resolves when nobody reads any more.
    pub(crate) async fn closed(&self) {
        until(&self.0.changed, || self.0.lock().is_closed.then_some(())).await;
    }
}

/// The end that is read from.
#[derive(Debug)]
pub(crate) struct Receiver<T>(Arc<Shared<T>>);

impl<T> Receiver<T> {
    /// The next value; none when all who write are gone.
    pub(crate) async fn recv(&mut self) -> Option<T> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// A value that is there already.
    pub(crate) fn try_recv(&mut self) -> Option<T> {
        let value = self.0.lock().values.pop_front();
        if value.is_some() {
            self.0.changed.notify_waiters();
        }
        value
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.lock();
        let Some(value) = state.values.pop_front() else {
            if state.senders == 0 {
                return Poll::Ready(None);
            }
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if state.values.is_empty() {
            // It may be long till the next.
            state.values.shrink_to_fit();
        }
        drop(state);
        self.0.changed.notify_waiters();
        Poll::Ready(Some(value))
    }
}

impl<T> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll(cx)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        let left = std::mem::take(&mut state.values);
        drop(state);
        drop(left);
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_put_in_is_read_in_its_order_and_no_more_than_there_is_room_for() {
        let (sender, mut receiver) = queue(2);

        assert!(sender.try_send(1).is_ok() && sender.try_send(2).is_ok());
        assert!(matches!(sender.try_send(3), Err(Refused::Full(3))));
        let waits = tokio::spawn({
            let sender = sender.clone();
            async move { sender.send(3).await }
        });
        assert_eq!((receiver.recv().await, receiver.recv().await), (Some(1), Some(2)));
        assert!(waits.await.unwrap());
        assert_eq!(receiver.recv().await, Some(3));
        drop(sender);
        assert_eq!(receiver.recv().await, None, "all who write are gone");
    }

    #[tokio::test]
    async fn who_waits_for_a_value_or_for_room_is_woken_by_the_other_end() {
        let (sender, mut receiver) = queue(1);
        let reads = tokio::spawn(async move { (receiver.recv().await, receiver) });
        tokio::task::yield_now().await;

        assert!(sender.send("a").await);
        let (read, receiver) = reads.await.unwrap();

        assert_eq!(read, Some("a"));
        assert!(sender.try_send("b").is_ok());
        let waits = tokio::spawn(async move {
            let sent = sender.send("c").await;
            sender.closed().await;
            sent
        });
        tokio::task::yield_now().await;
        drop(receiver);
        assert!(!waits.await.unwrap(), "nobody reads it");
    }
}
