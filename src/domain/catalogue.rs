//! The catalogue: what the tools of real servers do, as people read it out of what the servers
//! declared. It is data in the binary, made by `tests/catalog` and corrected by hand.
//!
//! A server is recognised by the name that it declares and by its tools, both its own word. So what
//! stands here makes a tool graver wherever it fits, and milder only where the tool's definition is
//! the very one that was read: whoever copies a known name gains nothing by it.

use std::sync::LazyLock;

use super::classify::{Classified, Evidence, Flip, Place};
use super::risk::{RiskClass, Severity};

mod file;
mod find;

pub use find::{Missing, find};

/// The registry that a package comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registry {
    /// The npm registry.
    Npm,
    /// The Python Package Index.
    Pypi,
}

impl Registry {
    /// The word of files and of the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pypi => "pypi",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Npm, Self::Pypi].into_iter().find(|registry| registry.as_str() == text)
    }
}

/// A server of which it is known what its tools do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownServer {
    /// The name in its `serverInfo`.
    pub declared: &'static str,
    /// The version there, which need not be its package's; empty where it gives none.
    pub declared_version: &'static str,
    /// Where its package comes from.
    pub registry: Registry,
    /// The package's name.
    pub package: &'static str,
    /// The version of the package that was read.
    pub version: &'static str,
    /// Its tools, in the order in which it listed them.
    pub tools: Vec<KnownTool>,
}

/// A tool of a known server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownTool {
    /// Its name.
    pub name: &'static str,
    /// What kind of harm a call could do, at most.
    pub class: RiskClass,
    /// How grave that would be.
    pub severity: Severity,
    /// The beginning of the fingerprint of the definition that was read.
    pub fingerprint: &'static str,
    /// Arguments by which a call is of another class.
    pub flips: Vec<Flip>,
    /// Why, in one line.
    pub evidence: &'static str,
}

/// What goes with the names of servers and says nothing more: `awslabs.eks-mcp-server`.
const ENDINGS: [&str; 3] = ["-mcp-server", " MCP Server", "-server"];

/// All known servers, in the order of the files.
pub fn all() -> &'static [KnownServer] {
    static ALL: LazyLock<Vec<KnownServer>> = LazyLock::new(file::read_all);
    &ALL
}

/// The known server that declares this name and has most of these tools. Of several, the one with
/// which most are shared.
pub fn recognise(declared: &str, tools: &[&str]) -> Option<&'static KnownServer> {
    let named = all().iter().filter(|server| server.declared == declared);
    let shared = |server: &KnownServer| {
        tools.iter().filter(|tool| server.tool(tool).is_some()).take(server.tools.len()).count()
    };
    // A switch of its own may hide some of its tools, and another version may have more.
    let fits = |server: &KnownServer, shared: usize| {
        shared > 0 && shared * 2 > server.tools.len().min(tools.len())
    };
    let fitting = named.map(|server| (shared(server), server));
    let fitting = fitting.filter(|(shared, server)| fits(server, *shared));
    let best = fitting.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, server)| server)
}

impl KnownServer {
    /// What it is called in short: `awslabs.eks`.
    pub fn name(&self) -> &'static str {
        let name = self.declared;
        let short = ENDINGS.iter().find_map(|end| name.strip_suffix(end));
        short.filter(|short| !short.is_empty()).unwrap_or(name)
    }

    /// Its short name and the version of its package that was read: `awslabs.eks 0.1.15`.
    pub fn title(&self) -> String {
        format!("{} {}", self.name(), self.version)
    }

    /// Its tool of that name.
    pub fn tool(&self, name: &str) -> Option<&KnownTool> {
        self.tools.iter().find(|tool| tool.name == name)
    }

    /// How many of its tools are of a class.
    pub fn count(&self, class: RiskClass) -> usize {
        self.tools.iter().filter(|tool| tool.class == class).count()
    }
}

impl KnownTool {
    /// Whether a definition is the one that was read, by its whole fingerprint.
    pub fn is_as_read(&self, fingerprint: &str) -> bool {
        !self.fingerprint.is_empty() && fingerprint.starts_with(self.fingerprint)
    }

    /// What is known of a tool, beside what its definition says. None where the definition says
    /// something graver, and is another one than was read: then it stands. So does the word of a tool
    /// that changes something and declares that it destroys.
    pub fn judge(&self, fingerprint: &str, own: &Classified) -> Option<Classified> {
        let as_read = self.is_as_read(fingerprint);
        if self.class < own.class && (!as_read || self.changes_and_declares_to_destroy(own)) {
            return None;
        }
        let known = Evidence {
            place: Place::Catalogue,
            quote: self.evidence.to_owned(),
            class: self.class,
        };
        let (mut evidence, mut flips) = (vec![known], self.flips.clone());
        let mut severity = self.severity;
        if !as_read {
            severity = severity.max(own.severity);
            evidence.extend(own.evidence.iter().cloned());
            for flip in &own.flips {
                if !flips.iter().any(|f| f.path == flip.path && f.class == flip.class) {
                    flips.push(flip.clone());
                }
            }
        }
        Some(Classified { class: self.class, severity, evidence, flips, is_known: true })
    }

    /// Whether how much it destroys is a question of taste, and its own server answered it
    /// (`destructiveHint`,
    /// <https://modelcontextprotocol.io/specification/2025-11-25/schema#toolannotations>).
    fn changes_and_declares_to_destroy(&self, own: &Classified) -> bool {
        let declares =
            |e: &Evidence| e.place == Place::Annotations && e.class == RiskClass::Destructive;
        self.class != RiskClass::Read && own.evidence.iter().any(declares)
    }
}

#[cfg(test)]
mod tests;
