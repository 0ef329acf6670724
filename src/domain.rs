//! What the program is about, without I/O, time or chance: pure data and rules.
#![warn(missing_docs)]

pub mod absence;
pub mod approval;
pub mod audit;
pub mod call;
pub mod contact;
pub mod duration;
pub mod grant;
#[cfg(test)]
pub(crate) mod hostile;
pub mod json;
pub mod mask;
pub mod patience;
pub mod person;
pub mod policy;
pub mod preferences;
pub mod reviewers;
pub mod show;
pub mod task;
pub mod time;
pub mod view;
pub mod words;
