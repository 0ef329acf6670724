//! Upstreams over every transport, against servers and children that do what they should not.

mod gate;
mod health;
mod http;
mod resource_subscriptions;
mod stdio;
