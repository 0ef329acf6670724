//! The lists that a server may change, and what is known of them over one connection.

use std::sync::{Mutex, MutexGuard};

use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

use super::Catalog;
use crate::protocol::method;

/// SHA-256 over a list.
pub(super) type ListDigest = [u8; 32];

/// A list that a server may say it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// Its tools.
    Tools,
    /// Its prompts.
    Prompts,
    /// Its resources and their templates.
    Resources,
}

impl List {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Tools, Self::Prompts, Self::Resources];

    /// The list that this notification is about, if it says that one changed.
    pub(super) fn of_notification(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|list| list.notification() == method)
    }

    /// The notification that it changed.
    pub(super) const fn notification(self) -> &'static str {
        match self {
            Self::Tools => method::NOTIFICATIONS_TOOLS_LIST_CHANGED,
            Self::Prompts => method::NOTIFICATIONS_PROMPTS_LIST_CHANGED,
            Self::Resources => method::NOTIFICATIONS_RESOURCES_LIST_CHANGED,
        }
    }

    /// The methods that list it, each with the member of its result that holds the entries.
    pub(super) const fn methods(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Tools => &[(method::TOOLS_LIST, "tools")],
            Self::Prompts => &[(method::PROMPTS_LIST, "prompts")],
            Self::Resources => &[
                (method::RESOURCES_LIST, "resources"),
                (method::RESOURCES_TEMPLATES_LIST, "resourceTemplates"),
            ],
        }
    }
}

/// The lists of one connection: which the server said had changed, and what they were.
#[derive(Debug, Default)]
pub(super) struct Lists {
    said: [Notify; 3],
    known: Mutex<[Option<ListDigest>; 3]>,
}

impl Lists {
    fn known(&self) -> MutexGuard<'_, [Option<ListDigest>; 3]> {
        self.known.lock().expect("no holder of this lock panics")
    }

    /// The server said that it changed, or may have while it was not heard.
    pub(super) fn may_have_changed(&self, list: List) {
        self.said[list as usize].notify_one();
    }

    /// Waits until that was said since the last time.
    pub(super) async fn said(&self, list: List) {
        self.said[list as usize].notified().await;
    }

    /// Notes what the list is now, or that nobody knows; whether that is news.
    pub(super) fn note(&self, list: List, now: Option<ListDigest>) -> bool {
        let before = std::mem::replace(&mut self.known()[list as usize], now);
        now.is_none() || before != now
    }
}

/// The digest of a list of tools.
pub(super) fn digest_of(catalog: &Catalog) -> ListDigest {
    let mut digest = Sha256::new();
    for tool in &catalog.tools {
        digest.update(&tool.fingerprint);
    }
    digest.finalize().into()
}
