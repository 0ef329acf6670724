//! What is wrong with a policy.

use thiserror::Error;

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1; in characters in YAML, in bytes in JSON.
    pub column: u32,
}

/// A problem of a policy: where, and what would mend it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {message}", if place.is_empty() { "the whole policy" } else { place })]
pub struct Problem {
    /// JSON Pointer into the policy; empty for the whole of it.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc6901>
    pub place: String,
    /// What is wrong and what would mend it, naming the nearest known key where one is near.
    pub message: String,
    /// Warnings don't refuse the policy.
    pub warning: bool,
    /// Where it stands in the policy's text.
    pub spot: Option<Spot>,
}

impl Problem {
    /// A problem of which is not yet known where it stands.
    pub fn new(place: &str, message: impl Into<String>, warning: bool) -> Self {
        Self { place: place.to_owned(), message: message.into(), warning, spot: None }
    }
}
