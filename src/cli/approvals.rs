//! `placet approvals`: the queue from a terminal, over the HTTP API of a running broker.
//!
//! Approving and rejecting fetch the approval first, show its arguments, and send the digest of
//! what was shown; the broker refuses another. Whatever agents and tools wrote is made safe before
//! it reaches the terminal.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::domain::approval::ApprovalId;
use crate::domain::call::Method;
use crate::domain::json::{self, Node};
use crate::domain::visible_text::mixed_script_in;

use super::{DEFAULT_SERVER, Failure, Global, complain, say, text};

mod client;
mod watch;

use client::Client;

/// `approvals …`
#[derive(Debug, Clone, Args)]
pub struct ApprovalsArgs {
    /// The broker
    #[arg(long, global = true, value_name = "URL", default_value = DEFAULT_SERVER)]
    pub server: url::Url,
    /// A file that holds the reviewer's token [default: PLACET_TOKEN of the environment]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// What is asked.
    #[command(subcommand)]
    pub command: ApprovalsCommand,
}

/// What is asked of the queue.
#[derive(Debug, Clone, Subcommand)]
pub enum ApprovalsCommand {
    /// List approvals, newest first
    List(ListArgs),
    /// Show one approval in full; recorded as a reveal
    Show {
        /// The approval, apr_…
        id: String,
    },
    /// Show a call and approve it
    Approve {
        /// The approval, apr_…
        id: String,
        /// Kept with the decision
        #[arg(long, default_value = "")]
        reason: String,
        /// Only if the call has this digest
        #[arg(long)]
        digest: Option<String>,
        /// Don't ask on a terminal
        #[arg(long, short)]
        yes: bool,
    },
    /// Show a call and reject it
    Reject {
        /// The approval, apr_…
        id: String,
        /// Told to the agent
        #[arg(long, default_value = "")]
        reason: String,
        /// Only if the call has this digest
        #[arg(long)]
        digest: Option<String>,
    },
    /// Withdraw a pending or approved call
    Cancel {
        /// The approval, apr_…
        id: String,
        /// Kept with the approval
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Say of an indeterminate call whether it ran
    Settle {
        /// The approval, apr_…
        id: String,
        /// It ran
        #[arg(long, required_unless_present = "not_done", conflicts_with = "not_done")]
        done: bool,
        /// It did not run
        #[arg(long)]
        not_done: bool,
        /// Told to the agent
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Print every change as it happens
    Watch,
}

/// `approvals list`
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Only these states, as in pending,approved
    #[arg(long)]
    state: Option<String>,
    /// Only of this upstream
    #[arg(long)]
    upstream: Option<String>,
    /// Only of this tool
    #[arg(long)]
    tool: Option<String>,
    /// Only of this agent
    #[arg(long)]
    agent: Option<String>,
    /// At most this many, up to 200
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: Option<u32>,
    /// Where the last page ended
    #[arg(long)]
    cursor: Option<String>,
}

/// Runs one of the commands.
///
/// # Errors
/// Wrong usage is exit code 2 (no token, a bad id); a broker that can't be reached or refuses is
/// exit code 1.
pub(crate) async fn run(global: &Global, args: ApprovalsArgs) -> Result<(), Failure> {
    let client = Client::new(&args)?;
    match args.command {
        ApprovalsCommand::List(list) => {
            let body = client.get("/api/v1/approvals", &list.query()).await?;
            print(global, &body, |node| {
                for approval in node.get("approvals").and_then(Node::elements).unwrap_or_default() {
                    say(&line(approval));
                }
                if let Some(cursor) = field(node, "next_cursor") {
                    complain(&text::one_line(&format!("more: --cursor {cursor}")));
                }
            })
        }
        ApprovalsCommand::Show { id } => {
            let body = client.get(&path(&id, "")?, &[]).await?;
            print(global, &body, |node| say(&in_full(node)))
        }
        ApprovalsCommand::Approve { id, reason, digest, yes } => {
            decide(global, &client, &id, Decision { word: "approve", reason, digest, ask: !yes })
                .await
        }
        ApprovalsCommand::Reject { id, reason, digest } => {
            decide(global, &client, &id, Decision { word: "reject", reason, digest, ask: false })
                .await
        }
        ApprovalsCommand::Cancel { id, reason } => {
            let body = client.post(&path(&id, "/cancel")?, &json!({ "reason": reason })).await?;
            print(global, &body, |node| say(&line(node)))
        }
        ApprovalsCommand::Settle { id, done, not_done: _, reason } => {
            let settlement = json!({ "done": done, "reason": reason });
            let body = client.post(&path(&id, "/settle")?, &settlement).await?;
            print(global, &body, |node| say(&line(node)))
        }
        ApprovalsCommand::Watch => watch::run(global, &client).await,
    }
}

struct Decision {
    word: &'static str,
    reason: String,
    digest: Option<String>,
    ask: bool,
}

async fn decide(
    global: &Global,
    client: &Client,
    id: &str,
    decision: Decision,
) -> Result<(), Failure> {
    let shown = client.get(&path(id, "")?, &[]).await?;
    let node = read(&shown)?;
    let digest = field(&node, "digest").ok_or_else(client::not_a_broker)?;
    // With --json, stdout holds the outcome alone.
    let show = if global.json { complain } else { say };
    show(&describe(&node));
    if decision.digest.as_ref().is_some_and(|asked| *asked != digest) {
        return Err(Failure::failed("--digest: the call has another digest; nothing was sent"));
    }
    if decision.ask && std::io::stdin().is_terminal() && !confirmed(decision.word) {
        return Err(Failure::failed("nothing was sent"));
    }
    let body = json!({ "decision": decision.word, "reason": decision.reason, "digest": digest });
    let answer = client.post(&path(id, "/decision")?, &body).await?;
    print(global, &answer, |node| say(&line(node)))
}

fn confirmed(word: &str) -> bool {
    complain(&format!("{word} this call? [y/N]"));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).is_ok()
        && matches!(answer.trim(), "y" | "Y" | "yes")
}

impl ListArgs {
    fn query(&self) -> Vec<(&'static str, String)> {
        [
            ("state", self.state.clone()),
            ("upstream", self.upstream.clone()),
            ("tool", self.tool.clone()),
            ("agent", self.agent.clone()),
            ("limit", self.limit.map(|n| n.to_string())),
            ("cursor", self.cursor.clone()),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }
}

/// The path of an approval in the API. Only an id becomes part of an address.
fn path(id: &str, verb: &str) -> Result<String, Failure> {
    let id = ApprovalId::parse(id).ok_or_else(|| {
        Failure::misused(format!(
            "{}: not an approval's id; they look like apr_ and 32 hex digits",
            text::one_line(id)
        ))
    })?;
    Ok(format!("/api/v1/approvals/{id}{verb}"))
}

fn read(body: &str) -> Result<Node<'_>, Failure> {
    json::parse_own(body).map_err(|_| client::not_a_broker())
}

fn print(global: &Global, body: &str, as_text: impl FnOnce(&Node<'_>)) -> Result<(), Failure> {
    let node = read(body)?;
    if global.json {
        say(body.trim_end());
    } else {
        as_text(&node);
    }
    Ok(())
}

/// A member's text, if it is a string.
fn field(node: &Node<'_>, key: &str) -> Option<String> {
    node.get(key)?.as_str().map(str::to_owned)
}

/// An approval on one line.
fn line(node: &Node<'_>) -> String {
    let of = |key: &str| field(node, key).unwrap_or_default();
    let agent = node.get("agent").and_then(|a| field(a, "name")).unwrap_or_default();
    let decided: Vec<String> = node
        .get("decisions")
        .and_then(Node::elements)
        .unwrap_or_default()
        .iter()
        .filter_map(|d| Some(format!("{} by {}", field(d, "decision")?, field(d, "reviewer")?)))
        .collect();
    let decided =
        if decided.is_empty() { String::new() } else { format!("  ({})", decided.join(", ")) };
    text::one_line(&format!(
        "{}  {:<13}  {}  {} -> {}/{}{decided}",
        of("id"),
        of("state"),
        of("created_at"),
        agent,
        of("upstream"),
        title(node)
    ))
}

/// The title of a call: the tool's name, anything else with its method.
fn title(node: &Node<'_>) -> String {
    let tool = field(node, "tool").unwrap_or_default();
    match field(node, "method") {
        Some(method) if method != Method::CallTool.as_str() => format!("{method} {tool}"),
        _ => tool,
    }
}

/// All of an approval, with a warning where its letters pass for others.
fn in_full(node: &Node<'_>) -> String {
    [text::pretty(node)].into_iter().chain(warning(node)).collect::<Vec<_>>().join("\n")
}

fn warning(node: &Node<'_>) -> Option<String> {
    mixed_script_in(node).map(|words| format!("look closely: {}", text::one_line(&words)))
}

/// An approval for somebody who is about to decide.
fn describe(node: &Node<'_>) -> String {
    let of = |key: &str| field(node, key).unwrap_or_default();
    let agent = node.get("agent").and_then(|a| field(a, "name")).unwrap_or_default();
    let arguments = node.get("arguments").map(text::pretty).unwrap_or_default();
    [
        format!("approval:  {}  {}", of("id"), of("state")),
        format!("agent:     {agent}"),
        format!("tool:      {}/{}", of("upstream"), title(node)),
        format!("rule:      {}  {}", of("rule"), of("reason")),
        format!("expires:   {}", of("expires_at")),
        format!("digest:    {}", of("digest")),
    ]
    .iter()
    .map(|line| text::one_line(line))
    .chain([format!("arguments: {arguments}")])
    .chain(warning(node))
    .collect::<Vec<_>>()
    .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::hostile;

    const APPROVAL: &str = "{\"id\":\"apr_1\",\"state\":\"pending\",\"upstream\":\"images\",\
        \"tool\":\"delete\u{1b}[2J\",\"arguments\":{\"n\":1.00,\"t\":\"\u{202e}x\"},\
        \"agent\":{\"name\":\"ci\"},\"digest\":\"sha256:00\",\"decisions\":\
        [{\"reviewer\":\"ana\",\"decision\":\"approve\"}]}";

    #[test]
    fn only_ids_become_part_of_an_address() {
        assert!(path("apr_0193aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "/cancel").is_ok());
        for wrong in ["", "apr_", "../events", "apr_0193aaaaaaaaaaaaaaaaaaaaaaaaaaaa/x"] {
            assert_eq!(path(wrong, "").unwrap_err().code, 2, "{wrong}");
        }
    }

    #[test]
    fn a_decider_sees_exact_arguments_and_no_terminal_control() {
        // JSON as servers write it escapes controls; this one does not, and is still harmless.
        let text = APPROVAL.replace('\u{1b}', "\\u001b");
        let node = json::parse(&text).unwrap();

        let shown = describe(&node);

        assert!(shown.contains("images/delete\\u{1b}[2J"), "{shown}");
        assert!(shown.contains("\"n\": 1.00") && shown.contains("\"\\u{202e}x\""), "{shown}");
        assert!(line(&node).ends_with("(approve by ana)"));
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'));
    }

    #[test]
    fn no_hostile_string_controls_the_terminal_and_look_alikes_are_named() {
        for entry in hostile::corpus() {
            let value = json::quote(&entry.text);
            let text = format!(
                "{{\"id\":\"apr_1\",\"state\":\"pending\",\"upstream\":\"images\",\"tool\":{value},\
                 \"arguments\":{{{value}:{}}},\"meta\":{{\"reason\":{value}}},\"reason\":{value},\
                 \"agent\":{{\"name\":{value},\"client\":{value}}},\"decisions\":\
                 [{{\"reviewer\":\"ana\",\"decision\":\"reject\",\"reason\":{value}}}]}}",
                entry.json
            );
            let list = format!("{{\"approvals\":[{text}]}}");
            assert!(read(&list).is_ok(), "{}", entry.name);
            let node = read(&text).unwrap();

            for shown in [describe(&node), in_full(&node), line(&node)] {
                let left = hostile::unseen(&shown);
                assert!(left.is_empty(), "{}: {left:?}", entry.name);
            }
            let warned = in_full(&node).contains("look closely: ");
            assert_eq!(warned, entry.alike, "{}", entry.name);
            assert_eq!(describe(&node).contains("look closely: "), entry.alike, "{}", entry.name);
        }
    }
}
