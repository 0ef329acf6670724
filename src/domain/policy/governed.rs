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
        let (action, rule) = self.decide(subject, facts);
        Verdict::Ruled { action, rule }
    }

    /// The verdict on what may mean anything: the strictest that the block has, and never milder than
    /// to ask.
    fn unreadable(&self) -> Verdict<'_> {
        if !self.hide.is_empty() {
            return Verdict::Hidden;
        }
        let rules = self.rules.iter().map(|(_, rule)| rule).chain([&self.default]);
        let strictest = rules.max_by_key(|rule| strictness(rule.action, rule));
        let rule = strictest.unwrap_or(&self.default);
        let action =
            if rule.action == Action::Deny { rule.action } else { Action::RequireApproval };
        Verdict::Ruled { action, rule }
    }

    /// The rule that decides, with the action it comes to for this call.
    pub(super) fn decide(
        &self,
        subject: &Subject<'_>,
        facts: &CallFacts<'_, '_>,
    ) -> (Action, &Rule) {
        let judge = |rule| (action_on(rule, subject, facts), rule);
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
        let mut decided: Option<(Action, &Rule)> = None;
        for reading in 0..subject.count() {
            let patterns = self.rules.iter().filter(|(k, _)| !k.exact && k.fits(subject, reading));
            let found = strictest(exact(reading).map(|(key, rule)| (key, judge(rule))))
                .or_else(|| strictest(patterns.map(|(key, rule)| (key, judge(rule)))))
                .unwrap_or_else(|| judge(&self.default));
            if decided.is_none_or(|(action, rule)| {
                strictness(found.0, found.1) > strictness(action, rule)
            }) {
                decided = Some(found);
            }
        }
        decided.unwrap_or_else(|| judge(&self.default))
    }
}

/// The strictest of the rules; among equals the one with the longest key, then the first by its
/// text.
fn strictest<'p>(
    fitting: impl Iterator<Item = (&'p Key, (Action, &'p Rule))>,
) -> Option<(Action, &'p Rule)> {
    fitting
        .max_by_key(|(key, (action, rule))| {
            (strictness(*action, rule), key.weight(), Reverse(&key.text))
        })
        .map(|(_, found)| found)
}

const fn strictness(action: Action, rule: &Rule) -> u8 {
    match action {
        Action::Deny => 3,
        Action::RequireApproval => 2,
        Action::Allow => rule.rate_limit.is_some() as u8,
    }
}

/// The action of a rule for this call. Its conditions look at every reading of a URI; if they ask
/// about one reading, people are asked.
fn action_on(rule: &Rule, subject: &Subject<'_>, facts: &CallFacts<'_, '_>) -> Action {
    let action = rule.action_on(facts);
    let Subject::Uri { readings, .. } = subject else { return action };
    if rule.action != Action::RequireApproval || action == Action::RequireApproval {
        return action;
    }
    let asks = readings.iter().any(|reading| {
        let uri = String::from_utf8_lossy(&reading.bytes);
        let text = uri_arguments(&uri);
        // A reading that the conditions can't look at is asked about.
        let Ok(arguments) = json::parse(&text) else { return true };
        let CallFacts { agent, upstream, tool, .. } = *facts;
        let facts = CallFacts { agent, upstream, tool, arguments: &arguments, risk: None };
        rule.action_on(&facts) != Action::Allow
    });
    if asks { Action::RequireApproval } else { action }
}
