//! Tests of Placet from outside its modules: one file per behaviour, what they share in
//! `support`.
#![allow(clippy::unwrap_used, clippy::assigning_clones, reason = "a test fails by panicking")]

mod broker;
mod domain;
mod mcp;
mod stdio;
mod store;
mod support;
mod tidy;
mod upstream_http;
mod upstream_journal;
mod upstream_sse;
mod upstream_stdio;
mod upstream_watch;
mod version;
