//! `placet connect`: what an MCP client has to be told to use this broker, with time limits that
//! let long holds live; printed, or merged into the client's own file.
//!
//! The configuration goes to stdout and nothing else does, so that it can be redirected; what to
//! know goes to stderr. A file that can't be read for certain is not touched.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use url::Url;

use crate::config::{Agent, Config, value};

use super::{Failure, Global, complain, load, say};

mod clients;
mod data;
mod json_file;
mod place;
#[cfg(test)]
mod tests;
mod toml_file;

pub(crate) use clients::Client;
use clients::{Entry, Format, Setup, Target, Token, VSCODE_INPUT};

/// Name of the server in the client, and what those of single upstreams begin with.
const NAME: &str = "placet";

/// `connect`
#[derive(Debug, Clone, Args)]
pub struct ConnectArgs {
    /// The client
    #[arg(value_enum)]
    pub client: Client,
    /// The upstream [default: the only one, else all of them at one address]
    #[arg(long, value_name = "NAME")]
    pub upstream: Option<String>,
    /// The broker as the client reaches it [default: server.public_url]
    #[arg(long, value_name = "URL")]
    pub server: Option<Url>,
    /// The agent whose token the client has [default: the only one]
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// The environment variable that holds the agent's token
    #[arg(long, value_name = "VAR", default_value = "PLACET_AGENT_TOKEN")]
    pub token_env: String,
    /// Put the token itself, read from that variable, in place of a reference to it
    #[arg(long)]
    pub put_token: bool,
    /// Merge into the client's own file, or this one, in place of printing
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    #[allow(clippy::option_option, reason = "clap's form of an option with an optional value")]
    pub write: Option<Option<PathBuf>>,
}

/// Prints the client's configuration, or merges it into the client's own file.
///
/// # Errors
/// Usage or configuration is wrong (exit code 2), or the client's file can't be merged or written
/// (exit code 1).
pub(crate) fn run(global: &Global, args: &ConnectArgs) -> Result<(), Failure> {
    let env = |name: &str| std::env::var(name).ok();
    let known = match (&args.upstream, &args.server, &global.config) {
        // The arguments say everything: the client's machine may lack the configuration.
        (Some(_), Some(_), None) => None,
        _ => Some(load(global)?),
    };
    let (target, agent) = target(args, known.as_ref(), &env)?;
    let file = match &args.write {
        Some(Some(file)) => Some(file.clone()),
        _ => args.client.file(&env),
    };
    let setup = args.client.setup(&target, file.as_deref());
    if args.write.is_none() {
        print(global, args.client, &setup, file.as_deref(), agent.as_deref());
        return Ok(());
    }
    let file = file.ok_or_else(|| {
        Failure::misused("--write: HOME is not set; name the file, as in --write FILE")
    })?;
    if setup.needs_paste {
        return Err(Failure::misused(format!(
            "--write: {} can't take the token from the environment; add --put-token to write the \
             value of {} into the file, or leave out --write and paste it yourself",
            args.client.as_str(),
            args.token_env
        )));
    }
    let merged = write(&setup, &target, &file).map_err(Failure::failed)?;
    report(global, args.client, &setup, &merged, agent.as_deref());
    Ok(())
}

/// The entries to connect, and the agent where it is known.
fn target(
    args: &ConnectArgs,
    config: Option<&Config>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(Target, Option<String>), Failure> {
    if !value::is_variable(&args.token_env) {
        return Err(Failure::misused(format!(
            "--token-env: {:?} is not the name of an environment variable, as in \
             PLACET_AGENT_TOKEN",
            args.token_env
        )));
    }
    let agent = config.map(|c| agent(args, c)).transpose()?.flatten();
    let upstreams = match (config, &args.upstream) {
        (None, upstream) => vec![upstream.clone().unwrap_or_default()],
        (Some(config), upstream) => {
            upstreams(config, agent.map(AsRef::as_ref), upstream.as_deref())?
        }
    };
    if let Some(name) = &args.upstream {
        value::upstream_name(name).map_err(|why| Failure::misused(format!("--upstream: {why}")))?;
    }
    let server = match (&args.server, config) {
        (Some(url), _) if matches!(url.scheme(), "http" | "https") && url.has_host() => url.clone(),
        (Some(url), _) => {
            return Err(Failure::misused(format!(
                "--server: {url} is not the address of a broker, as in \
                 https://placet.example.org"
            )));
        }
        (None, Some(config)) => config.server.public_url.clone(),
        (None, None) => return Err(Failure::misused("--server is missing")),
    };
    let server = server.as_str().trim_end_matches('/').to_owned();
    let anonymous = config.is_some_and(|c| c.agents.iter().any(|a| a.token_sha256.is_none()));
    let token = if anonymous {
        Token::None
    } else if args.put_token {
        Token::Itself(token(&args.token_env, env)?)
    } else {
        Token::Variable(args.token_env.clone())
    };
    let program = std::env::current_exe()
        .ok()
        .and_then(|path| path.to_str().map(ToOwned::to_owned))
        .unwrap_or_else(|| NAME.to_owned());
    let at_once = args.upstream.is_none() && upstreams.len() > 1 && !args.client.is_stdio();
    let entries = if at_once {
        vec![Entry { name: NAME.to_owned(), upstream: None, url: format!("{server}/mcp") }]
    } else {
        let entry = |upstream: String| Entry {
            name: format!("{NAME}-{upstream}"),
            url: format!("{server}/mcp/{upstream}"),
            upstream: Some(upstream),
        };
        upstreams.into_iter().map(entry).collect()
    };
    Ok((Target { server, entries, token, program }, agent.map(|a| a.name.clone())))
}

fn agent<'c>(args: &ConnectArgs, config: &'c Config) -> Result<Option<&'c Arc<Agent>>, Failure> {
    let Some(name) = &args.agent else {
        return Ok(match config.agents.as_slice() {
            [only] => Some(only),
            // Who is called as the client is meant.
            many => many.iter().find(|a| a.name == args.client.as_str()),
        });
    };
    config.agent(name).map(Some).ok_or_else(|| {
        let near = value::suggestion(name, config.agents.iter().map(|a| a.name.as_str()));
        Failure::misused(format!("--agent: no agent is called {name:?}{near}"))
    })
}

/// The upstreams that are meant; of this agent's where it is known.
fn upstreams(
    config: &Config,
    agent: Option<&Agent>,
    wanted: Option<&str>,
) -> Result<Vec<String>, Failure> {
    if config.upstreams.is_empty() {
        return Err(Failure::misused(
            "there are no upstreams: add [[upstreams]] with a name and a url or command to the \
             configuration (or name both --upstream and --server)",
        ));
    }
    let may = |name: &str| {
        agent.and_then(|a| a.upstreams.as_ref()).is_none_or(|own| own.iter().any(|u| u == name))
    };
    let names = config.upstreams.iter().map(|u| u.name.clone());
    let Some(wanted) = wanted else {
        let own: Vec<String> = names.filter(|n| may(n)).collect();
        if own.is_empty() {
            let name = agent.map_or("", |a| a.name.as_str());
            return Err(Failure::misused(format!("agent {name} may use no upstream")));
        }
        return Ok(own);
    };
    if config.upstream(wanted).is_none() {
        let near = value::suggestion(wanted, config.upstreams.iter().map(|u| u.name.as_str()));
        return Err(Failure::misused(format!(
            "--upstream: no upstream is called {wanted:?}{near}"
        )));
    }
    if !may(wanted) {
        let name = agent.map_or("", |a| a.name.as_str());
        return Err(Failure::misused(format!(
            "--upstream: agent {name} may not use {wanted}; add it to the agent's upstreams"
        )));
    }
    Ok(vec![wanted.to_owned()])
}

fn token(variable: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Failure> {
    let token = env(variable).unwrap_or_default();
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Failure::misused(format!(
            "--put-token: {variable} is not set to the agent's token (placet token new makes one)"
        )));
    }
    Ok(token)
}

/// What became of the client's file.
#[derive(Debug)]
struct Merged {
    file: PathBuf,
    changed: bool,
    replaced: bool,
    backup: Option<PathBuf>,
    others: Vec<String>,
}

/// The file's text with the servers in it, and whether another entry was replaced.
fn merge(setup: &Setup, text: &str) -> Result<(String, bool), String> {
    let mut text = text.to_owned();
    let mut replaced = false;
    for (name, server) in &setup.servers {
        let set = match setup.format {
            Format::Json => json_file::set_member(&text, setup.parent, name, server),
            Format::Toml => toml_file::set_table(&text, setup.parent, name, server),
        };
        let (new, other) = set?;
        text = new;
        replaced |= other;
    }
    if let Some(input) = &setup.input {
        text = json_file::add_element(&text, "inputs", VSCODE_INPUT, input)?;
    }
    Ok((text, replaced))
}

/// A file of its own.
fn fresh(setup: &Setup) -> String {
    let empty = match setup.format {
        Format::Json => "{}\n",
        Format::Toml => "",
    };
    merge(setup, empty).expect("nothing stands in the way in an empty file").0
}

fn write(setup: &Setup, target: &Target, file: &Path) -> Result<Merged, String> {
    let found = place::find(file)?;
    let old = found.text().unwrap_or_default();
    let (new, replaced) = if old.trim().is_empty() {
        (fresh(setup), false)
    } else {
        merge(setup, old).map_err(|why| {
            format!(
                "{}: {why}; it is left as it is: mend it, or add by hand what `placet connect` \
                 prints without --write",
                file.display()
            )
        })?
    };
    let own: Vec<&str> = setup.servers.iter().map(|(name, _)| name.as_str()).collect();
    let others = match setup.format {
        Format::Json => json_file::other_members(&new, setup.parent, &own),
        Format::Toml => toml_file::other_tables(&new, setup.parent, &own),
    };
    let changed = found.text() != Some(new.as_str());
    let secret = matches!(target.token, Token::Itself(_));
    let backup = if changed { found.replace(&new, secret)? } else { None };
    Ok(Merged { file: file.to_owned(), changed, replaced, backup, others })
}

/// What to set for the agent, as lines of placet.toml.
fn holds(setup: &Setup) -> Vec<String> {
    setup.holds.iter().map(|(key, length)| format!("{key} = \"{length}\"")).collect()
}

fn print(global: &Global, client: Client, setup: &Setup, file: Option<&Path>, agent: Option<&str>) {
    let text = fresh(setup);
    if global.json {
        let config = match setup.format {
            Format::Json => serde_json::from_str(&text).unwrap_or_default(),
            Format::Toml => serde_json::Value::String(text),
        };
        say(&json!({
            "client": client.as_str(),
            "file": file,
            "config": config,
            "instead": setup.instead,
            "then": setup.then,
            "agent": agent,
            "agent_keys": setup.holds.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
            "notes": setup.notes,
        })
        .to_string());
        return;
    }
    say(text.trim_end());
    if let Some(file) = file {
        complain(&format!("# For {}; --write merges it in.", file.display()));
    }
    if let Some(command) = &setup.instead {
        complain(&format!("# Or, instead of the file: {command}"));
    }
    advise(setup, agent);
}

fn advise(setup: &Setup, agent: Option<&str>) {
    if let Some(command) = &setup.then {
        complain(&format!("# Then: {command}"));
    }
    let whose = agent.map_or_else(|| "the agent".to_owned(), |name| format!("agent {name}"));
    complain(&format!("# For {whose} in placet.toml: {}", holds(setup).join("   ")));
    for note in &setup.notes {
        complain(&format!("# {note}"));
    }
}

fn report(global: &Global, client: Client, setup: &Setup, merged: &Merged, agent: Option<&str>) {
    let names: Vec<&str> = setup.servers.iter().map(|(name, _)| name.as_str()).collect();
    if global.json {
        say(&json!({
            "client": client.as_str(),
            "file": merged.file,
            "servers": names,
            "changed": merged.changed,
            "replaced": merged.replaced,
            "backup": merged.backup,
            "others": merged.others,
            "then": setup.then,
            "agent": agent,
            "agent_keys": setup.holds.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
            "notes": setup.notes,
        })
        .to_string());
        return;
    }
    let (file, names) = (merged.file.display(), names.join(", "));
    if merged.changed {
        let how = if merged.replaced { "replaced in" } else { "added to" };
        say(&format!("{names} {how} {file}"));
    } else {
        say(&format!("{names} stands in {file} already; nothing was changed"));
    }
    if let Some(backup) = &merged.backup {
        say(&format!("what was there before: {}", backup.display()));
    }
    if !merged.others.is_empty() {
        complain(&format!(
            "# Other servers there do not go through Placet: {}",
            merged.others.join(", ")
        ));
    }
    advise(setup, agent);
}
