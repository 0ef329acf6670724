//! What of a policy fits nothing that its upstream lists: most likely a slip of the pen, which decides
//! otherwise than its author meant and is silent about it.

use std::cell::{Cell, OnceCell};

use super::condition::Test;
use super::names::Names;
use super::path::{Path, Step};
use super::pattern::is_glob;
use super::schema::{self, Slip};
use super::walk::{at, nth};
use super::{Match, Policy, Problem, Rule, fits};
use crate::domain::call::Method;
use crate::domain::json::{self, Node};

/// Most tools that are looked at for the conditions of all `match` entries of one policy. Of those left
/// over nothing is said.
const MAX_LOOKED_AT: usize = 100_000;

/// A tool as its upstream lists it.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'t> {
    /// Its name.
    pub name: &'t str,
    /// Its whole definition, raw JSON.
    pub definition: &'t str,
}

/// The list, read as far as is needed.
struct List<'t> {
    tools: &'t [Listed<'t>],
    names: Names<'t>,
    definitions: Vec<OnceCell<Option<Node<'t>>>>,
    /// How many tools may still be looked at for the conditions of `match` entries.
    left: Cell<usize>,
}

impl<'t> List<'t> {
    fn schema(&self, tool: usize) -> Option<&Node<'t>> {
        let read = || json::parse(self.tools[tool].definition).ok();
        self.definitions[tool].get_or_init(read).as_ref()?.get("inputSchema")
    }
}

impl Policy {
    /// Warnings of what fits no tool of the list that the upstream gives (hidden tools are listed too),
    /// and of conditions that look where no call has anything by its tool's `inputSchema`. The nearest
    /// name is named. `agents`, prompts and resources are not looked at.
    pub fn misfits(&self, tools: &[Listed<'_>]) -> Vec<Problem> {
        let list = List {
            tools,
            names: Names::new(tools.iter().map(|tool| tool.name)),
            definitions: tools.iter().map(|_| OnceCell::new()).collect(),
            left: Cell::new(MAX_LOOKED_AT),
        };
        let mut found = Vec::new();
        for (i, pattern) in self.hide.iter().enumerate() {
            if !list.names.any_fits(pattern) {
                found.push(fits_none(&list, &nth("/hide", i), &pattern.text));
            }
        }
        for entry in &self.tools {
            match list.names.find(&entry.name) {
                None => found.push(fits_none(&list, &entry.rule.pointer, &entry.name)),
                Some(tool) => looks(&entry.rule, &mut found, |look, steps| {
                    let slip = schema::slip(list.schema(tool)?, steps)?;
                    Some(look.leads_nowhere(&slip, &format!("{:?}", tools[tool].name)))
                }),
            }
        }
        for entry in &self.matches {
            let place = at(&entry.rule.pointer, "tools");
            for (i, pattern) in entry.tools.iter().flatten().enumerate() {
                if !list.names.any_fits(pattern) {
                    found.push(fits_none(&list, &nth(&place, i), &pattern.text));
                }
            }
            looks(&entry.rule, &mut found, |look, steps| {
                self.slip_of_all(&list, entry, look, steps)
            });
        }
        for case in self.cases.iter().filter(|case| case.call.method == Method::CallTool) {
            if list.names.find(&case.call.tool).is_none() {
                found.push(fits_none(&list, &at(&case.pointer, "tool"), &case.call.tool));
            }
        }
        self.locate(&mut found);
        found
    }

    /// What is wrong with a condition of a `match` by the schemas of all tools that it may decide; none
    /// where one of them has the place, or may have it.
    fn slip_of_all(
        &self,
        list: &List<'_>,
        entry: &Match,
        look: Look<'_>,
        steps: &[Step],
    ) -> Option<String> {
        let mut first: Option<(Slip, &str)> = None;
        let mut count = 0_usize;
        for (i, tool) in list.tools.iter().enumerate() {
            list.left.set(list.left.get().checked_sub(1)?);
            let decides = !self.by_name.contains_key(tool.name)
                && fits(entry.tools.as_deref(), tool.name)
                && !self.hides(tool.name);
            if !decides {
                continue;
            }
            let slip = schema::slip(list.schema(i)?, steps)?;
            count += 1;
            first.get_or_insert((slip, tool.name));
        }
        let (slip, tool) = first?;
        Some(match count {
            1 => look.leads_nowhere(&slip, &format!("{tool:?}")),
            2 => look.leads_nowhere(&slip, &format!("{tool:?} and of the other tool it fits")),
            _ => {
                let others = count - 1;
                look.leads_nowhere(&slip, &format!("{tool:?} and of the {others} others it fits"))
            }
        })
    }
}

/// A place in the arguments at which a rule looks.
#[derive(Clone, Copy)]
struct Look<'p> {
    path: &'p Path,
    /// What comes of it where nothing is there.
    then: &'static str,
}

/// Notes what `said` says of each place in the arguments at which the rule looks.
fn looks(
    rule: &Rule,
    found: &mut Vec<Problem>,
    said: impl Fn(Look<'_>, &[Step]) -> Option<String>,
) {
    let mut note = |look: Look<'_>, place: &str| {
        let said = look.path.in_arguments().and_then(|steps| said(look, steps));
        found.extend(said.map(|message| Problem::new(place, message, true)));
    };
    for condition in rule.conditions() {
        let then = match condition.test {
            Test::Exists(_) => "",
            _ => ", which counts as a match",
        };
        note(Look { path: &condition.path, then }, &at(&condition.pointer, "path"));
    }
    for limit in &rule.limits {
        let Some(path) = limit.amount.path() else { continue };
        let then = ", so that every call is refused";
        note(Look { path, then }, &limit.pointer);
    }
}

fn fits_none(list: &List<'_>, place: &str, text: &str) -> Problem {
    let near = match list.names.nearest(text) {
        Some(near) if is_glob(text) => format!("; the nearest name is {near:?}"),
        Some(near) => format!("; did you mean {near:?}?"),
        None => String::new(),
    };
    let message = format!("{text:?} fits no tool that the upstream lists{near}");
    Problem::new(place, message, true)
}

impl Look<'_> {
    fn leads_nowhere(self, slip: &Slip, tools: &str) -> String {
        let Self { path, then } = self;
        let why = match slip {
            Slip::NoProperty { key, known } => {
                let near = Names::new(known.iter().map(String::as_str)).nearest(key);
                let near =
                    near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
                format!("{key:?} is no property by the inputSchema of {tools}{near}")
            }
            Slip::OtherType { found } => {
                format!("it goes through what is of type {found:?} by the inputSchema of {tools}")
            }
        };
        format!("{:?} leads nowhere{then}: {why}", path.text)
    }
}

#[cfg(test)]
mod tests;
