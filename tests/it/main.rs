//! The whole of Placet against real sockets, processes and databases: one binary, links once.

mod support;
mod upstream_http;
mod upstream_stdio;
