//! How many streams an agent has open to hear of changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// How many streams each agent has open.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<HashMap<String, u32>>);

/// An open stream; dropping it makes room.
#[derive(Debug)]
pub(crate) struct Listener {
    all: Arc<Listeners>,
    agent: String,
}

impl Listeners {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// One more of this agent, unless it has `max`.
    pub(crate) fn open(self: &Arc<Self>, agent: &str, max: u32) -> Option<Listener> {
        let mut all = self.lock();
        let count = all.entry(agent.to_owned()).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Listener { all: Arc::clone(self), agent: agent.to_owned() })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some(count) = all.get_mut(&self.agent) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.agent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_counted_per_agent_and_make_room_when_they_end() {
        let streams = Arc::<Listeners>::default();
        let first = streams.open("ann", 1);

        assert!(first.is_some() && streams.open("ann", 1).is_none());
        assert!(streams.open("bob", 1).is_some());
        drop(first);
        assert!(streams.open("ann", 1).is_some());
        assert!(streams.lock().is_empty());
    }
}
