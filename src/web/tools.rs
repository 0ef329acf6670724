//! `/tools`: every tool of every upstream, what the policy in force does with it, and what it says of
//! itself; found by words.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::broker::Broker;
use crate::broker::misfits::MOST_TOLD;
use crate::config::Agent;
use crate::domain::assessment::Assessment;
use crate::domain::json::{self, Node};
use crate::domain::policy::{Policy, Problem};
use crate::domain::risk::{self, RiskClass, Severity};
use crate::domain::visible_text::{mixed_script, visible};
use crate::upstream::{Known, Tool};

use super::Web;
use super::extract::{Page, encode};
use super::view::{Frame, page};

/// Rows per page.
const PER_PAGE: usize = 200;
/// Most of a tool's own words that are shown, characters.
const WORDS_SHOWN: usize = 300;

/// One tool under one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolRow {
    /// The upstream's configured name.
    pub upstream: String,
    /// The tool's name, as its server gives it.
    pub tool: String,
    /// `allow`, `deny`, `require_approval`, or `hide`.
    pub action: &'static str,
    /// JSON Pointer of the rule in its policy.
    pub rule: String,
    /// Agents that can call it under this rule.
    pub agents: Vec<String>,
    /// Its title and description: the server's words.
    pub words: String,
    /// What its annotations claim: the server's word too, and no proof.
    pub claims: Vec<&'static str>,
    /// How much harm its calls could do, and who says so.
    pub assessed: Assessment,
}

impl ToolRow {
    /// As the HTTP API shows it. `evidence` says where risk and severity come from: `rule`, what the
    /// catalogue says, or what in the tool's definition speaks for them; null where nothing is known.
    pub fn to_json(&self) -> String {
        let agents: Vec<_> = self.agents.iter().map(|a| json::quote(a)).collect();
        json::object([
            ("upstream", json::quote(&self.upstream).as_str()),
            ("tool", &json::quote(&self.tool)),
            ("risk", &word_or_null(self.assessed.risk.map(RiskClass::as_str))),
            ("severity", &word_or_null(self.assessed.severity.map(Severity::as_str))),
            ("evidence", &word_or_null(self.evidence().as_deref())),
            ("action", &json::quote(self.action)),
            ("rule", &json::quote(&self.rule)),
            ("agents", &format!("[{}]", agents.join(","))),
        ])
    }

    fn tool_shown(&self) -> String {
        visible(&self.tool)
    }

    fn words_shown(&self) -> String {
        match self.words.char_indices().nth(WORDS_SHOWN) {
            Some((at, _)) => format!("{}…", visible(&self.words[..at])),
            None => visible(&self.words),
        }
    }

    /// A warning where its name or words have letters that pass for others.
    fn flags(&self) -> Vec<String> {
        [("The name", &self.tool), ("What it says", &self.words)]
            .into_iter()
            .filter_map(|(whose, text)| {
                Some(format!("{whose} may mislead. {}", mixed_script(text)?))
            })
            .collect()
    }

    fn claims_shown(&self) -> String {
        self.claims.join(", ")
    }

    fn action_words(&self) -> &'static str {
        action_words(self.action)
    }

    fn risk_words(&self) -> Option<String> {
        risk::in_words(self.assessed.risk, self.assessed.severity)
    }

    /// Who says so: `rule`, the catalogue, or the words in the tool's definition.
    fn evidence(&self) -> Option<String> {
        let source = self.assessed.source?;
        Some(match &self.assessed.why {
            Some(why) => {
                let from = self.assessed.why_from.unwrap_or(source);
                format!("{}: {why}", from.as_str())
            }
            None => source.as_str().to_owned(),
        })
    }

    fn evidence_shown(&self) -> Option<String> {
        self.evidence().as_deref().map(visible)
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
                .map(AsRef::as_ref)
                .filter(|a| a.upstreams.as_ref().is_none_or(|u| u.contains(&upstream.name)))
                .collect();
            for tool in &catalog.tools {
                rows.extend(judge(&upstream.name, tool, policy.as_deref(), &agents));
            }
        }
        rows
    }

    /// The upstreams whose servers the catalogue knows, each with its server.
    fn known_upstreams(&self) -> Vec<(String, Known)> {
        let known = |name: &str| self.upstream(name)?.catalog()?.known.clone();
        let names = self.config().upstreams.iter().map(|u| &u.name);
        names.filter_map(|name| Some((name.clone(), known(name)?))).collect()
    }

    /// Upstreams whose tool list was not fetched yet.
    pub fn unlisted_upstreams(&self) -> Vec<String> {
        let listed = |name: &str| self.upstream(name).is_some_and(|u| u.catalog().is_some());
        let names = self.config().upstreams.iter().map(|u| &u.name);
        names.filter(|name| !listed(name)).cloned().collect()
    }
}

/// Title and description, and what the annotations claim.
fn own_words(raw: &str) -> (String, Vec<&'static str>) {
    let Ok(node) = json::parse(raw) else { return Default::default() };
    let annotations = node.get("annotations");
    let title = node.get("title").or_else(|| annotations?.get("title"));
    let words: Vec<&str> = [title, node.get("description")]
        .into_iter()
        .flatten()
        .filter_map(|n| n.as_str().map(str::trim).filter(|text| !text.is_empty()))
        .collect();
    let hint = |key: &str| annotations.and_then(|a| a.get(key)).and_then(Node::as_bool);
    let claims = [
        ("readOnlyHint", "only reads", "writes"),
        ("destructiveHint", "may destroy", "only adds"),
        ("idempotentHint", "may be repeated", "each time anew"),
        ("openWorldHint", "reaches outside", "stays inside"),
    ];
    let claims = claims
        .into_iter()
        .filter_map(|(key, yes, no)| hint(key).map(|claimed| if claimed { yes } else { no }));
    (words.join(": "), claims.collect())
}

fn judge(upstream: &str, tool: &Tool, policy: Option<&Policy>, agents: &[&Agent]) -> Vec<ToolRow> {
    let (words, claims) = own_words(&tool.raw);
    let own = &tool.risk;
    let tool = tool.name.as_str();
    let row = |action, rule: &str, agents| ToolRow {
        upstream: upstream.to_owned(),
        tool: tool.to_owned(),
        action,
        rule: rule.to_owned(),
        agents,
        words: words.clone(),
        claims: claims.clone(),
        assessed: Assessment::of_tool(own),
    };
    let Some(policy) = policy else { return vec![row("deny", "/default", Vec::new())] };
    if policy.hides(tool) {
        return vec![row("hide", "/hide", Vec::new())];
    }
    let mut rows: Vec<ToolRow> = Vec::new();
    // Without any agent the tool is still listed, judged for one that no rule names.
    let names: Vec<Option<&str>> = if agents.is_empty() {
        vec![None]
    } else {
        agents.iter().map(|a| Some(a.name.as_str())).collect()
    };
    for name in names {
        // Of the tool, whatever its arguments.
        let rule = policy.rule_for(name.unwrap_or_default(), tool, Some(own.class));
        let (action, pointer) =
            rule.map_or(("hide", "/hide"), |rule| (rule.action.as_str(), rule.pointer.as_str()));
        let at = rows.iter().position(|r| r.rule == pointer).unwrap_or_else(|| {
            let row = row(action, pointer, Vec::new());
            let assessed = rule.map(|rule| Assessment::of(rule, Some(own)));
            rows.push(ToolRow {
                assessed: assessed.unwrap_or_else(|| row.assessed.clone()),
                ..row
            });
            rows.len() - 1
        });
        if let (Some(name), "allow" | "require_approval") = (name, action) {
            rows[at].agents.push(name.to_owned());
        }
    }
    rows
}

/// What the API answers for all tools. `misfits` says which rule, pattern or condition of a policy fits
/// nothing that its upstream lists, `known` which servers the catalogue knows.
pub(crate) fn all_to_json(broker: &Broker) -> String {
    let rows: Vec<_> = broker.tool_rows().iter().map(ToolRow::to_json).collect();
    let mut misfits = Vec::new();
    for (upstream, found) in broker.misfits() {
        let upstream = json::quote(&upstream);
        misfits.extend(found.iter().map(|problem| {
            json::object([
                ("upstream", upstream.as_str()),
                ("rule", &json::quote(&problem.place)),
                ("message", &json::quote(&problem.message)),
            ])
        }));
    }
    let list = |all: Vec<String>| format!("[{}]", all.join(","));
    let known = broker.known_upstreams().into_iter().map(|(upstream, known)| {
        json::object([
            ("upstream", json::quote(&upstream).as_str()),
            ("name", &json::quote(known.server.name())),
            ("version", &json::quote(known.server.version)),
            ("package", &json::quote(known.server.package)),
            ("registry", &json::quote(known.server.registry.as_str())),
            ("declares", &json::quote(&known.declares)),
        ])
    });
    let known = list(known.collect());
    json::object([("tools", list(rows).as_str()), ("known", &known), ("misfits", &list(misfits))])
}

/// What of one upstream's policy fits nothing that it lists.
#[derive(Debug)]
struct MisfitsShown {
    upstream: String,
    /// Place and message of each.
    shown: Vec<(String, String)>,
    /// How many more there are.
    more: usize,
}

impl MisfitsShown {
    fn of(upstream: String, found: &[Problem]) -> Self {
        let shown = found.iter().take(MOST_TOLD);
        Self {
            upstream,
            shown: shown.map(|p| (visible(&p.place), visible(&p.message))).collect(),
            more: found.len().saturating_sub(MOST_TOLD),
        }
    }
}

fn word_or_null(word: Option<&str>) -> String {
    word.map_or_else(|| "null".to_owned(), json::quote)
}

#[derive(Debug, Template)]
#[template(path = "tools.html")]
struct ToolsPage {
    frame: Frame,
    rows: Vec<ToolRow>,
    found: usize,
    more: Option<String>,
    unlisted: Vec<String>,
    /// Upstreams with the servers that the catalogue knows them as.
    known: Vec<(String, String)>,
    misfits: Vec<MisfitsShown>,
    actions: Vec<(&'static str, &'static str, bool)>,
    q: String,
    agent: String,
    upstream: String,
}

/// The query that narrows the list; empty fields don't narrow.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Narrow {
    q: String,
    agent: String,
    upstream: String,
    action: String,
    from: usize,
}

impl Narrow {
    /// Whether all words stand somewhere in the row, and the rest fits.
    fn fits(&self, row: &ToolRow) -> bool {
        let text = format!("{} {} {} {}", row.tool, row.words, row.upstream, row.agents.join(" "))
            .to_lowercase();
        self.q.to_lowercase().split_whitespace().all(|word| text.contains(word))
            && (self.upstream.is_empty() || row.upstream == self.upstream)
            && (self.action.is_empty() || row.action == self.action)
            && (self.agent.is_empty() || row.agents.contains(&self.agent))
    }

    fn link(&self, from: usize) -> String {
        let mut link = format!("/tools?from={from}");
        for (name, value) in [
            ("q", &self.q),
            ("agent", &self.agent),
            ("upstream", &self.upstream),
            ("action", &self.action),
        ] {
            if !value.is_empty() {
                link.extend(["&", name, "=", &encode(value)]);
            }
        }
        link
    }
}

/// `GET /tools`: each tool under each rule that applies to it.
pub(crate) async fn show(
    State(web): State<Web>,
    who: Page,
    Query(narrow): Query<Narrow>,
) -> Response {
    let mut rows = web.broker.tool_rows();
    rows.retain(|row| narrow.fits(row));
    let found = rows.len();
    let rows: Vec<_> = rows.into_iter().skip(narrow.from).take(PER_PAGE).collect();
    let until = narrow.from.saturating_add(rows.len());
    let misfits = web.broker.misfits();
    let misfits = misfits.into_iter().map(|(upstream, found)| MisfitsShown::of(upstream, &found));
    let misfits = misfits.filter(|m| narrow.upstream.is_empty() || narrow.upstream == m.upstream);
    let misfits = misfits.collect();
    let known = web.broker.known_upstreams().into_iter();
    let known = known.map(|(upstream, known)| (upstream, visible(&known.in_words())));
    let known =
        known.filter(|(upstream, _)| narrow.upstream.is_empty() || narrow.upstream == *upstream);
    let known = known.collect();
    let actions = ["allow", "require_approval", "deny", "hide"];
    page(
        StatusCode::OK,
        &ToolsPage {
            frame: who.frame("Tools", "tools"),
            more: (until < found && !rows.is_empty()).then(|| narrow.link(until)),
            rows,
            found,
            unlisted: web.broker.unlisted_upstreams(),
            known,
            misfits,
            actions: actions.map(|a| (a, action_words(a), a == narrow.action)).to_vec(),
            q: narrow.q,
            agent: narrow.agent,
            upstream: narrow.upstream,
        },
    )
}

fn action_words(action: &str) -> &'static str {
    match action {
        "allow" => "runs",
        "require_approval" => "asks people",
        "hide" => "hidden",
        _ => "denied",
    }
}
