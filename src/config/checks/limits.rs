//! Limits that have to fit together.

use crate::config::reader::Reader;
use crate::config::upstreams::Read;
use crate::config::{Config, Upstream};

/// What all agents share should be more than the share of one, and a pause grows to the longest one.
pub(super) fn check(reader: &Reader<'_>, config: &Config, upstreams: &[Read]) {
    let server = &config.server;
    for (all, most, own) in [
        ("max_reading", server.max_reading, server.max_reading_per_agent),
        ("max_under_way", server.max_under_way, server.max_under_way_per_agent),
    ] {
        if most < own {
            let message = format!("is less than {all}_per_agent: one agent can take all of it");
            reader.warn(format!("server.{all}"), message);
        }
    }
    for read in upstreams {
        let Upstream { retry_pause, max_retry_pause, .. } = &read.upstream;
        if max_retry_pause < retry_pause {
            let message = format!("is shorter than retry_pause, {retry_pause:?}; raise it");
            reader.error(format!("{}.max_retry_pause", read.path), message);
        }
    }
}
