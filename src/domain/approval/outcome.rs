//! What became of an approved call.

use serde::{Deserialize, Serialize};

use super::{Approval, State, Transition};
use crate::domain::json::lenient;
use crate::domain::reservation::Reservation;

/// What the upstream answered to the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A tool result; the raw JSON.
    Result(String),
    /// A JSON-RPC error; the raw JSON of `error`.
    Error(String),
    /// The call ran, but its answer was larger than `approvals.max_outcome` bytes and was not kept.
    NotKept {
        /// Whether the answer said it failed.
        is_error: bool,
    },
}

impl Outcome {
    /// Whether the answer says that the tool failed.
    pub fn is_error(&self) -> bool {
        match self {
            Self::Result(raw) => lenient::member(raw, "isError") == Some("true"),
            Self::Error(_) => true,
            Self::NotKept { is_error } => *is_error,
        }
    }
}

impl Transition {
    /// What the call took of counters, where it ends with this change and surely had no effect.
    pub fn gives_back(&self) -> Option<&Reservation> {
        let Approval { state, outcome, terms, .. } = &self.after;
        let without_effect = match state {
            State::Rejected | State::Expired | State::Cancelled => true,
            State::Completed => outcome.as_ref().is_some_and(Outcome::is_error),
            State::Pending | State::Approved | State::Running | State::Indeterminate => false,
        };
        (without_effect && !terms.reserved.is_empty()).then_some(&terms.reserved)
    }
}

/// How an indeterminate approval was settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Whether the call ran.
    pub done: bool,
    /// The admin's name, or `upstream` when its answer arrived late.
    pub by: String,
    /// Why the admin thinks so.
    pub reason: String,
    /// When it was settled: RFC 3339 in UTC (<https://www.rfc-editor.org/rfc/rfc3339#section-5.6>).
    pub at: String,
}
