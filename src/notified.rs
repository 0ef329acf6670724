//! Waiting for what another task brings about.

use tokio::sync::Notify;

pub(crate) mod queue;

/// Waits until `look` finds something. Whoever changes what it looks at notifies `changed` after
/// the change. A change between the look and the wait is not missed.
pub(crate) async fn until<T>(changed: &Notify, mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        let notified = changed.notified();
        tokio::pin!(notified);
        // Register first, then look, then wait.
        notified.as_mut().enable();
        if let Some(found) = look() {
            return found;
        }
        notified.await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_is_there_already_is_found_at_once() {
        assert_eq!(until(&Notify::new(), || Some(7)).await, 7);
    }

    #[tokio::test]
    async fn a_change_right_after_the_look_is_not_missed() {
        let (changed, state) = (Notify::new(), AtomicU32::new(0));

        let found = until(&changed, || {
            let seen = state.fetch_add(1, Ordering::Relaxed);
            changed.notify_waiters();
            (seen == 1).then_some(seen)
        });

        assert_eq!(found.await, 1);
    }

    #[tokio::test]
    async fn it_waits_for_a_change_by_another_task() {
        let shared = Arc::new((Notify::new(), AtomicU32::new(0)));
        let other = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            for n in 1..=3 {
                tokio::task::yield_now().await;
                other.1.store(n, Ordering::Relaxed);
                other.0.notify_waiters();
            }
        });

        let look = || Some(shared.1.load(Ordering::Relaxed)).filter(|n| *n == 3);

        assert_eq!(until(&shared.0, look).await, 3);
        task.await.unwrap();
    }
}
