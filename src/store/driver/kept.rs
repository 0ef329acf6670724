//! Connections that are kept between uses. A pool of sqlx asks each that comes back whether it still
//! answers: one more trip for every verb, and a task that makes it.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// One that nobody used for so long goes back to the pool, which closes it by and by.
const IDLE: Duration = Duration::from_secs(60);
/// One that was taken from the pool so long ago goes back to it, which knows how old it may be.
const OLDEST: Duration = Duration::from_secs(600);

/// A pool, and those of its connections that are kept for the next use.
///
/// At most as many as the pool may have are kept. They go back to it where they were not used for a
/// while, when others come or go, and when it is closed.
#[derive(Debug)]
pub(super) struct Kept<DB: Database> {
    pool: Pool<DB>,
    /// One place for each connection that may be in use.
    places: Arc<Semaphore>,
    /// None once it is closed; the one used last stands last.
    free: Arc<Mutex<Option<Vec<Free<DB>>>>>,
}

impl<DB: Database> Clone for Kept<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            places: Arc::clone(&self.places),
            free: Arc::clone(&self.free),
        }
    }
}

#[derive(Debug)]
struct Free<DB: Database> {
    link: PoolConnection<DB>,
    from: Instant,
    since: Instant,
}

/// What is known of a connection that was kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Age {
    /// Time since it came from the pool.
    pub(super) total: Duration,
    /// Time since it was last used.
    pub(super) idle: Duration,
}

/// A connection in use. Dropped, it goes to the pool, which asks whether it still answers.
#[derive(Debug)]
pub(super) struct InUse<DB: Database> {
    link: PoolConnection<DB>,
    from: Instant,
    kept: Kept<DB>,
    _place: OwnedSemaphorePermit,
}

impl<DB: Database> Deref for InUse<DB> {
    type Target = PoolConnection<DB>;

    fn deref(&self) -> &Self::Target {
        &self.link
    }
}

impl<DB: Database> DerefMut for InUse<DB> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.link
    }
}

impl<DB: Database> InUse<DB> {
    /// Keeps it for the next use: its last answer was read, and nothing is open.
    pub(super) fn keep(self) {
        let Self { link, from, kept, _place } = self;
        // Those that are dropped go back to the pool, outside the lock.
        let mut old = Vec::new();
        if let Some(free) = &mut *kept.lock() {
            while free.first().is_some_and(|free| free.since.elapsed() > IDLE) {
                old.push(free.remove(0));
            }
            if from.elapsed() <= OLDEST {
                free.push(Free { link, from, since: Instant::now() });
            }
        }
    }

    /// Takes it out for good; the pool may make another in its place.
    pub(super) fn detach(self) -> DB::Connection {
        self.link.detach()
    }
}

impl<DB: Database> Kept<DB> {
    /// The connections of a pool that may have so many.
    pub(super) fn new(pool: Pool<DB>, most: u32) -> Self {
        Self {
            pool,
            places: Arc::new(Semaphore::new(most as usize)),
            free: Arc::new(Mutex::new(Some(Vec::new()))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Free<DB>>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self) -> Option<Free<DB>> {
        self.lock().as_mut()?.pop()
    }

    /// The connection that was used last and that `is_fit`; else one of the pool.
    ///
    /// # Errors
    /// [`sqlx::Error`], when none is free or can be made within `patience`.
    pub(super) async fn acquire<F>(
        &self,
        patience: Duration,
        is_fit: impl Fn(PoolConnection<DB>, Age) -> F,
    ) -> Result<InUse<DB>, sqlx::Error>
    where
        F: Future<Output = Option<PoolConnection<DB>>>,
    {
        let acquired = async {
            let places = Arc::clone(&self.places);
            let place = places.acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
            while let Some(Free { link, from, since }) = self.pop() {
                let age = Age { total: from.elapsed(), idle: since.elapsed() };
                if let Some(link) = is_fit(link, age).await {
                    return Ok(InUse { link, from, kept: self.clone(), _place: place });
                }
            }
            // Before it is made: so nobody takes it for younger than it is.
            let from = Instant::now();
            let link = self.pool.acquire().await?;
            Ok(InUse { link, from, kept: self.clone(), _place: place })
        };
        timeout(patience, acquired).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// Closes all connections, when those in use have come back.
    pub(super) async fn close(&self) {
        let free = self.lock().take();
        drop(free);
        self.pool.close().await;
        self.places.close();
    }
}
