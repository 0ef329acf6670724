//! What is counted in a window, and how much of it is used.

use std::fmt;
use std::net::IpAddr;

use async_trait::async_trait;

use super::error::Result;
use crate::domain::approval::ApprovalId;
use crate::domain::time::Timestamp;

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitKey {
    /// Calls of an agent by one rule.
    Calls {
        /// The agent.
        agent: String,
        /// The upstream.
        upstream: String,
        /// JSON Pointer of the rule.
        rule: String,
        /// The tool; empty: all that the rule fits count together.
        tool: String,
        /// The session; empty: all of the agent's count together.
        session: String,
    },
    /// A seal, by its nonce: it is good once.
    Seal(String),
    /// The page of an approval: its user is sent there once.
    Page(ApprovalId),
    /// Tries to sign in from one address.
    SignIn(SignInBy, IpAddr),
    /// Sign-in links to one mail address, by its hash.
    SignInMail(String),
}

/// How somebody tries to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInBy {
    /// With a token.
    Token,
    /// With a mailed link.
    Mail,
    /// Through the provider.
    Provider,
}

/// As the database spells it. Rows that are there count on, so that no spelling ever changes.
impl fmt::Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calls { agent, upstream, rule, tool, session } => {
                write!(f, "rate|{agent}|{upstream}|{rule}|{tool}|{session}")
            }
            Self::Seal(nonce) => write!(f, "seal|{nonce}"),
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
    /// Pending and approved ones.
    pub open: i64,
    /// New ones in the window.
    pub new: i64,
    /// Uses of the rule's limit in its window.
    pub limited: Option<i64>,
}

/// The verbs about limits. As everywhere, one verb is one transaction.
#[async_trait]
pub trait LimitStore: Send + Sync {
    /// Counts one use against a sliding window: `None` if it fits, else milliseconds to wait.
    async fn take(
        &self,
        key: &LimitKey,
        max: u32,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Option<u64>>;

    /// Takes back the use that was counted last for this key.
    async fn give_back(&self, key: &LimitKey) -> Result<()>;

    /// How much of its limits an agent has used: new approvals since `new_since`, uses of a limit's
    /// key since a time.
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
        };
        let client: IpAddr = "192.0.2.7".parse().unwrap();

        for (key, spelled) in [
            (calls, "rate|ci|images|/tools/delete|delete|token"),
            (LimitKey::Seal("0f".to_owned()), "seal|0f"),
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
