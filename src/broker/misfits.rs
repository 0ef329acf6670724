//! What of the policies in force fits nothing that their upstreams list: told in the log when a list or
//! a policy is new, and to whoever asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::Broker;
use crate::domain::policy::{Listed, Policy, Problem};
use crate::upstream::Catalog;

/// Most misfits of one upstream that are told one by one, in the log and on a page.
pub(crate) const MOST_TOLD: usize = 20;

/// What was found last, by upstream: one entry for each that is configured, at most.
#[derive(Debug, Default)]
pub(super) struct Misfits(Mutex<HashMap<String, Seen>>);

/// What one policy and one list make of each other.
#[derive(Debug)]
struct Seen {
    catalog: Arc<Catalog>,
    policy: Arc<Policy>,
    found: Arc<[Problem]>,
    is_told: bool,
}

impl Seen {
    /// Whether these are the very ones that were looked at.
    fn is_of(&self, catalog: &Arc<Catalog>, policy: &Arc<Policy>) -> bool {
        Arc::ptr_eq(&self.catalog, catalog) && Arc::ptr_eq(&self.policy, policy)
    }

    /// Whether these read as those that were looked at.
    fn is_like(&self, catalog: &Catalog, policy: &Policy) -> bool {
        let tools = |catalog: &Catalog| catalog.tools.len();
        let mut pairs = self.catalog.tools.iter().zip(&catalog.tools);
        self.policy.source_fingerprint() == policy.source_fingerprint()
            && tools(&self.catalog) == tools(catalog)
            && pairs.all(|(a, b)| a.name == b.name && a.fingerprint == b.fingerprint)
    }
}

impl Misfits {
    fn seen(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// What the policy has that does not fit the list. Looked for when either is new.
    fn look(&self, upstream: &str, catalog: &Arc<Catalog>, policy: &Arc<Policy>) -> Arc<[Problem]> {
        if let Some(found) = self.found_before(upstream, catalog, policy) {
            return found;
        }
        let found: Arc<[Problem]> = catalog.misfits_of(policy).into();
        // Somebody else may have been faster, and told it.
        self.found_before(upstream, catalog, policy).unwrap_or_else(|| {
            let (catalog, policy) = (Arc::clone(catalog), Arc::clone(policy));
            let seen = Seen { catalog, policy, found: Arc::clone(&found), is_told: false };
            self.seen().insert(upstream.to_owned(), seen);
            found
        })
    }

    fn found_before(
        &self,
        upstream: &str,
        catalog: &Arc<Catalog>,
        policy: &Arc<Policy>,
    ) -> Option<Arc<[Problem]>> {
        let mut seen = self.seen();
        let seen = seen.get_mut(upstream)?;
        if !seen.is_of(catalog, policy) {
            if !seen.is_like(catalog, policy) {
                return None;
            }
            (seen.catalog, seen.policy) = (Arc::clone(catalog), Arc::clone(policy));
        }
        Some(Arc::clone(&seen.found))
    }

    /// Whether this is the first time that it is asked for what was found last.
    fn is_news(&self, upstream: &str) -> bool {
        let mut seen = self.seen();
        seen.get_mut(upstream).is_some_and(|seen| !std::mem::replace(&mut seen.is_told, true))
    }
}

impl Catalog {
    /// What a policy has that fits nothing in the list, as [`Policy::misfits`].
    pub(crate) fn misfits_of(&self, policy: &Policy) -> Vec<Problem> {
        let listed = self.tools.iter().map(|t| Listed { name: &t.name, definition: &t.raw });
        policy.misfits(&listed.collect::<Vec<_>>())
    }
}

impl Broker {
    /// The upstreams whose policies have what fits nothing that they list, with what that is. An
    /// upstream whose list was not fetched yet, or that has no policy, is none of them.
    pub fn misfits(&self) -> Vec<(String, Arc<[Problem]>)> {
        let found = self.config().upstreams.iter().filter_map(|settings| {
            let catalog = self.upstream(&settings.name)?.catalog()?;
            let policy = self.policies().of(&settings.name)?;
            let found = self.inner.misfits.look(&settings.name, &catalog, &policy);
            (!found.is_empty()).then(|| (settings.name.clone(), found))
        });
        found.collect()
    }

    /// Says in the log what [`Broker::misfits`] finds, once for each list and policy. Returns how many
    /// of them were not told before.
    pub(crate) fn tell_misfits(&self) -> usize {
        let mut told = 0;
        for (upstream, found) in self.misfits() {
            if !self.inner.misfits.is_news(&upstream) {
                continue;
            }
            told += found.len();
            for problem in found.iter().take(MOST_TOLD) {
                tracing::warn!(%upstream, "the policy does not fit the tool list: {problem}");
            }
            if let Some(more @ 1..) = found.len().checked_sub(MOST_TOLD) {
                tracing::warn!(
                    %upstream,
                    "and {more} more that do not fit; `placet check --connect` prints them all"
                );
            }
        }
        told
    }
}
