//! The catalogue's files: one line a server and one line a tool, their columns apart by tabs.
//!
//! ```text
//! = declared name   its version or -   npm or pypi   package   version
//! tool   class   severity   fingerprint   flips or -   evidence
//! ```
//!
//! Flips are `argument=value|value:class`, several of them apart by `;`. A line that begins with `#`
//! is for people.

use super::{KnownServer, KnownTool, Registry};
use crate::domain::classify::Flip;
use crate::domain::json;
use crate::domain::risk::{RiskClass, Severity};

pub(super) const FILES: [&str; 3] =
    [include_str!("awslabs.txt"), include_str!("npm.txt"), include_str!("pypi.txt")];

/// Reads what goes with the binary; a test holds that no line of it is unreadable.
pub(super) fn read_all() -> Vec<KnownServer> {
    FILES.iter().flat_map(|text| read(text).0).collect()
}

/// The servers of a file, and the lines that can't be read.
pub(super) fn read(text: &'static str) -> (Vec<KnownServer>, Vec<&'static str>) {
    let (mut servers, mut unread): (Vec<KnownServer>, Vec<&str>) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(head) = line.strip_prefix("= ") {
            match server(head) {
                Some(server) => servers.push(server),
                None => unread.push(line),
            }
            continue;
        }
        match (servers.last_mut(), tool(line)) {
            (Some(server), Some(tool)) => server.tools.push(tool),
            _ => unread.push(line),
        }
    }
    (servers, unread)
}

fn columns<const N: usize>(line: &'static str) -> Option<[&'static str; N]> {
    let all: Vec<&str> = line.split('\t').collect();
    all.try_into().ok()
}

fn server(line: &'static str) -> Option<KnownServer> {
    let [declared, declared_version, registry, package, version] = columns(line)?;
    let registry = Registry::parse(registry)?;
    let declared_version = if declared_version == "-" { "" } else { declared_version };
    Some(KnownServer { declared, declared_version, registry, package, version, tools: Vec::new() })
}

fn tool(line: &'static str) -> Option<KnownTool> {
    let [name, class, severity, fingerprint, flips, evidence] = columns(line)?;
    let flips = if flips == "-" { Some(Vec::new()) } else { flips.split(';').map(flip).collect() };
    Some(KnownTool {
        name,
        class: RiskClass::parse(class)?,
        severity: Severity::parse(severity)?,
        fingerprint,
        flips: flips?,
        evidence,
    })
}

fn flip(text: &str) -> Option<Flip> {
    let (argument, rest) = text.split_once('=')?;
    let (values, class) = rest.rsplit_once(':')?;
    let raw = |value: &str| match value {
        "true" | "false" => value.to_owned(),
        word => json::quote(word),
    };
    let values = values.split('|').map(raw).collect();
    Some(Flip { path: format!("args.{argument}"), values, class: RiskClass::parse(class)? })
}
