//! The blocks `resources` and `prompts`: what a policy says of `resources/read` and `prompts/get`.
//!
//! `hide` first. Then the entry of `rules` that is the very name or URI decides. Without one, the
//! strictest of the patterns that fit decides, so that their order says nothing: deny, ask, allow
//! with a limit, allow; among equals the longest pattern, then the first by its text. Without
//! any, `default` decides, which is to allow.
//!
//! A URI has several readings (`uri`); the strictest verdict of all of them holds. An entry whose
//! text is the URI byte for byte decides alone: its author has named exactly this. Where nobody can
//! say which host a URI means, the strictest of all rules decides, and people are asked at least.

use std::cmp::Reverse;

use super::pattern::{Pattern, is_glob};
use super::ruling::Ruling;
use super::uri::{Reading, UriPattern, readings};
use super::{Action, CallFacts, Rule, Verdict};
use crate::domain::call::uri_arguments;
use crate::domain::json;

/// What is said of resources, or of prompts.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) default: Rule,
    pub(super) hide: Vec<Key>,
    pub(super) rules: Vec<(Key, Rule)>,
}

/// A name, a URI, or a pattern over them.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) exact: bool,
    over: Over,
}

#[derive(Debug, Clone)]
enum Over {
    Names(Pattern),
    Uris(UriPattern),
}

/// The prompt or resource that is asked for, in every reading of its name.
#[derive(Debug)]
pub(super) enum Subject<'a> {
    Name(&'a str),
    Uri {
        readings: Vec<Reading>,
        /// Whether it can be said which host it means.
        readable: bool,
    },
}

impl<'a> Subject<'a> {
    pub(super) fn prompt(name: &'a str) -> Self {
        Self::Name(name)
    }

    /// A resource by its URI; none where the URI is too long to be judged.
    pub(super) fn resource(uri: &'a str) -> Option<Self> {
        readings(uri).map(|(readings, readable)| Self::Uri { readings, readable })
    }

    fn count(&self) -> usize {
        match self {
            Self::Name(_) => 1,
            Self::Uri { readings, .. } => readings.len(),
        }
    }
}

impl Key {
    /// Reads the name of a prompt, or a glob over names.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the glob.
    pub(super) fn name(text: &str) -> Result<Self, String> {
        let over = Over::Names(Pattern::read(text)?);
        Ok(Self { text: text.to_owned(), exact: !is_glob(text), over })
    }

    /// Reads the URI of a resource, or a pattern over URIs.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it and what would mend it.
    pub(super) fn uri(text: &str) -> Result<Self, String> {
        let over = Over::Uris(UriPattern::read(text)?);
        Ok(Self { text: text.to_owned(), exact: !text.contains('*'), over })
    }

    /// Whether it fits one reading of what is asked for.
    fn fits(&self, subject: &Subject<'_>, reading: usize) -> bool {
        match (&self.over, subject) {
            (Over::Names(pattern), Subject::Name(name)) => pattern.fits(name),
            (Over::Uris(pattern), Subject::Uri { readings, .. }) => pattern.fits(readings, reading),
            _ => false,
        }
    }

    /// Whether it fits any reading.
    fn fits_any(&self, subject: &Subject<'_>) -> bool {
        (0..subject.count()).any(|reading| self.fits(subject, reading))
    }

    /// Whether it certainly fits everything that `other` fits.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (&self.over, &other.over) {
            (Over::Names(mine), Over::Names(theirs)) => mine.covers(theirs),
            (Over::Uris(mine), Over::Uris(theirs)) => mine.covers(theirs),
            _ => false,
        }
    }

    /// How many bytes of the name or URI it spells out, wildcards left out.
    fn weight(&self) -> usize {
        self.text.bytes().filter(|b| *b != b'*').count()
    }
}

impl Block {
    /// An empty block: everything passes.
    pub(super) fn new(place: &str) -> Self {
        let default = Rule::new(format!("{place}/default"), Action::Allow);
        Self { default, hide: Vec::new(), rules: Vec::new() }
    }

    pub(super) fn hidden_by(&self, subject: &Subject<'_>) -> Option<(usize, &Key)> {
        self.hide.iter().enumerate().find(|(_, key)| key.fits_any(subject))
    }

    pub(super) fn evaluate(&self, subject: &Subject<'_>, facts: &CallFacts<'_, '_>) -> Verdict<'_> {
        if self.hidden_by(subject).is_some() {
            return Verdict::Hidden;
        }
        if let Subject::Uri { readable: false, .. } = subject
            && !self.rules.iter().any(|(key, _)| key.exact && key.fits(subject, 0))
        {
            return self.unreadable();
        }
        self.decide(subject, facts).into()
    }

    /// The verdict on what may mean anything: the strictest that the block has, and never milder than
    /// to ask.
    fn unreadable(&self) -> Verdict<'_> {
        if !self.hide.is_empty() {
            return Verdict::Hidden;
        }
        let rules = self.rules.iter().map(|(_, rule)| rule).chain([&self.default]);
        // What can't be read meets no precondition.
        let at_most = |rule: &Rule| if rule.checks.is_empty() { rule.action } else { Action::Deny };
        let strictest = rules.max_by_key(|rule| strictness(at_most(rule), rule));
        let rule = strictest.unwrap_or(&self.default);
        let check = rule.checks.first().filter(|_| rule.action != Action::Deny);
        let denied = at_most(rule) == Action::Deny;
        let action = if denied { Action::Deny } else { Action::RequireApproval };
        // Of several approvals the first asks.
        let rule = rule.approvals.first().filter(|_| !denied).unwrap_or(rule);
        Verdict::Ruled { action, rule, check }
    }

    /// The rule that decides, with what it makes of this call.
    pub(super) fn decide(&self, subject: &Subject<'_>, facts: &CallFacts<'_, '_>) -> Ruling<'_> {
        let judge = |rule| ruling_on(rule, subject, facts);
        let exact = |reading| {
            let fitting = self.rules.iter().filter(move |(key, _)| key.exact);
            fitting.filter(move |(key, _)| key.fits(subject, reading))
        };
        if exact(0).next().is_some() {
            // Other spellings of the same URI may have an entry of their own.
            let all = (0..subject.count()).flat_map(exact);
            if let Some(found) = strictest(all.map(|(key, rule)| (key, judge(rule)))) {
                return found;
            }
        }
        let mut decided: Option<Ruling<'_>> = None;
        for reading in 0..subject.count() {
            let patterns = self.rules.iter().filter(|(k, _)| !k.exact && k.fits(subject, reading));
            let found = strictest(exact(reading).map(|(key, rule)| (key, judge(rule))))
                .or_else(|| strictest(patterns.map(|(key, rule)| (key, judge(rule)))))
                .unwrap_or_else(|| judge(&self.default));
            if decided.is_none_or(|decided| found.strictness() > decided.strictness()) {
                decided = Some(found);
            }
        }
        decided.unwrap_or_else(|| judge(&self.default))
    }
}

/// The strictest of the rules; among equals the one with the longest key, then the first by its
/// text.
fn strictest<'p>(fitting: impl Iterator<Item = (&'p Key, Ruling<'p>)>) -> Option<Ruling<'p>> {
    fitting
        .max_by_key(|(key, ruling)| (ruling.strictness(), key.weight(), Reverse(&key.text)))
        .map(|(_, found)| found)
}

impl Ruling<'_> {
    fn strictness(&self) -> u8 {
        strictness(self.action, self.rule)
    }
}

const fn strictness(action: Action, rule: &Rule) -> u8 {
    match action {
        Action::Deny => 3,
        Action::RequireApproval => 2,
        Action::Allow => (rule.rate_limit.is_some() || !rule.limits.is_empty()) as u8,
    }
}

/// What a rule makes of this call. Its conditions look at every reading of a URI; if they deny or ask
/// about one reading, the call is denied or people are asked.
fn ruling_on<'p>(rule: &'p Rule, subject: &Subject<'_>, facts: &CallFacts<'_, '_>) -> Ruling<'p> {
    let mut strictest = rule.ruling(&[], facts);
    let Subject::Uri { readings, .. } = subject else { return strictest };
    if rule.checks.is_empty() && rule.action != Action::RequireApproval {
        return strictest;
    }
    for reading in readings {
        if strictest.action == Action::Deny
            || (strictest.action == Action::RequireApproval && rule.checks.is_empty())
        {
            break;
        }
        let uri = String::from_utf8_lossy(&reading.bytes);
        let text = uri_arguments(&uri);
        let found = match json::parse(&text) {
            Ok(arguments) => {
                let CallFacts { agent, upstream, tool, .. } = *facts;
                let facts = CallFacts { agent, upstream, tool, arguments: &arguments, risk: None };
                rule.ruling(&[], &facts)
            }
            // A reading that can't be looked at meets no precondition, and is asked about.
            Err(_) => match rule.checks.first() {
                Some(check) => Ruling { action: Action::Deny, rule, check: Some(check) },
                None => Ruling {
                    action: Action::RequireApproval,
                    rule: rule.approvals.first().unwrap_or(rule),
                    check: None,
                },
            },
        };
        if found.strictness() > strictest.strictness() {
            strictest = found;
        }
    }
    strictest
}
