//! The parts that every call goes through, one by one: `cargo bench --bench parts`.
//!
//! What they cost together, over real sockets, is measured by `cargo run --release --example load`.
#![allow(clippy::unwrap_used, reason = "a measurement ends by panicking")]

use criterion::{criterion_group, criterion_main};

#[path = "../../tests/it/support/fixtures.rs"]
#[allow(dead_code, reason = "no configuration is needed here")]
mod fixtures;
mod policy;
mod reading;
mod store;

criterion_group!(
    parts,
    policy::judge,
    policy::classify,
    reading::envelope,
    reading::digest,
    reading::splice,
    store::verbs
);
criterion_main!(parts);
