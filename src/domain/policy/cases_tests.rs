use super::cases::Outcome;
use super::{Format, Policy};

const RULES: &str = r#""version":"1","default":"deny","hide":["purge"],
  "tools":{"delete":{"action":"require_approval","approval":{"when":[
    {"path":"args.where","op":"neq","value":"sandbox"}]}},
    "pay":{"action":"allow","deny_if":[{"conditions":[{"path":"args.sum","op":"gt","value":5}]}]}},
  "match":[{"agents":["ci"],"tools":["get_*"],"action":"allow"},
    {"risk":["destructive"],"action":"require_approval"}],
  "prompts":{"rules":{"internal_*":{"action":"deny"}},"hide":["secret"]}"#;

fn with(tests: &str) -> String {
    format!("{{{RULES},\"tests\":[{tests}]}}")
}

fn outcomes(tests: &str) -> Vec<Outcome> {
    let read = Policy::read_untested(&with(tests), Format::Json);
    let (policy, _) = read.unwrap_or_else(|problems| panic!("{problems:?}"));
    policy.cases().iter().map(|case| case.run(&policy)).collect()
}

fn errors(tests: &str) -> Vec<String> {
    let problems = Policy::read(&with(tests)).unwrap_err();
    problems.iter().filter(|p| !p.warning).map(ToString::to_string).collect()
}

#[test]
fn a_test_passes_where_the_call_is_judged_as_expected_by_the_rule_that_is_named() {
    let outcomes = outcomes(
        r#"{"tool":"delete","args":{"where":"prod"},"expect":"require_approval","rule":"/tools/delete"},
        {"tool":"delete","args":{"where":"sandbox"},"expect":"allow"},
        {"tool":"pay","args":{"sum":6},"expect":{"action":"deny","rule":"/tools/pay/deny_if/0"}},
        {"tool":"purge","expect":"hide","rule":"/hide/0"},
        {"tool":"get_it","agent":"ci","risk":"read","expect":"allow","rule":"/match/0"},
        {"tool":"get_it","risk":"read","expect":"deny","rule":"/default"},
        {"tool":"drop","risk":"destructive","expect":"require_approval","rule":"/match/1"},
        {"prompt":"internal_a","expect":"deny"}, {"prompt":"secret","expect":"hide","rule":"/prompts/hide/0"},
        {"resource":"file:///a","expect":"allow"}"#,
    );

    assert_eq!(outcomes.len(), 10);
    for (i, outcome) in outcomes.iter().enumerate() {
        assert!(outcome.passed, "{i}: {outcome:?}");
    }
}

#[test]
fn a_test_that_fails_refuses_the_policy_and_says_what_it_was_instead() {
    let told = errors(
        r#"{"name":"no deletes","tool":"delete","expect":"deny"},
        {"tool":"delete","expect":"require_approval","rule":"/tools/delte"},
        {"tool":"purge","expect":"hide","rule":"/hide/1"}"#,
    );

    assert_eq!(
        told,
        [
            "/tests/0: the test \"no deletes\" fails: expected deny, but it is require_approval by \
             /tools/delete; mend the policy or the test",
            "/tests/1: the test \"delete\" fails: expected require_approval by /tools/delte, but it is \
             require_approval by /tools/delete; did you mean /tools/delete?; mend the policy or the test",
            "/tests/2: the test \"purge\" fails: expected hide by /hide/1, but it is hide by /hide/0; \
             mend the policy or the test",
        ]
    );
}

#[test]
fn a_test_is_read_as_strictly_as_a_rule() {
    let told = errors(
        r#"7, {}, {"tool":"a","prompt":"b","expect":"allow"}, {"tool":"a","expect":"hiden"},
        {"tol":"a","expect":"deny"}, {"tool":"","expect":{"rule":"tools/a"}},
        {"tool":"a","args":[],"expect":"deny"}, {"resource":"a:b","args":{},"expect":"deny"},
        {"tool":"a","risk":"red","expect":"deny"}"#,
    );
    let expected = [
        "/tests/0: is a number; write an object",
        "/tests/1/expect: is missing; write one of allow, deny, hide, require_approval",
        "/tests/1: needs one of \"tool\", \"prompt\" and \"resource\"",
        "/tests/2: needs one of",
        "/tests/3/expect: unknown word \"hiden\"; did you mean \"hide\"?",
        "/tests/4/tol: unknown key \"tol\"; did you mean \"tool\"?",
        "/tests/4: needs one of",
        "/tests/5/tool: is empty",
        "/tests/5/expect/rule: \"tools/a\" is no place in the policy",
        "/tests/5/expect/action: is missing",
        "/tests/6/args: is an array; write the arguments as an object",
        "/tests/7/args: a resource has no arguments",
        "/tests/8/risk: unknown word \"red\"; did you mean \"read\"?",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told} is not {expected}");
    }
}

#[test]
fn a_policy_with_tests_keeps_its_warnings_and_where_they_stand() {
    let (policy, warnings) =
        Policy::read("{\"tests\":[\n{\"tool\":\"a\",\"expect\":\"deny\"}]}").unwrap();
    assert_eq!(warnings.len(), 1);
    assert_eq!(policy.cases().len(), 1);

    let failing =
        Policy::read("{\"version\":\"1\",\"tests\":[\n {\"tool\":\"a\",\"expect\":\"allow\"}]}");
    let spot = failing.unwrap_err()[0].spot.unwrap();
    assert_eq!((spot.line, spot.column), (2, 2));
}
