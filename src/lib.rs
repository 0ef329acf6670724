//! Placet: a human-in-the-loop approval broker for the Model Context Protocol.
//!
//! An agent's `tools/call` comes in by [`mcp`], is judged and held by [`broker`], remembered by
//! [`store`], told to people by [`notify`], decided in [`web`], and sent to its server by
//! [`upstream`]. What it all means, without any of that, is [`domain`].

/// The allocator of the program, for whatever else is built on the library:
/// `#[global_allocator] static ALLOCATOR: placet::Allocator = placet::Allocator;`
#[cfg(feature = "jemalloc")]
pub use tikv_jemallocator::Jemalloc as Allocator;

// The fixtures are shared with the tests outside, which name the library so.
#[cfg(test)]
extern crate self as placet;

pub mod app;
pub mod auth;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod domain;
#[cfg(test)]
#[path = "../tests/it/support/fixtures.rs"]
mod fixtures;
pub mod id;
pub mod mcp;
mod notified;
pub mod notify;
pub(crate) mod protocol;
pub mod reconcilers;
pub mod store;
mod tcp;
pub(crate) mod telemetry;
pub mod upstream;
pub mod web;
