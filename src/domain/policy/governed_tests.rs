//! What a policy says of resources and prompts.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

use crate::domain::json;

const EXAMPLE: &str = r#"{ "version": "1",
  "resources": { "default": "allow", "hide": ["file:///secret/*"],
    "rules": { "file:///etc/*": {"action":"deny","reason":"Not yours."},
               "file:///etc/motd": {"action":"allow"},
               "db://**": {"action":"allow","rate_limit":{"max":10,"window":60}},
               "db://prod/*": {"action":"require_approval",
                               "approval":{"when":[{"path":"args.uri","op":"regex","value":"/people"}]}} } },
  "prompts": { "hide": ["internal_*"],
    "rules": { "deploy": {"action":"require_approval","reason":"It ships.",
                          "approval":{"when":[{"path":"args.stage","op":"eq","value":"prod"}]}},
               "de*": {"action":"deny"}, "d*": {"action":"allow"} } } }"#;

fn policy(text: &str) -> Policy {
    Policy::read(text).unwrap_or_else(|problems| panic!("{problems:?}")).0
}

fn verdict(policy: &Policy, method: Method, name: &str, arguments: &str) -> String {
    let name = json::quote(name);
    let params = match method {
        Method::ReadResource => format!("{{\"uri\":{name}}}"),
        _ => format!("{{\"name\":{name},\"arguments\":{arguments}}}"),
    };
    let call = ToolCall::read_as(method, "u", &params).unwrap();
    match policy.judge("bot", &call, None).unwrap() {
        Verdict::Ungoverned => "passes".to_owned(),
        Verdict::Hidden => "hidden".to_owned(),
        Verdict::Ruled { action, rule, .. } => format!("{} {}", action.as_str(), rule.pointer),
    }
}

fn read(policy: &Policy, uri: &str) -> String {
    verdict(policy, Method::ReadResource, uri, "")
}

fn problems(block: &str) -> Vec<String> {
    let text = format!(r#"{{"version":"1",{block}}}"#);
    let (Ok((_, problems)) | Err(problems)) = Policy::read(&text);
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn without_a_block_everything_passes() {
    let none = policy(r#"{"version":"1","default":"deny","hide":["*"]}"#);

    assert_eq!(read(&none, "file:///secret/a"), "passes");
    assert_eq!(verdict(&none, Method::GetPrompt, "deploy", "{}"), "passes");
    assert!(!none.governs(Method::GetPrompt) && !none.hides_as(Method::ReadResource, "a:b"));
}

#[test]
fn hide_first_then_the_exact_entry_then_the_strictest_pattern_then_the_default() {
    let policy = policy(EXAMPLE);
    let prompt = |name, arguments| verdict(&policy, Method::GetPrompt, name, arguments);

    assert_eq!(read(&policy, "file:///secret/a"), "hidden");
    assert_eq!(read(&policy, "file:///etc/passwd"), "deny /resources/rules/file:~1~1~1etc~1*");
    assert_eq!(read(&policy, "file:///etc/motd"), "allow /resources/rules/file:~1~1~1etc~1motd");
    assert_eq!(read(&policy, "db://test/x"), "allow /resources/rules/db:~1~1**");
    let people = "require_approval /resources/rules/db:~1~1prod~1*";
    assert_eq!(read(&policy, "db://prod/people"), people);
    assert_eq!(read(&policy, "db://prod/x"), "allow /resources/rules/db:~1~1**");
    assert_eq!(read(&policy, "a:b"), "allow /resources/default");
    assert_eq!(prompt("internal_x", "{}"), "hidden");
    assert_eq!(prompt("deploy", r#"{"stage":"prod"}"#), "require_approval /prompts/rules/deploy");
    assert_eq!(prompt("deploy", r#"{"stage":"test"}"#), "allow /prompts/rules/deploy");
    assert_eq!(prompt("delete", "{}"), "deny /prompts/rules/de*");
    assert_eq!(prompt("draw", "{}"), "allow /prompts/rules/d*");
    assert_eq!(prompt("x", "{}"), "allow /prompts/default");
}

#[test]
fn another_spelling_gets_the_stricter_verdict() {
    let policy = policy(EXAMPLE);

    for uri in ["file:///pub/../secret/a", "FILE:///%73ecret/a", "file:///secret%2Fa"] {
        assert_eq!(read(&policy, uri), "hidden", "{uri}");
    }
    for uri in ["file:///etc/%6dotd", "file:///etc/x/../motd", "file:///%65tc/passwd"] {
        assert_eq!(read(&policy, uri), "deny /resources/rules/file:~1~1~1etc~1*", "{uri}");
    }
    // Conditions look at every reading, too.
    let asked = "require_approval /resources/rules/db:~1~1prod~1*";
    assert_eq!(read(&policy, "db://prod/%70eople"), asked);
    assert_eq!(read(&policy, "DB://PROD/x/../people"), asked);
}

#[test]
fn where_only_some_may_be_read_no_spelling_leads_out() {
    let policy = policy(
        r#"{"version":"1","resources":{"default":"deny","rules":{"file:///pub/*":{"action":"allow"},
        "Test://Odd/%61":{"action":"allow"}}}}"#,
    );

    assert!(read(&policy, "file:///pub/a b.txt").starts_with("allow"));
    assert!(read(&policy, "Test://Odd/%61").starts_with("allow"), "as its author wrote it");
    for uri in [
        "file:///pub/../etc/x",
        "file:///pub/%2e%2e/etc/x",
        "file:///pub%2F..%2Fetc/x",
        "file:///pub/..\\etc/x",
        "file:///pub?/../../etc/x",
        "file://pub/etc/x",
    ] {
        assert_eq!(read(&policy, uri), "deny /resources/default", "{uri}");
    }
}

#[test]
fn a_query_may_be_what_is_allowed_and_is_no_way_around_what_is_denied() {
    let policy = policy(
        r#"{"version":"1","resources":{"default":"deny","hide":["file:///pub/key"],"rules":{
        "db://x?table=*":{"action":"allow"},"file:///pub/*":{"action":"allow"}}}}"#,
    );

    assert!(read(&policy, "db://x?table=a").starts_with("allow"));
    assert!(read(&policy, "file:///pub/a?download#top").starts_with("allow"));
    assert!(read(&policy, "db://x").starts_with("deny"));
    for uri in ["file:///pub/key?x", "file:///pub/key#x", "file:///pub/key/", "file:///pub/key/."] {
        assert_eq!(read(&policy, uri), "hidden", "{uri}");
    }
}

#[test]
fn a_uri_too_long_to_be_judged_is_hidden() {
    let policy = policy(r#"{"version":"1","resources":{}}"#);

    assert_eq!(
        read(&policy, &format!("a:{}", "b".repeat(MAX_URI - 2))),
        "allow /resources/default"
    );
    assert_eq!(read(&policy, &format!("a:{}", "b".repeat(MAX_URI - 1))), "hidden");
}

#[test]
fn every_problem_of_a_block_is_named_with_its_place_and_the_nearest_key() {
    let found = problems(
        r#""resources":{"hidden":[],"hide":["file:///%2"],"rules":{"a:b":{"acton":"deny"},
        "a://h/../b":{"action":"deny"},"":{"action":"allow"}}},"prompts":{"rules":{"[a":{"action":"hide"}}},
        "prompt":{}"#,
    );

    for part in [
        "/resources/hidden: unknown key \"hidden\"; did you mean \"hide\"?",
        "/resources/hide/0: ",
        "/resources/rules/a:b/acton: unknown key \"acton\"; did you mean \"action\"?",
        "/resources/rules/a:b/action: is missing",
        "/resources/rules/a:~1~1h~1..~1b: ",
        "/resources/rules/: is empty",
        "/prompts/rules/[a: \"[a\" is not a glob",
        "/prompts/rules/[a/action: unknown word \"hide\"",
        "/prompt: unknown key \"prompt\"; did you mean \"prompts\"?",
    ] {
        assert!(found.iter().any(|p| p.starts_with(part)), "{part} in {found:#?}");
    }
    assert_eq!(found.len(), 9, "{found:#?}");
}

#[test]
fn rules_that_can_never_decide_are_warned_of() {
    let found = problems(
        r#""resources":{"hide":["file:///secret/*"],"rules":{"file:///secret/a":{"action":"deny"},
        "/etc/*":{"action":"deny"},"db://*":{"action":"deny"},"db://x/*":{"action":"allow"},
        "db://x/y":{"action":"allow"}}}"#,
    );

    for (place, part) in [
        ("file:~1~1~1secret~1a", "never decides: /resources/hide/0"),
        ("~1etc~1*", "can never fit"),
        ("db:~1~1x~1*", "is never reached: /resources/rules/db:~1~1*"),
        ("db:~1~1x~1y", "loosens /resources/rules/db:~1~1*"),
    ] {
        let begin = format!("/resources/rules/{place}: {part}");
        assert!(found.iter().any(|p| p.starts_with(&begin)), "{begin} in {found:#?}");
    }
    assert_eq!(found.len(), 4, "{found:#?}");
}

/// A path in its normal form, from few segments so that rules meet it.
fn path() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::collection::vec(select(vec!["a", "b", "~x", "c%2Fd"]), 1..4)
}

fn key() -> impl Strategy<Value = String> {
    let end = select(vec!["", "*", "/*", "x*"]);
    (path(), end).prop_map(|(path, end)| format!("db://host/{}{end}", path.join("/")))
}

fn block() -> impl Strategy<Value = Policy> {
    let action = select(vec!["allow", "deny", "require_approval"]);
    let rules = proptest::collection::btree_map(key(), action.clone(), 0..4);
    (action, proptest::collection::vec(key(), 0..2), rules).prop_map(|(default, hide, rules)| {
        let hide: Vec<String> = hide.iter().map(|key| json::quote(key)).collect();
        let rules: Vec<String> = rules
            .iter()
            .map(|(key, action)| format!(r#"{}:{{"action":"{action}"}}"#, json::quote(key)))
            .collect();
        policy(&format!(
            r#"{{"version":"1","resources":{{"default":"{default}","hide":[{}],"rules":{{{}}}}}}}"#,
            hide.join(","),
            rules.join(",")
        ))
    })
}

/// The same URI, spelled otherwise in the ways that name the same resource by RFC 3986.
fn respelled(path: &[&str], how: &[u8]) -> String {
    let scheme = if how[0] & 1 == 0 { "db" } else { "Db" };
    let host = match how[0] >> 1 & 3 {
        0 => "host",
        1 => "HOST",
        2 => "h%6Fst",
        _ => "h%4Fst",
    };
    let segments: Vec<String> = path
        .iter()
        .zip(how[1..].iter().cycle())
        .map(|(segment, how)| {
            let spelled: String = match how & 3 {
                0 => (*segment).to_owned(),
                1 => segment.replace("%2F", "%2f").replace('~', "%7e"),
                2 => segment.replace('a', "%61").replace('x', "%78"),
                _ => segment.replace('b', "%62").replace('~', "%7E"),
            };
            match how >> 2 & 3 {
                0 => spelled,
                1 => format!("./{spelled}"),
                2 => format!("no/../{spelled}"),
                _ => format!("no/%2e%2E/{spelled}"),
            }
        })
        .collect();
    format!("{scheme}://{host}/{}", segments.join("/"))
}

fn strictness(policy: &Policy, uri: &str) -> u8 {
    match read(policy, uri).split(' ').next() {
        Some("hidden") => 3,
        Some("deny") => 2,
        Some("require_approval") => 1,
        _ => 0,
    }
}

proptest! {
    #[test]
    fn no_spelling_of_a_uri_is_judged_more_mildly_than_its_normal_form(
        policy in block(), path in path(),
        how in proptest::collection::vec(any::<u8>(), 2..5),
    ) {
        let plain = format!("db://host/{}", path.join("/"));
        let other = respelled(&path, &how);

        prop_assert!(strictness(&policy, &other) >= strictness(&policy, &plain), "{} {}", plain, other);
    }

    #[test]
    fn no_uri_makes_the_reading_panic_and_the_normal_form_is_its_own(
        uri in "[a-cA-C%2eE5./\\\\:?#*@é\u{1} ]{0,24}", policy in block(),
    ) {
        let _ = strictness(&policy, &uri);
        let normal = |text: &str| {
            let (all, _) = uri::readings(text).unwrap_or_default();
            let found = all.into_iter().find(|r| r.form == uri::Form::Normal);
            String::from_utf8(found.map(|r| r.bytes).unwrap_or_default()).unwrap()
        };
        let once = normal(&uri);
        prop_assert_eq!(normal(&once), once.clone());
    }
}
