//! Preconditions: what holds, what is denied, and what is told.

use super::*;
use crate::domain::json;

fn policy(tool: &str, all: &str) -> Policy {
    let text = format!(r#"{{"version":"1","all_tools":{all},"tools":{{"t":{tool}}}}}"#);
    Policy::read(&text).unwrap_or_else(|problems| panic!("{problems:?}")).0
}

/// The action and what decides, and what the agent is told of a denial.
fn judged(policy: &Policy, arguments: &str) -> (String, Option<String>) {
    let arguments = json::parse(arguments).unwrap();
    let facts = CallFacts {
        agent: "bot",
        upstream: "images",
        tool: "t",
        arguments: &arguments,
        risk: None,
    };
    let Verdict::Ruled { action, rule, check } = policy.evaluate(Method::CallTool, &facts) else {
        panic!("not ruled")
    };
    let denial = rule.denial(check);
    match action {
        Action::Deny => (format!("deny {}", denial.rule), denial.reason),
        _ => (format!("{} {}", action.as_str(), rule.pointer), None),
    }
}

/// Whether a `require` of one condition on `args.x` lets a call through.
fn holds(condition: &str, arguments: &str) -> bool {
    let tool = format!(r#"{{"action":"allow","require":[{{"path":"args.x",{condition}}}]}}"#);
    judged(&policy(&tool, "{}"), arguments).0.starts_with("allow")
}

/// Whether a `deny_if` of one condition on `args.x` denies a call.
fn denied(condition: &str, arguments: &str) -> bool {
    let tool = format!(
        r#"{{"action":"allow","deny_if":[{{"conditions":[{{"path":"args.x",{condition}}}]}}]}}"#
    );
    judged(&policy(&tool, "{}"), arguments).0.starts_with("deny")
}

#[test]
fn a_precondition_holds_only_where_its_value_certainly_is_as_it_says() {
    for (condition, good, bad) in [
        (r#""op":"eq","value":5"#, r#"{"x":5}"#, r#"{"x":"5"}"#),
        (r#""op":"lte","value":10"#, r#"{"x":10}"#, r#"{"x":"1"}"#),
        (r#""op":"in","value":["eur"]"#, r#"{"x":"eur"}"#, r#"{"X":"eur","x":"eur"}"#),
        (r#""op":"neq","value":"prod""#, r#"{"x":"dev"}"#, "{}"),
        (r#""op":"not_in","value":[1]"#, r#"{"x":2}"#, r#"{"x":1.0}"#),
        (r#""op":"regex","value":"^a""#, r#"{"x":"ab"}"#, r#"{"x":["ab"]}"#),
        (r#""op":"contains","value":"b""#, r#"{"x":"abc"}"#, r#"{"x":{"b":1}}"#),
        (r#""op":"exists""#, r#"{"x":null}"#, "{}"),
        (r#""op":"exists","value":false"#, "{}", r#"{"x":null}"#),
    ] {
        assert!(holds(condition, good), "{condition} {good}");
        assert!(!holds(condition, bad), "{condition} {bad}");
    }
}

#[test]
fn numbers_of_preconditions_compare_exactly() {
    let condition = r#""op":"lte","value":9007199254740992"#;

    assert!(holds(condition, r#"{"x":9007199254740992}"#));
    assert!(!holds(condition, r#"{"x":9007199254740993}"#));
}

#[test]
fn all_elements_must_hold_and_any_element_denies() {
    let over = |kind: &str, arguments: &str| {
        let condition = r#"{"path":"args.x[*].n","op":"lt","value":5}"#;
        let tool = format!(r#"{{"action":"allow","{kind}":[{condition}]}}"#);
        judged(&policy(&tool, "{}"), arguments).0
    };

    assert_eq!(over("require", r#"{"x":[{"n":1},{"n":2}]}"#), "allow /tools/t");
    assert_eq!(over("require", r#"{"x":[{"n":1},{"n":9}]}"#), "deny /tools/t/require/0");
    assert_eq!(over("require", r#"{"x":[{"n":1},{}]}"#), "deny /tools/t/require/0");
    assert_eq!(over("require", r#"{"x":[]}"#), "deny /tools/t/require/0");
    assert_eq!(over("deny_if", r#"{"x":[{},{"n":9},{"n":1}]}"#), "deny /tools/t/deny_if/0");
    assert_eq!(over("deny_if", r#"{"x":[{},{"n":9}]}"#), "allow /tools/t");
}

#[test]
fn what_denies_a_call_never_fails_open() {
    let ddl = r#""op":"regex","value":"(?i)\\bdrop\\b""#;

    assert!(denied(ddl, r#"{"x":"DROP TABLE a"}"#));
    assert!(!denied(ddl, r#"{"x":"select 1"}"#));
    assert!(!denied(ddl, "{}"), "nothing is there to match");
    for unsure in [r#"{"x":["drop table a"]}"#, r#"{"x":1}"#, r#"{"X":"drop","x":"select"}"#] {
        assert!(denied(ddl, unsure), "{unsure}");
    }
    assert!(denied(r#""op":"eq","value":1"#, r#"{"x":1.0}"#));
}

#[test]
fn a_denial_without_conditions_denies_every_call() {
    let policy =
        policy(r#"{"action":"allow","deny_if":[{"conditions":[],"on_deny":"Never."}]}"#, "{}");

    assert_eq!(
        judged(&policy, "{}"),
        ("deny /tools/t/deny_if/0".to_owned(), Some("Never.".to_owned()))
    );
}

#[test]
fn the_agent_is_told_the_words_of_the_policy_or_where_it_looked() {
    let policy = policy(
        r#"{"action":"require_approval","require":[
             {"conditions":[{"path":"args.ticket","op":"exists"}],"on_deny":"Give a ticket.","name":"ticket"},
             {"path":"args.env","op":"eq","value":"secret-name"}]}"#,
        "{}",
    );

    assert_eq!(judged(&policy, "{}").1.unwrap(), "Give a ticket.");
    assert_eq!(
        judged(&policy, r#"{"ticket":"T-1"}"#),
        (
            "deny /tools/t/require/1".to_owned(),
            Some("a condition on args.env does not hold".to_owned())
        )
    );
    assert_eq!(
        judged(&policy, r#"{"ticket":"T-1","env":"secret-name"}"#).0,
        "require_approval /tools/t"
    );
}

#[test]
fn what_all_tools_need_is_judged_after_what_the_tool_needs() {
    let all = r#"{"require":[{"path":"args.why","op":"exists"}],
                  "deny_if":[{"conditions":[{"path":"args.x","op":"eq","value":1}]}]}"#;
    let own = r#"{"action":"allow","require":[{"path":"args.x","op":"exists"}]}"#;
    let policy = policy(own, all);

    assert_eq!(judged(&policy, "{}").0, "deny /tools/t/require/0");
    assert_eq!(judged(&policy, r#"{"x":2}"#).0, "deny /all_tools/require/0");
    assert_eq!(judged(&policy, r#"{"x":1,"why":""}"#).0, "deny /all_tools/deny_if/0");
    assert_eq!(judged(&policy, r#"{"x":2,"why":""}"#).0, "allow /tools/t");
}

#[test]
fn loose_equality_and_absent_nulls_hold_only_where_they_are_written() {
    let loose = r#""op":"eq","value":"5","loose":true"#;
    assert!(holds(loose, r#"{"x":5}"#) && holds(loose, r#"{"x":"5"}"#));
    assert!(!holds(loose, r#"{"x":[5]}"#) && !holds(loose, r#"{"x":null}"#));
    assert!(!holds(r#""op":"neq","value":true,"loose":true"#, r#"{"x":"true"}"#));
    assert!(holds(r#""op":"contains","value":5,"loose":true"#, r#"{"x":["5"]}"#));

    let absent = |op: &str| format!(r#""op":"{op}","value":true,"null":"absent""#);
    assert!(!holds(&absent("exists"), r#"{"x":null}"#));
    assert!(!holds(&absent("neq"), r#"{"x":null}"#));
    assert!(!denied(&absent("exists"), r#"{"x":null}"#));
    assert!(denied(&absent("eq"), r#"{"x":null}"#), "a filter does not fail open");
}

#[test]
fn preconditions_are_read_strictly() {
    let errors = |tool: &str| -> Vec<String> {
        let text = format!(r#"{{"version":"1","tools":{{"t":{{"action":"allow",{tool}}}}}}}"#);
        Policy::read(&text).unwrap_err().iter().map(ToString::to_string).collect()
    };

    for (tool, said) in [
        (r#""require":{}"#, "/tools/t/require: is an object"),
        (r#""require":[{}]"#, "/tools/t/require/0/conditions: is missing"),
        (r#""deny_if":[{"on_deny":"x"}]"#, "[] denies every call"),
        (r#""require":[{"conditions":[]}]"#, "/tools/t/require/0/conditions: is an empty list"),
        (r#""deny_if":[{"conditons":[]}]"#, "did you mean \"conditions\"?"),
        (r#""require":[{"path":"args.x","op":"eq","value":1,"loos":true}]"#, "\"loose\"?"),
        (r#""require":[{"path":"args.x","op":"eq","value":1,"null":"no"}]"#, "known: absent"),
        (r#""deny_if":[{"conditions":[],"on_deny":""}]"#, "/tools/t/deny_if/0/on_deny: is empty"),
    ] {
        let errors = errors(tool);
        assert!(errors.iter().any(|e| e.contains(said)), "{tool}: {errors:?}");
    }
    let many = vec![r#"{"conditions":[]}"#; MAX_CHECKS + 1].join(",");
    assert!(errors(&format!(r#""deny_if":[{many}]"#))[0].contains("more than 64 entries"));
}

#[test]
fn preconditions_of_resources_are_judged_by_every_reading_of_their_uri() {
    let text = r#"{"version":"1","resources":{"rules":{"file:///*":{"action":"allow",
        "deny_if":[{"path":"args.uri","op":"contains","value":"/secret/"}]}}}}"#;
    let (policy, _) = Policy::read(text).unwrap();
    let action = |uri: &str| {
        let params = json::object([("uri", json::quote(uri).as_str())]);
        let call = ToolCall::read_as(Method::ReadResource, "u", &params).unwrap();
        match policy.judge("bot", &call, None).unwrap() {
            Verdict::Ruled { action, .. } => action,
            other => panic!("{other:?}"),
        }
    };

    assert_eq!(action("file:///a"), Action::Allow);
    assert_eq!(action("file:///secret/a"), Action::Deny);
    assert_eq!(action("file:///x/../secret/a"), Action::Deny);
}

#[test]
fn explain_says_what_each_precondition_finds() {
    let policy = policy(
        r#"{"action":"allow","require":[{"path":"args.x","op":"eq","value":1}]}"#,
        r#"{"deny_if":[{"conditions":[{"path":"args.y","op":"exists"}],"name":"no-y"}]}"#,
    );
    let explain = |arguments: &str| {
        let params = format!(r#"{{"name":"t","arguments":{arguments}}}"#);
        let call = ToolCall::read("images", &params).unwrap();
        policy.explain("bot", &call, None).join("\n")
    };

    let denied = explain("{}");
    for said in [
        "require: /tools/t/require/0: args.x eq 1: nothing is there, so it does not hold",
        "require: /tools/t/require/0 denies the call",
        "verdict: deny by /tools/t/require/0",
    ] {
        assert!(denied.contains(said), "{said}: {denied}");
    }
    let allowed = explain(r#"{"x":1}"#);
    assert!(allowed.contains("deny_if: /all_tools/deny_if/0 (no-y) does not apply"), "{allowed}");
    assert!(allowed.ends_with("verdict: allow by /tools/t"), "{allowed}");
}
