//! A held request that lost its connection is back: it waits again for the very approval it
//! waited for, and hears of that one's end.
//!
//! It is the same request, not an identical call: where that would ask people anew, because the
//! end was told to another request meanwhile, this one is still answered with the end.

use crate::domain::approval::{ApprovalId, State};

use super::Broker;
use super::asking::Asking;
use super::refusals::unavailable;
use super::submit::Submission;

impl Broker {
    /// Attaches a request again. What it gets is a hold, or how the approval ended.
    pub async fn rejoin(&self, asking: &Asking, id: &ApprovalId) -> Submission {
        self.all_told(&asking.agent.name, &asking.call.digest).await;
        let lost = || Submission::Answered(unavailable().into());
        let found = match self.get(id).await {
            Ok(Some(found)) => found,
            Ok(None) => return lost(),
            Err(error) => {
                tracing::error!(%error, "a held approval could not be read");
                return lost();
            }
        };
        // Whoever gives an id proves nothing with it.
        if found.agent != asking.agent.name || *found.digest() != asking.call.digest {
            return lost();
        }
        match found.state {
            State::Pending | State::Approved | State::Running => {
                self.join(asking, found).await.unwrap_or_else(|error| {
                    tracing::error!(%error, "a request could not be attached again");
                    lost()
                })
            }
            _ => self.answer_end(&found).unwrap_or_else(lost),
        }
    }
}
