//! A call that its agent follows by polling, rather than by keeping a request open.
//!
//! A task has no state of its own while it follows an approval: what it says is computed from the
//! approval, so that the two can't disagree.

use std::fmt;
use std::time::Duration;

use super::approval::{Approval, ApprovalId, Outcome, State};
use super::call::hex;
use super::json::{self, Node};
use super::time::Timestamp;

/// `tsk_` and 256 random bits in 64 hex digits. It can't be guessed, and knowing it is not enough:
/// each use is checked against the agent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskId(String);

impl TaskId {
    /// From random bytes.
    pub fn new(random: &[u8; 32]) -> Self {
        Self(format!("tsk_{}", hex(random)))
    }

    /// Reads an id; none if it does not look like one.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("tsk_")?;
        (digits.len() == 64 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
            .then(|| Self(text.to_owned()))
    }

    /// As printed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which of the two protocols for tasks a task belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The extension `io.modelcontextprotocol/tasks` of the modern era.
    ///
    /// <https://modelcontextprotocol.io/extensions/tasks/overview>
    Extension,
    /// The experimental tasks in the core of 2025-11-25.
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#creating-tasks>
    Core,
}

impl Form {
    /// The word in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Extension => "extension",
            Self::Core => "core",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Extension, Self::Core].into_iter().find(|f| f.as_str() == text)
    }
}

/// What a task follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Follows {
    /// A call that people decide.
    Approval(ApprovalId),
    /// A task of the upstream's own, by its id there.
    Remote(String),
    /// A call that is answered by this node, and its answer once there is one.
    Call {
        /// The node that runs it.
        node: String,
        /// What it was answered.
        answer: Option<Outcome>,
    },
}

/// A task as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The agent that made the call; nobody else has this task.
    pub agent: String,
    /// The upstream the call is for.
    pub upstream: String,
    /// The legacy session the call came in.
    pub session: Option<String>,
    /// The protocol it was made in.
    pub form: Form,
    /// The tool that was called.
    pub tool: String,
    /// What it follows.
    pub follows: Follows,
    /// When the call came.
    pub created_at: Timestamp,
    /// Its own last change; that of what it follows may be later.
    pub changed_at: Timestamp,
    /// Until when its agent counts as waiting: three poll intervals after the last look.
    pub waits_until: Timestamp,
    /// When it is deleted; its id is unknown from then on.
    pub expires_at: Timestamp,
    /// When its agent ended it.
    pub cancelled_at: Option<Timestamp>,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Being decided or executed.
    Working,
    /// The upstream asks something meanwhile.
    InputRequired,
    /// There is a result.
    Completed,
    /// It ended with a JSON-RPC error.
    Failed,
    /// Its agent ended it.
    Cancelled,
}

impl Status {
    /// The word of both protocols.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::InputRequired => "input_required",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the status is final: no other follows it.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl Task {
    /// How long the task lives, counted from when it was made, in milliseconds.
    pub fn ttl_ms(&self) -> u64 {
        u64::try_from(self.created_at.until(self.expires_at).as_millis()).unwrap_or(u64::MAX)
    }

    /// The status of a task that follows this approval. `asks` says whether the running call waits
    /// for input.
    ///
    /// A refusal is a result with `isError`, as of any other tool, and so completes the task:
    /// clients look at the result of what is `completed`, and a model must read why it was refused.
    pub fn status_by(&self, approval: &Approval, asks: bool) -> Status {
        if self.cancelled_at.is_some() {
            return Status::Cancelled;
        }
        match approval.state {
            State::Running if asks => Status::InputRequired,
            State::Pending | State::Approved | State::Running => Status::Working,
            State::Rejected | State::Expired | State::Cancelled => Status::Completed,
            // In the core a final status never changes: a call reported as unknown stays so.
            State::Indeterminate if self.form == Form::Core => Status::Completed,
            State::Completed | State::Indeterminate => {
                approval.outcome.as_ref().map_or(Status::Completed, Self::status_of)
            }
        }
    }

    /// The status of a task whose call was answered so: only a JSON-RPC error is a failure.
    pub const fn status_of(answer: &Outcome) -> Status {
        match answer {
            Outcome::Error(_) => Status::Failed,
            Outcome::Result(_) | Outcome::NotKept { .. } => Status::Completed,
        }
    }
}

/// How long a task of an approval lives: while it may be decided, claimed and asked for.
pub fn lifetime(approval: &Approval, retention: Duration, now: Timestamp) -> Duration {
    now.until(approval.expires_at)
        .saturating_add(Duration::from_secs(approval.terms.claim_window_s))
        .saturating_add(retention)
}

/// A task as an upstream speaks of it, in either form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Its id at the upstream.
    pub id: String,
    /// Where it stands.
    pub status: Status,
    /// How long to wait before the next look, milliseconds.
    pub poll_ms: Option<u64>,
    /// How long it lives there, counted from when it was made, milliseconds.
    pub ttl_ms: Option<u64>,
    /// What it asks of the client, as raw JSON (extension alone).
    pub input_requests: Option<String>,
    /// How it ended, where the upstream says so along with the status (extension alone).
    pub end: Option<Outcome>,
}

impl Remote {
    /// Reads the task with which an upstream answered a call; none if the result is not a task.
    /// That of the extension has `resultType`, that of the core a member `task`.
    ///
    /// <https://modelcontextprotocol.io/extensions/tasks/overview>,
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#creating-tasks>
    pub fn created(result: &str) -> Option<Self> {
        let node = json::parse(result).ok()?;
        if node.get("resultType").and_then(Node::as_str) == Some("task") {
            return Self::read(&node);
        }
        // Of the core; a tool result has `content`, whatever else a tool puts beside it.
        node.get("content").is_none().then(|| node.get("task")).flatten().and_then(Self::read)
    }

    /// Reads the answer to `tasks/get`; none if it is not a task.
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#getting-tasks>
    pub fn got(result: &str) -> Option<Self> {
        Self::read(&json::parse(result).ok()?)
    }

    fn read(node: &Node<'_>) -> Option<Self> {
        let status = match node.get("status")?.as_str()? {
            "working" | "submitted" => Status::Working,
            "input_required" => Status::InputRequired,
            "completed" => Status::Completed,
            "failed" => Status::Failed,
            "cancelled" => Status::Cancelled,
            _ => return None,
        };
        let raw = |key| node.get(key).map(|n| n.raw.to_owned());
        let number = |keys: [&str; 2]| {
            let found = keys.iter().find_map(|key| node.get(key));
            found.and_then(Node::as_number).and_then(|n| n.parse().ok())
        };
        Some(Self {
            id: node.get("taskId")?.as_str()?.to_owned(),
            status,
            poll_ms: number(["pollIntervalMs", "pollInterval"]),
            ttl_ms: number(["ttlMs", "ttl"]),
            input_requests: raw("inputRequests").filter(|_| status == Status::InputRequired),
            end: match status {
                Status::Completed => raw("result").map(Outcome::Result),
                Status::Failed => raw("error").map(Outcome::Error),
                _ => None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_and_nothing_else_is() {
        let id = TaskId::new(&[0xab; 32]);

        assert_eq!(TaskId::parse(id.as_str()), Some(id.clone()));
        assert_eq!(TaskId::parse(&id.as_str()[1..]), None);
        assert_eq!(TaskId::parse(&id.as_str().to_uppercase()), None);
    }

    #[test]
    fn both_forms_of_an_upstreams_task_are_told_from_results() {
        let flat = r#"{"resultType":"task","taskId":"t","status":"working","pollIntervalMs":250}"#;
        let nested = r#"{"task":{"taskId":"t","status":"working","pollInterval":250}}"#;
        let result = r#"{"content":[],"task":{"taskId":"t","status":"working"}}"#;

        let expected = Remote {
            id: "t".to_owned(),
            status: Status::Working,
            poll_ms: Some(250),
            ttl_ms: None,
            input_requests: None,
            end: None,
        };
        assert_eq!(Remote::created(flat), Some(expected.clone()));
        assert_eq!(Remote::created(nested), Some(expected));
        assert_eq!(Remote::created(result), None);
    }
}
