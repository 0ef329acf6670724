//! Limits as the policy's author writes them, and what a call counts by them.

use super::*;
use crate::domain::policy::{MAX_LIMITS, Policy, Problem, Verdict};

fn of_rule(keys: &str) -> Result<(Policy, Vec<Problem>), Vec<Problem>> {
    Policy::read(&format!(r#"{{"version":"1","tools":{{"pay":{{"action":"allow",{keys}}}}}}}"#))
}

fn rule(keys: &str) -> Rule {
    let (policy, _) = of_rule(keys).unwrap_or_else(|problems| panic!("{problems:?}"));
    policy.rule_for("ci", "pay", None).unwrap().clone()
}

fn problems(keys: &str) -> String {
    let lines =
        |all: Vec<Problem>| all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    of_rule(keys).map_or_else(lines, |(_, warnings)| lines(warnings))
}

fn amount(limit: &str, arguments: &str) -> Result<String, String> {
    let rule = rule(&format!(r#""limits":[{limit}]"#));
    let params = format!(r#"{{"name":"pay","arguments":{arguments}}}"#);
    let call = ToolCall::read("bank", &params).unwrap();
    match rule.amounts("ci", &call) {
        Ok(amounts) => Ok(amounts[0].to_string()),
        Err(not) => Err(not.why),
    }
}

#[test]
fn a_limit_says_what_it_counts_for_whom_and_over_which_time() {
    let rule = rule(
        r#""limits":[
            {"max":25,"per":"1h","count_of":"args.ids"},
            {"max":0.5,"per":"month","sum_of":"args.amount","scope":"all","counter":"spent",
             "on_deny":"Too dear."},
            {"max":10,"per":"minute","scope":"session"},
            {"max":3,"count_of":"args.ids"},
            {"counter":"pace","window":"hour","max":30,"scope":"grant"}],
          "state":{"counter":"sum","window":"day","increment_from":"args.cents","max":500}"#,
    );
    let told: Vec<String> = rule
        .limits
        .iter()
        .map(|l| {
            let counter = l.counter.as_deref().unwrap_or("-");
            let (max, per, scope) = (&l.max, l.window.word(), l.scope.as_str());
            format!("{}: {max} {per} {scope} {counter} {}", l.pointer, l.counts())
        })
        .collect();

    assert_eq!(
        told,
        [
            "/tools/pay/limits/0: 25 1h agent - things in args.ids",
            "/tools/pay/limits/1: 0.5 month all spent the sum of args.amount",
            "/tools/pay/limits/2: 10 minute session - calls",
            "/tools/pay/limits/3: 3 call agent - things in args.ids",
            "/tools/pay/limits/4: 30 hour agent pace calls",
            "/tools/pay/state: 500 day agent sum the sum of args.cents",
        ]
    );
    assert_eq!(rule.limits[1].on_deny.as_deref(), Some("Too dear."));
}

#[test]
fn a_limit_that_can_not_be_kept_is_an_error_with_its_place_and_mend() {
    for (keys, wanted) in [
        (r#""limits":{}"#, "/tools/pay/limits: is an object; write a list of limits"),
        (r#""limits":[]"#, "is an empty list"),
        (r#""limits":[{"per":"1h"}]"#, "/tools/pay/limits/0/max: is missing"),
        (r#""limits":[{"max":-1,"per":"1h"}]"#, "-1 is negative"),
        (r#""limits":[{"max":1e-13,"per":"1h"}]"#, "digits after the point"),
        (r#""limits":[{"max":"5","per":"1h"}]"#, "/max: is a string; write the most"),
        (r#""limits":[{"max":5}]"#, "/tools/pay/limits/0/per: is missing; write a duration"),
        (r#""limits":[{"max":5,"per":"call"}]"#, "one call is always one call"),
        (r#""limits":[{"max":5,"per":"0s"}]"#, "no time at all"),
        (r#""limits":[{"max":5,"per":"week"}]"#, "\"week\" is no window"),
        (r#""limits":[{"max":5,"per":"1h","window":"hour"}]"#, "keep one of the two"),
        (r#""limits":[{"max":5,"window":"60s"}]"#, "unknown word \"60s\""),
        (r#""limits":[{"max":5,"per":"1h","scop":"all"}]"#, "did you mean \"scope\"?"),
        (r#""limits":[{"max":5,"per":"1h","scope":"any"}]"#, "unknown word \"any\""),
        (r#""limits":[{"max":5,"per":"1h","sum_of":"amount"}]"#, "begins with \"args\""),
        (r#""limits":[{"max":5,"per":"1h","sum_of":"agent.name"}]"#, "can't be counted"),
        (
            r#""limits":[{"max":5,"per":"1h","sum_of":"args.a","count_of":"args.b"}]"#,
            "keep one of the two",
        ),
        (
            r#""limits":[{"max":5,"per":"1h","counter":"a"},{"max":9,"per":"2h","counter":"a"}]"#,
            "counts per \"1h\" and \"agent\" at /tools/pay/limits/0",
        ),
        (
            r#""limits":[{"max":5,"per":"1h","counter":"a"},{"max":9,"per":"1h","counter":"a"}]"#,
            "count each call twice",
        ),
        (r#""state":{"window":"day","max":1}"#, "/tools/pay/state/counter: is missing"),
        (r#""state":{"counter":"a","window":"day"}"#, "/tools/pay/state/max: is missing"),
        (r#""state":{"counter":"a","window":"day","max":1,"increment":-2}"#, "-2 is out of range"),
        (
            r#""state":{"counter":"a","window":"day","max":1,"increment":0.5}"#,
            "0.5 is out of range",
        ),
    ] {
        let found = problems(keys);
        assert!(of_rule(keys).is_err() && found.contains(wanted), "{keys}\n{found}");
    }
}

#[test]
fn a_rule_has_so_many_limits_at_most() {
    let limits = |n| {
        let one = r#"{"max":5,"per":"1h"}"#;
        format!(r#""limits":[{}]"#, vec![one; n].join(","))
    };

    assert!(of_rule(&limits(MAX_LIMITS)).is_ok());
    assert!(problems(&limits(MAX_LIMITS + 1)).contains("more than 16 limits"));
}

#[test]
fn what_has_no_effect_is_a_warning() {
    for (keys, wanted) in [
        (r#""limits":[{"max":5,"count_of":"args.ids","scope":"all"}]"#, "what one call counts"),
        (r#""limits":[{"max":5,"per":"1h","scope":"all"}]"#, "write \"counter\""),
    ] {
        assert!(of_rule(keys).is_ok() && problems(keys).contains(wanted), "{keys}");
    }
    let denied =
        r#"{"version":"1","tools":{"x":{"action":"deny","limits":[{"max":5,"per":"1h"}]}}}"#;
    assert!(Policy::read(denied).unwrap().1[0].message.contains("no effect"));
}

#[test]
fn a_call_counts_the_sum_or_the_number_of_what_it_names() {
    let sum = |arguments| amount(r#"{"max":5,"per":"1h","sum_of":"args.amount"}"#, arguments);
    let each = |arguments| amount(r#"{"max":5,"sum_of":"args.items[*].price"}"#, arguments);
    let count = |arguments| amount(r#"{"max":5,"per":"1h","count_of":"args.ids"}"#, arguments);

    assert_eq!(amount(r#"{"max":5,"per":"1h"}"#, "{}"), Ok("1".to_owned()));
    assert_eq!(sum(r#"{"amount":0.99}"#), Ok("0.99".to_owned()));
    assert_eq!(sum(r#"{"amount":9007199254740993}"#), Ok("9007199254740993".to_owned()));
    assert_eq!(each(r#"{"items":[{"price":0.1},{"price":0.2}]}"#), Ok("0.3".to_owned()));
    assert_eq!(count(r#"{"ids":[1,2,3]}"#), Ok("3".to_owned()));
    assert_eq!(count(r#"{"ids":[]}"#), Ok("0".to_owned()));
    assert_eq!(count(r#"{"ids":"a"}"#), Ok("1".to_owned()));
}

#[test]
fn what_can_not_be_counted_exactly_is_told_and_never_nothing() {
    let sum = |arguments| amount(r#"{"max":5,"per":"1h","sum_of":"args.amount"}"#, arguments);
    let each = |arguments| amount(r#"{"max":5,"sum_of":"args.items[*].price"}"#, arguments);
    let count = |arguments| amount(r#"{"max":5,"per":"1h","count_of":"args.ids"}"#, arguments);

    for (found, wanted) in [
        (sum("{}"), "args.amount is missing"),
        (sum(r#"{"amount":null}"#), "args.amount is missing"),
        (sum(r#"{"amount":-1000000}"#), "args.amount is negative"),
        (sum(r#"{"amount":"5"}"#), "args.amount is no number but of type string"),
        (sum(r#"{"amount":1e-13}"#), "more than 12 digits after the point"),
        (sum(r#"{"amount":1e400}"#), "more than 24 digits before the point"),
        (sum(r#"{"amount":1,"Amount":2}"#), "args.amount is ambiguous"),
        (each(r#"{"items":[{"price":1},{}]}"#), "args.items[*].price is missing"),
        (each(r#"{"items":[{"price":5},{"price":-4}]}"#), "is negative"),
        (count("{}"), "args.ids is missing"),
        (count(r#"{"ids":{"a":1}}"#), "how many things it names can't be told"),
    ] {
        assert!(found.as_ref().is_err_and(|why| why.contains(wanted)), "{found:?}: {wanted}");
    }
}

#[test]
fn it_is_explained_what_a_call_counts_of_each_limit() {
    let keys = r#""limits":[{"max":3,"per":"1h","count_of":"args.ids"}]"#;
    let (policy, _) = of_rule(keys).unwrap();
    let lines = |arguments: &str| {
        let params = format!(r#"{{"name":"pay","arguments":{arguments}}}"#);
        policy.explain("ci", &ToolCall::read("bank", &params).unwrap(), None).join("\n")
    };

    let limit = "limit: /tools/pay/limits/0: at most 3 within 60 minutes, of this agent, counting \
                 things in args.ids; ";
    for (arguments, says) in [
        (r#"{"ids":[1,2]}"#, "this call counts 2"),
        (r#"{"ids":[1,2,3,4]}"#, "this call counts 4 by itself, so it is refused"),
        ("{}", "args.ids is missing, so that this call can't be counted and is refused"),
    ] {
        let found = lines(arguments);
        assert!(found.contains(&format!("{limit}{says}")), "{found}");
    }
    let call = ToolCall::read("bank", r#"{"name":"pay"}"#).unwrap();
    assert!(matches!(policy.judge("ci", &call, None), Ok(Verdict::Ruled { .. })));
}
