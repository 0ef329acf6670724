//! Tests of Placet from outside its modules: one file per behaviour, what they share in
//! `support`.
#![allow(unreachable_pub, reason = "nothing outside a program reaches into it")]
#![allow(clippy::unwrap_used, clippy::assigning_clones, reason = "a test fails by panicking")]

mod broker;
mod cli;
mod connections;
mod domain;
mod mcp;
mod store;
mod support;
mod tidy;
mod upstream;
mod version;
