//! `placet catalog`: the servers that the catalogue knows, and what their tools do.

use clap::Args;
use serde_json::{Value, json};

use crate::config::value;
use crate::domain::catalogue::{self, KnownServer, KnownTool, Missing};
use crate::domain::classify::Flip;
use crate::domain::json;
use crate::domain::risk::{RiskClass, in_words};

use super::{Failure, Global, say, text};

/// What `--help` says at its end.
pub(crate) const HELP: &str = "Reads no configuration and connects to nothing: the catalogue goes with \
                               the program. SERVER is a package, the name that the server declares, \
                               or a part of one that no other has.\n\nExamples:\n  placet catalog\n  \
                               placet catalog awslabs.healthimaging\n  placet catalog \
                               @modelcontextprotocol/server-filesystem --json";

/// `catalog`
#[derive(Debug, Clone, Args)]
pub struct CatalogArgs {
    /// Whose tools to print [default: the servers themselves]
    #[arg(value_name = "SERVER")]
    pub server: Option<String>,
}

/// Prints the known servers, or the tools of one.
///
/// # Errors
/// No server is called so, or several are: exit code 2.
pub(crate) fn run(global: &Global, args: &CatalogArgs) -> Result<(), Failure> {
    let Some(word) = &args.server else {
        say(&if global.json { all_as_json() } else { all_as_text() });
        return Ok(());
    };
    let server = catalogue::find(word).map_err(|missing| Failure::misused(told(word, &missing)))?;
    say(&if global.json { server_json(server, true).to_string() } else { as_text(server) });
    Ok(())
}

/// Why no server is meant by a word.
fn told(word: &str, missing: &Missing) -> String {
    let word = text::one_line(word);
    match missing {
        Missing::Unknown => {
            let all = catalogue::all().iter();
            let names = all.flat_map(|s| [s.package, s.declared, s.name()]);
            let near = value::suggestion(&word, names);
            format!("the catalogue knows no server {word}{near}; placet catalog lists them")
        }
        Missing::Several(packages) => {
            format!(
                "several servers are called {word}; name one by its package: {}",
                packages.join(", ")
            )
        }
    }
}

fn all_as_text() -> String {
    let servers = catalogue::all();
    let mut rows = vec![vec!["SERVER".to_owned(), "VERSION".to_owned(), "PACKAGE".to_owned()]];
    rows[0].push("TOOLS".to_owned());
    rows[0].extend(RiskClass::ALL.map(|class| class.as_str().to_uppercase()));
    for server in servers {
        let package = format!("{}:{}", server.registry.as_str(), server.package);
        let mut row = vec![server.name().to_owned(), server.version.to_owned(), package];
        row.push(server.tools.len().to_string());
        row.extend(RiskClass::ALL.map(|class| server.count(class).to_string()));
        rows.push(row);
    }
    table(&rows)
}

/// Rows with their columns below each other.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |n: usize| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn as_text(server: &KnownServer) -> String {
    let (registry, package) = (server.registry.as_str(), server.package);
    let declares = match server.declared_version {
        "" => format!("declares the name {} and no version", server.declared),
        version => format!("declares the name {} and version {version}", server.declared),
    };
    let mut lines = vec![
        format!(
            "{}: {} tools, {registry} package {package} {}",
            server.name(),
            server.tools.len(),
            server.version
        ),
        declares,
    ];
    for tool in &server.tools {
        let risk = in_words(Some(tool.class), Some(tool.severity)).unwrap_or_default();
        lines.push(format!("{}: {risk} ({})", tool.name, tool.evidence));
        lines.extend(tool.flips.iter().map(|flip| format!("    with {}", shown(flip))));
    }
    lines.iter().map(|line| text::one_line(line)).collect::<Vec<_>>().join("\n")
}

fn all_as_json() -> String {
    let servers: Vec<Value> = catalogue::all().iter().map(|s| server_json(s, false)).collect();
    json!({ "servers": servers }).to_string()
}

/// A server as data, with its tools or without.
fn server_json(server: &KnownServer, with_tools: bool) -> Value {
    let counts: serde_json::Map<String, Value> = RiskClass::ALL
        .into_iter()
        .map(|class| (class.as_str().to_owned(), json!(server.count(class))))
        .collect();
    let mut known = json!({
        "name": server.name(),
        "declared": server.declared,
        "declared_version": server.declared_version,
        "version": server.version,
        "registry": server.registry.as_str(),
        "package": server.package,
        "counts": counts,
    });
    if with_tools {
        known["tools"] = server.tools.iter().map(tool_json).collect();
    }
    known
}

/// A known tool as data.
pub(super) fn tool_json(tool: &KnownTool) -> Value {
    json!({
        "name": tool.name,
        "risk": tool.class.as_str(),
        "severity": tool.severity.as_str(),
        "flips": tool.flips.iter().map(flip_json).collect::<Vec<_>>(),
        "evidence": tool.evidence,
    })
}

/// An argument that changes a call's class, as data.
pub(super) fn flip_json(flip: &Flip) -> Value {
    let read = |raw: &String| serde_json::from_str(raw).unwrap_or(Value::Null);
    let values: Vec<Value> = flip.values.iter().map(read).collect();
    json!({ "path": flip.path, "values": values, "risk": flip.class.as_str() })
}

/// The same as words: `args.operation = "delete": destructive`.
pub(super) fn shown(flip: &Flip) -> String {
    let values: Vec<String> = flip.values.iter().map(|raw| value_shown(raw)).collect();
    format!("{} = {}: {}", flip.path, values.join(", "), flip.class.as_str())
}

/// A value of an argument, its escapes decoded where it is a text.
fn value_shown(raw: &str) -> String {
    match json::parse(raw) {
        Ok(node) => node.as_str().map_or_else(|| raw.to_owned(), |text| format!("{text:?}")),
        Err(_) => raw.to_owned(),
    }
}
