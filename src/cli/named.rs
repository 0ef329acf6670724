//! What arguments of commands name: upstreams and agents of the configuration, and the tool list
//! of an upstream.

use std::sync::Arc;

use crate::app::tool_list;
use crate::config::{Agent, Config, Upstream, value};
use crate::upstream::Catalog;

use super::Failure;

/// The upstream of that name. `flag` stands before the name in the message: `--upstream `.
///
/// # Errors
/// There is none: exit code 2, with the nearest name and all that are known.
pub(crate) fn upstream<'c>(
    config: &'c Config,
    flag: &str,
    name: &str,
) -> Result<&'c Upstream, Failure> {
    config.upstream(name).ok_or_else(|| {
        let names = || config.upstreams.iter().map(|u| u.name.as_str());
        unknown(&format!("{flag}{name}: no such upstream"), name, names)
    })
}

/// The agent of that name, else the first that may use the upstream; none where none may.
///
/// # Errors
/// There is none of that name: exit code 2, with the nearest name and all that are known.
pub(crate) fn agent<'c>(
    config: &'c Config,
    name: Option<&str>,
    upstream: &Upstream,
) -> Result<Option<&'c Arc<Agent>>, Failure> {
    let Some(name) = name else {
        return Ok(config.agents.iter().find(|agent| may_use(agent, upstream)));
    };
    config.agent(name).map(Some).ok_or_else(|| {
        let names = || config.agents.iter().map(|a| a.name.as_str());
        unknown(&format!("--agent {name}: no such agent"), name, names)
    })
}

fn unknown<'n, I: Iterator<Item = &'n str>>(
    what: &str,
    name: &str,
    names: impl Fn() -> I,
) -> Failure {
    let near = value::suggestion(name, names());
    let known: Vec<&str> = names().collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Failure::misused(format!("{what}{near}; known: {known}"))
}

/// Whether the agent may use the upstream.
pub(crate) fn may_use(agent: &Agent, upstream: &Upstream) -> bool {
    agent.upstreams.as_ref().is_none_or(|names| names.contains(&upstream.name))
}

/// The tool list of the upstream, fetched from its server.
///
/// # Errors
/// It can't be fetched: exit code 1, and why.
pub(crate) async fn tools_of(
    config: &Config,
    upstream: &Upstream,
) -> Result<Arc<Catalog>, Failure> {
    tool_list::of_upstream(config, &upstream.name).await.map_err(|why| {
        let what = format!("upstreams.{}: its tools can't be listed: {why}", upstream.name);
        Failure::failed(super::text::one_line(&what))
    })
}
