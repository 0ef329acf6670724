//! The whole of Placet against real sockets, processes and databases: one binary, links once.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;
mod upstream_http;
mod upstream_stdio;
