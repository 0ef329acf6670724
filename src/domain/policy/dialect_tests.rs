//! PolicyLayer's forms load unchanged, and mean what they mean there.

use super::*;
use crate::domain::json;

fn read(text: &str) -> (Policy, Vec<Problem>) {
    Policy::read_as(text, Format::Yaml).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))
}

fn policy(text: &str) -> Policy {
    read(text).0
}

/// The errors of a YAML file, with their places in it.
fn errors(text: &str) -> String {
    let problems = Policy::read_as(text, Format::Yaml).expect_err(text);
    let errors = problems.iter().filter(|p| !p.warning);
    let spot = |p: &Problem| p.spot.map_or((0, 0), |s| (s.line, s.column));
    let lines: Vec<String> = errors.map(|p| format!("{}:{} {p}", spot(p).0, spot(p).1)).collect();
    lines.join("\n")
}

fn judge<'p>(policy: &'p Policy, tool: &str, arguments: &str) -> (String, Option<&'p Rule>) {
    let arguments = json::parse(arguments).unwrap();
    let facts = CallFacts { agent: "bot", upstream: "u", tool, arguments: &arguments, risk: None };
    match policy.evaluate(Method::CallTool, &facts) {
        Verdict::Ungoverned => ("ungoverned".to_owned(), None),
        Verdict::Hidden => ("hidden".to_owned(), None),
        Verdict::Ruled { action, rule, check } => {
            let denial = rule.denial(check);
            let by = if action == Action::Deny { denial.rule } else { rule.pointer.clone() };
            (format!("{} {by}", action.as_str()), Some(rule))
        }
    }
}

fn verdict(policy: &Policy, tool: &str, arguments: &str) -> String {
    judge(policy, tool, arguments).0
}

/// The limits of a tool: counter, amount, max, window and scope.
fn limits(policy: &Policy, tool: &str) -> Vec<String> {
    let rule = policy.rule_for("bot", tool, None).unwrap();
    let each = rule.limits.iter().map(|l| {
        let amount = match &l.amount {
            Amount::Fixed(n) => n.to_string(),
            Amount::SumOf(path) => path.text.clone(),
            Amount::CountOf(path) => format!("count of {}", path.text),
        };
        let counter = l.counter.as_deref().unwrap_or("-");
        format!("{counter}: {amount} <= {} {:?} {:?}", l.max, l.window, l.scope)
    });
    each.collect()
}

/// A tool of Intercept with these rules, everything else denied.
fn rules(rules: &str) -> String {
    format!("version: \"1\"\ndefault: deny\ntools:\n  t:\n    rules: [{rules}]\n")
}

/// Whether an `evaluate` rule with this condition lets the arguments through.
fn holds(condition: &str, arguments: &str) -> bool {
    let policy = policy(&rules(&format!("{{name: r, conditions: [{{{condition}}}]}}")));
    verdict(&policy, "t", arguments).starts_with("allow")
}

const INVOICES: &str = r#"version: "1"
default: deny
hide: [wipe_bucket]
tools:
  list_invoices: { rules: [] }
  pay_invoice:
    rules:
      - { name: eur-only, conditions: [{path: args.currency, op: in, value: [eur]}], on_deny: "Only EUR." }
      - name: day-cap
        conditions: [{path: state.pay_invoice.sum, op: lte, value: 250000}]
        state: {counter: sum, window: day, increment_from: args.cents}
      - name: big-payment
        action: require_approval
        conditions: [{path: args.cents, op: gt, value: 50000}]
        approval_timeout: "45m"
  "*": { rules: [{name: pace, rate_limit: 40/minute}] }
"#;

const RUN_SQL: &str = r#"{ "version":"1", "default":"deny", "hide":["drop_table"],
  "all_tools": {"limits":[{"counter":"pace","window":"minute","max":40,"scope":"grant"}]},
  "tools": { "list_rows": {},
    "run_sql": {
      "require": [{"conditions":[{"path":"args.ticket","op":"exists","value":true}],"on_deny":"Give a ticket."}],
      "deny_if": [{"conditions":[{"path":"args.sql","op":"regex","value":"(?i)\\bdrop\\b"}],"on_deny":"No DDL."}],
      "limits":  [{"counter":"run_sql_hour","window":"hour","max":30,"scope":"grant"}] } } }"#;

#[test]
fn the_seeds_policy_and_its_rate_limit_load_unchanged() {
    let seed = Policy::read(r#"{"version":"1","default":"deny","hide":["delete_image_set"]}"#);
    let (seed, warnings) = seed.unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(verdict(&seed, "delete_image_set", "{}"), "hidden");
    assert_eq!(verdict(&seed, "list_image_sets", "{}"), "deny /default");

    let flat = r#"{"version":"1","default":"deny","tools":{"copy_image_set":
        {"action":"allow","reason":"r","rate_limit":{"max":10,"window":60}}}}"#;
    let (flat, warnings) = Policy::read(flat).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let limit = flat.rule_for("bot", "copy_image_set", None).unwrap().rate_limit.unwrap();
    assert_eq!((limit.max, limit.window.as_secs(), limit.per_agent), (10, 60, false));
}

#[test]
fn the_flat_form_may_be_a_list_of_rules_with_their_tools() {
    let text =
        r#"{"version":"1","rules":[{"tool":"a","action":"allow"},{"tool":"b","action":"deny"}]}"#;
    let (policy, _) = Policy::read(text).unwrap();

    assert_eq!(verdict(&policy, "a", "{}"), "allow /rules/0");
    assert_eq!(verdict(&policy, "b", "{}"), "deny /rules/1");
    assert_eq!(verdict(&policy, "c", "{}"), "deny /default");
    let wrong = "version: '1'\nrules:\n- {action: allow}\n- {tool: a, action: allow}\n- {tool: a, action: deny}\n";
    let told = errors(wrong);
    assert!(told.contains("3:3 /rules/0/tool: is missing"), "{told}");
    assert!(told.contains("5:4 /rules/2/tool: \"a\" has a rule already, at /rules/1"), "{told}");
}

#[test]
fn intercepts_example_decides_as_there() {
    let (policy, problems) = read(INVOICES);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(policy.dialect(), Dialect::Intercept);

    assert_eq!(verdict(&policy, "wipe_bucket", "{}"), "hidden");
    assert_eq!(verdict(&policy, "list_invoices", "{}"), "allow /tools/list_invoices");
    assert_eq!(verdict(&policy, "other", "{}"), "deny /default", "the wildcard rescues nothing");
    assert_eq!(
        verdict(&policy, "pay_invoice", r#"{"currency":"usd","cents":1}"#),
        "deny /tools/pay_invoice/rules/0"
    );
    let (asked, rule) = judge(&policy, "pay_invoice", r#"{"currency":"eur","cents":50001}"#);
    assert_eq!(asked, "require_approval /tools/pay_invoice/rules/2");
    let rule = rule.unwrap();
    assert_eq!(rule.approval.timeout.unwrap().as_secs(), 45 * 60);
    assert_eq!(rule.name.as_deref(), Some("big-payment"));
    assert_eq!(rule.limits.len(), 2, "what is asked about counts too");
    assert_eq!(
        verdict(&policy, "pay_invoice", r#"{"currency":"eur","cents":50000}"#),
        "allow /tools/pay_invoice"
    );
    assert_eq!(
        limits(&policy, "pay_invoice"),
        [
            "pay_invoice.sum: args.cents <= 250000 Calendar(Day) Upstream",
            "_global._rate_minute: 1 <= 40 Calendar(Minute) Upstream"
        ]
    );
    assert_eq!(
        limits(&policy, "list_invoices"),
        ["_global._rate_minute: 1 <= 40 Calendar(Minute) Upstream"]
    );
}

#[test]
fn an_absent_default_allows_in_intercepts_form_and_warns() {
    let (policy, problems) =
        read("version: '1'\ntools:\n  t: {rules: [{name: no, action: deny, on_deny: Never.}]}\n");

    assert_eq!(verdict(&policy, "other", "{}"), "allow /default");
    assert_eq!(verdict(&policy, "t", "{}"), "deny /tools/t/rules/0");
    assert_eq!(policy.rule_for("b", "t", None).unwrap().reason.as_deref(), Some("Never."));
    assert!(problems[0].warning && problems[0].to_string().contains("/default: is missing"));
    // Placet's own form denies then.
    let own = policy_of(r#"{"version":"1","tools":{"t":{"action":"allow"}}}"#);
    assert_eq!(verdict(&own, "other", "{}"), "deny /default");
}

fn policy_of(json: &str) -> Policy {
    Policy::read(json).unwrap_or_else(|problems| panic!("{problems:?}")).0
}

#[test]
fn with_default_allow_unlisted_tools_get_the_rules_for_all() {
    let policy = policy(
        "version: '1'\ndefault: allow\ntools:\n  a: {rules: []}\n  '*':\n    rules:\n    - {name: why, \
         conditions: [{path: args.why, op: exists}]}\n    - {name: pace, rate_limit: 5/hour}\n    - {name: \
         big, action: require_approval, conditions: [{path: args.n, op: gt, value: 9}]}\n",
    );

    for tool in ["a", "other"] {
        assert_eq!(verdict(&policy, tool, "{}"), "deny /tools/*/rules/0");
        assert_eq!(
            verdict(&policy, tool, r#"{"why":"x","n":10}"#),
            "require_approval /tools/*/rules/2"
        );
        assert!(verdict(&policy, tool, r#"{"why":"x","n":9}"#).starts_with("allow"), "{tool}");
        assert_eq!(limits(&policy, tool).len(), 1);
    }
}

#[test]
fn equality_is_loose_in_intercepts_form_only() {
    assert!(holds("path: args.x, op: eq, value: 5", r#"{"x":"5"}"#));
    assert!(holds("path: args.x, op: in, value: ['5']", r#"{"x":5}"#));
    assert!(!holds("path: args.x, op: neq, value: true", r#"{"x":"true"}"#));
    assert!(!holds("path: args.x, op: lte, value: 5", r#"{"x":"1"}"#), "a string is no number");
    let own = r#"{"version":"1","tools":{"t":{"action":"allow","require":[{"path":"args.x","op":"eq","value":5}]}}}"#;
    assert_eq!(verdict(&policy_of(own), "t", r#"{"x":"5"}"#), "deny /tools/t/require/0");
    let hosted = r#"{"version":"1","default":"deny","tools":{"t":{"require":[{"path":"args.x","op":"eq","value":5}]}}}"#;
    assert_eq!(verdict(&policy_of(hosted), "t", r#"{"x":"5"}"#), "deny /tools/t/require/0");
}

#[test]
fn nothing_at_a_path_makes_a_condition_false_and_null_is_nothing() {
    for x in ["{}", r#"{"x":null}"#] {
        for op in ["eq", "neq", "lte", "gt", "regex", "contains"] {
            let value = if op == "regex" || op == "contains" { "'1'" } else { "1" };
            assert!(!holds(&format!("path: args.x, op: {op}, value: {value}"), x), "{op} {x}");
        }
        assert!(!holds("path: args.x, op: in, value: [1]", x));
        assert!(!holds("path: args.x, op: not_in, value: [1]", x));
        assert!(!holds("path: args.x, op: exists, value: true", x));
        assert!(holds("path: args.x, op: exists, value: false", x));
    }
}

#[test]
fn conditions_say_what_must_hold_or_when_people_are_asked_by_the_action_of_the_rule() {
    let asks = |arguments: &str| {
        let text = "{name: r, action: require_approval, conditions: [{path: args.env, op: eq, value: prod}]}";
        verdict(&policy(&rules(text)), "t", arguments).starts_with("require_approval")
    };
    assert!(asks(r#"{"env":"prod"}"#) && !asks(r#"{"env":"dev"}"#));
    assert!(asks("{}"), "a missing path asks, as in Placet's own form");
    assert!(holds("path: args.env, op: eq, value: prod", r#"{"env":"prod"}"#));
    assert!(!holds("path: args.env, op: eq, value: prod", r#"{"env":"dev"}"#));
}

#[test]
fn of_several_rules_that_ask_the_first_that_matches_asks_with_its_terms() {
    let text = rules(
        "{name: huge, action: require_approval, conditions: [{path: args.n, op: gt, value: 100}], \
         on_deny: Huge., approval_timeout: 1h30m}, {name: big, action: require_approval, conditions: \
         [{path: args.n, op: gt, value: 10}]}",
    );
    let policy = policy(&text);
    let asked = |n: u32| {
        let arguments = format!(r#"{{"n":{n}}}"#);
        let (by, rule) = judge(&policy, "t", &arguments);
        (by, rule.and_then(|r| r.reason.clone()))
    };

    assert_eq!(
        asked(101),
        ("require_approval /tools/t/rules/0".to_owned(), Some("Huge.".to_owned()))
    );
    assert_eq!(asked(11), ("require_approval /tools/t/rules/1".to_owned(), Some("big".to_owned())));
    assert_eq!(asked(10).0, "allow /tools/t");
    let first = &policy.rule_for("b", "t", None).unwrap().approvals[0];
    assert_eq!(first.approval.timeout.unwrap().as_secs(), 5400);
}

#[test]
fn paths_of_intercept_are_keys_between_dots_and_reach_into_no_list() {
    let (policy, problems) =
        read(&rules("{name: r, conditions: [{path: 'args.a[0].b', op: eq, value: 1}]}"));

    assert!(verdict(&policy, "t", r#"{"a[0]":{"b":1}}"#).starts_with("allow"));
    assert!(verdict(&policy, "t", r#"{"a":[{"b":1}]}"#).starts_with("deny"));
    assert!(problems[0].to_string().contains("reaches into no list"), "{problems:?}");
}

#[test]
fn counters_are_of_their_tool_or_of_all_and_may_be_looked_at_by_others() {
    let policy = policy(
        "version: '1'\ndefault: deny\ntools:\n  a:\n    rules:\n    - {name: own, conditions: [{path: \
         state.a.n, op: lt, value: 10}], state: {counter: n, window: hour, increment: 2}, on_deny: Enough.}\n  \
         b:\n    rules:\n    - {name: other, conditions: [{path: state.a.n, op: lte, value: 3}]}\n  '*':\n    \
         rules:\n    - {name: all, conditions: [{path: state._global.all, op: lte, value: 99}], state: \
         {counter: all, window: day}}\n",
    );

    let all = "_global.all: 1 <= 99 Calendar(Day) Upstream";
    assert_eq!(limits(&policy, "a"), ["a.n: 2 <= 9 Calendar(Hour) Upstream", all]);
    assert_eq!(limits(&policy, "b"), ["a.n: 0 <= 3 Calendar(Hour) Upstream", all]);
    let rule = policy.rule_for("bot", "a", None).unwrap();
    assert_eq!(rule.limits[0].pointer, "/tools/a/rules/0");
    assert_eq!(rule.limits[0].on_deny.as_deref(), Some("Enough."));
}

#[test]
fn a_rule_for_all_that_denies_denies_every_tool() {
    let policy = policy(
        "version: '1'\ndefault: allow\ntools:\n  a: {rules: []}\n  '*': {rules: [{name: off, action: deny}]}\n",
    );

    assert_eq!(verdict(&policy, "a", "{}"), "deny /tools/*/rules/0");
    assert_eq!(verdict(&policy, "other", "{}"), "deny /tools/*/rules/0");
}

#[test]
fn everything_may_be_hidden() {
    let policy = policy("version: '1'\ndefault: allow\nhide: ['*']\ntools:\n  a: {rules: []}\n");

    assert_eq!(verdict(&policy, "a", "{}"), "hidden");
}

#[test]
fn what_intercept_gets_wrong_is_refused() {
    let rule = |text: &str| errors(&rules(text));
    for (told, said) in [
        // 1: a negative increment fills a cap up again.
        (
            rule(
                "{name: r, conditions: [{path: state.t.n, op: lte, value: 5}], state: {counter: n, window: day, increment: -1}}",
            ),
            "/tools/t/rules/0/state/increment: -1 can't be counted",
        ),
        // 2: fractions are cut off.
        (
            rule(
                "{name: r, conditions: [{path: state.t.n, op: lte, value: 5}], state: {counter: n, window: day, increment: 0.99}}",
            ),
            "0.99 can't be counted",
        ),
        // 3: unknown keys are ignored.
        (
            errors("version: '1'\ndefalt: deny\ntools: {t: {rules: []}}\n"),
            "2:1 /defalt: unknown key \"defalt\"; did you mean \"default\"?",
        ),
        (rule("{name: r, acton: deny}"), "did you mean \"action\"?"),
        // 5: a counter without a limit is never asked.
        (
            rule(
                "{name: r, conditions: [{path: args.x, op: exists}], state: {counter: n, window: day}}",
            ),
            "/tools/t/rules/0/state: would count and never limit",
        ),
        (
            rule(
                "{name: r, conditions: [{path: state.t.n, op: gte, value: 5}], state: {counter: n, window: day}}",
            ),
            "\"gte\" can't be asked of a counter",
        ),
        (
            rule("{name: r, conditions: [{path: state.t.n, op: lte, value: 5}]}"),
            "no rule counts t.n, so this could never hold",
        ),
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    // 7: numbers beyond doubles compare wrongly.
    assert!(!holds("path: args.x, op: lte, value: 9007199254740992", r#"{"x":9007199254740993}"#));
}

#[test]
fn intercepts_form_is_read_strictly() {
    for (text, said) in [
        ("{action: deny}", "/tools/t/rules/0/name: is missing"),
        ("{name: r}", "/tools/t/rules/0/conditions: are missing"),
        ("{name: r, conditions: []}", "/tools/t/rules/0/conditions: are missing"),
        (
            "{name: r, action: deny, conditions: [{path: args.x, op: exists}]}",
            "conditions: has no effect",
        ),
        (
            "{name: r, rate_limit: 5/minute, conditions: [{path: args.x, op: exists}]}",
            "beside rate_limit",
        ),
        ("{name: r, rate_limit: 5/week}", "\"5/week\" is no rate"),
        ("{name: r, rate_limit: 0/minute}", "\"0/minute\" is no rate"),
        ("{name: r, rate_limit: -5/minute}", "is no rate"),
        ("{name: r, rate_limit: 5/minute}, {name: s, rate_limit: 9/minute}", "limited twice"),
        ("{name: r, action: require_approval, approval_timeout: soon}", "is not a duration"),
        ("{name: r, conditions: [{path: args.x, op: exists}], approval_timeout: 5m}", "alone"),
        ("{name: r, action: ask}", "known: evaluate, deny, require_approval"),
        ("{name: r, conditions: [{path: agent.name, op: eq, value: x}]}", "is not a path"),
        ("{name: r, conditions: [{path: args, op: exists}]}", "is not a path"),
        ("{name: r, conditions: [{path: args.x, op: like, value: x}]}", "unknown word \"like\""),
        (
            "{name: r, conditions: [{path: args.x, op: regex, value: '('}]}",
            "not a regular expression",
        ),
        (
            "{name: r, action: require_approval, conditions: [{path: state.t.n, op: lte, value: 1}]}",
            "counters can't say when people are asked",
        ),
        (
            "{name: r, conditions: [{path: state.t.n, op: lte, value: 1}], state: {counter: n, window: day, increment_from: cents}}",
            "\"cents\" is not a path",
        ),
        (
            "{name: r, conditions: [{path: state.t.n, op: lte, value: 1}], state: {counter: n, window: month}}",
            "known: minute, hour, day",
        ),
    ] {
        let told = errors(&rules(text));
        assert!(told.contains(said), "{text}: {told}");
    }
    let top = |text: &str| errors(&format!("{text}\ntools: {{t: {{rules: []}}}}\n"));
    assert!(top("default: deny").contains("/version: is missing"));
    assert!(top("version: '2'").contains("version \"2\" is not known"));
    assert!(top("version: '1'\ndefault: require_approval").contains("known: allow, deny"));
    assert!(top("version: '1'\nhide: [a, a]").contains("/hide/1: \"a\" is given twice"));
    assert!(top("version: '1'\nhide: ['']").contains("/hide/0: is empty"));
    assert!(top("version: '1'\nhide: ['a_*']").contains("names here are exact"));
}

#[test]
fn webhooks_of_intercept_are_told_to_be_without_effect() {
    let text = "version: 1\ndefault: deny\napprovals: {webhook: {url: 'https://a'}}\ntools: {t: {rules: []}, u: }\n";
    let (policy, problems) = read(text);

    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(told[0].starts_with("/approvals: has no effect: Placet tells reviewers"), "{told:?}");
    assert!(told[1].starts_with("/tools/u: has no rules: every call is allowed"), "{told:?}");
    assert_eq!(verdict(&policy, "u", "{}"), "allow /tools/u");
}

#[test]
fn the_hosted_example_decides_as_there() {
    let (policy, problems) = Policy::read(RUN_SQL).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(policy.dialect(), Dialect::Hosted);

    assert_eq!(verdict(&policy, "drop_table", "{}"), "hidden");
    assert_eq!(verdict(&policy, "list_rows", "{}"), "allow /tools/list_rows");
    assert_eq!(verdict(&policy, "other", "{}"), "deny /default");
    for (arguments, by) in [
        (r#"{"sql":"select 1"}"#, "deny /tools/run_sql/require/0"),
        (r#"{"sql":"select 1","ticket":null}"#, "deny /tools/run_sql/require/0"),
        (r#"{"sql":"DROP table a","ticket":"T"}"#, "deny /tools/run_sql/deny_if/0"),
        (r#"{"sql":["drop"],"ticket":"T"}"#, "deny /tools/run_sql/deny_if/0"),
        (r#"{"sql":"select 1","ticket":"T"}"#, "allow /tools/run_sql"),
        (r#"{"ticket":"T"}"#, "allow /tools/run_sql"),
    ] {
        assert_eq!(verdict(&policy, "run_sql", arguments), by, "{arguments}");
    }
    let all = "pace: 1 <= 40 Calendar(Minute) Agent";
    assert_eq!(limits(&policy, "run_sql"), ["run_sql_hour: 1 <= 30 Calendar(Hour) Agent", all]);
    assert_eq!(limits(&policy, "list_rows"), [all]);
}

#[test]
fn a_hosted_tool_without_conditions_to_deny_by_is_denied() {
    let text = r#"{"version":"1","default":"allow","tools":{"t":{"deny_if":[
        {"conditions":[],"on_deny":"Requires human approval."}]}}}"#;
    let policy = policy_of(text);

    assert_eq!(verdict(&policy, "t", "{}"), "deny /tools/t/deny_if/0");
    let rule = policy.rule_for("bot", "t", None).unwrap();
    assert_eq!(rule.action, Action::Deny, "lists of tools show it as denied");
    assert_eq!(rule.reason.as_deref(), Some("Requires human approval."));
}

#[test]
fn the_hosted_form_is_read_strictly() {
    let tool =
        |text: &str| errors(&format!("{{version: '1', default: deny, tools: {{t: {{{text}}}}}}}"));
    for (text, said) in [
        ("limits: [{counter: a, window: week, max: 1, scope: grant}]", "known: minute, hour, day"),
        ("limits: [{counter: a, window: day, max: -1, scope: grant}]", "-1 is negative"),
        ("limits: [{counter: a, window: day, max: 1, scope: team}]", "known: grant"),
        ("limits: [{window: day, max: 1}]", "/tools/t/limits/0/counter: is missing"),
        ("limits: [{counter: a, window: day, maximum: 1}]", "unknown key \"maximum\""),
        ("require: [], rate_limit: {max: 1, window: 1}", "unknown key \"rate_limit\""),
    ] {
        let told = tool(text);
        assert!(told.contains(said), "{text}: {told}");
    }
    let told = errors("{tools: {t: {}}}");
    assert!(
        told.contains("/default: is missing") && told.contains("/version: is missing"),
        "{told}"
    );
}

#[test]
fn a_mixture_of_forms_names_both_places() {
    for (text, said) in [
        (
            "tools: {a: {rules: []}, b: {action: deny}}",
            "/tools/a: is of PolicyLayer's Intercept form, and /tools/b of Placet's own form",
        ),
        (
            "all_tools: {}\ntools: {a: {rules: []}}",
            "/tools/a: is of PolicyLayer's Intercept form, and /all_tools of PolicyLayer's hosted form",
        ),
        (
            "match: []\ntools: {a: {}}",
            "/tools/a: is of PolicyLayer's hosted form, and /match of Placet's own form; write an \"action\"",
        ),
        (
            "tools: {a: {action: allow}, b: {require: []}}",
            "/tools/b: is of PolicyLayer's hosted form, and /tools/a of Placet's own form",
        ),
    ] {
        let told = errors(&format!("version: '1'\ndefault: deny\n{text}\n"));
        assert!(told.contains(said), "{text}: {told}");
    }
}

#[test]
fn own_approvals_may_be_several_each_with_its_terms() {
    let text = r#"{"version":"1","tools":{"t":{"action":"require_approval","reason":"r","rate_limit":
        {"max":3,"window":60},"approval":[
          {"name":"prod","reason":"It is production.","when":[{"path":"args.env","op":"eq","value":"prod"}],"quorum":2},
          {"when":[{"path":"args.n","op":"gt","value":5}],"timeout":"5m"}]}}}"#;
    let (policy, problems) = Policy::read(text).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    let (by, rule) = judge(&policy, "t", r#"{"env":"prod","n":9}"#);
    assert_eq!(by, "require_approval /tools/t/approval/0");
    let rule = rule.unwrap();
    assert_eq!(
        (rule.approval.quorum, rule.reason.as_deref()),
        (Some(2), Some("It is production."))
    );
    assert_eq!((rule.counted_under(), rule.rate_limit.unwrap().max), ("/tools/t", 3));
    let (by, rule) = judge(&policy, "t", r#"{"env":"dev","n":9}"#);
    assert_eq!(by, "require_approval /tools/t/approval/1");
    assert_eq!(rule.unwrap().reason.as_deref(), Some("r"));
    assert_eq!(verdict(&policy, "t", r#"{"env":"dev","n":5}"#), "allow /tools/t");

    let always = r#"{"version":"1","tools":{"t":{"action":"require_approval","approval":[{},{"quorum":2}]}}}"#;
    let (_, problems) = Policy::read(always).unwrap();
    assert!(problems[0].to_string().starts_with("/tools/t/approval/1: never asks"), "{problems:?}");
    let none = "version: '1'\ntools: {t: {action: require_approval, approval: []}}";
    assert!(errors(none).contains("/tools/t/approval: needs one to 16 approvals"));
}
