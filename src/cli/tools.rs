//! `placet tools`: what an upstream offers, what harm it could do, and which rule decides it.

use clap::Args;
use serde_json::{Value, json};

use crate::config::{Agent, Config, Upstream};
use crate::domain::assessment::{Assessment, Source};
use crate::domain::classify::Classified;
use crate::domain::policy::{Action, Rule};
use crate::domain::risk::{RiskClass, Severity, in_words};
use crate::upstream::{Known, Tool};

use super::{Failure, Global, catalog, load, named, say, text};

/// What `--help` says at its end.
pub(crate) const HELP: &str = "Connects to the upstream, as check --connect does. Calls nothing.\n\n\
                               Examples:\n  placet tools images\n  placet tools images --agent ci \
                               --json";

/// `tools`
#[derive(Debug, Clone, Args)]
pub struct ToolsArgs {
    /// The upstream
    #[arg(value_name = "UPSTREAM")]
    pub upstream: String,
    /// For whom the rule is looked up [default: the first that may use the upstream]
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
}

/// Prints the tools of an upstream.
///
/// # Errors
/// The configuration has errors or an argument names nothing, exit code 2; the upstream can't be
/// reached, exit code 1.
pub(crate) async fn run(global: &Global, args: &ToolsArgs) -> Result<(), Failure> {
    let config = load(global)?;
    let upstream = named::upstream(&config, "", &args.upstream)?;
    let agent = named::agent(&config, args.agent.as_deref(), upstream)?;
    let catalog = named::tools_of(&config, upstream).await?;
    let seen: Vec<Seen<'_>> = catalog.tools.iter().map(|tool| see(upstream, agent, tool)).collect();
    let known = catalog.known.as_ref();
    say(&if global.json {
        as_json(&config, upstream, agent.map(|a| a.name.as_str()), known, &seen)
    } else {
        as_text(upstream, agent.map(|a| a.name.as_str()), known, &seen)
    });
    Ok(())
}

/// A tool as an agent meets it.
#[derive(Debug)]
struct Seen<'t> {
    tool: &'t Tool,
    assessed: Assessment,
    /// What happens to its calls: the word of the rule's action, `hidden` or `unreachable`.
    action: &'static str,
    /// Whether only calls whose arguments fit are asked about.
    conditional: bool,
    rule: Option<String>,
}

fn see<'t>(upstream: &Upstream, agent: Option<&std::sync::Arc<Agent>>, tool: &'t Tool) -> Seen<'t> {
    let mut seen = Seen {
        tool,
        assessed: Assessment::of_tool(&tool.risk),
        action: Action::Deny.as_str(),
        conditional: false,
        rule: None,
    };
    let Some(agent) = agent.filter(|agent| named::may_use(agent, upstream)) else {
        seen.action = "unreachable";
        return seen;
    };
    let Some(policy) = &upstream.policy else { return seen };
    match policy.rule_for(&agent.name, &tool.name, Some(tool.risk.class)) {
        None => {
            seen.action = "hidden";
            seen.rule = policy.hide_pointer(&tool.name);
        }
        Some(rule) => {
            seen.assessed = Assessment::of(rule, Some(&tool.risk));
            seen.action = rule.action.as_str();
            seen.conditional = asks_sometimes(rule);
            seen.rule = Some(rule.pointer.clone());
        }
    }
    seen
}

fn asks_sometimes(rule: &Rule) -> bool {
    rule.may_let_through()
}

fn as_json(
    config: &Config,
    upstream: &Upstream,
    agent: Option<&str>,
    known: Option<&Known>,
    seen: &[Seen<'_>],
) -> String {
    let tools: Vec<Value> = seen
        .iter()
        .map(|seen| {
            let own = &seen.tool.own;
            json!({
                "name": seen.tool.name,
                "risk": seen.assessed.risk.map(RiskClass::as_str),
                "severity": seen.assessed.severity.map(Severity::as_str),
                "source": seen.assessed.source.map(Source::as_str),
                "catalogue": known.and_then(|known| known.server.tool(&seen.tool.name)).map(|tool| {
                    let mut of_tool = catalog::tool_json(tool);
                    of_tool["as_read"] = json!(tool.is_as_read(&seen.tool.fingerprint));
                    of_tool
                }),
                "classifier": {
                    "risk": own.class.as_str(),
                    "severity": own.severity.as_str(),
                    "evidence": own.evidence.iter().map(|e| json!({
                        "place": e.place.as_str(), "quote": e.quote, "risk": e.class.as_str(),
                    })).collect::<Vec<_>>(),
                    "why": own.why(),
                    "flips": own.flips.iter().map(catalog::flip_json).collect::<Vec<_>>(),
                },
                "fingerprint": seen.tool.fingerprint,
                "action": seen.action,
                "conditional": seen.conditional,
                "rule": seen.rule,
            })
        })
        .collect();
    let file = config.file.as_ref().map(|file| file.display().to_string());
    let known = known.map(|known| {
        let server = known.server;
        json!({
            "name": server.name(), "version": server.version, "package": server.package,
            "registry": server.registry.as_str(), "declares": known.declares,
            "declared_version": server.declared_version,
        })
    });
    json!({
        "config": file, "upstream": upstream.name, "agent": agent, "known": known, "tools": tools,
    })
    .to_string()
}

fn as_text(
    upstream: &Upstream,
    agent: Option<&str>,
    known: Option<&Known>,
    seen: &[Seen<'_>],
) -> String {
    let agent = agent.map_or_else(|| "no agent may use it".to_owned(), |a| format!("agent {a}"));
    let count = match seen.len() {
        1 => "1 tool".to_owned(),
        n => format!("{n} tools"),
    };
    let mut lines = vec![format!("{}: {count}, {agent}", upstream.name)];
    lines.extend(known.map(|known| format!("known: {}", known.in_words())));
    if upstream.policy.is_none() {
        lines.push("the upstream has no policy: everything is denied".to_owned());
    }
    for seen in seen {
        let rule = match (&seen.rule, seen.conditional) {
            (Some(rule), true) => format!(" by {rule}, where its approval.when fits"),
            (Some(rule), false) => format!(" by {rule}"),
            (None, _) => String::new(),
        };
        lines.push(format!("{}: {}{rule}", seen.tool.name, seen.action));
        let stated = in_words(seen.assessed.risk, seen.assessed.severity).unwrap_or_default();
        let (used, own) = (&seen.tool.risk, &seen.tool.own);
        if (seen.assessed.risk, seen.assessed.severity) != (Some(used.class), Some(used.severity)) {
            lines.push(format!("    risk: {stated} (the rule says so)"));
        }
        let mut said = |who: &Classified| {
            let words = in_words(Some(who.class), Some(who.severity)).unwrap_or_default();
            let source = Source::of_tool(who).as_str();
            lines.push(format!("    risk: {words} ({source}: {})", who.why()));
        };
        said(used);
        if (used.class, used.severity) != (own.class, own.severity) {
            said(own);
        }
        lines.extend(used.flips.iter().map(|flip| format!("    with {}", catalog::shown(flip))));
    }
    lines.iter().map(|line| text::one_line(line)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;
    use crate::domain::json;

    fn tool(raw: &str) -> Tool {
        let name = json::parse(raw).unwrap().get("name").unwrap().as_str().unwrap().to_owned();
        let risk = Classified::of(raw, false);
        let own = risk.clone();
        Tool { name, raw: raw.into(), fingerprint: String::new(), risk, own }
    }

    fn seen(policy: &str, raw: &str) -> (&'static str, bool, Option<String>, String) {
        let config = config(&format!(
            "[[upstreams]]\nname = \"images\"\nurl = \"http://a/\"\n\
             policy = {{ version = \"1\", {policy} }}\n"
        ));
        let upstream = config.upstream("images").unwrap();
        let agent = named::agent(&config, None, upstream).unwrap();
        let tool = tool(raw);
        let seen = [see(upstream, agent, &tool)];
        let text = as_text(upstream, Some("local"), None, &seen);
        let [seen] = seen;
        (seen.action, seen.conditional, seen.rule, text)
    }

    #[test]
    fn each_tool_is_shown_with_its_class_what_speaks_for_it_and_the_rule_that_decides() {
        let drop = r#"{"name":"drop_table"}"#;

        let (action, _, rule, text) = seen("default = \"deny\"", drop);
        assert_eq!((action, rule.as_deref()), ("deny", Some("/default")));
        assert!(text.contains("drop_table: deny by /default"), "{text}");
        assert!(text.contains("risk: destructive, critical (classifier: name says \"drop\")"));

        let (action, _, rule, _) =
            seen("match = [{ risk = [\"destructive\"], action = \"require_approval\" }]", drop);
        assert_eq!((action, rule.as_deref()), ("require_approval", Some("/match/0")));

        let (action, _, rule, _) = seen("hide = [\"x\", \"drop_*\"]", drop);
        assert_eq!((action, rule.as_deref()), ("hidden", Some("/hide/1")));
    }

    #[test]
    fn what_the_rule_states_is_shown_beside_what_the_definition_says() {
        let (_, _, _, text) = seen(
            "tools = { drop_table = { action = \"allow\", risk = \"write\" } }",
            r#"{"name":"drop_table"}"#,
        );

        assert!(text.contains("risk: write, medium (the rule says so)"), "{text}");
        assert!(text.contains("risk: destructive, critical (classifier:"), "{text}");
    }

    #[test]
    fn a_name_that_would_move_the_cursor_is_shown_as_what_it_is() {
        let (_, _, _, text) = seen("default = \"deny\"", "{\"name\":\"get_\\u001b[2Jx\"}");

        assert!(text.contains("get_\\u{1b}[2Jx: deny"), "{text}");
    }
}
