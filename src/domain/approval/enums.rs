//! The words an approval is described with; each is the same in the store, the interface and the
//! configuration.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where an approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waiting for reviewers.
    Pending,
    /// Enough reviewers said yes; not executed yet.
    Approved,
    /// Claimed by one executor.
    Running,
    /// The upstream answered.
    Completed,
    /// A reviewer said no.
    Rejected,
    /// Nobody decided in time, or nobody claimed it in time.
    Expired,
    /// Withdrawn, or no longer permitted.
    Cancelled,
    /// Sent, and nobody knows what became of it.
    Indeterminate,
}

impl State {
    /// All states.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Approved,
        Self::Running,
        Self::Completed,
        Self::Rejected,
        Self::Expired,
        Self::Cancelled,
        Self::Indeterminate,
    ];

    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Indeterminate => "indeterminate",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Whether the state is final: nothing but a settlement can follow.
    pub const fn is_end(self) -> bool {
        !matches!(self, Self::Pending | Self::Approved | Self::Running)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a reviewer decides: yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// Let it run.
    Approve,
    /// Do not let it run.
    Reject,
}

impl Choice {
    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Approve, Self::Reject].into_iter().find(|c| c.as_str() == text)
    }
}

/// The channel a decision came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// The link of a mail.
    Email,
    /// The web page, signed in.
    Web,
    /// The HTTP API.
    Api,
    /// The terminal.
    Cli,
}

impl Via {
    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Web => "web",
            Self::Api => "api",
            Self::Cli => "cli",
        }
    }

    /// The channel for people, as in `by the API`.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Email => "the mailed link",
            Self::Web => "the website",
            Self::Api => "the API",
            Self::Cli => "the terminal",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Email, Self::Web, Self::Api, Self::Cli].into_iter().find(|v| v.as_str() == text)
    }
}

/// How surely a decision must come from the reviewer.
///
/// In order of strength: what is asked for is satisfied by itself and by anything stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Assurance {
    /// A mailed link decides.
    #[default]
    Link,
    /// The reviewer is signed in by something other than a mailed link (of review or of sign-in).
    Session,
    /// A passkey of the reviewer confirms the decision.
    Passkey,
}

impl Assurance {
    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Session => "session",
            Self::Passkey => "passkey",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Link, Self::Session, Self::Passkey].into_iter().find(|a| a.as_str() == text)
    }
}

/// What happens to an approved call that no request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unattended {
    /// It waits for the identical call until its claim deadline.
    #[default]
    Wait,
    /// It runs, and the outcome is kept.
    Run,
}
