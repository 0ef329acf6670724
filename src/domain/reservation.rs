//! What a call takes of counters before it runs.

use serde::{Deserialize, Serialize};

use super::quantity::Quantity;

/// What a call took of counters. It counts unless it is given back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reservation(pub Vec<Part>);

/// What was taken of one counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The counter's name in the database.
    pub counter: String,
    /// Whose uses these are; empty where all are counted together.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub session: String,
    /// The slot in which it was counted ([`super::tally`]).
    pub slot: i64,
    /// How much.
    pub amount: Quantity,
}

impl Reservation {
    /// Whether nothing was taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
