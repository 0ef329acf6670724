//! `placet policy explain`: which rule decides a call, be it of a tool, a prompt or a resource, and
//! why. Nothing is called or counted; what is used of its limits is read from the database, where there
//! is one.

use clap::Args;
use serde_json::json;

use crate::config::{Agent, Config, value};
use crate::domain::assessment::{Assessment, Source};
use crate::domain::call::{Method, ToolCall};
use crate::domain::json;
use crate::domain::policy::cases::call_of;
use crate::domain::policy::{Action, Denial, Rule, Verdict};
use crate::domain::risk::{RiskClass, Severity, in_words};
use crate::domain::time;
use crate::upstream::Catalog;

use super::used::{UsedOf, used};
use super::{
    Failure, Global, PolicyCommand, convert, draft, load, named, policy_test, replay, say, text,
};

/// `policy explain`
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// The upstream
    #[arg(long, value_name = "NAME")]
    pub upstream: String,
    /// The tool
    #[arg(long, value_name = "NAME", required_unless_present_any = ["prompt", "resource"])]
    pub tool: Option<String>,
    /// A prompt instead of a tool
    #[arg(long, value_name = "NAME", conflicts_with = "tool")]
    pub prompt: Option<String>,
    /// A resource instead of a tool
    #[arg(long, value_name = "URI", conflicts_with_all = ["tool", "prompt", "args"])]
    pub resource: Option<String>,
    /// The arguments of the call or prompt
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub args: String,
    /// The agent [default: the first that may use the upstream]
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// Fetch the upstream's list of tools, by which the class of the tool's calls is known
    #[arg(long, conflicts_with_all = ["prompt", "resource"])]
    pub connect: bool,
}

/// Runs one of the policy commands.
///
/// # Errors
/// The configuration has errors, an argument names nothing or is not JSON, or the command is not
/// available; exit code 2.
pub(crate) async fn run(global: &Global, command: PolicyCommand) -> Result<(), Failure> {
    match command {
        PolicyCommand::Explain(args) => {
            let config = load(global)?;
            let catalog = if args.connect {
                let upstream = named::upstream(&config, "--upstream ", &args.upstream)?;
                Some(named::tools_of(&config, upstream).await?)
            } else {
                None
            };
            let mut explained = explain(&config, &args, catalog.as_deref())?;
            if let (Some(rule), Some(call)) = (&explained.rule, &explained.call) {
                explained.used = used(&config, &explained.agent, call, rule).await;
            }
            say(&if global.json { explained.as_json() } else { explained.as_text() });
            Ok(())
        }
        PolicyCommand::Draft(args) => draft::run(global, &args).await,
        PolicyCommand::Convert(args) => convert::run(global, &args),
        PolicyCommand::Test(args) => policy_test::run(global, &args),
        PolicyCommand::Replay(args) => replay::run(global, &args).await,
    }
}

/// What happens to a call, and why.
#[derive(Debug)]
struct Explained {
    agent: String,
    verdict: &'static str,
    rule: Option<Rule>,
    /// What denies the call.
    denial: Option<Denial>,
    why: String,
    /// What was looked at, in order, for a tool.
    steps: Vec<String>,
    eligible: Vec<String>,
    timeout: std::time::Duration,
    notify: Vec<String>,
    /// Where something is known of it.
    assessed: Assessment,
    call: Option<ToolCall>,
    /// What is used of the rule's limits.
    used: Vec<UsedOf>,
}

/// Explains by the configuration, and by the upstream's list of tools where that was fetched.
fn explain(
    config: &Config,
    args: &ExplainArgs,
    catalog: Option<&Catalog>,
) -> Result<Explained, Failure> {
    let upstream = named::upstream(config, "--upstream ", &args.upstream)?;
    let may_use = |a: &Agent| named::may_use(a, upstream);
    let agent = named::agent(config, args.agent.as_deref(), upstream)?.ok_or_else(|| {
        let names: Vec<&str> = config.agents.iter().map(|a| a.name.as_str()).collect();
        let why = format!("no agent may use upstream {}", upstream.name);
        Failure::misused(format!("{why}; name one with --agent; known: {}", names.join(", ")))
    })?;
    let arguments = json::parse(&args.args)
        .map_err(|error| Failure::misused(format!("--args: not JSON: {error}")))?;
    if !arguments.is_object() {
        return Err(Failure::misused(format!(
            "--args: expected an object, as in '{{\"id\": 1}}', found {}",
            arguments.kind()
        )));
    }
    let mut explained = Explained {
        agent: agent.name.clone(),
        verdict: "deny",
        rule: None,
        denial: None,
        why: String::new(),
        steps: Vec::new(),
        eligible: Vec::new(),
        timeout: config.approvals.timeout,
        notify: Vec::new(),
        assessed: Assessment::default(),
        call: None,
        used: Vec::new(),
    };
    if !may_use(agent) {
        explained.verdict = "unreachable";
        explained.why = format!("agent {} may not use this upstream", agent.name);
        return Ok(explained);
    }
    let mut known = None;
    if let (Some(catalog), Some(tool)) = (catalog, &args.tool) {
        let Some(listed) = catalog.find(tool) else {
            let near = value::suggestion(tool, catalog.tools.iter().map(|t| t.name.as_str()));
            explained.verdict = "unknown";
            explained.why = format!("the upstream lists no tool {tool}{near}");
            return Ok(explained);
        };
        known = Some(&listed.risk);
        explained.assessed = Assessment::of_tool(&listed.risk);
    }
    let class = known.map(|tool| tool.class);
    let Some(policy) = &upstream.policy else {
        "the upstream has no policy: everything is denied".clone_into(&mut explained.why);
        return Ok(explained);
    };
    let (method, name) = match (&args.tool, &args.prompt, &args.resource) {
        (_, Some(prompt), _) => (Method::GetPrompt, prompt.as_str()),
        (_, _, Some(uri)) => (Method::ReadResource, uri.as_str()),
        (tool, None, None) => (Method::CallTool, tool.as_deref().unwrap_or_default()),
    };
    let call = call_of(method, &upstream.name, name, arguments.raw)
        .map_err(|error| Failure::misused(format!("--args: {error}")))?;
    let verdict = policy
        .judge(&agent.name, &call, class)
        .map_err(|error| Failure::misused(format!("--args: not JSON: {error}")))?;
    explained.steps = policy.explain(&agent.name, &call, class);
    match verdict {
        Verdict::Ungoverned => {
            explained.verdict = "allow";
            explained.why = format!("the policy has no block for {}s: they pass", method.noun());
        }
        Verdict::Hidden => {
            explained.verdict = "hidden";
            explained.why =
                format!("the {} is hidden: it is answered like an unknown one", method.noun());
        }
        Verdict::Ruled { action, rule, check } => {
            explained.verdict = action.as_str();
            explained.why = why(action, rule);
            if let Some(check) = check {
                explained.why = format!(
                    "{}; its {} at {} denies the call",
                    explained.why,
                    check.kind.as_str(),
                    check.pointer
                );
            }
            explained.denial = (action == Action::Deny).then(|| rule.denial(check));
            explained.assessed = Assessment::of(rule, known);
            if action == Action::RequireApproval {
                explained.eligible = config.reviewers_of(rule, agent).eligible;
                explained.timeout = rule.approval.timeout.unwrap_or(config.approvals.timeout);
                explained.notify =
                    rule.approval.notify.clone().unwrap_or_else(|| {
                        config.notifiers.iter().map(|n| n.name.clone()).collect()
                    });
            }
            explained.rule = Some(rule.clone());
        }
    }
    explained.call = Some(call);
    Ok(explained)
}

fn why(action: Action, rule: &Rule) -> String {
    let place = match rule.counted_under() {
        "/default" => "no exact entry and no match fits: the default decides",
        "/resources/default" | "/prompts/default" => "no rule fits: the block's default decides",
        p if p.starts_with("/match/") => {
            "no exact entry for the tool: the first fitting match decides"
        }
        p if p.starts_with("/resources/") => {
            "it is the URI's own entry, or the strictest pattern that fits a spelling of it"
        }
        p if p.starts_with("/prompts/") => {
            "it is the prompt's own entry, or the strictest pattern that fits"
        }
        _ => "the exact entry for the tool decides",
    };
    match (rule.action, action) {
        (Action::RequireApproval, Action::Allow) => {
            format!("{place}; its approval.when does not match these arguments, so it is allowed")
        }
        (Action::RequireApproval, Action::RequireApproval) if !rule.approval.when.is_empty() => {
            format!("{place}; its approval.when matches these arguments")
        }
        _ => place.to_owned(),
    }
}

impl Explained {
    fn quorum(&self) -> u32 {
        self.rule.as_ref().and_then(|r| r.approval.quorum).unwrap_or(1)
    }

    /// JSON Pointer of what decides.
    fn decided_by(&self) -> Option<&str> {
        let denied = self.denial.as_ref().map(|denial| denial.rule.as_str());
        denied.or_else(|| self.rule.as_ref().map(|rule| rule.pointer.as_str()))
    }

    /// What the agent and the reviewers are told.
    fn reason(&self) -> Option<&str> {
        match &self.denial {
            Some(denial) => denial.reason.as_deref(),
            None => self.rule.as_ref().and_then(|rule| rule.reason.as_deref()),
        }
    }

    fn as_json(&self) -> String {
        let approval = (self.verdict == "require_approval").then(|| {
            json!({
                "eligible": self.eligible, "quorum": self.quorum(),
                "timeout_seconds": self.timeout.as_secs(), "notify": self.notify,
            })
        });
        json!({
            "verdict": self.verdict,
            "rule": self.decided_by(),
            "reason": self.reason(),
            "why": self.why,
            "risk": self.assessed.risk.map(RiskClass::as_str),
            "severity": self.assessed.severity.map(Severity::as_str),
            "risk_source": self.assessed.source.map(Source::as_str),
            "risk_why": self.assessed.why,
            "steps": self.steps,
            "limits": self.used.iter().map(|u| {
                json!({ "rule": u.limit, "used": u.used, "max": u.max })
            }).collect::<Vec<_>>(),
            "agent": self.agent,
            "approval": approval,
        })
        .to_string()
    }

    fn as_text(&self) -> String {
        let mut lines = vec![format!("verdict:  {}", self.verdict)];
        if let Some(rule) = self.decided_by() {
            lines.push(format!("rule:     {rule}"));
        }
        lines.push(format!("why:      {}", self.why));
        lines.push(format!("agent:    {}", self.agent));
        if let Some(words) = in_words(self.assessed.risk, self.assessed.severity) {
            let source = self.assessed.source.map_or("", Source::as_str);
            let why = self.assessed.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
            lines.push(format!("risk:     {words} ({source}{why})"));
        }
        if let Some(reason) = self.reason() {
            lines.push(format!("reason:   {reason}"));
        }
        if let Some(limit) = self.rule.as_ref().and_then(|rule| rule.rate_limit) {
            let per = if limit.per_agent { "agent" } else { "session" };
            let window = time::in_words(limit.window);
            lines.push(format!("limit:    {} calls in {window} per {per}", limit.max));
        }
        if self.verdict == "require_approval" {
            lines.push(format!(
                "eligible: {} ({} must approve within {})",
                self.eligible.join(", "),
                self.quorum(),
                time::in_words(self.timeout)
            ));
            lines.push(format!("notify:   {}", self.notify.join(", ")));
        }
        lines.extend(self.used.iter().map(|used| used.words.clone()));
        if !self.steps.is_empty() {
            lines.push("steps:".to_owned());
            lines.extend(self.steps.iter().map(|step| format!("  {step}")));
        }
        lines.iter().map(|line| text::one_line(line)).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{config, rule};

    #[test]
    fn a_gated_rule_whose_condition_does_not_fit_explains_that_it_allows() {
        assert!(why(Action::Allow, &rule("/tools/x")).contains("does not match"));
        assert!(why(Action::RequireApproval, &rule("/default")).contains("default decides"));
    }

    #[test]
    fn wrong_questions_are_misuse_and_name_what_is_known() {
        let config = config("[[upstreams]]\nname = \"images\"\nurl = \"http://a/\"\n");
        let ask = |upstream: &str, args: &str, agent: Option<&str>| {
            let args = ExplainArgs {
                upstream: upstream.into(),
                tool: Some("t".into()),
                prompt: None,
                resource: None,
                args: args.into(),
                agent: agent.map(Into::into),
                connect: false,
            };
            explain(&config, &args, None)
        };

        assert!(ask("image", "{}", None).unwrap_err().message.contains("known: images"));
        assert!(ask("images", "[", None).unwrap_err().message.contains("not JSON"));
        assert!(ask("images", "[]", None).unwrap_err().message.contains("expected an object"));
        assert!(ask("images", "{}", Some("x")).unwrap_err().message.contains("known: local"));
        assert_eq!(ask("images", "{}", None).unwrap().verdict, "deny");
    }

    #[test]
    fn what_was_looked_at_is_told_step_by_step() {
        let config = config(
            "[[upstreams]]\nname = \"images\"\nurl = \"http://a/\"\n\
             policy = { version = \"1\", tools = { t = { action = \"deny\", risk = \"write\" } } }\n",
        );
        let args = ExplainArgs {
            upstream: "images".into(),
            tool: Some("t".into()),
            prompt: None,
            resource: None,
            args: "{}".into(),
            agent: None,
            connect: false,
        };

        let text = explain(&config, &args, None).unwrap().as_text();

        for step in
            ["  hide: nothing fits", "  tools: /tools/t", "  risk: write", "  verdict: deny"]
        {
            assert!(text.contains(step), "{step:?} is not in {text}");
        }
    }

    #[test]
    fn resources_and_prompts_are_explained_by_their_own_blocks() {
        let config = config(
            "[[upstreams]]\nname = \"images\"\nurl = \"http://a/\"\n\
             policy = { version = \"1\", resources = { hide = [\"file:///s/*\"] } }\n",
        );
        let ask = |prompt: Option<&str>, resource: Option<&str>| {
            let args = ExplainArgs {
                upstream: "images".into(),
                tool: None,
                prompt: prompt.map(Into::into),
                resource: resource.map(Into::into),
                args: "{}".into(),
                agent: None,
                connect: false,
            };
            explain(&config, &args, None).unwrap()
        };

        assert_eq!(ask(None, Some("file:///x/../s/a")).verdict, "hidden");
        let other = ask(None, Some("file:///x"));
        assert_eq!(
            (other.verdict, other.rule.unwrap().pointer.as_str()),
            ("allow", "/resources/default")
        );
        assert!(ask(Some("p"), None).why.contains("no block for prompts"));
    }
}
