//! Limits: what is counted in a sliding window, and how much of it is used.

use std::fmt;
use std::net::IpAddr;

use async_trait::async_trait;

use super::error::Result;
use crate::domain::approval::ApprovalId;
use crate::domain::time::Timestamp;

/// What a limit counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitKey {
    /// Calls of an agent that one rule judged.
    Calls {
        /// Name of the agent.
        agent: String,
        /// Name of the upstream.
        upstream: String,
        /// JSON Pointer of the rule in its policy.
        rule: String,
        /// Name of the tool; empty: all tools that the rule fits count together.
        tool: String,
        /// Id of the session, or [`TOKEN_SESSION`]; empty: all sessions of the agent count together.
        session: String,
        /// When the session began. What other sessions of the agent had used by then counts in this
        /// one too, so that nothing is gained by a new one. It is no part of the key's spelling.
        session_began: Option<Timestamp>,
    },
    /// A sealed state, by its nonce (32 hexadecimal digits): it is good once.
    Seal(String),
    /// The page of an approval: the agent's user is sent there once.
    Page(ApprovalId),
    /// The next round of a call that was counted, by a hash of agent, call and state.
    Round(String),
    /// Tries to sign in from one address.
    SignIn(SignInBy, IpAddr),
    /// Sign-in links sent to one mail address, by the hash of the address.
    SignInMail(String),
}

/// The session of calls that come without one: of modern clients, and over stdio.
pub const TOKEN_SESSION: &str = "token";

/// What counts against a limit besides the uses of its own key, so that no other way of asking begins
/// with an empty window: a new session, and the token without a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// The key that all sessions of the agent count under.
    pub all: LimitKey,
    /// What is counted of it.
    pub counted: Counted,
}

/// What is counted of the uses of all sessions of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counted {
    /// All of them: the token spends what any session does.
    All,
    /// Those until the session began, and later ones that came without a session, under this key.
    Before(Option<Timestamp>, Box<LimitKey>),
}

impl LimitKey {
    /// For the calls of one session: what else counts. None for any other key.
    pub fn beside(&self) -> Option<Beside> {
        let Self::Calls { agent, upstream, rule, tool, session, session_began } = self else {
            return None;
        };
        let of = |session: &str| Self::Calls {
            agent: agent.clone(),
            upstream: upstream.clone(),
            rule: rule.clone(),
            tool: tool.clone(),
            session: session.to_owned(),
            session_began: None,
        };
        let counted = match session.as_str() {
            "" => return None,
            TOKEN_SESSION => Counted::All,
            _ => Counted::Before(*session_began, Box::new(of(TOKEN_SESSION))),
        };
        Some(Beside { all: of(""), counted })
    }

    /// The spelling of the key that all who count for it have in common.
    pub fn shared(&self) -> String {
        self.beside().map_or_else(|| self.to_string(), |beside| beside.all.to_string())
    }
}

/// How somebody tries to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInBy {
    /// With a reviewer's token.
    Token,
    /// With a mailed link.
    Mail,
    /// Through the OpenID Connect provider.
    Provider,
}

/// The spelling in the database. It must never change: rows that are there go on counting.
impl fmt::Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calls { agent, upstream, rule, tool, session, session_began: _ } => {
                write!(f, "rate|{agent}|{upstream}|{rule}|{tool}|{session}")
            }
            Self::Seal(nonce) => write!(f, "seal|{nonce}"),
            Self::Round(hash) => write!(f, "round|{hash}"),
            Self::Page(approval) => write!(f, "page|{approval}"),
            Self::SignIn(by, client) => {
                let by = match by {
                    SignInBy::Token => "token",
                    SignInBy::Mail => "client",
                    SignInBy::Provider => "oidc",
                };
                write!(f, "sign-in-{by}:{client}")
            }
            Self::SignInMail(address) => write!(f, "sign-in-mail:{address}"),
        }
    }
}

/// How much of its limits an agent has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Its pending and approved approvals.
    pub open: i64,
    /// Its new approvals in the window.
    pub new: i64,
    /// Uses of the rule's limit in its window; none without such a limit.
    pub limited: Option<i64>,
}

/// The verbs about limits. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait LimitStore: Send + Sync {
    /// Counts one use against a sliding window: none if it fits, else the milliseconds to wait.
    async fn take(
        &self,
        key: &LimitKey,
        max: u32,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Option<u64>>;

    /// Takes back the use that was counted last for this key.
    async fn give_back(&self, key: &LimitKey) -> Result<()>;

    /// How much of its limits an agent has used: its new approvals since `new_since`, and the uses
    /// of the limit's key since the instant given with it.
    async fn spent(
        &self,
        agent: &str,
        new_since: Timestamp,
        limit: Option<(LimitKey, Timestamp)>,
    ) -> Result<Spent>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spelled_as_the_rows_that_count_already() {
        let approval = ApprovalId::parse("apr_00000000000000000000000000000001").unwrap();
        let calls = LimitKey::Calls {
            agent: "ci".to_owned(),
            upstream: "images".to_owned(),
            rule: "/tools/delete".to_owned(),
            tool: "delete".to_owned(),
            session: "token".to_owned(),
            session_began: Some(Timestamp::from_micros(7)),
        };
        let client: IpAddr = "192.0.2.7".parse().unwrap();

        for (key, spelled) in [
            (calls, "rate|ci|images|/tools/delete|delete|token"),
            (LimitKey::Seal("0f".to_owned()), "seal|0f"),
            (LimitKey::Round("0f".to_owned()), "round|0f"),
            (LimitKey::Page(approval), "page|apr_00000000000000000000000000000001"),
            (LimitKey::SignIn(SignInBy::Token, client), "sign-in-token:192.0.2.7"),
            (LimitKey::SignIn(SignInBy::Mail, client), "sign-in-client:192.0.2.7"),
            (LimitKey::SignIn(SignInBy::Provider, client), "sign-in-oidc:192.0.2.7"),
            (LimitKey::SignInMail("ab".to_owned()), "sign-in-mail:ab"),
        ] {
            assert_eq!(key.to_string(), spelled);
        }
    }
}
