//! What is wrong with a configuration, told so that it can be mended.

use std::fmt;

use crate::domain::policy;

/// Longest value shown in a problem, in characters.
pub(crate) const MAX_SHOWN: usize = 80;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is accepted all the same.
    Warning,
}

/// One thing wrong with the configuration: where, what stands there, and what would mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file, or what stands for it: `environment`, `embedded defaults`.
    pub file: String,
    /// Dotted path (`approvals.timeout`, `upstreams[0].url`), a JSON Pointer in a policy file, or
    /// a dotted path followed by a pointer in an inline policy. Empty: the file as a whole.
    pub key: String,
    /// The value as written; none where it may be a secret.
    pub value: Option<String>,
    /// What is wrong and what would mend it.
    pub message: String,
    /// Where in its file it stands, in a policy's.
    pub spot: Option<policy::Spot>,
}

/// Where a policy stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyPlace {
    /// The file that its problems are reported in.
    pub file: String,
    /// What is put before its pointers: empty, or the dotted path of the inline table.
    pub prefix: String,
}

impl PolicyPlace {
    /// A problem of the policy as one of the configuration.
    pub fn problem(&self, problem: policy::Problem) -> Problem {
        Problem {
            severity: if problem.warning { Severity::Warning } else { Severity::Error },
            file: self.file.clone(),
            key: format!("{}{}", self.prefix, problem.place),
            value: None,
            message: problem.message,
            // An inline policy was written by this program, to be read.
            spot: problem.spot.filter(|_| self.prefix.is_empty()),
        }
    }
}

/// A problem that does not refuse the configuration.
pub type Warning = Problem;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(policy::Spot { line, column }) = self.spot {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        write!(f, ": {}", self.message)
    }
}
