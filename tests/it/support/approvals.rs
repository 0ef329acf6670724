//! Approvals and submissions with sensible fields, to be changed where a test cares.

use std::time::Duration;

use placet::domain::approval::{Approval, ApprovalId, Assurance, Choice, Decision, Outcome, Via};
use placet::domain::audit::{AuditEvent, Kind};
use placet::domain::time::Timestamp;
use placet::store::{Delivery, Lane, NewDelivery, NewHold, Old, Store, Submit};

use super::fixtures;

/// 2026-11-22T20:00:00Z
pub const T0: Timestamp = Timestamp::from_micros(1_795_377_600_000_000);

/// What ended before that instant is old; no session is.
pub const fn old(history_before: Timestamp) -> Old {
    Old { history_before, idle_before: Timestamp::from_micros(0) }
}

/// So many seconds after [`T0`].
pub fn at(seconds: u64) -> Timestamp {
    T0.plus(Duration::from_secs(seconds))
}

/// The id with that number.
pub fn id(n: u32) -> ApprovalId {
    ApprovalId::parse(&format!("apr_{n:032x}")).unwrap()
}

/// A pending approval of agent `ci` that expires after 900 s; equal `args` make identical calls.
pub fn approval(n: u32, args: &str) -> Approval {
    let params = format!(r#"{{"name":"delete_image_set","arguments":{args}}}"#);
    let mut approval = fixtures::pending(id(n), &params, &["ben", "dora", "eve"], T0);
    approval.terms.owner = Some("ana".to_owned());
    approval
}

/// Its submission, held as `hld_{n}` by `node-a`, with wide limits.
pub fn submission(approval: Approval) -> Submit {
    let n = approval.id.as_str().trim_start_matches("apr_").trim_start_matches('0').to_owned();
    Submit {
        events: vec![AuditEvent::of(Kind::ApprovalRequested, "ci", T0, &approval)],
        deliveries: Vec::new(),
        hold: NewHold {
            id: format!("hld_{n}"),
            node: "node-a".to_owned(),
            agent: approval.agent.clone(),
        },
        max_held: 100,
        max_pending_per_agent: 100,
        max_pending: 100,
        max_submitting: 20_000,
        max_submitting_per_agent: 10_000,
        max_new: 100,
        new_since: T0.minus(Duration::from_secs(600)),
        owed_since: T0.minus(Duration::from_secs(86_400)),
        limit: None,
        draws: Vec::new(),
        approval,
    }
}

/// What a reviewer says.
pub fn says(reviewer: &str, choice: Choice, now: Timestamp) -> Decision {
    Decision {
        assurance: Assurance::Session,
        reviewer: reviewer.to_owned(),
        choice,
        reason: "because".to_owned(),
        via: Via::Api,
        at: now,
    }
}

/// A result of the upstream.
pub fn result(text: &str) -> Outcome {
    Outcome::Result(format!(r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#))
}

/// A message about an approval.
pub fn delivery(id: &str, approval: Option<ApprovalId>) -> NewDelivery {
    NewDelivery {
        id: id.to_owned(),
        approval,
        notifier: "mail".to_owned(),
        topic: "requested".to_owned(),
        recipient: Some("ben".to_owned()),
        payload: None,
        due_at: T0,
        give_up_at: at(86_400),
    }
}

/// All that is due at `now` for the notifiers of these names: one message of a recipient after the
/// other, as they would be sent.
pub async fn due(store: &dyn Store, notifiers: &[&str], now: Timestamp) -> Vec<Delivery> {
    let mut all = Vec::new();
    for notifier in notifiers {
        let (notifier, node) = ((*notifier).to_owned(), "node-of-the-test".to_owned());
        let lane = Lane { notifier, node, busy: Vec::new() };
        loop {
            let some = store.outbox().claim(&lane, now, at(1_000_000_000), 100).await.unwrap();
            if some.is_empty() {
                break;
            }
            all.extend(some);
        }
    }
    all
}
