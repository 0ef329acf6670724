//! The policy of an upstream: from its file, JSON or YAML, or its inline table.
//!
//! An inline table becomes JSON text without loss and is read by the same reader as a file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Value;

use crate::domain::json;
use crate::domain::policy::{self, Format, Policy};
use crate::protocol::method;

use super::problem::PolicyPlace;
use super::reader::{self, Section};
use super::value;

/// A policy with its place.
#[derive(Debug)]
pub(super) struct LoadedPolicy {
    /// The policy.
    pub policy: Arc<Policy>,
    /// The path of its file; none for an inline policy.
    pub path: Option<PathBuf>,
    /// Where its problems are reported.
    pub place: PolicyPlace,
    /// The `agents` of each `match` entry that names some, by pointer.
    pub agents: HashMap<String, Vec<String>>,
}

/// Reads the policy of an upstream; none where there is none or it is a problem.
pub(super) fn load(s: &Section<'_>) -> Option<LoadedPolicy> {
    let mut format = Format::Json;
    let (text, path, file, prefix) = match s.raw("policy")? {
        table @ Value::Table(_) => {
            let mut text = String::new();
            if !write_json(s, table, &s.at("policy"), &mut text) {
                return None;
            }
            (text, None, s.reader.file.clone(), s.at("policy"))
        }
        Value::String(written) => {
            let written = s.reader.expand(&s.at("policy"), written)?;
            format = Format::of(Path::new(&written));
            let path = s.reader.resolve(&written);
            match reader::read_file(&path) {
                Ok(text) => (text, Some(path), written, String::new()),
                Err(message) => {
                    s.reader.error(s.at("policy"), message);
                    return None;
                }
            }
        }
        other => {
            let message =
                format!("expected a file's path or a table, found {}", value::kind(other));
            s.reader.error(s.at("policy"), message);
            return None;
        }
    };
    let whole = PolicyPlace { file, prefix };
    let note = |problem: policy::Problem| s.reader.note(whole.problem(problem));
    match Policy::read_as(&text, format) {
        Ok((policy, warnings)) => {
            warnings.into_iter().for_each(note);
            for (i, name) in policy.methods().iter().enumerate() {
                if method::is_request(name) || method::is_legacy_notification(name) {
                    let message = "is a method of the specification, which is judged without this \
                                   list; remove it";
                    let place = format!("/methods/{i}");
                    let mut problem = [policy::Problem::new(&place, message, true)];
                    policy.locate(&mut problem);
                    problem.into_iter().for_each(note);
                }
            }
            let agents = agents_of(policy.as_json());
            Some(LoadedPolicy { policy: Arc::new(policy), path, place: whole, agents })
        }
        Err(problems) => {
            problems.into_iter().for_each(note);
            None
        }
    }
}

/// The `agents` of each `match` entry, by its JSON Pointer. Other agents can't reach such an entry.
fn agents_of(text: &str) -> HashMap<String, Vec<String>> {
    let Ok(root) = json::parse(text) else { return HashMap::new() };
    let entries = root.get("match").and_then(|m| m.elements()).unwrap_or_default();
    entries
        .iter()
        .enumerate()
        .filter_map(|(i, entry)| {
            let names = entry.get("agents")?.elements()?;
            let names = names.iter().filter_map(|n| n.as_str().map(str::to_owned)).collect();
            Some((format!("/match/{i}"), names))
        })
        .collect()
}

/// Writes a TOML value as JSON. A value that JSON can't hold is noted, and the result is false.
fn write_json(s: &Section<'_>, from: &Value, path: &str, out: &mut String) -> bool {
    match from {
        Value::String(text) => match s.reader.expand(path, text) {
            Some(text) => json::write_string(&text, out),
            None => return false,
        },
        Value::Integer(n) => out.push_str(&n.to_string()),
        Value::Float(n) if n.is_finite() => out.push_str(&exact(*n)),
        Value::Boolean(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Float(_) | Value::Datetime(_) => {
            let message =
                format!("{} can't stand in a policy; put it in quotes", value::kind(from));
            s.reader.error(path, message);
            return false;
        }
        Value::Array(items) => {
            out.push('[');
            let mut good = true;
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                good &= write_json(s, item, &format!("{path}/{i}"), out);
            }
            out.push(']');
            return good;
        }
        Value::Table(table) => {
            out.push('{');
            let mut good = true;
            for (i, (key, item)) in table.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                json::write_string(key, out);
                out.push(':');
                let pointer = key.replace('~', "~0").replace('/', "~1");
                good &= write_json(s, item, &format!("{path}/{pointer}"), out);
            }
            out.push('}');
            return good;
        }
    }
    true
}

/// The shortest text that reads back as the same number; `1.0` keeps its fraction.
fn exact(number: f64) -> String {
    format!("{number:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reader::{Environment, Reader};

    #[test]
    fn an_inline_policy_becomes_json_without_loss() {
        let env = Environment::from([("WHERE".to_owned(), "sand\"box".to_owned())]);
        let reader = Reader::new("placet.toml".into(), PathBuf::new(), &env);
        let table: toml::Table = toml::from_str(
            "policy = { a = 9223372036854775807, b = 1.0, c = [true, \"${WHERE}\"], d = 1e300, \
             e = {} }",
        )
        .unwrap();
        let root = reader.root(&table, &table);
        let mut out = String::new();

        let good = write_json(&root, &table["policy"], "policy", &mut out);

        assert!(good);
        assert_eq!(
            out,
            "{\"a\":9223372036854775807,\"b\":1.0,\"c\":[true,\"sand\\\"box\"],\"d\":1e300,\
             \"e\":{}}"
        );
    }

    #[test]
    fn what_json_cannot_hold_is_named_with_its_place() {
        let env = Environment::new();
        let reader = Reader::new("placet.toml".into(), PathBuf::new(), &env);
        let table: toml::Table =
            toml::from_str("policy = { tools = { \"a/b\" = [inf, 2026-11-22] } }").unwrap();
        let root = reader.root(&table, &table);

        let good = write_json(&root, &table["policy"], "policy", &mut String::new());

        assert!(!good);
        let keys: Vec<String> = reader.finish().into_iter().map(|p| p.key).collect();
        assert_eq!(keys, ["policy/tools/a~1b/0", "policy/tools/a~1b/1"]);
    }

    #[test]
    fn the_agents_of_match_entries_are_found_by_pointer() {
        let agents = agents_of(
            r#"{"match":[{"action":"deny"},{"agents":["ana's","ci"],"action":"allow"}]}"#,
        );

        assert_eq!(agents.len(), 1);
        assert_eq!(agents["/match/1"], ["ana's", "ci"]);
    }
}
