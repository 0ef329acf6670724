//! What Placet alone says about a call: an upstream's words never carry it.

use std::borrow::Cow;

use super::message::Incoming;
use super::{Notification, Reply};
use crate::domain::json;
use crate::protocol::meta;

/// The message without members that would pass for Placet's own: every `io.placet/…` of a `_meta` or
/// of an error's `data`, be it the answer or in it, as a task's is. Every other byte stays.
pub(super) fn without_ours(incoming: Incoming) -> Incoming {
    let of = |raw: String, is_error: bool| match json::without_prefix(
        &raw,
        meta::OWN_PREFIX,
        is_error,
    ) {
        Cow::Owned(stripped) => stripped,
        Cow::Borrowed(_) => raw,
    };
    match incoming {
        Incoming::Answer { to, reply } => {
            let reply = match reply {
                Reply::Result(raw) => Reply::Result(of(raw, false)),
                Reply::Error(raw) => Reply::Error(of(raw, true)),
            };
            Incoming::Answer { to, reply }
        }
        Incoming::Request { id, method, params } => {
            Incoming::Request { id, method, params: params.map(|p| of(p, false)) }
        }
        Incoming::Notification(note) => {
            let params = note.params.map(|p| of(p, false));
            Incoming::Notification(Notification { params, ..note })
        }
    }
}
