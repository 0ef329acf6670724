//! How many bytes of messages are being read at once, and how many are under way, of each agent and
//! in all: a message takes several times its text while it is read, and about twice as long as
//! somebody works at it, be its client still there or not.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Config;

/// Messages up to this many bytes are not counted while they are read: each has a connection, and
/// those are.
pub(crate) const SMALL: usize = 16 << 10;
/// What a message under way takes besides its `params`, bytes: a few structures and tasks.
pub(crate) const UNDER_WAY: usize = 8 << 10;

/// The bytes that there may be at once.
///
/// One entry for each agent of the configuration.
#[derive(Debug)]
pub(crate) struct Bytes {
    /// Messages up to so many bytes are not counted.
    free: usize,
    all: Arc<Semaphore>,
    agents: HashMap<String, Arc<Semaphore>>,
}

/// A message's share, given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Share(Vec<OwnedSemaphorePermit>);

/// Whose bytes there are too many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooMuch {
    /// This agent's (`server.max_reading_per_agent`, `server.max_under_way_per_agent`).
    Agent,
    /// All agents' (`server.max_reading`, `server.max_under_way`).
    All,
}

impl Bytes {
    /// Those that are being read.
    pub(crate) fn being_read(config: &Config) -> Self {
        let server = &config.server;
        Self::within(config, server.max_reading_per_agent, server.max_reading, SMALL)
    }

    /// Those of what is under way.
    pub(crate) fn under_way(config: &Config) -> Self {
        let server = &config.server;
        Self::within(config, server.max_under_way_per_agent, server.max_under_way, 0)
    }

    fn within(config: &Config, per_agent: usize, all: usize, free: usize) -> Self {
        // One message of any size can always be read and answered.
        let least = config.server.max_body.saturating_add(UNDER_WAY);
        let semaphore = |bytes: usize| Arc::new(Semaphore::new(bytes.max(least)));
        let own = |name: &str| (name.to_owned(), semaphore(per_agent));
        Self {
            free,
            all: semaphore(all),
            agents: config.agents.iter().map(|agent| own(&agent.name)).collect(),
        }
    }

    /// Waits until there may be that many bytes more of this agent.
    ///
    /// # Errors
    /// [`TooMuch`], if that takes longer than `within`.
    pub(crate) async fn share(
        &self,
        agent: &str,
        bytes: usize,
        within: Duration,
    ) -> Result<Share, TooMuch> {
        let Ok(bytes) = u32::try_from(bytes) else { return Err(TooMuch::All) };
        if bytes as usize <= self.free {
            return Ok(Share::default());
        }
        let deadline = tokio::time::Instant::now() + within;
        let mut share = Share::default();
        // The agent's own first: those it keeps waiting are its own.
        let own = self.agents.get(agent).map(|own| (own, TooMuch::Agent));
        for (of, full) in own.into_iter().chain([(&self.all, TooMuch::All)]) {
            // Nearly always there is room, and no time to be watched.
            if let Ok(permit) = Arc::clone(of).try_acquire_many_owned(bytes) {
                share.0.push(permit);
                continue;
            }
            let permit = Arc::clone(of).acquire_many_owned(bytes);
            match tokio::time::timeout_at(deadline, permit).await {
                Ok(Ok(permit)) => share.0.push(permit),
                _ => return Err(full),
            }
        }
        Ok(share)
    }
}

impl Share {
    /// Gives back what is more than this many bytes.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        for permit in &mut self.0 {
            drop(permit.split(permit.num_permits().saturating_sub(bytes)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    const SOON: Duration = Duration::from_millis(20);

    fn reading() -> Bytes {
        Bytes::being_read(&config(
            r#"
            [server]
            max_body = "64KiB"
            max_reading_per_agent = "100KiB"
            max_reading = "150KiB"
            max_under_way_per_agent = "100KiB"
            max_under_way = "150KiB"
            [[agents]]
            name = "ann"
            token = "token-of-the-agent-ann"
            [[agents]]
            name = "bob"
            token = "token-of-the-agent-bob"
            "#,
        ))
    }

    #[tokio::test]
    async fn each_agent_and_all_together_read_so_much_at_once() {
        let reading = reading();
        let mut first = reading.share("ann", 64 << 10, SOON).await.unwrap();

        assert_eq!(reading.share("ann", 64 << 10, SOON).await.unwrap_err(), TooMuch::Agent);
        assert!(reading.share("ann", SMALL, SOON).await.is_ok(), "small ones always");
        let second = reading.share("bob", 64 << 10, SOON).await.unwrap();
        assert_eq!(reading.share("bob", 30 << 10, SOON).await.unwrap_err(), TooMuch::All);
        first.shrink(36 << 10);
        let third = reading.share("ann", 50 << 10, SOON).await.unwrap();
        drop((first, second, third));
        assert_eq!(reading.all.available_permits(), 150 << 10, "nothing stays behind");
        assert!(reading.agents.values().all(|own| own.available_permits() == 100 << 10));
    }

    #[tokio::test]
    async fn who_waits_is_let_in_when_another_is_done() {
        let reading = Arc::new(reading());
        let first = reading.share("ann", 64 << 10, SOON).await.unwrap();
        let waiting = tokio::spawn({
            let reading = Arc::clone(&reading);
            async move { reading.share("ann", 64 << 10, Duration::from_secs(60)).await }
        });
        tokio::task::yield_now().await;

        drop(first);

        assert!(waiting.await.unwrap().is_ok());
    }
}
