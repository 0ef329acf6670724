//! What became of an approved call.

use serde::{Deserialize, Serialize};

use crate::domain::json::lenient;

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
