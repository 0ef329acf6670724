//! Where a condition looks: `args.a.b`, `args.items[*].price`, `args.items[0]`, `agent.name`,
//! `upstream.name`. A key that holds a dot or a bracket is written `args["a.b"]`.

use std::borrow::Cow;

use super::CallFacts;
use crate::domain::json::{self, MAX_DEPTH, Node, Value, differ_by_case};

/// A place in the facts of a call.
#[derive(Debug, Clone)]
pub struct Path {
    pub(super) text: String,
    root: Root,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    Arguments,
    AgentName,
    UpstreamName,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
    Each,
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would mend it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let (root, rest) = match text {
            "agent.name" => (Root::AgentName, ""),
            "upstream.name" => (Root::UpstreamName, ""),
            _ => match text.strip_prefix("args") {
                Some(rest) if rest.is_empty() || rest.starts_with(['.', '[']) => {
                    (Root::Arguments, rest)
                }
                _ => {
                    return Err(format!(
                        "{text:?} is not a path; it begins with \"args\" (\"args.a.b\", \
                         \"args.items[*].price\"), or is \"agent.name\" or \"upstream.name\""
                    ));
                }
            },
        };
        let steps = steps(rest).map_err(|what| format!("{text:?} is not a path: {what}"))?;
        if steps.len() > MAX_DEPTH {
            return Err(format!(
                "is a path of more than {MAX_DEPTH} steps; no arguments are so deep"
            ));
        }
        Ok(Self { text: text.to_owned(), root, steps })
    }

    /// The steps through the arguments; none where the path looks elsewhere.
    pub(super) fn in_arguments(&self) -> Option<&[Step]> {
        (self.root == Root::Arguments).then_some(self.steps.as_slice())
    }

    /// Calls `visit` with what is at the path until it says stop: every value; `Nothing` where there is
    /// no value, as where `[*]` goes over an empty array or any step leads nowhere; `Ambiguous` where
    /// a key beside the path differs from the path's by case only.
    pub(super) fn visit(
        &self,
        facts: &CallFacts<'_, '_>,
        visit: &mut dyn FnMut(Place<'_, '_>) -> bool,
    ) {
        let name = match self.root {
            Root::Arguments => {
                walk(facts.arguments, &self.steps, visit);
                return;
            }
            Root::AgentName => facts.agent,
            Root::UpstreamName => facts.upstream,
        };
        visit(Place::Value(&Node { raw: "", value: Value::String(Cow::Borrowed(name)) }));
    }
}

/// What is at a path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'n, 'a> {
    /// A value.
    Value(&'n Node<'a>),
    /// No value.
    Nothing,
    /// Readers that ignore case may find another value than the path's.
    Ambiguous,
}

/// Whether `visit` said stop.
fn walk(node: &Node<'_>, steps: &[Step], visit: &mut dyn FnMut(Place<'_, '_>) -> bool) -> bool {
    let Some((step, rest)) = steps.split_first() else { return visit(Place::Value(node)) };
    let next = match step {
        Step::Key(key) => {
            let members = node.members().unwrap_or_default();
            if members.iter().any(|m| differ_by_case(&m.key, key)) {
                return visit(Place::Ambiguous);
            }
            node.get(key)
        }
        Step::Index(index) => node.elements().and_then(|elements| elements.get(*index)),
        Step::Each => {
            return match node.elements() {
                None | Some([]) => visit(Place::Nothing),
                Some(elements) => elements.iter().any(|element| walk(element, rest, visit)),
            };
        }
    };
    match next {
        Some(node) => walk(node, rest, visit),
        None => visit(Place::Nothing),
    }
}

fn steps(mut rest: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, after) = if let Some(after) = rest.strip_prefix('.') {
            key(after)?
        } else if let Some(after) = rest.strip_prefix('[') {
            bracket(after)?
        } else {
            return Err(format!("expected \".\" or \"[\" before {rest:?}"));
        };
        steps.push(step);
        rest = after;
    }
    Ok(steps)
}

fn key(text: &str) -> Result<(Step, &str), String> {
    let end = text.find(['.', '[', ']']).unwrap_or(text.len());
    let (key, after) = text.split_at(end);
    if key.is_empty() {
        return Err("a key is missing after \".\"; write \"args.key\" or \"args[0]\"".to_owned());
    }
    if key == "*" {
        return Err("write \"[*]\" for every element of an array".to_owned());
    }
    Ok((Step::Key(key.to_owned()), after))
}

fn bracket(text: &str) -> Result<(Step, &str), String> {
    const MEND: &str = "write \"[0]\", \"[*]\" or \"[\\\"a key\\\"]\"";
    if text.starts_with('"') {
        // The first quote and bracket at which a whole JSON string ends.
        for (end, _) in text.match_indices("\"]").filter(|(end, _)| *end > 0) {
            if let Ok(node) = json::parse(&text[..=end])
                && let Some(key) = node.as_str()
            {
                return Ok((Step::Key(key.to_owned()), &text[end + 2..]));
            }
        }
        return Err(format!("\"[\" is not closed by a quoted key; {MEND}"));
    }
    let (inner, after) = text.split_once(']').ok_or(format!("\"[\" is not closed; {MEND}"))?;
    if inner == "*" {
        return Ok((Step::Each, after));
    }
    let plain = inner == "0" || !inner.starts_with(['0', '+']);
    match inner.parse() {
        Ok(index) if plain => Ok((Step::Index(index), after)),
        _ => Err(format!("{inner:?} is not an index; {MEND}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(path: &str, arguments: &str) -> Vec<String> {
        let arguments = json::parse(arguments).unwrap();
        let facts = CallFacts {
            agent: "bot",
            upstream: "images",
            tool: "t",
            arguments: &arguments,
            risk: None,
        };
        let mut seen = Vec::new();
        Path::read(path).unwrap().visit(&facts, &mut |place| {
            seen.push(match place {
                Place::Value(node) => node.canonical(),
                Place::Nothing => "none".to_owned(),
                Place::Ambiguous => "ambiguous".to_owned(),
            });
            false
        });
        seen
    }

    #[test]
    fn paths_lead_to_keys_elements_and_names() {
        let arguments =
            r#"{"a":{"b":1},"items":[{"p":1},{"p":2},{}],"a.b":3,"x\"]":4,"m":[[1],[2]]}"#;

        assert_eq!(seen("args.a.b", arguments), ["1"]);
        assert_eq!(seen("args.items[1].p", arguments), ["2"]);
        assert_eq!(seen("args.items[*].p", arguments), ["1", "2", "none"]);
        assert_eq!(seen("args.m[*][*]", arguments), ["1", "2"]);
        assert_eq!(seen(r#"args["a.b"]"#, arguments), ["3"]);
        assert_eq!(seen(r#"args["x\"]"]"#, arguments), ["4"]);
        assert_eq!(seen("agent.name", arguments), [r#""bot""#]);
        assert_eq!(seen("upstream.name", arguments), [r#""images""#]);
        assert_eq!(seen("args", "{}"), ["{}"]);
    }

    #[test]
    fn steps_that_lead_nowhere_show_none() {
        let arguments = r#"{"a":{"0":1},"s":"text","e":[],"n":null}"#;

        for path in [
            "args.x",
            "args.a[0]",
            "args.a[*]",
            "args.s.length",
            "args.e[*]",
            "args.e[0]",
            "args.n.x",
        ] {
            assert_eq!(seen(path, arguments), ["none"], "{path}");
        }
    }

    #[test]
    fn a_key_that_differs_by_case_only_makes_its_place_ambiguous_at_every_level() {
        let arguments =
            r#"{"a":{"b":1,"c":2,"\u0042":3},"K":1,"l":[{"x":1},{"x":2,"X":3}],"d":{"\u017f":1}}"#;

        for (path, found) in [
            ("args.a.b", &["ambiguous"][..]),
            ("args.a.c", &["2"]),
            ("args.A.c", &["ambiguous"]),
            ("args.k", &["ambiguous"]),
            ("args.\u{212a}", &["ambiguous"]),
            ("args.K", &["1"]),
            ("args.l[*].x", &["1", "ambiguous"]),
            ("args.l[0].x", &["1"]),
            ("args.L[0].x", &["ambiguous"]),
            ("args.d.s", &["ambiguous"]),
        ] {
            assert_eq!(seen(path, arguments), found, "{path}");
        }
    }

    #[test]
    fn paths_that_cannot_be_read_are_refused() {
        for path in [
            "",
            "a.b",
            "arguments.a",
            "argsx",
            "args.",
            "args..a",
            "args.a[",
            "args.a[]",
            "args.a[01]",
            "args.a[-1]",
            "args.a[+1]",
            "args.a[x]",
            "args.a]",
            "args.a[0]b",
            "args.*",
            "args[\"a]",
            "agent",
            "agent.name.x",
            "args.a[99999999999999999999]",
            " args.a",
        ] {
            assert!(Path::read(path).is_err(), "{path}");
        }
    }

    #[test]
    fn paths_are_bounded_by_the_depth_of_json() {
        assert!(Path::read(&format!("args{}", "[0]".repeat(MAX_DEPTH))).is_ok());
        assert!(Path::read(&format!("args{}", "[0]".repeat(MAX_DEPTH + 1))).is_err());
    }
}
