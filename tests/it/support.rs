//! What several tests need: configurations, fake servers, children.

pub mod fake_http;
pub mod upstreams;
