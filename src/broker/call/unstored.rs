//! What is said to an agent whose call could not be stored: what is known, and what is not. Nothing
//! is denied that was not looked up.

use crate::domain::approval::{Approval, State};
use crate::store::StoreError;

use super::answer::{Code, Statement};
use super::asking::Asking;
use super::refusals::{STORE_BACK_MS, WHAT_TO_DO, unavailable, uncertain};
use super::submit::Submission;
use crate::broker::Broker;

/// It is not known whether the call was queued.
fn maybe_queued() -> Statement {
    let text = format!(
        "Placet lost its store while it queued this call, and can't learn now whether it is queued \
         for approval: it may be, and may then be approved and executed. {WHAT_TO_DO}"
    );
    Statement::new(Code::Unavailable, &text).retry_after(STORE_BACK_MS)
}

/// The identical call is open, and this request can't wait with it.
fn not_joined(found: &Approval) -> Statement {
    let (id, tool) = (&found.id, found.call.title());
    let stands = match found.state {
        State::Running => format!(
            "{tool} was approved and is being executed, or was executed already: its outcome is \
             not stored yet. Approval {id}. It will not run twice."
        ),
        State::Approved => format!(
            "{tool} is approved and may be executed at any moment; at the last look it was not \
             executed yet. Approval {id}."
        ),
        _ => format!(
            "Not executed. {tool} is queued already and waits for a person's approval. Approval \
             {id}."
        ),
    };
    let text = format!(
        "{stands} This request can't wait with it: Placet can't write its store now. {WHAT_TO_DO}"
    );
    Statement::about(found, Code::Unavailable, &text).retry_after(STORE_BACK_MS)
}

impl Broker {
    /// The answer to a call that could not be queued.
    pub(in crate::broker) async fn unstored(
        &self,
        asking: &Asking,
        error: &StoreError,
    ) -> Submission {
        if error.may_be_stored() {
            return Submission::Answered(maybe_queued().into());
        }
        self.unsent(asking, error).await
    }

    /// The answer to a call that the store kept from being sent or queued. Where the store can
    /// still be read, what it holds of the identical call is told.
    pub(in crate::broker) async fn unsent(
        &self,
        asking: &Asking,
        error: &StoreError,
    ) -> Submission {
        // One that can't be reached is not waited for a second time.
        let found = if error.was_refused() { self.find_identical(asking).await.ok() } else { None };
        let statement = match found {
            None => uncertain(),
            Some(None) => unavailable(),
            Some(Some(found)) => match self.answer_end(&found) {
                Some(answer) => return answer,
                None => not_joined(&found),
            },
        };
        Submission::Answered(statement.into())
    }

    /// Joins the open approval of the identical call; else says how that stands.
    pub(in crate::broker) async fn joined(&self, asking: &Asking, found: Approval) -> Submission {
        let stands = not_joined(&found);
        self.join(asking, found).await.unwrap_or_else(|error| {
            tracing::error!(%error, "a request could not be attached");
            Submission::Answered(stands.into())
        })
    }
}
