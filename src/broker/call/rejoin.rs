//! A held request that lost its connection comes back: it waits again for the same approval and is
//! answered with its end. Streams are resumed after
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery>.
//!
//! It is the same request, not an identical call. An identical call would ask people anew if the
//! result was handed over to another request meanwhile; this one is still answered with it.

use crate::domain::approval::{ApprovalId, State};

use super::asking::Asking;
use super::refusals::uncertain;
use super::submit::Submission;
use crate::broker::Broker;

impl Broker {
    /// Attaches a request again; returns a hold, or how the approval ended.
    pub async fn rejoin(&self, asking: &Asking, id: &ApprovalId) -> Submission {
        self.all_told(&asking.agent.name, &asking.call.digest).await;
        let lost = || Submission::Answered(uncertain().into());
        let found = match self.get(id).await {
            Ok(Some(found)) => found,
            Ok(None) => return lost(),
            Err(error) => {
                tracing::error!(%error, "a held approval could not be read");
                return lost();
            }
        };
        // An id proves nothing: the approval must be this agent's.
        if found.agent != asking.agent.name || *found.digest() != asking.call.digest {
            return lost();
        }
        match found.state {
            State::Pending | State::Approved | State::Running => self.joined(asking, found).await,
            _ => self.answer_end(&found).unwrap_or_else(lost),
        }
    }
}
