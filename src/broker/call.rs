//! One call, from the moment an agent makes it to the answer it gets.
//!
//! `submit` lets the policy judge it, `prepare` makes an approval of it, `hold` waits for people,
//! `execute` claims it and sends it, and `answer` says what Placet itself has to say about it.

pub(crate) mod admit;
mod allow;
pub mod answer;
pub mod asking;
pub(in crate::broker) mod attached;
mod beats;
pub(crate) mod call_log;
pub(in crate::broker) mod changes;
mod claiming;
pub(in crate::broker) mod counting;
pub mod execute;
pub mod grants;
pub mod hold;
pub mod hold_budget;
pub(crate) mod limits;
mod obstacle;
pub(in crate::broker) mod open_calls;
mod over_limit;
pub(crate) mod permit;
mod poll;
pub(in crate::broker) mod prepare;
pub(in crate::broker) mod reading;
pub(crate) mod refusals;
pub(in crate::broker) mod rejoin;
pub(crate) mod remote;
pub(crate) mod result_delivery;
pub(in crate::broker) mod seal;
pub(in crate::broker) mod send_mark;
pub mod submit;
pub mod tasks;
mod unstored;
pub(crate) mod url_elicitation;
pub mod wait_by_id;
pub(crate) mod wait_tool;
