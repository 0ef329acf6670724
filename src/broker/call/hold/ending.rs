//! How a hold ends: with the end of its approval, with the hand-over, or without its client.

use std::sync::Arc;

use crate::broker::call::answer::{Delivery, Statement, ended, pending, pending_unread};
use crate::broker::call::refusals::{not_begun, unavailable_upstream, unreadable};
use crate::broker::call::send_mark::is_not_marked;
use crate::broker::call::wait_tool::WAIT_TOOL;
use crate::domain::approval::{Approval, State};
use crate::domain::call::Method;
use crate::domain::time::Timestamp;

use super::{Ended, Held, LAST_LOOK, Recorded, Work};

impl Held {
    /// The end of the budget: what was executed here may have ended just now. A process whose lease
    /// is over may have slept, and others have run the call since it read how it stands.
    pub(super) async fn hand_over_last(&mut self, work: &Work) -> Ended {
        if work.execution.is_some() || !self.broker.has_lease() {
            let _ = tokio::time::timeout(LAST_LOOK, self.reload()).await;
        }
        self.hand_over().await
    }

    /// The outcome of what this request executed is stored.
    pub(super) async fn recorded(&mut self, recorded: Recorded, executed_here: bool) -> Ended {
        self.shared = recorded.shared;
        if recorded.detached {
            self.hold.was_detached();
        }
        self.answered(&Arc::new(*recorded.approval), executed_here).await
    }

    pub(super) async fn answered(
        &mut self,
        approval: &Arc<Approval>,
        executed_here: bool,
    ) -> Ended {
        let now = self.broker.now();
        let shared = self.shared || !(executed_here || self.for_task);
        let delivery = Delivery { replayed: false, shared };
        let Some(answer) = ended(approval, delivery, now) else {
            self.stands(Arc::clone(approval));
            return self.hand_over().await;
        };
        let owed = self.broker.owed_result(approval);
        self.end_answered().await;
        Ended::Answered { answer, owed }
    }

    /// The call was certainly not sent: it stays approved, and this request is answered so.
    pub(super) async fn not_sent(&mut self, why: &str) -> Ended {
        self.end_answered().await;
        let said = if is_not_marked(why) {
            not_begun(&self.approval.call.title())
        } else {
            unavailable_upstream(&self.approval.call.upstream)
        };
        let statement = Statement {
            approval: Some(self.approval.id.to_string()),
            state: Some(State::Approved),
            rule: Some(self.approval.rule.clone()),
            ..said
        };
        Ended::Answered { answer: statement.into(), owed: None }
    }

    pub(super) async fn hand_over(&mut self) -> Ended {
        if self.approval.state.is_end() {
            // Executed here, stored, and the word of it is on its way.
            let approval = Arc::clone(&self.approval);
            return Box::pin(self.answered(&approval, true)).await;
        }
        self.end_answered().await;
        if !self.is_read && self.approval.is_overdue(self.broker.now()) {
            // Others may have decided it, and even run it: nothing is known of that.
            let answer = unreadable(&self.approval.id).into();
            return Ended::Answered { answer, owed: None };
        }
        let url = self.broker.config().link(&format!("/approvals/{}", self.approval.id));
        let now = self.broker.now();
        let mut answer = if self.is_read {
            pending(&self.approval, url, now)
        } else {
            pending_unread(&self.approval, url, now)
        };
        if self.approval.call.method == Method::CallTool
            && self.broker.offers_wait(&self.asking.agent, &self.approval.call.upstream)
        {
            answer.text.push_str(&format!(
                " If you can't repeat the arguments exactly, call {WAIT_TOOL} with \
                 {{\"approval\": \"{}\"}}: it waits as well.",
                self.approval.id
            ));
        }
        Ended::Answered { answer: answer.into(), owed: None }
    }

    /// Detached with an answer. One that a stopping broker gives says nothing of the client.
    async fn end_answered(&mut self) {
        self.hold.end().await;
        if let Some(with_progress) = self.learns.take()
            && !self.broker.stopping()
        {
            self.broker.hold_answered(&self.asking.agent.name, with_progress).await;
        }
    }

    /// The client is gone: the request is detached, and its approval withdrawn if its agent wants
    /// that.
    pub(super) async fn left(&mut self, began: Timestamp) -> Ended {
        let attached = self.hold.is_attached();
        // Thousands may leave at once, with a client or a network; what each of them takes while it
        // is let go is far more than what it took while it was held.
        let broker = self.broker.clone();
        let _turn = broker.inner.leaving.acquire().await;
        let left = self.hold.end().await;
        let withdraws = self.asking.agent.withdraw_on_disconnect
            && !self.for_task
            && !self.broker.stopping()
            && attached;
        if withdraws && left.is_none_or(|left| left == 0) {
            self.broker.withdraw_soon(&self.approval.id, &self.asking.agent.name).await;
        }
        if let Some(with_progress) = self.learns.take()
            && !self.broker.stopping()
            && !withdraws
        {
            // As it stood a moment ago is not good enough: decided is not dropped.
            self.reload().await;
            if self.approval.state == State::Pending {
                let after = began.until(self.broker.now());
                self.broker.hold_dropped(&self.asking.agent.name, with_progress, after).await;
            }
        }
        Ended::Gone
    }
}
