//! `/tools`: every tool of every upstream, and what the policy in force does with it.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::broker::Broker;
use crate::config::Agent;
use crate::domain::json::{self, Node, Value};
use crate::domain::policy::{Action, CallFacts, Policy, Verdict};
use crate::domain::show::visible;

use super::Web;
use super::extract::Page;
use super::view::{Frame, page};

/// One tool under one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolRow {
    /// The upstream.
    pub upstream: String,
    /// The tool.
    pub tool: String,
    /// `allow`, `deny`, `require_approval`, or `hide`.
    pub action: &'static str,
    /// JSON Pointer of the rule.
    pub rule: String,
    /// Agents that can call it under this rule.
    pub agents: Vec<String>,
}

impl ToolRow {
    /// As the HTTP API shows it. Nothing is classified yet, hence the nulls.
    pub fn to_json(&self) -> String {
        let agents: Vec<_> = self.agents.iter().map(|a| json::quote(a)).collect();
        json::object([
            ("upstream", json::quote(&self.upstream).as_str()),
            ("tool", &json::quote(&self.tool)),
            ("risk", "null"),
            ("severity", "null"),
            ("evidence", "null"),
            ("action", &json::quote(self.action)),
            ("rule", &json::quote(&self.rule)),
            ("agents", &format!("[{}]", agents.join(","))),
        ])
    }

    fn tool_shown(&self) -> String {
        visible(&self.tool)
    }

    fn action_words(&self) -> &'static str {
        match self.action {
            "allow" => "runs",
            "require_approval" => "asks people",
            "hide" => "hidden",
            _ => "denied",
        }
    }
}

impl Broker {
    /// Every tool of every upstream whose list is known, once per rule that judges it for some
    /// agent.
    pub fn tool_rows(&self) -> Vec<ToolRow> {
        let mut rows = Vec::new();
        for upstream in &self.config().upstreams {
            let Some(catalog) = self.upstream(&upstream.name).and_then(|u| u.catalog()) else {
                continue;
            };
            let policy = self.policies().of(&upstream.name);
            let agents: Vec<&Agent> = self
                .config()
                .agents
                .iter()
                .filter(|a| a.upstreams.as_ref().is_none_or(|u| u.contains(&upstream.name)))
                .collect();
            for tool in &catalog.tools {
                rows.extend(judge(&upstream.name, &tool.name, policy.as_deref(), &agents));
            }
        }
        rows
    }

    /// Upstreams whose tool list was not fetched yet.
    pub fn unlisted_upstreams(&self) -> Vec<String> {
        let listed = |name: &str| self.upstream(name).is_some_and(|u| u.catalog().is_some());
        let names = self.config().upstreams.iter().map(|u| &u.name);
        names.filter(|name| !listed(name)).cloned().collect()
    }
}

fn judge(upstream: &str, tool: &str, policy: Option<&Policy>, agents: &[&Agent]) -> Vec<ToolRow> {
    let row = |action, rule: &str, agents| ToolRow {
        upstream: upstream.to_owned(),
        tool: tool.to_owned(),
        action,
        rule: rule.to_owned(),
        agents,
    };
    let Some(policy) = policy else { return vec![row("deny", "/default", Vec::new())] };
    if policy.hides(tool) {
        return vec![row("hide", "/hide", Vec::new())];
    }
    let nothing = Node { raw: "{}", value: Value::Object(Vec::new()) };
    let mut rows: Vec<ToolRow> = Vec::new();
    // Without any agent the tool is still listed, judged for one that no rule names.
    let names: Vec<Option<&str>> = if agents.is_empty() {
        vec![None]
    } else {
        agents.iter().map(|a| Some(a.name.as_str())).collect()
    };
    for name in names {
        let facts =
            CallFacts { agent: name.unwrap_or_default(), upstream, tool, arguments: &nothing };
        let (action, pointer) = match policy.evaluate(&facts) {
            Verdict::Hidden => ("hide", "/hide"),
            Verdict::Ruled { rule, .. } => (word(rule.action), rule.pointer.as_str()),
        };
        let at = rows.iter().position(|r| r.rule == pointer).unwrap_or_else(|| {
            rows.push(row(action, pointer, Vec::new()));
            rows.len() - 1
        });
        if let (Some(name), "allow" | "require_approval") = (name, action) {
            rows[at].agents.push(name.to_owned());
        }
    }
    rows
}

const fn word(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::RequireApproval => "require_approval",
    }
}

#[derive(Debug, Template)]
#[template(path = "tools.html")]
struct ToolsPage {
    frame: Frame,
    rows: Vec<ToolRow>,
    unlisted: Vec<String>,
}

/// `GET /tools`
pub async fn show(State(web): State<Web>, who: Page) -> Response {
    page(
        StatusCode::OK,
        &ToolsPage {
            frame: who.frame("Tools", "tools"),
            rows: web.broker.tool_rows(),
            unlisted: web.broker.unlisted_upstreams(),
        },
    )
}
