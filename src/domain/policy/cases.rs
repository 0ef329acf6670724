//! The `tests` of a policy: what its author expects of calls, judged as the policy judges every call.
//!
//! Nothing is counted, so that a limit never decides.

use super::walk::{Walk, at, nearest, nth};
use super::{Action, CallFacts, Policy, Problem, Verdict};
use crate::domain::call::{CallError, Method, ToolCall, uri_arguments};
use crate::domain::json::{self, Node};
use crate::domain::risk::RiskClass;

const KEYS: [&str; 10] =
    ["name", "tool", "prompt", "resource", "args", "agent", "upstream", "risk", "expect", "rule"];

/// What is expected of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It is judged so.
    Action(Action),
    /// What is called is hidden.
    Hide,
}

impl Expected {
    /// All that can be expected.
    pub const ALL: [Self; 4] = [
        Self::Action(Action::Allow),
        Self::Action(Action::Deny),
        Self::Hide,
        Self::Action(Action::RequireApproval),
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Action(action) => action.as_str(),
            Self::Hide => "hide",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|expected| expected.as_str() == text)
    }
}

/// One test.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its JSON Pointer: `/tests/0`.
    pub pointer: String,
    /// What its author calls it.
    pub name: Option<String>,
    /// Name of the agent; empty where none is named.
    agent: String,
    /// The call that is judged.
    pub call: ToolCall,
    risk: Option<RiskClass>,
    /// What is expected.
    pub expect: Expected,
    /// JSON Pointer of what has to decide, where that is said.
    pub rule: Option<String>,
}

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether all is as expected.
    pub passed: bool,
    /// How the call is judged.
    pub was: Expected,
    /// JSON Pointer of what decides; none where the policy says nothing of such calls.
    pub rule: Option<String>,
    /// What was looked at, in order; none for prompts and resources.
    pub steps: Vec<String>,
}

/// A call of this name with these arguments, as an agent would send it. Of a resource the name is its URI,
/// and it has no arguments.
///
/// # Errors
/// [`CallError`], where that is no call.
pub fn call_of(
    method: Method,
    upstream: &str,
    name: &str,
    arguments: &str,
) -> Result<ToolCall, CallError> {
    let params = match method {
        Method::ReadResource => uri_arguments(name),
        Method::CallTool | Method::GetPrompt => {
            json::object([("name", json::quote(name).as_str()), ("arguments", arguments)])
        }
    };
    ToolCall::read_as(method, upstream, &params)
}

/// Reads the list.
pub(super) fn cases(walk: &mut Walk, node: &Node<'_>, place: &str) -> Vec<Case> {
    let what = "a list of tests, each with a \"tool\" and what to \"expect\"";
    let nodes = walk.elements(node, place, what);
    let read = nodes.iter().enumerate().filter_map(|(i, n)| case(walk, n, nth(place, i)));
    read.collect()
}

fn case(walk: &mut Walk, node: &Node<'_>, pointer: String) -> Option<Case> {
    let (mut name, mut called, mut expect, mut rule, mut risk) =
        (None, Vec::new(), None, None, None);
    let (mut agent, mut upstream, mut arguments) = (String::new(), String::new(), None);
    for member in walk.object(node, &pointer, &KEYS) {
        let (node, place) = (&member.node, at(&pointer, &member.key));
        let mut named = |what| walk.name(node, &place, what).map(str::to_owned);
        match member.key.as_ref() {
            "name" => name = named("what the test is about"),
            "tool" => called.push((Method::CallTool, named("the name of a tool"))),
            "prompt" => called.push((Method::GetPrompt, named("the name of a prompt"))),
            "resource" => called.push((Method::ReadResource, named("the URI of a resource"))),
            "agent" => agent = named("the name of an agent").unwrap_or_default(),
            "upstream" => upstream = named("the name of an upstream").unwrap_or_default(),
            "args" if node.is_object() => arguments = Some(node.raw),
            "args" => walk.mismatch(node, &place, "the arguments as an object"),
            "risk" => risk = super::read_rule::risk(walk, node, &place),
            "expect" => (expect, rule) = expected(walk, node, &place, rule),
            "rule" => rule = pointer_of(walk, node, &place),
            _ => {}
        }
    }
    if !node.is_object() {
        return None;
    }
    if node.get("expect").is_none() {
        let words = Expected::ALL.map(Expected::as_str).join(", ");
        walk.error(&at(&pointer, "expect"), format!("is missing; write one of {words}"));
    }
    let [(method, called)] = called.as_slice() else {
        walk.error(&pointer, "needs one of \"tool\", \"prompt\" and \"resource\"");
        return None;
    };
    if *method == Method::ReadResource && arguments.is_some() {
        walk.error(&at(&pointer, "args"), "a resource has no arguments; remove it");
    }
    let called = called.as_ref()?;
    match call_of(*method, &upstream, called, arguments.unwrap_or("{}")) {
        Ok(call) => Some(Case { pointer, name, agent, call, risk, expect: expect?, rule }),
        Err(error) => {
            walk.error(&pointer, error.to_string());
            None
        }
    }
}

/// A word, or an object of it and the rule.
fn expected(
    walk: &mut Walk,
    node: &Node<'_>,
    place: &str,
    rule: Option<String>,
) -> (Option<Expected>, Option<String>) {
    let words = Expected::ALL.map(Expected::as_str);
    if !node.is_object() {
        let word = walk.word(node, place, &words);
        return (word.and_then(Expected::parse), rule);
    }
    let (mut expect, mut rule) = (None, rule);
    for member in walk.object(node, place, &["action", "rule"]) {
        let (node, place) = (&member.node, at(place, &member.key));
        match member.key.as_ref() {
            "action" => expect = walk.word(node, &place, &words).and_then(Expected::parse),
            "rule" => rule = pointer_of(walk, node, &place),
            _ => {}
        }
    }
    if node.get("action").is_none() {
        walk.error(&at(place, "action"), format!("is missing; write one of {}", words.join(", ")));
    }
    (expect, rule)
}

fn pointer_of(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<String> {
    let what = "the place of the rule that has to decide, such as \"/tools/delete_image_set\"";
    let text = walk.name(node, place, what)?;
    if !text.starts_with('/') {
        walk.error(place, format!("{text:?} is no place in the policy; write {what}"));
        return None;
    }
    Some(text.to_owned())
}

impl Case {
    /// What it is called, for people.
    pub fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.call.title().into_owned())
    }

    /// What it expects, for people.
    pub fn expectation(&self) -> String {
        in_words(self.expect, self.rule.as_deref())
    }

    /// Judges its call.
    pub fn run(&self, policy: &Policy) -> Outcome {
        let arguments = self.call.arguments();
        let Ok(arguments) = json::parse(&arguments) else {
            // Not reached: the call was read.
            return Outcome { passed: false, was: Expected::Hide, rule: None, steps: Vec::new() };
        };
        let Self { agent, call, risk, .. } = self;
        let (upstream, tool) = (call.upstream.as_str(), call.tool.as_str());
        let facts = CallFacts { agent, upstream, tool, arguments: &arguments, risk: *risk };
        let (was, rule) = match policy.evaluate(call.method, &facts) {
            Verdict::Ungoverned => (Expected::Action(Action::Allow), None),
            Verdict::Hidden => (Expected::Hide, policy.hiding(call.method, &call.tool)),
            Verdict::Ruled { action: Action::Deny, rule, check } => {
                (Expected::Action(Action::Deny), Some(rule.denial(check).rule))
            }
            Verdict::Ruled { action, rule, .. } => {
                (Expected::Action(action), Some(rule.pointer.clone()))
            }
        };
        let as_told = self.rule.is_none() || self.rule == rule;
        Outcome {
            passed: was == self.expect && as_told,
            was,
            rule,
            steps: policy.explain(agent, call, *risk),
        }
    }
}

impl Outcome {
    /// What it was, for people.
    pub fn in_words(&self) -> String {
        in_words(self.was, self.rule.as_deref())
    }
}

fn in_words(what: Expected, rule: Option<&str>) -> String {
    let by = rule.map_or_else(String::new, |rule| format!(" by {rule}"));
    format!("{}{by}", what.as_str())
}

impl Policy {
    /// Its tests, in the order they are written.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// An error for each of its tests that fails.
    pub(super) fn failing(&self) -> Vec<Problem> {
        let mut failing = Vec::new();
        for case in &self.cases {
            let outcome = case.run(self);
            if !outcome.passed {
                let (title, expected) = (case.title(), case.expectation());
                let near = case.rule.as_deref().and_then(|rule| self.near(rule));
                let near = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
                let why = format!(
                    "the test {title:?} fails: expected {expected}, but it is {}{near}; mend the \
                     policy or the test",
                    outcome.in_words()
                );
                failing.push(Problem::new(&case.pointer, why, false));
            }
        }
        self.locate(&mut failing);
        failing
    }

    /// The place nearest to one at which there is no rule.
    fn near(&self, pointer: &str) -> Option<String> {
        let all: Vec<&str> = self.rules().map(|rule| rule.pointer.as_str()).collect();
        let checks = self.rules().flat_map(|rule| &rule.checks).chain(&self.all_tools);
        let decides = all.contains(&pointer)
            || pointer.contains("/hide/")
            || checks.into_iter().any(|check| check.pointer == pointer);
        if decides { None } else { nearest(pointer, &all).map(str::to_owned) }
    }

    /// The JSON Pointer of what hides a tool, a prompt or a resource.
    pub fn hiding(&self, method: Method, name: &str) -> Option<String> {
        if method == Method::CallTool {
            return self.hide_pointer(name);
        }
        let block = self.block(method)?;
        let (i, _) = super::subject(method, name).and_then(|s| block.hidden_by(&s))?;
        let key = if method == Method::GetPrompt { "prompts" } else { "resources" };
        Some(format!("/{key}/hide/{i}"))
    }
}
