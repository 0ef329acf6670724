//! In which form a policy is written: Placet's own, or one of PolicyLayer's, which load unchanged.
//!
//! The form is recognised by the shape of the whole file, never rule by rule: a tool with a list of `rules`
//! is Intercept's, one with an `action` is Placet's own (PolicyLayer's flat form is that form too), and one
//! with neither is the hosted form's. A file that mixes them is refused. All are read into the same
//! [`Policy`](super::Policy), so that one evaluation judges by all of them.

use super::walk::{Walk, at};
use crate::domain::json::Node;

pub(super) mod counters;
pub(super) mod hosted;
pub(super) mod intercept;

/// The form of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Placet's own, PolicyLayer's flat form among it.
    Own,
    /// That of PolicyLayer's hosted gateway: `require`, `deny_if`, `limits`.
    Hosted,
    /// That of PolicyLayer's Intercept: lists of `rules`.
    Intercept,
}

impl Dialect {
    /// Its name, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "Placet's own form",
            Self::Hosted => "PolicyLayer's hosted form",
            Self::Intercept => "PolicyLayer's Intercept form",
        }
    }
}

/// Keys that only Placet's own form has.
const OWN_KEYS: [&str; 7] = ["match", "resources", "prompts", "methods", "rules", "tests", "mode"];

/// Where each form shows first.
#[derive(Default)]
struct Signs {
    own: Option<String>,
    hosted: Option<String>,
    intercept: Option<String>,
    /// An entry that may be of either of PolicyLayer's forms.
    empty: Option<String>,
}

/// The form of a file. A mixture is noted, and the form in which most of it would be read is returned.
pub(super) fn recognise(walk: &mut Walk, root: &Node<'_>) -> Dialect {
    let mut signs = Signs::default();
    let mut all_tools = None;
    for member in root.members().unwrap_or_default() {
        let place = at("", &member.key);
        match member.key.as_ref() {
            key if OWN_KEYS.contains(&key) => {
                signs.own.get_or_insert(place);
            }
            "all_tools" => all_tools = Some(place),
            "tools" => {
                for entry in member.node.members().unwrap_or_default() {
                    signs.look(&entry.node, at(&place, &entry.key));
                }
            }
            _ => {}
        }
    }
    let Signs { own, hosted, intercept, empty } = signs;
    if let Some(intercept) = intercept {
        let other = own.map(|place| (place, Dialect::Own));
        let other = other.or(hosted.or(all_tools).map(|place| (place, Dialect::Hosted)));
        if let Some((place, other)) = other {
            mixed(walk, (&intercept, Dialect::Intercept), (&place, other));
        }
        return Dialect::Intercept;
    }
    let Some(own) = own else {
        let is_hosted = hosted.is_some() || empty.is_some() || all_tools.is_some();
        return if is_hosted { Dialect::Hosted } else { Dialect::Own };
    };
    if let Some(hosted) = hosted.or(empty) {
        mixed(walk, (&hosted, Dialect::Hosted), (&own, Dialect::Own));
    }
    Dialect::Own
}

impl Signs {
    fn look(&mut self, entry: &Node<'_>, place: String) {
        let has = |key: &str| entry.get(key).is_some();
        let Some(members) = entry.members() else { return };
        let sign = if has("rules") {
            &mut self.intercept
        } else if has("action") {
            &mut self.own
        } else if members.is_empty() {
            &mut self.empty
        } else if has("require") || has("deny_if") || has("limits") {
            &mut self.hosted
        } else {
            return;
        };
        sign.get_or_insert(place);
    }
}

fn mixed(walk: &mut Walk, here: (&str, Dialect), there: (&str, Dialect)) {
    let (here, form) = here;
    let (there, other) = there;
    let mend = match (form, other) {
        (Dialect::Hosted, Dialect::Own) => "write an \"action\" here",
        _ => "write one form in a file",
    };
    walk.error(here, format!("is of {}, and {there} of {}; {mend}", form.as_str(), other.as_str()));
}
