//! What the program is about, without I/O, time or chance: pure data and rules.
#![warn(missing_docs)]

pub mod absence;
pub mod approval;
pub(crate) mod approval_json;
pub mod assessment;
pub mod audit;
pub mod call;
pub mod catalogue;
pub mod classify;
pub mod client_feature;
pub(crate) mod duration;
pub(crate) mod error_text;
pub mod grant;
pub mod hold_budget;
#[cfg(test)]
pub(crate) mod hostile;
pub mod json;
pub(crate) mod mask;
pub mod person;
pub mod policy;
pub mod preferences;
pub mod quantity;
pub mod reservation;
pub(crate) mod reviewers;
pub mod risk;
pub(crate) mod search_words;
pub(crate) mod shown_uri;
pub mod tally;
pub mod task;
pub mod time;
pub mod upstream_health;
pub(crate) mod visible_text;
