//! The policy as its author sees it: order, conditions, problems.

use std::time::Duration;

use super::*;
use crate::domain::approval::{Assurance, Join, Unattended};
use crate::domain::json;

const EXAMPLE: &str = r#"{
  "version": "1",
  "default": "deny",
  "hide": ["wipe_archive"],
  "tools": {
    "list_image_sets": { "action": "allow" },
    "copy_image_set":  { "action": "allow", "rate_limit": { "max": 10, "window": 60 } },
    "delete_image_set": {
      "action": "require_approval",
      "reason": "Deleting an image set cannot be undone.",
      "approval": {
        "when": [ { "path": "args.datastore_id", "op": "not_in", "value": ["sandbox"] } ],
        "reviewers": ["group:oncall", "ana"],
        "quorum": 1, "timeout": "30m", "notify": ["mail", "ops"], "unattended": "wait"
      }
    }
  },
  "match": [ { "tools": ["purge_*"], "action": "deny", "reason": "Never." },
             { "risk": ["destructive", "financial"], "action": "require_approval" } ]
}"#;

fn policy(text: &str) -> Policy {
    Policy::read(text).unwrap_or_else(|problems| panic!("{problems:?}")).0
}

/// `hidden`, or the action and the deciding rule.
fn verdict_of(policy: &Policy, agent: &str, tool: &str, arguments: &str) -> String {
    let arguments = json::parse(arguments).unwrap();
    let facts = CallFacts { agent, upstream: "images", tool, arguments: &arguments, risk: None };
    match policy.evaluate(Method::CallTool, &facts) {
        Verdict::Ungoverned => "ungoverned".to_owned(),
        Verdict::Hidden => "hidden".to_owned(),
        Verdict::Ruled { action, rule, check } => {
            let pointer = match action {
                Action::Deny => rule.denial(check).rule,
                _ => rule.pointer.clone(),
            };
            format!("{} {pointer}", action.as_str())
        }
    }
}

fn verdict(policy: &Policy, tool: &str, arguments: &str) -> String {
    verdict_of(policy, "bot", tool, arguments)
}

/// Whether a gated tool with this one condition is asked about.
pub(super) fn asks(condition: &str, arguments: &str) -> bool {
    let text = format!(
        r#"{{"version":"1","tools":{{"t":{{"action":"require_approval","approval":{{"when":[{condition}]}}}}}}}}"#
    );
    match verdict(&policy(&text), "t", arguments).as_str() {
        "require_approval /tools/t" => true,
        "allow /tools/t" => false,
        other => panic!("{other}"),
    }
}

/// Whether `args.x` of this JSON is asked about.
fn asks_x(op: &str, value: &str, x: &str) -> bool {
    asks(&format!(r#"{{"path":"args.x","op":"{op}","value":{value}}}"#), &format!(r#"{{"x":{x}}}"#))
}

fn errors(text: &str) -> Vec<String> {
    let problems = Policy::read(text).expect_err("an error was expected");
    problems.iter().filter(|p| !p.warning).map(ToString::to_string).collect()
}

fn warnings(text: &str) -> Vec<String> {
    let (_, problems) = Policy::read(text).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert!(problems.iter().all(|p| p.warning));
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn the_example_is_read_without_a_warning_and_decides_as_it_says() {
    assert_eq!(warnings(EXAMPLE), Vec::<String>::new());
    let policy = policy(EXAMPLE);

    assert_eq!(verdict(&policy, "wipe_archive", "{}"), "hidden");
    assert_eq!(verdict(&policy, "list_image_sets", "{}"), "allow /tools/list_image_sets");
    assert_eq!(
        verdict(&policy, "delete_image_set", r#"{"datastore_id":"prod"}"#),
        "require_approval /tools/delete_image_set"
    );
    assert_eq!(
        verdict(&policy, "delete_image_set", r#"{"datastore_id":"sandbox"}"#),
        "allow /tools/delete_image_set"
    );
    assert_eq!(verdict(&policy, "purge_all", "{}"), "deny /match/0");
    assert_eq!(verdict(&policy, "get_image_set", "{}"), "require_approval /match/1");
}

#[test]
fn every_term_of_a_rule_reaches_its_field() {
    let policy = policy(
        r#"{"version":"1","description":"d","tools":{"t":{"action":"require_approval","reason":"r",
        "rate_limit":{"max":3,"window":60,"per":"agent"},"sensitive":true,"redact":["ssn"],
        "approval":{"reviewers":["ana"],"quorum":2,"timeout":"30m","notify":[],"unattended":"run",
        "cooldown":"0s","claim_window":"2h","assurance":"session",
        "grant":{"max_uses":20,"max_duration":"1h"}}}}}"#,
    );
    let rule = policy.rule_for("bot", "t", None).unwrap();

    assert_eq!(rule.reason.as_deref(), Some("r"));
    let limit = RateLimit { max: 3, window: Duration::from_mins(1), per_agent: true };
    assert_eq!(rule.rate_limit, Some(limit));
    assert!(rule.sensitive);
    assert_eq!(rule.redact, ["ssn"]);
    assert_eq!(rule.approval.reviewers.as_deref(), Some(&["ana".to_owned()][..]));
    assert_eq!(rule.approval.quorum, Some(2));
    assert_eq!(rule.approval.timeout, Some(Duration::from_mins(30)));
    assert_eq!(rule.approval.notify.as_deref(), Some(&[][..]));
    assert_eq!(rule.approval.unattended, Unattended::Run);
    assert_eq!(rule.approval.cooldown, Some(Duration::ZERO));
    assert_eq!(rule.approval.claim_window, Some(Duration::from_hours(2)));
    assert_eq!(rule.approval.assurance, Some(Assurance::Session));
    let grant = GrantLimits { max_uses: 20, max_duration: Duration::from_hours(1) };
    assert_eq!(rule.approval.grant, Some(grant));
    assert_eq!(policy.description(), Some("d"));
    let rules: Vec<&str> = policy.rules().map(|r| r.pointer.as_str()).collect();
    assert_eq!(rules, ["/tools/t", "/default"]);
}

#[test]
fn an_empty_policy_denies_everything() {
    let policy = policy("{}");

    assert_eq!(verdict(&policy, "t", "{}"), "deny /default");
    assert_eq!(warnings("{}"), ["/version: is missing; write \"version\": \"1\""]);
}

#[test]
fn hide_comes_before_the_exact_entry_and_that_before_the_first_fitting_match() {
    let policy = policy(
        r#"{"version":"1","default":"require_approval","hide":["h","secret_*"],
        "tools":{"h":{"action":"allow"},"a/b":{"action":"allow"},"secret_x":{"action":"allow"}},
        "match":[{"tools":["a*"],"agents":["ci"],"action":"allow"},
                 {"tools":["zz","a*"],"action":"deny"},{"tools":["ab*"],"agents":["ci"],"action":"allow"}]}"#,
    );

    assert_eq!(verdict(&policy, "h", "{}"), "hidden");
    assert_eq!(verdict(&policy, "secret_x", "{}"), "hidden");
    assert!(policy.hides("secret_") && !policy.hides("Secret_x"));
    assert_eq!(verdict(&policy, "a/b", "{}"), "allow /tools/a~1b");
    assert_eq!(verdict(&policy, "abc", "{}"), "deny /match/1");
    assert_eq!(verdict_of(&policy, "ci", "abc", "{}"), "allow /match/0");
    assert_eq!(verdict(&policy, "other", "{}"), "require_approval /default");
}

#[test]
fn all_conditions_must_match_to_ask() {
    let both = r#"{"path":"args.a","op":"eq","value":1},{"path":"args.b","op":"eq","value":2}"#;

    assert!(asks(both, r#"{"a":1,"b":2}"#));
    assert!(!asks(both, r#"{"a":1,"b":3}"#));
    assert!(!asks(both, r#"{"b":3}"#));
    assert!(asks(both, r#"{"a":1}"#));
    assert!(asks("", "{}"));
}

#[test]
fn eq_and_neq_compare_by_type_and_exact_value() {
    assert!(asks_x("eq", "1", "1.00"));
    assert!(!asks_x("eq", "1", "2"));
    assert!(!asks_x("eq", "true", "false"));
    assert!(asks_x("eq", "null", "null"));
    assert!(!asks_x("eq", "9007199254740993", "9007199254740992"));
    assert!(asks_x("eq", r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#));
    assert!(!asks_x("neq", "1.0", "1"));
    assert!(asks_x("neq", "1", "2"));
    assert!(asks_x("neq", "1", "\"1\""));
}

#[test]
fn a_value_spelled_in_another_type_does_not_get_past_the_reviewers() {
    assert!(asks_x("eq", "true", "\"true\""));
    assert!(asks_x("eq", "\"prod\"", "[\"prod\"]"));
    assert!(asks_x("in", "[1, 2]", "\"1\""));
    assert!(asks_x("contains", "5", "[\"5\"]"));
    assert!(asks_x("gt", "100", "\"500\""));
    assert!(asks_x("not_in", "[\"1\"]", "1"));
}

#[test]
fn in_and_not_in_look_for_an_equal_value() {
    assert!(asks_x("in", "[\"a\", 1]", "1.0"));
    assert!(!asks_x("in", "[\"a\", 1]", "\"b\""));
    assert!(!asks_x("not_in", "[\"a\", 1]", "\"a\""));
    assert!(asks_x("not_in", "[\"a\", 1]", "\"b\""));
    assert!(!asks_x("not_in", "[[1.0,{\"a\":2}]]", "[1,{\"a\":2}]"));
}

#[test]
fn orderings_compare_numbers_exactly() {
    for (op, less, equal, more) in [
        ("lt", true, false, false),
        ("lte", true, true, false),
        ("gt", false, false, true),
        ("gte", false, true, true),
    ] {
        assert_eq!(asks_x(op, "1.50", "1.4999999999999998"), less, "{op}");
        assert_eq!(asks_x(op, "1.50", "1.5"), equal, "{op}");
        assert_eq!(asks_x(op, "1.49999999999999999999", "1.5"), more, "{op}");
        assert!(asks_x(op, "1.50", "null"), "{op}");
    }
}

#[test]
fn regex_is_unanchored_and_for_strings_only() {
    assert!(asks_x("regex", "\"pro?d\"", "\"eu-prod-1\""));
    assert!(!asks_x("regex", "\"^prod$\"", "\"eu-prod-1\""));
    assert!(asks_x("regex", "\"^prod$\"", "7"));
}

#[test]
fn a_regex_that_would_backtrack_forever_takes_linear_time() {
    let text = format!("\"{}b\"", "a".repeat(200_000));

    assert!(!asks_x("regex", "\"^(a+)+$\"", &text));
}

#[test]
fn contains_is_a_part_of_a_string_or_an_element_of_an_array() {
    assert!(asks_x("contains", "\"ro\"", "\"prod\""));
    assert!(!asks_x("contains", "\"x\"", "\"prod\""));
    assert!(asks_x("contains", "1", "[2,1.0]"));
    assert!(!asks_x("contains", "\"a\"", "[\"ab\"]"));
    assert!(!asks_x("contains", "\"a\"", "[]"));
    assert!(asks_x("contains", "1", "\"1\""));
    assert!(asks_x("contains", "\"a\"", "{\"a\":1}"));
}

#[test]
fn exists_tests_presence_and_a_missing_path_is_no_doubt() {
    for (value, present, absent) in [("true", true, false), ("false", false, true)] {
        assert_eq!(asks_x("exists", value, "null"), present);
        let y = format!(r#"{{"path":"args.y","op":"exists","value":{value}}}"#);
        assert_eq!(asks(&y, r#"{"x":1}"#), absent);
        let deep = format!(r#"{{"path":"args.x.y","op":"exists","value":{value}}}"#);
        assert_eq!(asks(&deep, r#"{"x":"text"}"#), absent);
    }
    assert!(asks(r#"{"path":"args.x","op":"exists"}"#, r#"{"x":0}"#));
}

#[test]
fn a_star_matches_if_any_element_does_or_lacks_the_path() {
    let price = r#"{"path":"args.items[*].price","op":"gt","value":100}"#;

    assert!(asks(price, r#"{"items":[{"price":1},{"price":101}]}"#));
    assert!(!asks(price, r#"{"items":[{"price":1},{"price":100}]}"#));
    assert!(asks(price, r#"{"items":[{"price":101},{"price":1}]}"#));
    assert!(asks(price, r#"{"items":[{"price":1},{}]}"#));
    assert!(asks(price, r#"{"items":[]}"#));
    assert!(asks(price, r#"{"items":{"price":1}}"#));
    assert!(asks(price, "{}"));
}

#[test]
fn names_of_agent_and_upstream_can_be_looked_at() {
    assert!(asks(r#"{"path":"agent.name","op":"eq","value":"bot"}"#, "{}"));
    assert!(!asks(r#"{"path":"agent.name","op":"regex","value":"^ci-"}"#, "{}"));
    assert!(!asks(r#"{"path":"upstream.name","op":"neq","value":"images"}"#, "{}"));
}

fn joined(reviewers: &str) -> String {
    format!(
        r#"{{"version":"1","tools":{{"t":{{"action":"require_approval","approval":{{{reviewers}}}}}}}}}"#
    )
}

#[test]
fn reviewers_are_joined_by_all_or_any() {
    let panel = |reviewers: &str| {
        let policy = policy(&joined(reviewers));
        policy.rule_for("bot", "t", None).unwrap().approval.panel.clone().unwrap()
    };

    let all = panel(
        r#""reviewers":{"all":[{"group":"security","quorum":1},{"group":"oncall","quorum":2}]}"#,
    );
    assert_eq!(all.join, Join::All);
    assert_eq!(all.parts, [("group:security".to_owned(), 1), ("group:oncall".to_owned(), 2)]);
    let any = panel(r#""reviewers":{"any":[{"reviewer":"ana"},{"group":"oncall","quorum":2}]}"#);
    assert_eq!(any.join, Join::Any);
    assert_eq!(any.parts, [("ana".to_owned(), 1), ("group:oncall".to_owned(), 2)]);
}

#[test]
fn joined_reviewers_are_read_strictly() {
    for (reviewers, expected) in [
        (r#""reviewers":{}"#, "reviewers: needs one of \"all\" and \"any\""),
        (
            r#""reviewers":{"all":[{"group":"a"}],"any":[{"group":"b"}]}"#,
            "reviewers: needs one of \"all\" and \"any\"",
        ),
        (r#""reviewers":{"all":[]}"#, "reviewers/all: needs one to 8"),
        (r#""reviewers":{"al":[{"group":"a"}]}"#, "reviewers/al: unknown key"),
        (r#""reviewers":{"all":["group:a"]}"#, "reviewers/all/0: is a string"),
        (r#""reviewers":{"all":[{"quorum":1}]}"#, "reviewers/all/0: needs one of \"group\""),
        (r#""reviewers":{"all":[{"group":"a","reviewer":"b"}]}"#, "reviewers/all/0: needs one of"),
        (r#""reviewers":{"all":[{"group":"a","quorum":0}]}"#, "all/0/quorum: 0 is out of range"),
        (r#""reviewers":{"all":[{"group":"a"}]},"quorum":2"#, "quorum: stands with each"),
    ] {
        let errors = errors(&joined(reviewers));
        let found = errors.iter().any(|e| e.contains(expected));
        assert!(found, "{reviewers}: {expected:?} is not in {errors:?}");
    }
}

#[test]
fn a_rule_says_the_risk_and_severity_of_its_calls_and_nothing_is_assumed_where_it_does_not() {
    let policy = policy(
        r#"{"version":"1","tools":{
            "drop":{"action":"require_approval","risk":"destructive","severity":"critical"},
            "pay":{"action":"require_approval","severity":"high"},
            "ls":{"action":"allow"}},
          "match":[{"risk":["write"],"action":"require_approval","severity":"low"}],
          "resources":{"rules":{"db://*":{"action":"require_approval","risk":"read","severity":"medium"}}}}"#,
    );
    let said = |tool: &str| {
        let rule = policy.rule_for("bot", tool, None).unwrap();
        (rule.risk, rule.severity)
    };

    assert_eq!(said("drop"), (Some(RiskClass::Destructive), Some(Severity::Critical)));
    assert_eq!(said("pay"), (None, Some(Severity::High)));
    assert_eq!(said("ls"), (None, None));
    assert_eq!(
        said("anything else"),
        (None, Some(Severity::Low)),
        "what a match is about is no class"
    );
    let of_reads = policy.rules().find(|r| r.pointer.contains("db:")).unwrap();
    assert_eq!((of_reads.risk, of_reads.severity), (Some(RiskClass::Read), Some(Severity::Medium)));
}

#[test]
fn a_grant_that_would_never_be_offered_is_warned_of() {
    let warned = |severity: &str| {
        warnings(&format!(
            r#"{{"version":"1","tools":{{"x":{{"action":"require_approval",{severity}
                "approval":{{"grant":{{"max_uses":1,"max_duration":"1h"}}}}}}}}}}"#
        ))
    };

    let told = warned(r#""severity":"critical","#);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("/tools/x/approval/grant: is never offered"), "{told:?}");
    // What no rule says the tool's own definition does.
    for severity in ["", r#""severity":"high","#, r#""risk":"destructive","#] {
        assert!(warned(severity).is_empty(), "{severity}");
    }
}

#[test]
fn every_problem_is_found_in_one_walk() {
    let errors = errors(
        r#"{"version":"2","defualt":"deny","default":"denny","hide":["","[a"],"approvals":{},"tests":{},
        "tools":{"x":{"acton":"allow"},"a/b":{"action":"ask","reason":7},"":{"action":"allow"},
          "p_*":{"action":"allow"},"l":{"action":"allow","risk":["write"],"severity":"hi","redact":["id_*","[x"],"approval":{},"rate_limit":{"max":0,"per":"tool"}},
          "g":{"action":"require_approval","approval":{"quorum":0,"timeout":"30 min","claim_window":"0s",
            "grant":"1h","assurance":"passkeys","unattended":"rum","reviewers":["group:"],"cooldown":5,
            "when":[{"path":"arg.x","op":"eq","value":1},{"path":"args.x","op":"lt","value":"1"},
              {"path":"args.x","op":"regex","value":"("},{"path":"args.x","op":"eq"},
              {"op":"equals","value":1},{"path":"args.x","op":"in","value":[]},7,
              {"path":"args.x","op":"exists","value":1,"vale":2}]}}},
        "match":[{"tools":[],"agents":"ci","risk":["destructiv"],"action":"deny","x":1},
          {"risk":"destructive","action":"deny","severity":3}]}"#,
    );
    let expected = [
        "/defualt: unknown key \"defualt\"; did you mean \"default\"?",
        "/version: version \"2\" is not known; write \"1\"",
        "/default: unknown word \"denny\"; did you mean \"deny\"?",
        "/hide/0: is empty",
        "/hide/1: \"[a\" is not a glob",
        "/approvals: not available in this version",
        "/tests: is an object; write a list of tests",
        "/tools/x/acton: unknown key \"acton\"; did you mean \"action\"?",
        "/tools/x/action: is missing",
        "/tools/a~1b/action: unknown word \"ask\"",
        "/tools/a~1b/reason: is a number; write",
        "/tools/: a tool's name is empty",
        "/tools/p_*: \"p_*\" would never fit",
        "/tools/l/approval: has no effect with \"action\": \"allow\"",
        "/tools/l/redact: \"[x\" is not a glob",
        "/tools/l/risk: is an array; write",
        "/tools/l/severity: unknown word \"hi\"",
        "/tools/l/rate_limit/max: 0 is out of range",
        "/tools/l/rate_limit/per: unknown word \"tool\"",
        "/tools/l/rate_limit/window: is missing",
        "/tools/g/approval/quorum: 0 is out of range",
        "/tools/g/approval/timeout: \"30 min\" is not a duration",
        "/tools/g/approval/claim_window: is no time at all",
        "/tools/g/approval/grant: is a string; write an object",
        "/tools/g/approval/assurance: unknown word \"passkeys\"; did you mean \"passkey\"?",
        "/tools/g/approval/unattended: unknown word \"rum\"; did you mean \"run\"?",
        "/tools/g/approval/reviewers/0: names no group",
        "/tools/g/approval/cooldown: is a number; write a duration",
        "/tools/g/approval/when/0/path: \"arg.x\" is not a path",
        "/tools/g/approval/when/1/value: is a string; write a number",
        "/tools/g/approval/when/2/value: is not a regular expression: unclosed group",
        "/tools/g/approval/when/3/value: is missing",
        "/tools/g/approval/when/4/path: is missing",
        "/tools/g/approval/when/4/op: unknown word \"equals\"",
        "/tools/g/approval/when/5/value: is an empty list",
        "/tools/g/approval/when/6: is a number; write an object",
        "/tools/g/approval/when/7/vale: unknown key \"vale\"; did you mean \"value\"?",
        "/tools/g/approval/when/7/value: is a number; write true or false",
        "/match/0/tools: is an empty list",
        "/match/0/agents: is a string; write a list",
        "/match/0/risk/0: unknown word \"destructiv\"; did you mean \"destructive\"?",
        "/match/0/x: unknown key \"x\"",
        "/match/1/risk: is a text, which gives one tool its risk",
        "/match/1/severity: is a number; write",
    ];

    for start in expected {
        assert!(errors.iter().any(|e| e.starts_with(start)), "no {start:?} in {errors:#?}");
    }
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
}

#[test]
fn a_text_that_cannot_be_read_names_its_place() {
    assert_eq!(
        errors("{\"tools\":{\"x\":{\"action\":\"allow\",\n \"action\":\"deny\"}}}"),
        [
            "/tools/x/action: duplicate key \"action\" at byte 34 (line 2, column 2); keep one of the two"
        ]
    );
    assert!(errors("{\"tools\":{\"x\":tru}}")[0].starts_with("/tools/x: not JSON"));
    assert!(errors("")[0].starts_with("the whole policy: not JSON"));
    assert!(errors(&"[".repeat(70))[0].contains("nested deeper than 64"));
    assert!(errors("[]")[0].starts_with("the whole policy: is an array; write an object"));
}

#[test]
fn sizes_are_bounded_at_their_named_limits() {
    let tool =
        |n| format!(r#"{{"version":"1","tools":{{"{}":{{"action":"allow"}}}}}}"#, "a".repeat(n));
    assert!(Policy::read(&tool(MAX_NAME)).is_ok());
    assert!(errors(&tool(MAX_NAME + 1))[0].contains("more than 256 bytes"));

    let regex = r#"{"version":"1","tools":{"t":{"action":"require_approval","approval":{"when":[
        {"path":"args.x","op":"regex","value":"(\\w{100}){100}"}]}}}}"#;
    assert!(errors(regex)[0].contains(&format!("more than {MAX_REGEX_BYTES} bytes compiled")));
}

#[test]
fn an_exact_entry_that_loosens_a_match_is_warned_of() {
    let warned = warnings(
        r#"{"version":"1","tools":{"purge_cache":{"action":"allow"},"list":{"action":"allow"},
        "purge_x":{"action":"deny"}},"match":[{"tools":["purge_*"],"action":"require_approval"}]}"#,
    );

    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].starts_with("/tools/purge_cache: loosens /match/0 (require_approval)"));
}

#[test]
fn rules_that_never_decide_are_warned_of() {
    let warned = warnings(
        r#"{"version":"1","hide":["wipe_*"],"tools":{"wipe_all":{"action":"deny"}},
        "match":[{"tools":["purge_*"],"action":"deny"},{"tools":["purge_*"],"agents":["ci"],"action":"allow"},
          {"tools":["wipe_all"],"action":"deny"},{"tools":["get_*"],"agents":["ci"],"action":"allow"},
          {"tools":["get_*"],"action":"deny"},{"action":"deny"}]}"#,
    );
    let expected = [
        "/tools/wipe_all: never decides: /hide/0 (\"wipe_*\") hides the tool",
        "/match/1: is never reached: /match/0 fits whatever this fits",
        "/match/2/tools: every one of these is hidden",
        "/match/5: fits every call of every tool",
    ];

    assert_eq!(warned.len(), expected.len(), "{warned:#?}");
    for (warning, start) in warned.iter().zip(expected) {
        assert!(warning.starts_with(start), "{warning}");
    }
}

#[test]
fn a_match_by_risk_fits_the_tools_of_its_classes_and_those_whose_class_is_not_known() {
    let text = r#"{"version":"1","match":[{"risk":["write","destructive"],"action":"require_approval"},
        {"risk":["write"],"action":"deny"},{"tools":["purge_*"],"action":"deny"}]}"#;
    let policy = policy(text);
    let decides = |tool, risk| policy.rule_for("bot", tool, risk).unwrap().pointer.as_str();

    assert_eq!(decides("x", Some(RiskClass::Destructive)), "/match/0");
    assert_eq!(decides("x", None), "/match/0");
    assert_eq!(decides("x", Some(RiskClass::Read)), "/default");
    assert_eq!(decides("purge_x", Some(RiskClass::Financial)), "/match/2");
    assert!(policy.looks_at_risk());
    let warned = warnings(text);
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].starts_with("/match/1: is never reached: /match/0 fits whatever this fits"));
}

#[test]
fn an_explanation_follows_the_order_and_quotes_no_argument() {
    let policy = policy(EXAMPLE);
    let explained = |tool: &str| {
        let params = format!(r#"{{"name":"{tool}","arguments":{{"datastore_id":"prod-secret"}}}}"#);
        policy.explain("bot", &ToolCall::read("images", &params).unwrap(), None)
    };

    assert_eq!(
        explained("delete_image_set"),
        [
            "hide: nothing fits \"delete_image_set\"",
            "tools: /tools/delete_image_set is the tool's own entry and decides",
            "when: /tools/delete_image_set/approval/when/0: args.datastore_id not_in [\"sandbox\"]: matches",
            "when: all match, so the call is asked about",
            "reason: Deleting an image set cannot be undone.",
            "verdict: require_approval by /tools/delete_image_set",
        ]
    );
    assert_eq!(
        explained("get_image_set"),
        [
            "hide: nothing fits \"get_image_set\"",
            "tools: no entry for \"get_image_set\"",
            "match: /match/0 does not fit: /match/0/tools",
            "match: /match/1 is the first that fits (the tool's risk is not known) and decides",
            "when: no conditions, so every call is asked about",
            "verdict: require_approval by /match/1",
        ]
    );
    assert_eq!(explained("wipe_archive").len(), 2);
}

#[test]
fn the_fingerprint_is_the_hash_of_the_text() {
    assert_eq!(
        policy("{}").source_fingerprint(),
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    );
}

#[test]
fn no_key_turns_silence_or_a_fault_into_a_yes() {
    for key in ["on_timeout", "on_error", "default_decision", "auto_approve", "fail_open"] {
        let text = format!(
            r#"{{"version":"1","tools":{{"x":{{"action":"require_approval",
               "approval":{{"{key}":"approve"}},"{key}":"approve"}}}},"{key}":"allow"}}"#
        );

        let found = errors(&text).iter().filter(|e| e.contains(key)).count();

        assert_eq!(found, 3, "{:?}", errors(&text));
    }
}

#[test]
fn listed_methods_pass_by_their_exact_names() {
    let policy = Policy::read(r#"{"version":"1","methods":["admin/count"]}"#).unwrap().0;

    assert!(policy.allows_method("admin/count"));
    for other in ["admin/Count", "admin/count ", "admin", ""] {
        assert!(!policy.allows_method(other), "{other:?}");
    }
    for wrong in [r#""admin/count""#, r#"["admin/*"]"#, "[7]", r#"[""]"#, r#"{"admin/count":{}}"#] {
        let text = format!(r#"{{"version":"1","methods":{wrong}}}"#);
        let problems = Policy::read(&text).unwrap_err();
        assert!(problems.iter().all(|p| p.place.starts_with("/methods")), "{problems:?}");
    }
}
