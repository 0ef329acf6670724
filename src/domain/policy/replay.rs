//! What a candidate would make of recorded calls, against what became of them. Nothing is guessed: where the
//! verdict depends on what was not recorded, that is what is counted.

use std::collections::HashMap;

use super::{Action, CallFacts, Policy, Rule, Verdict};
use crate::domain::call::{Method, uri_arguments};
use crate::domain::json::{self, JsonError};
use crate::domain::risk::RiskClass;

/// Most pairs of agent and tool that are told apart; calls of further ones are counted together. Agents name
/// resources as they like, so that nothing else bounds them.
pub const MAX_ROWS: usize = 10_000;

/// Arguments that were not recorded.
const NONE: &str = "{}";

/// What became of a recorded call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It was let through.
    Allowed,
    /// It was refused, or hidden.
    Denied,
    /// It hit a limit.
    Limited,
    /// People were asked.
    Asked,
}

/// What the candidate makes of a recorded call. Its limits are not counted.
#[derive(Debug, Clone, Copy)]
pub enum Judged<'p> {
    /// It passes, within the limits of the rule, where it has some.
    Allow {
        /// Whether it has.
        limited: bool,
    },
    /// It is denied or hidden.
    Deny,
    /// People are asked by this rule.
    Ask(&'p Rule),
    /// It depends on arguments that were not recorded.
    OnArguments,
    /// It depends on the class of the tool's calls, which is not known.
    OnRisk,
}

impl Judged<'_> {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Allow { limited: one }, Self::Allow { limited: two }) => one == two,
            (Self::Ask(one), Self::Ask(two)) => one.pointer == two.pointer,
            (one, two) => std::mem::discriminant(one) == std::mem::discriminant(two),
        }
    }
}

impl<'p> From<Verdict<'p>> for Judged<'p> {
    fn from(verdict: Verdict<'p>) -> Self {
        match verdict {
            Verdict::Ungoverned => Self::Allow { limited: false },
            Verdict::Hidden | Verdict::Ruled { action: Action::Deny, .. } => Self::Deny,
            Verdict::Ruled { action: Action::Allow, rule, .. } => {
                Self::Allow { limited: rule.rate_limit.is_some() || !rule.limits.is_empty() }
            }
            Verdict::Ruled { action: Action::RequireApproval, rule, .. } => Self::Ask(rule),
        }
    }
}

/// By whom a call was made, and where.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'c> {
    /// Name of the agent.
    pub agent: &'c str,
    /// Name of the upstream.
    pub upstream: &'c str,
    /// The class of the tool's calls; none where it is not known.
    pub risk: Option<RiskClass>,
}

impl Policy {
    /// Judges a call whose `params` were recorded.
    ///
    /// # Errors
    /// [`JsonError`], where they are not JSON.
    pub fn judge_recorded(
        &self,
        caller: Caller<'_>,
        method: Method,
        params: &str,
    ) -> Result<Judged<'_>, JsonError> {
        let node = json::parse(params)?;
        let name = node.get(method.name_key()).and_then(|n| n.as_str()).unwrap_or_default();
        let uri = (method == Method::ReadResource).then(|| uri_arguments(name));
        let text = uri.as_deref().unwrap_or(NONE);
        let without = json::parse(text)?;
        let given = node.get("arguments").filter(|_| method != Method::ReadResource);
        let arguments = given.unwrap_or(&without);
        Ok(self.by_class(method, caller.risk, |risk| {
            let Caller { agent, upstream, .. } = caller;
            let facts = CallFacts { agent, upstream, tool: name, arguments, risk };
            self.evaluate(method, &facts).into()
        }))
    }

    /// Judges a call of which the arguments were not recorded. `name` is that of records, which leave parts
    /// of a URI out.
    pub fn judge_unseen(&self, caller: Caller<'_>, method: Method, name: &str) -> Judged<'_> {
        let Ok(arguments) = json::parse(NONE) else { return Judged::OnArguments };
        self.by_class(method, caller.risk, |risk| {
            let Caller { agent, upstream, .. } = caller;
            let facts = CallFacts { agent, upstream, tool: name, arguments: &arguments, risk };
            if self.needs_arguments(method, &facts) {
                Judged::OnArguments
            } else {
                self.evaluate(method, &facts).into()
            }
        })
    }

    /// Judges a tool's call once, or for each class where that makes a difference and is not known.
    fn by_class<'p>(
        &self,
        method: Method,
        risk: Option<RiskClass>,
        judge: impl Fn(Option<RiskClass>) -> Judged<'p>,
    ) -> Judged<'p> {
        if method != Method::CallTool || risk.is_some() || !self.looks_at_risk() {
            return judge(risk);
        }
        let mut each = RiskClass::ALL.iter().map(|class| judge(Some(*class)));
        let Some(first) = each.next() else { return judge(None) };
        if each.all(|other| first.is_same(&other)) { first } else { Judged::OnRisk }
    }

    /// Whether the verdict may differ by what records leave out.
    fn needs_arguments(&self, method: Method, facts: &CallFacts<'_, '_>) -> bool {
        if method == Method::CallTool {
            let shared = || self.all_tools.iter().flat_map(|check| &check.conditions);
            let rule = self.rule_for(facts.agent, facts.tool, facts.risk);
            return rule.is_some_and(|rule| {
                rule.action != Action::Deny
                    && rule.conditions().chain(shared()).any(|c| c.path.in_arguments().is_some())
            });
        }
        let Some(block) = self.block(method) else { return false };
        match method {
            Method::ReadResource => !block.rules.is_empty() || !block.hide.is_empty(),
            _ => block.rules.iter().any(|(_, rule)| {
                rule.conditions().any(|condition| condition.path.in_arguments().is_some())
            }),
        }
    }
}

/// How many calls there were, and what the candidate makes of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub calls: u64,
    /// They pass, and were refused or asked about.
    pub newly_allowed: u64,
    /// People are asked, and were not.
    pub newly_asked: u64,
    /// They are refused, and passed or were asked about.
    pub newly_denied: u64,
    /// The same becomes of them.
    pub unchanged: u64,
    /// It depends on arguments that were not recorded.
    pub on_arguments: u64,
    /// It depends on the tool's class, which is not known.
    pub on_risk: u64,
    /// People were asked.
    pub asked_then: u64,
    /// People are asked for certain.
    pub asked_now: u64,
}

impl Counts {
    /// How many change for certain.
    pub const fn changed(&self) -> u64 {
        self.newly_allowed + self.newly_asked + self.newly_denied
    }

    fn add(&mut self, then: Then, judged: &Judged<'_>, count: u64) {
        self.calls += count;
        self.asked_then += if then == Then::Asked { count } else { 0 };
        let becomes = match (judged, then) {
            (Judged::OnArguments, _) => &mut self.on_arguments,
            (Judged::OnRisk, _) => &mut self.on_risk,
            (Judged::Ask(_), _) => {
                self.asked_now += count;
                if then == Then::Asked { &mut self.unchanged } else { &mut self.newly_asked }
            }
            // What hit a limit may hit one again.
            (Judged::Allow { .. }, Then::Allowed)
            | (Judged::Allow { limited: true }, Then::Limited)
            | (Judged::Deny, Then::Denied | Then::Limited) => &mut self.unchanged,
            (Judged::Allow { .. }, _) => &mut self.newly_allowed,
            (Judged::Deny, _) => &mut self.newly_denied,
        };
        *becomes += count;
    }
}

/// Which calls are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Name of the agent.
    pub agent: String,
    /// Of what kind the calls are.
    pub method: &'static str,
    /// What is called, as records show it.
    pub tool: String,
}

/// The sum of a replay.
///
/// Bounded by [`MAX_ROWS`]; it lives as long as one command.
#[derive(Debug, Default)]
pub struct Replay {
    rows: HashMap<Key, Counts>,
    /// Calls of agents and tools beyond [`MAX_ROWS`].
    pub others: Counts,
    /// Of all calls.
    pub all: Counts,
    /// How often people are asked about an agent's calls by a rule, by agent and the rule's JSON Pointer.
    questions: HashMap<(String, String), u64>,
}

impl Replay {
    /// Adds calls of one kind.
    pub fn add(&mut self, key: Key, then: Then, judged: &Judged<'_>, count: u64) {
        self.all.add(then, judged, count);
        if let Judged::Ask(rule) = judged {
            let pair = (key.agent.clone(), rule.pointer.clone());
            if self.questions.len() < MAX_ROWS || self.questions.contains_key(&pair) {
                *self.questions.entry(pair).or_default() += count;
            }
        }
        let row = if self.rows.len() < MAX_ROWS || self.rows.contains_key(&key) {
            self.rows.entry(key).or_default()
        } else {
            &mut self.others
        };
        row.add(then, judged, count);
    }

    /// Each agent's calls of each tool, where most changes first.
    pub fn rows(&self) -> Vec<(&Key, &Counts)> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|(key, counts)| {
            let rank = (counts.changed(), counts.on_arguments + counts.on_risk, counts.calls);
            (std::cmp::Reverse(rank), *key)
        });
        rows
    }

    /// How often people are asked about each agent's calls by each rule.
    pub fn questions(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.questions.iter().map(|((agent, rule), n)| (agent.as_str(), rule.as_str(), *n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"{"version":"1","default":"deny","hide":["gone"],
      "tools":{"look":{"action":"allow"},"pay":{"action":"require_approval"},
        "some":{"action":"require_approval","approval":{"when":[
          {"path":"args.sum","op":"gt","value":5}]}},
        "mine":{"action":"require_approval","approval":{"when":[
          {"path":"agent.name","op":"eq","value":"ci"}]}},
        "few":{"action":"allow","rate_limit":{"max":1,"window":60}}},
      "match":[{"risk":["destructive"],"action":"require_approval"}],
      "resources":{"rules":{"file:///a":{"action":"deny"}}}}"#;

    fn policy() -> Policy {
        Policy::read(POLICY).unwrap_or_else(|problems| panic!("{problems:?}")).0
    }

    fn caller(risk: Option<RiskClass>) -> Caller<'static> {
        Caller { agent: "ci", upstream: "shop", risk }
    }

    fn word(judged: Judged<'_>) -> String {
        match judged {
            Judged::Allow { limited: true } => "allow, limited".to_owned(),
            Judged::Allow { limited: false } => "allow".to_owned(),
            Judged::Deny => "deny".to_owned(),
            Judged::Ask(rule) => format!("ask by {}", rule.pointer),
            Judged::OnArguments => "on arguments".to_owned(),
            Judged::OnRisk => "on risk".to_owned(),
        }
    }

    #[test]
    fn a_call_without_its_arguments_is_judged_only_where_no_rule_looks_at_them() {
        let policy = policy();
        let unseen = |name| word(policy.judge_unseen(caller(None), Method::CallTool, name));

        assert_eq!(unseen("look"), "allow");
        assert_eq!(unseen("pay"), "ask by /tools/pay");
        assert_eq!(unseen("some"), "on arguments");
        assert_eq!(unseen("mine"), "ask by /tools/mine");
        assert_eq!(unseen("few"), "allow, limited");
        assert_eq!(unseen("gone"), "deny");
        assert_eq!(unseen("other"), "on risk");
        let read = caller(Some(RiskClass::Read));
        assert_eq!(word(policy.judge_unseen(read, Method::CallTool, "other")), "deny");
        let of = |method, name| word(policy.judge_unseen(caller(None), method, name));
        assert_eq!(of(Method::ReadResource, "file:///b"), "on arguments");
        assert_eq!(of(Method::GetPrompt, "hello"), "allow");
    }

    #[test]
    fn a_call_that_was_asked_about_is_judged_by_its_own_arguments() {
        let policy = policy();
        let asked =
            |method, params| word(policy.judge_recorded(caller(None), method, params).unwrap());

        let some = r#"{"name":"some","arguments":{"sum":6}}"#;
        assert_eq!(asked(Method::CallTool, some), "ask by /tools/some");
        assert_eq!(asked(Method::CallTool, r#"{"name":"some","arguments":{"sum":5}}"#), "allow");
        assert_eq!(asked(Method::CallTool, r#"{"name":"some"}"#), "ask by /tools/some");
        assert_eq!(asked(Method::ReadResource, r#"{"uri":"file:///a"}"#), "deny");
        assert!(policy.judge_recorded(caller(None), Method::CallTool, "{").is_err());
    }

    #[test]
    fn what_changes_is_told_apart_and_comes_first() {
        let mut replay = Replay::default();
        let rule = Rule::new("/tools/pay".to_owned(), Action::RequireApproval);
        let (allow, ask) = (Judged::Allow { limited: false }, Judged::Ask(&rule));
        let key = |tool: &str| Key {
            agent: "ci".to_owned(),
            method: Method::CallTool.as_str(),
            tool: tool.to_owned(),
        };

        replay.add(key("look"), Then::Allowed, &allow, 100);
        replay.add(key("pay"), Then::Asked, &ask, 5);
        replay.add(key("pay"), Then::Denied, &ask, 2);
        replay.add(key("some"), Then::Asked, &allow, 4);
        replay.add(key("some"), Then::Limited, &Judged::Allow { limited: true }, 1);
        replay.add(key("gone"), Then::Allowed, &Judged::Deny, 3);
        replay.add(key("odd"), Then::Allowed, &Judged::OnArguments, 7);

        let rows: Vec<(&str, u64)> =
            replay.rows().iter().map(|(key, n)| (key.tool.as_str(), n.changed())).collect();
        assert_eq!(rows, [("some", 4), ("gone", 3), ("pay", 2), ("odd", 0), ("look", 0)]);
        let all = replay.all;
        assert_eq!((all.calls, all.unchanged, all.on_arguments), (122, 106, 7));
        assert_eq!((all.newly_allowed, all.newly_asked, all.newly_denied), (4, 2, 3));
        assert_eq!((all.asked_then, all.asked_now), (9, 7));
        assert_eq!(replay.questions().collect::<Vec<_>>(), [("ci", "/tools/pay", 7)]);
    }

    #[test]
    fn agents_and_tools_beyond_the_bound_are_counted_together() {
        let mut replay = Replay::default();
        for n in 0..=MAX_ROWS {
            let key = Key { agent: "ci".into(), method: "resources/read", tool: n.to_string() };
            replay.add(key, Then::Allowed, &Judged::Deny, 1);
        }

        assert_eq!(replay.rows().len(), MAX_ROWS);
        assert_eq!((replay.others.newly_denied, replay.all.calls), (1, MAX_ROWS as u64 + 1));
    }
}
