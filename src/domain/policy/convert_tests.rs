//! What `convert` writes is Placet's own form, and decides as the file does.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::convert::convert;
use super::*;
use crate::domain::json;

/// Everything that a verdict means to a call.
#[derive(Debug, PartialEq)]
enum Judged {
    Hidden,
    Denied(Option<String>),
    Allowed(Vec<String>),
    Asked { reason: Option<String>, timeout: Option<Duration>, limits: Vec<String> },
}

fn judge(policy: &Policy, tool: &str, arguments: &str) -> Judged {
    let arguments = json::parse(arguments).unwrap();
    let facts = CallFacts { agent: "bot", upstream: "u", tool, arguments: &arguments, risk: None };
    match policy.evaluate(Method::CallTool, &facts) {
        Verdict::Ungoverned => panic!("tools are governed"),
        Verdict::Hidden => Judged::Hidden,
        Verdict::Ruled { action, rule, check } => match action {
            Action::Deny => Judged::Denied(rule.denial(check).reason),
            Action::Allow => Judged::Allowed(limits(rule)),
            Action::RequireApproval => Judged::Asked {
                reason: rule.reason.clone(),
                timeout: rule.approval.timeout,
                limits: limits(rule),
            },
        },
    }
}

/// What a rule counts, whatever its order.
fn limits(rule: &Rule) -> Vec<String> {
    let each = rule.limits.iter().map(|l| {
        let amount = match &l.amount {
            Amount::Fixed(n) => n.to_string(),
            Amount::SumOf(path) | Amount::CountOf(path) => path.text.clone(),
        };
        format!("{:?} {amount} {} {:?} {:?} {:?}", l.counter, l.max, l.window, l.scope, l.on_deny)
    });
    let mut all: Vec<String> = each.chain(rule.rate_limit.map(|l| format!("{l:?}"))).collect();
    all.sort();
    all
}

fn value() -> BoxedStrategy<String> {
    select(vec![
        "1",
        "\"1\"",
        "0.5",
        "9007199254740993",
        "true",
        "\"true\"",
        "null",
        "\"no\"",
        "\"a\"",
        "[1]",
        "[\"a\", 1]",
        "{\"k\": 1}",
    ])
    .prop_map(str::to_owned)
    .boxed()
}

fn condition() -> BoxedStrategy<String> {
    let path = select(vec!["args.a", "args.b", "args.o.k"]);
    let test = prop_oneof![
        (select(vec!["eq", "neq", "contains"]), value()).prop_map(|(op, v)| (op, v)),
        (select(vec!["in", "not_in"]), vec(value(), 1..3))
            .prop_map(|(op, v)| (op, format!("[{}]", v.join(",")))),
        (select(vec!["lt", "lte", "gt", "gte"]), select(vec!["1", "0.5", "9007199254740992"]))
            .prop_map(|(op, v)| (op, v.to_owned())),
        Just(("regex", "\"^[at]\"".to_owned())),
        any::<bool>().prop_map(|wanted| ("exists", wanted.to_string())),
    ];
    (path, test)
        .prop_map(|(path, (op, value))| {
            format!(r#"{{"path":"{path}","op":"{op}","value":{value}}}"#)
        })
        .boxed()
}

fn conditions(fewest: usize) -> BoxedStrategy<String> {
    vec(condition(), fewest..3).prop_map(|all| format!("[{}]", all.join(","))).boxed()
}

fn words() -> BoxedStrategy<String> {
    option::of(select(vec!["No.", "no", "it's: \\\"#\\\" \\n two", "\u{e9}\u{2028}"]))
        .prop_map(|text| text.map_or(String::new(), |text| format!(r#","on_deny":"{text}""#)))
        .boxed()
}

/// One of Intercept's rules; `n` makes its counter its own.
fn intercept_rule(tool: &'static str, n: usize) -> BoxedStrategy<String> {
    let owner = if tool == "*" { "_global" } else { tool };
    let period = select(vec!["minute", "hour", "day"]);
    prop_oneof![
        4 => (conditions(1), words()).prop_map(move |(c, words)| {
            format!(r#"{{"name":"r{n}","conditions":{c}{words}}}"#)
        }),
        3 => (conditions(0), words(), option::of(select(vec!["45m", "1h30m"]))).prop_map(
            move |(c, words, timeout)| {
                let timeout = timeout
                    .map_or(String::new(), |t| format!(r#","approval_timeout":"{t}""#));
                format!(
                    r#"{{"name":"r{n}","action":"require_approval","conditions":{c}{words}{timeout}}}"#
                )
            }
        ),
        1 => words().prop_map(move |words| {
            format!(r#"{{"name":"r{n}","action":"deny"{words}}}"#)
        }),
        1 => Just(format!(
            r#"{{"name":"r{n}","rate_limit":"{}/{}"}}"#,
            n + 1,
            ["minute", "hour", "day"][n % 3]
        )),
        2 => (period, select(vec!["\"increment\":3", "\"increment_from\":\"args.b\""]), words())
            .prop_map(move |(period, increment, words)| {
                format!(
                    r#"{{"name":"r{n}","conditions":[{{"path":"state.{owner}.c{n}","op":"lte","value":9}}],
                       "state":{{"counter":"c{n}","window":"{period}",{increment}}}{words}}}"#
                )
            }),
    ].boxed()
}

fn intercept_tool(tool: &'static str) -> BoxedStrategy<Option<String>> {
    let rules = (
        option::of(intercept_rule(tool, 0)),
        option::of(intercept_rule(tool, 1)),
        option::of(intercept_rule(tool, 2)),
    );
    option::weighted(
        0.8,
        rules.prop_map(move |(a, b, c)| {
            let rules: Vec<String> = [a, b, c].into_iter().flatten().collect();
            format!(r#""{tool}":{{"rules":[{}]}}"#, rules.join(","))
        }),
    )
    .boxed()
}

fn head() -> BoxedStrategy<String> {
    let hide = option::of(select(vec![r#"["u"]"#, r#"["*"]"#, "[]"]));
    (select(vec!["allow", "deny"]), hide)
        .prop_map(|(default, hide)| {
            let hide = hide.map_or(String::new(), |hide| format!(r#","hide":{hide}"#));
            format!(r#""version":"1","default":"{default}"{hide}"#)
        })
        .boxed()
}

fn intercept() -> BoxedStrategy<String> {
    (head(), intercept_tool("t"), intercept_tool("u"), intercept_tool("*"), any::<bool>())
        .prop_map(|(head, t, u, all, says_default)| {
            let head = if says_default { head } else { r#""version":"1""#.to_owned() };
            let tools: Vec<String> = [t, u, all].into_iter().flatten().collect();
            format!(r#"{{{head},"tools":{{{}}}}}"#, tools.join(","))
        })
        .boxed()
}

fn restrictions(n: usize) -> BoxedStrategy<String> {
    let check = (conditions(0), words()).prop_map(|(c, words)| {
        let c = if c == "[]" { r#"[{"path":"args.a","op":"exists"}]"#.to_owned() } else { c };
        format!(r#"{{"conditions":{c}{words}}}"#)
    });
    let denial =
        (conditions(0), words()).prop_map(|(c, words)| format!(r#"{{"conditions":{c}{words}}}"#));
    let limit =
        format!(r#""limits":[{{"counter":"c{n}","window":"hour","max":{n}7,"scope":"grant"}}]"#);
    (vec(prop_oneof![check, condition()], 0..3), vec(denial, 0..3), any::<(bool, bool)>())
        .prop_map(move |(require, deny_if, (limited, swapped))| {
            let mut keys = Vec::new();
            if !require.is_empty() {
                keys.push(format!(r#""require":[{}]"#, require.join(",")));
            }
            if !deny_if.is_empty() {
                keys.push(format!(r#""deny_if":[{}]"#, deny_if.join(",")));
            }
            if swapped {
                keys.reverse();
            }
            keys.extend(limited.then(|| limit.clone()));
            format!("{{{}}}", keys.join(","))
        })
        .boxed()
}

fn hosted() -> BoxedStrategy<String> {
    let all = option::of(restrictions(3));
    (head(), option::of(restrictions(1)), option::of(restrictions(2)), all)
        .prop_map(|(head, t, u, all)| {
            let tools = [("t", t), ("u", u)].into_iter();
            let tools = tools.filter_map(|(name, rule)| Some(format!(r#""{name}":{}"#, rule?)));
            let tools: Vec<String> = tools.collect();
            let all = all.map_or(String::new(), |all| format!(r#","all_tools":{all}"#));
            format!(r#"{{{head}{all},"tools":{{{}}}}}"#, tools.join(","))
        })
        .boxed()
}

fn flat() -> BoxedStrategy<String> {
    let rule = (select(vec!["allow", "deny", "require_approval"]), any::<(bool, bool)>()).prop_map(
        |(action, (reason, limit))| {
            let reason = if reason { r#","reason":"no""# } else { "" };
            let limit = if limit { r#","rate_limit":{"max":10,"window":60}"# } else { "" };
            format!(r#""action":"{action}"{reason}{limit}"#)
        },
    );
    (head(), vec(rule, 2..=2), any::<bool>())
        .prop_map(|(head, rules, is_list)| match is_list {
            true => format!(
                r#"{{{head},"rules":[{{"tool":"t",{}}},{{"tool":"u",{}}}]}}"#,
                rules[0], rules[1]
            ),
            false => format!(r#"{{{head},"tools":{{"t":{{{}}},"u":{{{}}}}}}}"#, rules[0], rules[1]),
        })
        .boxed()
}

fn arguments() -> BoxedStrategy<String> {
    let part = |key: &'static str| {
        option::of(value()).prop_map(move |v| v.map(|v| format!(r#""{key}":{v}"#)))
    };
    let inner = option::of(value()).prop_map(|v| v.map(|v| format!(r#""o":{{"k":{v}}}"#)));
    (part("a"), part("b"), inner)
        .prop_map(|(a, b, o)| {
            let all: Vec<String> = [a, b, o].into_iter().flatten().collect();
            format!("{{{}}}", all.join(","))
        })
        .boxed()
}

proptest! {
    #[test]
    fn what_is_converted_decides_as_before(
        text in prop_oneof![2 => intercept(), 2 => hosted(), 1 => flat()],
        calls in vec(arguments(), 8),
    ) {
        let (before, _) = Policy::read(&text).unwrap_or_else(|p| panic!("{p:?}\n{text}"));
        let made = convert(&before, "p.json");
        for (written, format) in [(&made.yaml, Format::Yaml), (&made.json, Format::Json)] {
            let (after, problems) = Policy::read_as(written, format)
                .unwrap_or_else(|p| panic!("{p:?}\n{text}\n{written}"));
            prop_assert_eq!(after.dialect(), Dialect::Own, "{}\n{:?}", written, problems);
            for tool in ["t", "u", "v"] {
                for arguments in &calls {
                    prop_assert_eq!(
                        judge(&before, tool, arguments),
                        judge(&after, tool, arguments),
                        "{} {}\n{}\n{}", tool, arguments, text, written
                    );
                }
            }
        }
    }
}

#[test]
fn what_is_converted_says_where_it_comes_from() {
    let text = "version: '1'\ntools:\n  t:\n    rules:\n    - name: eur\n      conditions: [{path: \
                args.currency, op: in, value: [eur, no]}]\n      on_deny: 'Only: EUR.'\n    - name: big\n      \
                action: require_approval\n      approval_timeout: 90m\n";
    let (policy, _) = Policy::read_as(text, Format::Yaml).unwrap();

    assert_eq!(
        convert(&policy, "old.yaml").yaml,
        r#"# In Placet's own form; PolicyLayer's Intercept form in old.yaml.
# loose: 5 and "5" are equal. null: absent: null counts as nothing.
version: "1"
# No default was written: Intercept allows what is not listed.
default: allow
tools:
  t:
    action: require_approval
    reason: big
    require:
      # /tools/t/rules/0
      - name: eur
        conditions:
          - {path: args.currency, op: in, value: ["eur","no"], loose: true, "null": absent}
        on_deny: "Only: EUR."
    # big: /tools/t/rules/1
    approval:
      timeout: "90m"
"#
    );
}
