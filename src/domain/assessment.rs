//! The risk and severity of a call, and who says so: its rule, the catalogue, or what its tool says of
//! itself.

use super::classify::Classified;
use super::policy::Rule;
use super::risk::{RiskClass, Severity};

/// Where a class and a severity come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The rule states it.
    Rule,
    /// The catalogue knows the tool.
    Catalogue,
    /// It is read from the tool's definition.
    Definition,
}

impl Source {
    /// The word of pages and of the HTTP API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Catalogue => "catalogue",
            Self::Definition => "classifier",
        }
    }

    /// Who says what is known of a tool.
    pub const fn of_tool(tool: &Classified) -> Self {
        if tool.is_known { Self::Catalogue } else { Self::Definition }
    }
}

/// How much harm the calls of a tool could do under a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assessment {
    /// The class; none where nothing is known.
    pub risk: Option<RiskClass>,
    /// The severity; none where nothing is known.
    pub severity: Option<Severity>,
    /// Who says so, the class first.
    pub source: Option<Source>,
    /// Why, in words; none where the rule says both.
    pub why: Option<String>,
    /// Whose words that is.
    pub why_from: Option<Source>,
}

impl Assessment {
    /// What the rule states goes before what is known of the tool. A rule that states another
    /// class without a severity has the usual one of that class.
    pub fn of(rule: &Rule, tool: Option<&Classified>) -> Self {
        let read = tool.map(|tool| tool.class);
        let risk = rule.risk.or(read);
        let own = tool.filter(|tool| risk == Some(tool.class)).map(|tool| tool.severity);
        let severity = rule.severity.or(own).or(risk.map(RiskClass::usual_severity));
        let from = tool.map(Source::of_tool);
        let is_stated = rule.risk.is_some() || rule.severity.is_some();
        let source = if is_stated { Some(Source::Rule) } else { from };
        let explaining = tool.filter(|_| rule.risk.is_none());
        let why = explaining.map(Classified::why);
        Self { risk, severity, source, why, why_from: from.filter(|_| explaining.is_some()) }
    }
}

impl Assessment {
    /// What is known of a tool, where no rule decides.
    pub fn of_tool(tool: &Classified) -> Self {
        Self {
            risk: Some(tool.class),
            severity: Some(tool.severity),
            source: Some(Source::of_tool(tool)),
            why: Some(tool.why()),
            why_from: Some(Source::of_tool(tool)),
        }
    }

    /// Why, with its source where it is the catalogue: what the definition says is said as such.
    pub fn why_in_words(&self) -> Option<String> {
        let why = self.why.as_ref()?;
        Some(match self.why_from {
            Some(Source::Catalogue) => format!("{}: {why}", Source::Catalogue.as_str()),
            _ => why.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::Policy;

    fn of(rule: &str, tool: Option<&str>) -> (Option<RiskClass>, Option<Severity>, Option<Source>) {
        let text = format!(r#"{{"version":"1","tools":{{"t":{rule}}}}}"#);
        let (policy, _) = Policy::read(&text).unwrap();
        let tool = tool.map(|name| Classified::of(&format!(r#"{{"name":"{name}"}}"#), false));
        let found = Assessment::of(policy.rule_for("bot", "t", None).unwrap(), tool.as_ref());
        (found.risk, found.severity, found.source)
    }

    #[test]
    fn what_the_rule_states_goes_before_what_the_tool_says_of_itself() {
        use RiskClass::{Destructive, Read, Write};
        let (rule, read) = (Some(Source::Rule), Some(Source::Definition));
        let plain = r#"{"action":"allow"}"#;
        let mild = r#"{"action":"allow","severity":"low"}"#;
        let write = r#"{"action":"allow","risk":"write"}"#;

        assert_eq!(of(plain, None), (None, None, None));
        assert_eq!(of(plain, Some("list_x")), (Some(Read), Some(Severity::Low), read));
        assert_eq!(of(mild, Some("drop_x")), (Some(Destructive), Some(Severity::Low), rule));
        assert_eq!(of(write, Some("drop_x")), (Some(Write), Some(Severity::Medium), rule));
        assert_eq!(of(write, None), (Some(Write), Some(Severity::Medium), rule));
    }

    #[test]
    fn what_the_catalogue_knows_is_named_as_its_word_and_gives_way_to_the_rule() {
        let text = r#"{"version":"1","tools":{
            "t":{"action":"allow"},"s":{"action":"allow","severity":"low"},
            "r":{"action":"allow","risk":"write"}}}"#;
        let (policy, _) = Policy::read(text).unwrap();
        let mut tool = Classified::of(r#"{"name":"drop_x"}"#, false);
        tool.is_known = true;
        "drops it".clone_into(&mut tool.evidence[0].quote);
        let of = |name| Assessment::of(policy.rule_for("bot", name, None).unwrap(), Some(&tool));

        let [known, stated, another] = ["t", "s", "r"].map(of);
        assert_eq!(known.source, Some(Source::Catalogue));
        assert_eq!(known.why_in_words().as_deref(), Some("catalogue: drops it"));
        assert_eq!((stated.source, stated.why_from), (Some(Source::Rule), Some(Source::Catalogue)));
        assert_eq!((another.risk, another.why), (Some(RiskClass::Write), None));
    }
}
