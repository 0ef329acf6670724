//! What holds for every policy and every call.

use std::cmp::Ordering;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::domain::json::{self, quote};

/// A JSON value that can be spelled in more than one way.
#[derive(Debug, Clone)]
enum Spelled {
    Plain(String),
    Text(String),
    Array(Vec<Spelled>),
    Object(Vec<(String, Spelled)>),
}

impl Spelled {
    fn write(&self, other_way: bool) -> String {
        let space = if other_way { " \n" } else { "" };
        match self {
            Self::Plain(text) => format!("{space}{text}{space}"),
            Self::Text(text) if other_way => {
                use std::fmt::Write as _;
                let escaped = text.encode_utf16().fold(String::new(), |mut out, unit| {
                    let _ = write!(out, "\\u{unit:04X}");
                    out
                });
                format!("\"{escaped}\"")
            }
            Self::Text(text) => quote(text),
            Self::Array(elements) => {
                let texts: Vec<String> = elements.iter().map(|e| e.write(other_way)).collect();
                format!("[{}{space}]", texts.join(","))
            }
            Self::Object(members) => {
                let mut texts: Vec<String> = members
                    .iter()
                    .map(|(key, value)| format!("{}:{}", quote(key), value.write(other_way)))
                    .collect();
                if other_way {
                    texts.reverse();
                }
                format!("{{{space}{}}}", texts.join(","))
            }
        }
    }
}

fn value() -> impl Strategy<Value = Spelled> {
    let plain = ["null", "true", "false", "0", "-0", "1", "1.0", "100e-2", "-3.5", "1e400"];
    let leaf = prop_oneof![
        select(plain.to_vec()).prop_map(|text| Spelled::Plain(text.to_owned())),
        "[a-bé😀\"\\\\]{0,3}".prop_map(Spelled::Text),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Spelled::Array),
            members(inner).prop_map(Spelled::Object),
        ]
    })
}

fn members(value: impl Strategy<Value = Spelled>) -> impl Strategy<Value = Vec<(String, Spelled)>> {
    proptest::collection::btree_map("[a-c]", value, 0..4)
        .prop_map(|members| members.into_iter().collect())
}

fn arguments() -> impl Strategy<Value = Spelled> {
    members(value()).prop_map(Spelled::Object)
}

fn path() -> impl Strategy<Value = String> {
    let step = select(vec![".a", ".b", ".c", "[0]", "[1]", "[*]"]);
    prop_oneof![
        8 => vec(step, 0..4).prop_map(|steps| format!("args{}", steps.concat())),
        1 => Just("agent.name".to_owned()),
    ]
}

/// An operator and its value.
fn test() -> impl Strategy<Value = (&'static str, String)> {
    prop_oneof![
        (select(vec!["eq", "neq", "contains"]), value()).prop_map(|(op, v)| (op, v.write(false))),
        (select(vec!["in", "not_in"]), vec(value(), 1..3))
            .prop_map(|(op, values)| (op, Spelled::Array(values).write(false))),
        (select(vec!["lt", "lte", "gt", "gte"]), select(vec!["0", "1.0", "1e400"]))
            .prop_map(|(op, digits)| (op, digits.to_owned())),
        Just(("regex", r#""^a+|b$""#.to_owned())),
        any::<bool>().prop_map(|wanted| ("exists", wanted.to_string())),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    (path(), test())
        .prop_map(|(path, (op, v))| format!(r#"{{"path":"{path}","op":"{op}","value":{v}}}"#))
}

/// The members of a rule.
fn rule() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(r#""action":"allow""#.to_owned()),
        Just(r#""action":"deny""#.to_owned()),
        vec(condition(), 0..3).prop_map(|conditions| format!(
            r#""action":"require_approval","approval":{{"when":[{}]}}"#,
            conditions.join(",")
        )),
    ]
}

/// The parts of a policy, so that a test can add to them.
#[derive(Debug, Clone)]
struct Parts {
    default: &'static str,
    hide: Vec<&'static str>,
    tools: Vec<(String, String)>,
    matches: Vec<String>,
}

impl Parts {
    fn policy(&self) -> Policy {
        let hide: Vec<String> = self.hide.iter().map(|name| quote(name)).collect();
        let tools: Vec<String> =
            self.tools.iter().map(|(name, rule)| format!("{}:{{{rule}}}", quote(name))).collect();
        let text = format!(
            r#"{{"version":"1","default":"{}","hide":[{}],"tools":{{{}}},"match":[{}]}}"#,
            self.default,
            hide.join(","),
            tools.join(","),
            self.matches.join(",")
        );
        Policy::read(&text).unwrap_or_else(|problems| panic!("{problems:?} in {text}")).0
    }
}

fn parts() -> impl Strategy<Value = Parts> {
    let globs = select(vec!["t1", "t*", "*", "u?"]);
    let entry = (globs, any::<bool>(), rule()).prop_map(|(glob, by_agent, rule)| {
        let agents = if by_agent { r#""agents":["bot"],"# } else { "" };
        format!(r#"{{"tools":["{glob}"],{agents}{rule}}}"#)
    });
    (
        select(vec!["allow", "deny", "require_approval"]),
        vec(select(vec!["t2", "u*"]), 0..2),
        proptest::collection::btree_map("t[1-3]", rule(), 0..3),
        vec(entry, 0..3),
    )
        .prop_map(|(default, hide, tools, matches)| Parts {
            default,
            hide,
            tools: tools.into_iter().collect(),
            matches,
        })
}

fn tool() -> impl Strategy<Value = &'static str> {
    select(vec!["t1", "t2", "t3", "u1", "other"])
}

fn verdict(policy: &Policy, tool: &str, arguments: &str) -> (u8, String) {
    let arguments = json::parse(arguments).expect("the test writes JSON");
    let facts =
        CallFacts { agent: "bot", upstream: "images", tool, arguments: &arguments, risk: None };
    let explained = super::explain::lines(policy, &facts).pop().unwrap_or_default();
    match policy.evaluate(Method::CallTool, &facts) {
        Verdict::Ungoverned => panic!("every policy says something of tools"),
        Verdict::Hidden => {
            assert!(explained.starts_with("verdict: hidden"), "{explained}");
            (3, String::new())
        }
        Verdict::Ruled { action, rule, .. } => {
            assert_eq!(explained, format!("verdict: {} by {}", action.as_str(), rule.pointer));
            let strictness = match action {
                Action::Allow => 0,
                Action::RequireApproval => 1,
                Action::Deny => 2,
            };
            (strictness, rule.pointer.clone())
        }
    }
}

proptest! {
    #[test]
    fn every_spelling_of_the_same_arguments_gets_the_same_verdict(
        parts in parts(), tool in tool(), arguments in arguments(),
    ) {
        let policy = parts.policy();
        let (one, other) = (arguments.write(false), arguments.write(true));
        let canonical = |text: &str| json::parse(text).unwrap().canonical();
        prop_assert_eq!(canonical(&one), canonical(&other));

        prop_assert_eq!(verdict(&policy, tool, &one), verdict(&policy, tool, &other));
    }

    #[test]
    fn adding_a_deny_or_a_hide_never_loosens(
        parts in parts(), tool in tool(), arguments in arguments(),
        added in select(vec!["t1", "t*", "*", "u?", "t3"]), at in any::<prop::sample::Index>(),
    ) {
        let arguments = arguments.write(false);
        let before = verdict(&parts.policy(), tool, &arguments).0;

        let mut hiding = parts.clone();
        hiding.hide.push(added);
        let mut denying = parts.clone();
        let place = at.index(denying.matches.len() + 1);
        denying.matches.insert(place, format!(r#"{{"tools":["{added}"],"action":"deny"}}"#));
        let mut exact = parts;
        exact.tools.retain(|(name, _)| name != tool);
        exact.tools.push((tool.to_owned(), r#""action":"deny""#.to_owned()));

        for stricter in [hiding, denying, exact] {
            prop_assert!(verdict(&stricter.policy(), tool, &arguments).0 >= before);
        }
    }

    #[test]
    fn a_gated_rule_without_conditions_always_asks(
        mut parts in parts(), arguments in arguments(),
    ) {
        parts.hide.clear();
        parts.tools.retain(|(name, _)| name != "t1");
        parts.tools.push(("t1".to_owned(), r#""action":"require_approval""#.to_owned()));

        let verdict = verdict(&parts.policy(), "t1", &arguments.write(true));

        prop_assert_eq!(verdict, (1, "/tools/t1".to_owned()));
    }

    #[test]
    fn numbers_compare_as_scaled_integers_do(
        a in -2_000_i64..2_000, a_places in 0_u32..4,
        b in -2_000_i64..2_000, b_places in 0_u32..4,
    ) {
        // Both over 10^4, so that plain integers say which is more.
        let scaled = |n: i64, places: u32| n * 10_i64.pow(4 - places);
        let ordering = scaled(a, a_places).cmp(&scaled(b, b_places));
        let point = |n: i64, places: u32| {
            let sign = if n < 0 { "-" } else { "" };
            let (digits, unit) = (n.unsigned_abs(), 10_u64.pow(places));
            let fraction = format!("{:0width$}", digits % unit, width = places as usize);
            if places == 0 {
                format!("{sign}{digits}")
            } else {
                format!("{sign}{}.{fraction}", digits / unit)
            }
        };
        let arguments = format!(r#"{{"x":{}}}"#, point(a, a_places));

        for (op, holds) in [
            ("eq", ordering == Ordering::Equal),
            ("neq", ordering != Ordering::Equal),
            ("lt", ordering.is_lt()),
            ("lte", ordering.is_le()),
            ("gt", ordering.is_gt()),
            ("gte", ordering.is_ge()),
        ] {
            for limit in [point(b, b_places), format!("{b}e-{b_places}")] {
                let condition = format!(r#"{{"path":"args.x","op":"{op}","value":{limit}}}"#);
                let rule = format!(
                    r#""action":"require_approval","approval":{{"when":[{condition}]}}"#
                );
                let tools = vec![("t1".to_owned(), rule)];
                let parts = Parts { default: "deny", hide: vec![], tools, matches: vec![] };
                let asks = verdict(&parts.policy(), "t1", &arguments).0 == 1;
                // Another spelling than the shortest may be read as another number.
                let holds = holds || !json::is_shortest(&point(a, a_places));
                prop_assert_eq!(asks, holds, "{} {} {}", arguments, op, limit);
            }
        }
    }

    #[test]
    fn a_spelling_that_servers_may_read_otherwise_is_asked_about_with_every_condition(
        (op, v) in test(), arguments in members(value()), key in select(vec!["a", "b", "c"]),
        below in any::<bool>(), deep in any::<bool>(),
        number in select(vec!["1.0", "1e-400", "-0", "9007199254740993"]),
    ) {
        let path = format!("args.{key}{}", if below { ".x" } else { "" });
        let condition = format!(r#"{{"path":"{path}","op":"{op}","value":{v}}}"#);
        let rule = format!(r#""action":"require_approval","approval":{{"when":[{condition}]}}"#);
        let tools = vec![("t1".to_owned(), rule)];
        let policy = Parts { default: "deny", hide: vec![], tools, matches: vec![] }.policy();
        let others = arguments.iter().filter(|(k, _)| k != key);
        let others: Vec<String> =
            others.map(|(k, v)| format!("{}:{},", quote(k), v.write(false))).collect();
        let others = others.concat();
        let own = arguments.iter().find(|(k, _)| k == key).map(|(_, v)| v.write(false));
        let own = own.unwrap_or_else(|| "1".to_owned());
        let upper = key.to_uppercase();

        let beside = format!("{{{others}{}:{own},{}:null}}", quote(key), quote(&upper));
        prop_assert_eq!(verdict(&policy, "t1", &beside).0, 1, "{}", beside);
        if !below {
            let value = if deep { format!("[{{\"z\":{number}}}]") } else { number.to_owned() };
            let odd = format!("{{{others}{}:{value}}}", quote(key));
            prop_assert_eq!(verdict(&policy, "t1", &odd).0, 1, "{}", odd);
        }
    }

    #[test]
    fn reading_a_damaged_policy_never_panics(
        parts in parts(), cut in any::<prop::sample::Index>(), length in 0_usize..8,
        put in "[\\[\\]{}\",:*\\\\a0é]{0,3}",
    ) {
        let whole = format!(
            r#"{{"version":"1","default":"{}","match":[{}],"hide":["a~/b"]}}"#,
            parts.default,
            parts.matches.join(",")
        );
        let mut text: Vec<char> = whole.chars().collect();
        let from = cut.index(text.len());
        let to = (from + length).min(text.len());
        text.splice(from..to, put.chars());
        let text: String = text.into_iter().collect();

        match Policy::read(&text) {
            Ok((_, warnings)) => prop_assert!(warnings.iter().all(|p| p.warning)),
            Err(problems) => prop_assert!(problems.iter().any(|p| !p.warning)),
        }
    }
}
