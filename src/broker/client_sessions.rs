//! Sessions of legacy MCP clients, after
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management>.
//!
//! Which of them are used is known at once in this process, and to the others by what is noted in
//! the store: shortly after a request or stream began that is still open, and after the last ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use crate::domain::time::Timestamp;
use crate::store::{ClientSession, SessionSeen, StoreError};

use super::Broker;

/// How long a note that a session is in use holds. A process that died in between leaves it so long.
const IN_USE: Duration = Duration::from_secs(15);
/// How much of that may be over before it is noted again.
const RENEWED: Duration = Duration::from_secs(5);
/// A request that is open for longer is noted as an open one.
const OPEN_AFTER: Duration = Duration::from_millis(150);
/// How long the uses of a session are gathered before the last is noted.
const NOTED_EVERY: Duration = Duration::from_secs(2);
/// How often what is to be noted is looked for, while there is anything.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The sessions that are in use or were a moment ago.
///
/// Bounded by the requests and streams that are open and by [`NOTED_EVERY`]; emptied by
/// [`Broker::note_sessions`].
#[derive(Debug, Default)]
pub(super) struct Uses {
    sessions: Mutex<HashMap<String, Use>>,
    began: Notify,
    /// Sessions that were seen here: those that there are, and those that ended elsewhere within
    /// [`Broker::leave_ended_sessions`]'s last round.
    known: Mutex<HashMap<String, Arc<ClientSession>>>,
    /// One at a time, so that no earlier note follows a later one.
    noting: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Use {
    /// Requests and streams of it that are open.
    open: u32,
    /// Since when one is.
    since: Timestamp,
    /// When the last began or ended.
    last: Timestamp,
    /// What this process noted last.
    noted: Option<Timestamp>,
}

impl Use {
    /// What the store is to know now; `all`: without waiting for more.
    fn to_note(&self, now: Timestamp, all: bool) -> Option<Timestamp> {
        if self.open > 0 {
            let is_due = all || self.since.until(now) >= OPEN_AFTER;
            let holds = self.noted.is_some_and(|at| now.until(at) > IN_USE.saturating_sub(RENEWED));
            return (is_due && !holds).then(|| now.plus(IN_USE));
        }
        if self.noted == Some(self.last) {
            return None;
        }
        let was_in_use = self.noted.is_some_and(|at| at > self.last);
        let is_due = all || was_in_use || self.last.until(now) >= NOTED_EVERY;
        is_due.then_some(self.last)
    }
}

impl Uses {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Use>> {
        self.sessions.lock().expect("no holder of this lock panics")
    }

    fn lock_known(&self) -> MutexGuard<'_, HashMap<String, Arc<ClientSession>>> {
        self.known.lock().expect("no holder of this lock panics")
    }

    fn know(&self, session: &Arc<ClientSession>) {
        self.lock_known().entry(session.id.clone()).or_insert_with(|| Arc::clone(session));
    }

    fn known(&self, id: &str) -> Option<Arc<ClientSession>> {
        self.lock_known().get(id).map(Arc::clone)
    }

    fn known_ids(&self) -> Vec<String> {
        self.lock_known().keys().cloned().collect()
    }

    fn forget(&self, id: &str) {
        self.lock_known().remove(id);
    }

    fn begin(&self, id: &str, now: Timestamp) {
        let mut all = self.lock();
        let fresh = Use { open: 0, since: now, last: now, noted: None };
        let one = match all.get_mut(id) {
            Some(one) => one,
            None => all.entry(id.to_owned()).or_insert(fresh),
        };
        if one.open == 0 {
            one.since = now;
        }
        one.open += 1;
        one.last = now;
        drop(all);
        self.began.notify_one();
    }

    fn end(&self, id: &str, now: Timestamp) {
        if let Some(one) = self.lock().get_mut(id) {
            one.open = one.open.saturating_sub(1);
            one.last = one.last.max(now);
        }
    }

    /// Takes what is to be noted, and forgets what is noted and over.
    fn take(&self, now: Timestamp, all: bool) -> Vec<SessionSeen> {
        let mut sessions = self.lock();
        sessions.retain(|_, one| {
            let is_over = one.open == 0 && one.noted == Some(one.last);
            !(is_over && one.last.until(now) >= NOTED_EVERY)
        });
        let mut seen = Vec::new();
        for (id, one) in sessions.iter_mut() {
            if let Some(at) = one.to_note(now, all) {
                let instead_of = one.noted.replace(at);
                seen.push(SessionSeen { id: id.clone(), at, instead_of });
            }
        }
        seen
    }

    /// Notes that this was not noted after all.
    fn put_back(&self, seen: &[SessionSeen]) {
        let mut sessions = self.lock();
        for SessionSeen { id, at, instead_of } in seen {
            if let Some(one) = sessions.get_mut(id)
                && one.noted == Some(*at)
            {
                one.noted = *instead_of;
            }
        }
    }
}

/// A request or stream of a session that is open; dropping it ends it. Until then the session makes
/// room for no other.
#[derive(Debug)]
pub struct SessionInUse {
    broker: Broker,
    session: Arc<ClientSession>,
}

impl Drop for SessionInUse {
    fn drop(&mut self) {
        self.broker.session_uses().end(&self.session.id, self.broker.now());
    }
}

impl Broker {
    /// Opens a session. Where its agent has `server.max_sessions_per_agent`, those least recently
    /// used that have no open request or stream make room: they are returned. None where all of
    /// them have one; then nothing is opened.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn open_client_session(
        &self,
        session: &ClientSession,
    ) -> Result<Option<Vec<ClientSession>>, StoreError> {
        // Others see only what is noted; so does the store.
        self.note_all_sessions().await?;
        let max = self.config().server.max_sessions_per_agent;
        let made_room = self.store().client_sessions().insert(session, max).await?;
        if let Some(displaced) = &made_room {
            self.session_uses().know(&Arc::new(session.clone()));
            for one in displaced {
                self.session_uses().forget(&one.id);
            }
        }
        Ok(made_room)
    }

    /// The session of that id, which is in use until what comes with it is dropped. None if it
    /// belongs to another agent or another upstream.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read.
    pub async fn client_session(
        &self,
        id: &str,
        agent: &str,
        upstream: &str,
    ) -> Result<Option<(Arc<ClientSession>, SessionInUse)>, StoreError> {
        let found = self.known_client_session(id).await?;
        let found = found.filter(|s| s.agent == agent && s.upstream == upstream);
        Ok(found.map(|session| {
            self.session_uses().begin(&session.id, self.now());
            let in_use = SessionInUse { broker: self.clone(), session: Arc::clone(&session) };
            (session, in_use)
        }))
    }

    /// The session of that id, as it was first seen here: nothing of it changes but its end, which is
    /// known here at once, or by [`Broker::leave_ended_sessions`] where it came by another broker or
    /// by age. Only what this process does not know is read.
    pub(super) async fn known_client_session(
        &self,
        id: &str,
    ) -> Result<Option<Arc<ClientSession>>, StoreError> {
        if let Some(session) = self.session_uses().known(id) {
            return Ok(Some(session));
        }
        let (broker, wanted) = (self.clone(), id.to_owned());
        let verb = async move { broker.store().client_sessions().find(&wanted).await };
        let found = self.asked_briefly(verb).await?.map(Arc::new);
        if let Some(session) = &found {
            self.session_uses().know(session);
        }
        Ok(found)
    }

    /// Which of these sessions there are still.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read.
    pub async fn living_client_sessions(&self, ids: &[String]) -> Result<Vec<String>, StoreError> {
        self.store().client_sessions().living(ids).await
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn end_client_session(&self, id: &str) -> Result<(), StoreError> {
        self.store().client_sessions().delete(id).await?;
        self.session_uses().forget(id);
        Ok(())
    }

    /// Notes in the store which sessions are in use and which were, as far as that is due.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be written; it is noted later then.
    pub async fn note_sessions(&self) -> Result<(), StoreError> {
        self.note_uses(false).await
    }

    /// The same at once, for those that have begun only now: the others must know before anything
    /// else happens.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be written; it is noted later then.
    pub async fn note_all_sessions(&self) -> Result<(), StoreError> {
        self.note_uses(true).await
    }

    async fn note_uses(&self, all: bool) -> Result<(), StoreError> {
        let uses = self.session_uses();
        let _one = uses.noting.lock().await;
        let seen = uses.take(self.now(), all);
        if seen.is_empty() {
            return Ok(());
        }
        let noted = self.store().client_sessions().note(&seen).await;
        if noted.is_err() {
            uses.put_back(&seen);
        }
        noted
    }

    /// Resolves while there is a session whose use may be to be noted.
    pub(crate) async fn sessions_used(&self) {
        let uses = self.session_uses();
        crate::notified::until(&uses.began, || (!uses.lock().is_empty()).then_some(())).await;
    }

    /// Ends what upstreams keep for sessions that are no more: that made room for others, were
    /// idle for too long, or ended in another process.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn leave_ended_sessions(&self) -> Result<(), StoreError> {
        let names = self.config().upstreams.iter().map(|upstream| upstream.name.as_str());
        // First who uses them, then who is there: a session that begins meanwhile is among both.
        let used: Vec<_> = names
            .filter_map(|name| self.upstream(name))
            .map(|upstream| (upstream, upstream.sessions()))
            .filter(|(_, sessions)| !sessions.is_empty())
            .collect();
        let known = self.session_uses().known_ids();
        if used.is_empty() && known.is_empty() {
            return Ok(());
        }
        let open = self.store().client_sessions().ids().await?;
        for id in known.iter().filter(|id| !open.contains(*id)) {
            self.session_uses().forget(id);
        }
        for (upstream, callers) in used {
            for caller in callers {
                if caller.session.as_ref().is_some_and(|id| !open.contains(id)) {
                    upstream.close_session(&caller).await;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(millis * 1_000)
    }

    fn seen(at: Timestamp, instead_of: Option<Timestamp>) -> Vec<SessionSeen> {
        vec![SessionSeen { id: "s".to_owned(), at, instead_of }]
    }

    #[test]
    fn an_open_request_is_noted_soon_and_again_and_its_end_at_once() {
        let uses = Uses::default();
        uses.begin("s", at(0));

        assert!(uses.take(at(149), false).is_empty(), "most requests are over by then");
        assert_eq!(uses.take(at(150), false), seen(at(15_150), None));
        assert!(uses.take(at(5_000), false).is_empty());
        assert_eq!(uses.take(at(5_200), false), seen(at(20_200), Some(at(15_150))));
        uses.end("s", at(5_300));
        assert_eq!(uses.take(at(5_301), false), seen(at(5_300), Some(at(20_200))));
        assert!(uses.take(at(7_300), false).is_empty());
        assert!(uses.lock().is_empty(), "nothing stays behind");
    }

    #[test]
    fn short_requests_are_noted_together_or_when_it_is_asked_for() {
        let uses = Uses::default();
        for n in 0..20 {
            uses.begin("s", at(n * 100));
            uses.end("s", at(n * 100 + 1));
            assert!(uses.take(at(n * 100 + 2), false).is_empty());
        }

        assert_eq!(uses.take(at(1_903), true), seen(at(1_901), None));
        assert!(uses.take(at(1_903), true).is_empty());
        assert!(uses.take(at(3_901), false).is_empty());
        assert!(uses.lock().is_empty(), "nothing stays behind");
    }

    #[test]
    fn what_could_not_be_noted_is_noted_later() {
        let uses = Uses::default();
        uses.begin("s", at(0));

        let first = uses.take(at(200), false);
        uses.put_back(&first);

        assert_eq!(uses.take(at(400), false), seen(at(15_400), None));
    }
}
