//! The mark that a claimed call is about to be sent: what tells a claim of which nothing was sent
//! yet, so that it can be taken back, from a call that may have run.
//!
//! It is made when the connection stands, directly before the first byte; after it nothing waits
//! for anything but the operating system, and each write asks the leave ([`Leave`]) again. A
//! process that slept in between finds its leave over long before others give its call up, since
//! the mark has its lease last longer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::approval::{Approval, ApprovalId};
use crate::domain::time::Timestamp;
use crate::store::{Mark, Marked};
use crate::upstream::{Gate, Leave};

use super::changes::Changes;
use crate::broker::Broker;
use crate::broker::lease::LEASE;

/// How long after its mark was begun a call may be sent.
pub(in crate::broker) const SEND_WITHIN: Duration = Duration::from_secs(5);
/// How much longer than that the lease lasts at least.
const MARGIN: Duration = Duration::from_secs(5);
/// How old a claim may be whose call is sent after its claim deadline: it took so long to connect.
const LATE_CLAIM: Duration = Duration::from_secs(60);

/// A claimed approval, and the clock's [`uptime`](crate::clock::Clock::uptime) when it was claimed.
pub(super) struct Claimed {
    pub(super) approval: Approval,
    pub(super) began: Duration,
    /// Where it is heard that its agent wants it stopped; listened at since before the claim.
    pub(super) changes: Changes,
}

/// The gate before a claimed call.
#[derive(Debug)]
pub(super) struct SendMark {
    broker: Broker,
    id: ApprovalId,
    version: i64,
    began: Duration,
    deadline: Option<Timestamp>,
}

/// What the reason begins with where the store, and not the server, kept a call from being sent.
const NOT_MARKED: &str = "that it is sent could not be stored";

/// Whether a call was not sent because the store failed.
pub(super) fn is_not_marked(why: &str) -> bool {
    why.starts_with(NOT_MARKED)
}

impl SendMark {
    pub(super) fn gate(broker: &Broker, claimed: &Approval, began: Duration) -> Arc<dyn Gate> {
        Arc::new(Self {
            broker: broker.clone(),
            id: claimed.id.clone(),
            version: claimed.version,
            began,
            deadline: claimed.claim_deadline,
        })
    }

    async fn mark(&self) -> Result<Marked, String> {
        let now = self.broker.now();
        let mark = Mark {
            id: self.id.clone(),
            version: self.version,
            node: self.broker.node().to_owned(),
            lease_until: now.plus(LEASE),
            lease_least: now.plus(SEND_WITHIN + MARGIN),
        };
        let marked = self.broker.store().approvals().mark_sent(&mark, now);
        match tokio::time::timeout(SEND_WITHIN, marked).await {
            Ok(Ok(marked)) => Ok(marked),
            Ok(Err(error)) => Err(format!("{NOT_MARKED}: {error}")),
            Err(_) => Err(format!("{NOT_MARKED} within {SEND_WITHIN:?}")),
        }
    }
}

#[async_trait]
impl Gate for SendMark {
    async fn pass(&self) -> Result<Leave, String> {
        let clock = &self.broker.inner.clock;
        let late = clock.uptime().saturating_sub(self.began) > LATE_CLAIM
            && self.deadline.is_none_or(|deadline| deadline <= self.broker.now());
        if late {
            return Err("its claim deadline passed before it could be sent".to_owned());
        }
        // A broker that slept is alive again; what it claimed is its own until others took it.
        for _ in 0..2 {
            let leave = Leave::new(Arc::clone(clock), SEND_WITHIN);
            match self.mark().await? {
                Marked::Sent => return Ok(leave),
                Marked::Taken => return Err("the claim was taken back meanwhile".to_owned()),
                Marked::LeaseIsOver => {
                    if let Err(error) = self.broker.renew_lease().await {
                        return Err(format!("{NOT_MARKED}, the lease is over: {error}"));
                    }
                }
            }
        }
        Err("this broker's lease is over".to_owned())
    }
}

/// The approvals that this process executes, or is about to claim, and by how many of its requests.
#[derive(Debug, Default)]
pub(in crate::broker) struct Executing(Arc<Mutex<HashMap<ApprovalId, usize>>>);

/// One of them; it counts until this is dropped.
#[derive(Debug)]
pub(super) struct ExecutingOne {
    all: Arc<Mutex<HashMap<ApprovalId, usize>>>,
    id: ApprovalId,
}

impl Executing {
    /// From here on it counts as executed here.
    pub(super) fn begin(&self, id: &ApprovalId) -> ExecutingOne {
        let mut all = self.0.lock().expect("no holder of this lock panics");
        *all.entry(id.clone()).or_default() += 1;
        ExecutingOne { all: Arc::clone(&self.0), id: id.clone() }
    }

    /// Whether it is executed here, or about to be claimed.
    pub(in crate::broker) fn has(&self, id: &ApprovalId) -> bool {
        self.0.lock().expect("no holder of this lock panics").contains_key(id)
    }
}

impl Drop for ExecutingOne {
    fn drop(&mut self) {
        let mut all = self.all.lock().expect("no holder of this lock panics");
        let Some(count) = all.get_mut(&self.id) else { return };
        *count -= 1;
        if *count == 0 {
            all.remove(&self.id);
        }
    }
}
