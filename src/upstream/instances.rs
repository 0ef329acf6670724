//! The instances of one server: which caller uses which, how many an agent may have, and when one
//! is closed. What names an instance is a fixed set of flags and, where the configuration says so,
//! a session: nothing that a client can write at will.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::ClientCapabilities;
use super::instance::{Instance, Used};

/// How often it is looked for instances that nobody uses any more, at most and at least.
const LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What names an instance; equal keys share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// The one that all share.
    Shared,
    /// Placet's own.
    Own,
    /// One of an agent.
    Agent {
        /// Its name.
        agent: String,
        /// What its client can be asked while a request runs.
        features: ClientCapabilities,
        /// Whether it is spoken to in the legacy era where the server speaks both.
        legacy_first: bool,
    },
    /// That of one client session.
    Session {
        /// Name of the session's agent.
        agent: String,
        /// Its id.
        session: String,
    },
}

impl Key {
    /// The agent that has it; none where it is nobody's own.
    fn agent(&self) -> Option<&str> {
        match self {
            Self::Shared | Self::Own => None,
            Self::Agent { agent, .. } | Self::Session { agent, .. } => Some(agent),
        }
    }
}

/// How long instances stay, and how many there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Most instances of one agent.
    pub per_agent: usize,
    /// How long one stays that nobody uses.
    pub idle: Duration,
    /// How long one stays at most after the last session that used it has ended: clients that are
    /// started anew for each call find it again.
    pub linger: Duration,
}

/// Who uses an instance: those who name it, for how long.
#[derive(Debug, Default)]
struct Users {
    /// The sessions that used it and have not ended, by their agents. Emptied by their end, which is also found out
    /// by asking the store.
    sessions: HashMap<String, HashSet<String>>,
    /// A caller without a session used it, whose end nobody tells.
    roams: bool,
}

impl Users {
    fn came(&mut self, agent: &str, session: &str) {
        // Nearly always it is there already.
        match self.sessions.get_mut(agent) {
            Some(own) if own.contains(session) => {}
            Some(own) => drop(own.insert(session.to_owned())),
            None => drop(self.sessions.insert(agent.to_owned(), [session.to_owned()].into())),
        }
    }

    /// Whether it was there.
    fn left(&mut self, agent: &str, session: &str) -> bool {
        let Some(own) = self.sessions.get_mut(agent) else { return false };
        let was_there = own.remove(session);
        if own.is_empty() {
            self.sessions.remove(agent);
        }
        was_there
    }
}

struct Place {
    instance: Arc<Instance>,
    users: Users,
}

/// All instances of one server.
pub(super) struct Instances {
    places: Mutex<HashMap<Key, Place>>,
    bounds: Bounds,
}

impl Instances {
    /// None yet.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { places: Mutex::default(), bounds }
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Key, Place>> {
        self.places.lock().expect("no holder of this lock panics")
    }

    /// The instance of that name, made if need be, for a session of the named agent or for nobody
    /// in particular. One that had to make room is to be closed.
    ///
    /// # Errors
    /// Why there can be none, in words: the agent has as many as it may, and all are in use.
    pub(super) fn take(
        &self,
        key: Key,
        session: Option<(&str, &str)>,
        make: impl FnOnce() -> Arc<Instance>,
    ) -> Result<(Used, Option<Arc<Instance>>), String> {
        let mut places = self.places();
        let mut displaced = None;
        if !places.contains_key(&key)
            && let Some(agent) = key.agent()
        {
            let own = places.iter().filter(|(k, _)| k.agent() == Some(agent));
            if own.clone().count() >= self.bounds.per_agent {
                let idle = own.filter(|(_, place)| place.instance.is_quiet());
                let oldest = idle.min_by_key(|(_, p)| p.instance.used_at()).map(|(k, _)| k.clone());
                let Some(oldest) = oldest else {
                    return Err(format!(
                        "agent {agent} uses {} instances of this server already \
                         (upstreams.max_instances_per_agent); end a session, or raise the limit",
                        self.bounds.per_agent
                    ));
                };
                displaced = places.remove(&oldest).map(|place| place.instance);
            }
        }
        let place = match places.entry(key) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(free) => free.insert(Place { instance: make(), users: Users::default() }),
        };
        match session {
            Some((agent, session)) => {
                place.users.came(agent, session);
            }
            None => place.users.roams = true,
        }
        Ok((Used::of(&place.instance), displaced))
    }

    /// The instance of that name, if there is one.
    pub(super) fn find(&self, key: &Key) -> Option<Arc<Instance>> {
        self.places().get(key).map(|place| Arc::clone(&place.instance))
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Instance>> {
        self.places().values().map(|place| Arc::clone(&place.instance)).collect()
    }

    /// Takes all of them away.
    pub(super) fn drain(&self) -> Vec<Arc<Instance>> {
        self.places().drain().map(|(_, place)| place.instance).collect()
    }

    /// The sessions that use any of them, each with its agent.
    pub(super) fn sessions(&self) -> HashSet<(String, String)> {
        let places = self.places();
        let all = places.values().flat_map(|place| &place.users.sessions);
        all.flat_map(|(agent, own)| own.iter().map(|session| (agent.clone(), session.clone())))
            .collect()
    }

    /// A session has ended. Gives back its own instance, if it has one, which is to be closed.
    pub(super) fn leave(&self, agent: &str, session: &str) -> Option<Arc<Instance>> {
        let mut places = self.places();
        for place in places.values_mut() {
            if place.users.left(agent, session) && place.users.sessions.is_empty() {
                // It stays a little from now on.
                place.instance.touch();
            }
        }
        let (agent, session) = (agent.to_owned(), session.to_owned());
        places.remove(&Key::Session { agent, session }).map(|place| place.instance)
    }

    /// Takes away those that at `now` nobody has used for long enough; they are to be closed.
    pub(super) fn take_idle(&self, now: Instant) -> Vec<Arc<Instance>> {
        let mut places = self.places();
        let idle: Vec<Key> = places
            .iter()
            .filter(|(key, place)| {
                let deserted = place.users.sessions.is_empty() && !place.users.roams;
                let stays = if deserted {
                    self.bounds.linger.min(self.bounds.idle)
                } else {
                    self.bounds.idle
                };
                let unused = now.saturating_duration_since(place.instance.used_at()) >= stays;
                key.agent().is_some()
                    && unused
                    && place.instance.is_quiet()
                    && (deserted || !place.instance.logs())
            })
            .map(|(key, _)| key.clone())
            .collect();
        idle.iter().filter_map(|key| places.remove(key)).map(|place| place.instance).collect()
    }

    /// How often [`Self::take_idle`] is due.
    pub(super) fn look_every(&self) -> Duration {
        (self.bounds.idle / 4).clamp(LOOK.0, LOOK.1)
    }
}

#[cfg(test)]
mod tests;
