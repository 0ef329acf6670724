//! Where a notification of the server goes: to the request it belongs to, to everybody who
//! listens, or to our own subscriptions.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};

use tracing::debug;

use super::super::lists::List;
use super::super::{Notification, ServerMessage, WireEra};
use super::Hub;
use crate::domain::call;
use crate::domain::json::{self, Node};
use crate::protocol::{meta, method};

/// A `subscriptions/listen` of ours; dropping it forgets it.
pub(in crate::upstream) struct Listening {
    hub: Arc<Hub>,
    pub id: u64,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.hub.listens().remove(&self.id);
    }
}

impl Hub {
    pub(super) fn listens(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.listens.lock().expect("no holder of this lock panics")
    }

    /// Notes that request `id` is a subscription, asked for the watched resources as of that
    /// change.
    pub(crate) fn listens_with(self: &Arc<Self>, id: u64, change: u64) -> Listening {
        self.listens().insert(id, change);
        Listening { hub: Arc::clone(self), id }
    }

    /// Sends a notification where it belongs; `own` is the request whose stream it came on.
    /// Progress goes by its token
    /// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/progress#progress-flow>).
    pub(super) fn notified(&self, notification: Notification, own: Option<u64>) {
        // Clients read strictly what does not answer them, and so does what stands between.
        if notification.params.as_deref().is_some_and(|p| json::parse(p).is_err()) {
            debug!(upstream = %self.common.name, "a notification with unreadable params was skipped");
            return;
        }
        let owner = match notification.method.as_str() {
            method::NOTIFICATIONS_PROGRESS => {
                match progress_token(&notification).filter(|t| self.routes().contains_key(t)) {
                    Some(token) => Some(token),
                    None => return,
                }
            }
            method::NOTIFICATIONS_SUBSCRIPTIONS_ACKNOWLEDGED => {
                return self.acknowledged(&notification);
            }
            // Of our requests a server cancels only a subscription.
            method::NOTIFICATIONS_CANCELLED => return self.listening_ended(&notification),
            method if let Some(list) = List::of_notification(method) => {
                return self.listeners.lists.may_have_changed(list);
            }
            method if method.ends_with("/list_changed") => None,
            method::NOTIFICATIONS_RESOURCES_UPDATED => None,
            // On a channel that all share it can be meant for a request only if one alone asked.
            // In the legacy era it belongs to the connection, and whoever listens hears it too.
            method::NOTIFICATIONS_MESSAGE if own.is_none() => match self.only_logging() {
                Some(id) if self.listeners.era() == Some(WireEra::Modern) => Some(id),
                Some(id) => {
                    self.forward(id, notification.clone());
                    None
                }
                None => None,
            },
            _ => own,
        };
        if let Some(id) = owner {
            self.forward(id, notification);
        } else {
            let params = notification.params.map(|p| call::params_with_meta(&p, &[]));
            self.listeners.tell(&notification.method, params);
        }
    }

    /// The one request under way that wants log messages.
    fn only_logging(&self) -> Option<u64> {
        let routes = self.routes();
        let mut logging = routes.iter().filter(|(_, slot)| slot.logs);
        let (id, _) = logging.next()?;
        logging.next().is_none().then_some(*id)
    }

    /// Notes which resources the server agreed to tell of
    /// (<https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/subscriptions#receiving-notifications>).
    fn acknowledged(&self, notification: &Notification) {
        let node = notification.params.as_deref().and_then(|p| json::parse(p).ok());
        let Some(node) = node else { return };
        let id = node
            .get("_meta")
            .and_then(|m| m.get(meta::SUBSCRIPTION_ID))
            .and_then(Node::as_number)
            .and_then(|id| id.parse().ok());
        let change = match id {
            Some(id) => self.listens().get(&id).copied(),
            None => self.listens().values().max().copied(),
        };
        let Some(change) = change else { return };
        let uris = node
            .get("notifications")
            .and_then(|n| n.get("resourceSubscriptions"))
            .and_then(Node::elements)
            .unwrap_or_default();
        let uris = uris.iter().filter_map(Node::as_str).map(str::to_owned).collect();
        self.listeners.resource_subscriptions.agree(change, uris);
    }

    fn listening_ended(&self, notification: &Notification) {
        let node = notification.params.as_deref().and_then(|p| json::parse(p).ok());
        let id = node.as_ref().and_then(|n| n.get("requestId")).and_then(Node::as_number);
        if let Some(id) = id.and_then(|id| id.parse().ok())
            && self.listens().contains_key(&id)
        {
            self.fail(id, "the server ended the subscription");
        }
    }

    fn forward(&self, id: u64, notification: Notification) {
        let routes = self.routes();
        let Some(slot) = routes.get(&id) else { return };
        slot.heard.notify_one();
        if let Some(to) = &slot.notifications
            && to.try_send(ServerMessage::Notification(Box::new(notification))).is_err()
        {
            debug!(upstream = %self.common.name, "a notification was dropped, its reader is slow");
        }
    }
}

fn progress_token(notification: &Notification) -> Option<u64> {
    let node = json::parse(notification.params.as_deref()?).ok()?;
    node.get(meta::PROGRESS_TOKEN).and_then(Node::as_number)?.parse().ok()
}
