//! How much harm a call could do: its class of risk, and how grave that is.
//!
//! Both are what a rule of the policy says of its calls, else what the tool's definition says of it
//! ([`super::classify`]). Where neither is known nothing is assumed: the value is absent, and whatever
//! asks for a severity treats the call as critical.

use serde::Serialize;

/// What kind of harm a call could do, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RiskClass {
    /// It only reads.
    Read,
    /// It changes something that can be changed back.
    Write,
    /// It runs code or commands.
    Execute,
    /// It removes something for good.
    Destructive,
    /// It moves money.
    Financial,
}

impl RiskClass {
    /// All classes.
    pub const ALL: [Self; 5] =
        [Self::Read, Self::Write, Self::Execute, Self::Destructive, Self::Financial];

    /// The word of policies, the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
            Self::Destructive => "destructive",
            Self::Financial => "financial",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == text)
    }
}

impl RiskClass {
    /// How grave calls of this class are where nothing else is known of them.
    pub const fn usual_severity(self) -> Severity {
        match self {
            Self::Read => Severity::Low,
            Self::Write => Severity::Medium,
            Self::Execute => Severity::High,
            Self::Destructive | Self::Financial => Severity::Critical,
        }
    }
}

/// How grave the harm would be, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A nuisance.
    Low,
    /// It costs somebody time.
    Medium,
    /// It costs money, data or trust.
    High,
    /// It can't be made good again.
    Critical,
}

impl Severity {
    /// All severities, mildest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word of policies, the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == text)
    }
}

/// Whether a call of this severity may be decided without a look of its own: together with others,
/// or by a grant. A call without a severity counts as critical.
pub(crate) fn may_be_decided_lightly(severity: Option<Severity>) -> bool {
    severity.is_some_and(|severity| severity < Severity::Critical)
}

/// Both as people read them, `destructive, critical`; none where no rule says either.
pub(crate) fn in_words(risk: Option<RiskClass>, severity: Option<Severity>) -> Option<String> {
    let words: Vec<&str> =
        risk.map(RiskClass::as_str).into_iter().chain(severity.map(Severity::as_str)).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_critical_or_unknown_is_never_decided_lightly() {
        let lightly: Vec<_> =
            Severity::ALL.into_iter().filter(|s| may_be_decided_lightly(Some(*s))).collect();

        assert_eq!(lightly, [Severity::Low, Severity::Medium, Severity::High]);
        assert!(!may_be_decided_lightly(None));
    }

    #[test]
    fn each_word_is_read_back_as_what_it_stands_for() {
        assert!(RiskClass::ALL.iter().all(|c| RiskClass::parse(c.as_str()) == Some(*c)));
        assert!(Severity::ALL.iter().all(|s| Severity::parse(s.as_str()) == Some(*s)));
        assert_eq!(Severity::parse("Critical"), None);
    }

    #[test]
    fn words_name_what_is_said_and_nothing_else() {
        let both = in_words(Some(RiskClass::Destructive), Some(Severity::High));

        assert_eq!(both.as_deref(), Some("destructive, high"));
        assert_eq!(in_words(None, Some(Severity::Low)).as_deref(), Some("low"));
        assert_eq!(in_words(None, None), None);
    }
}
