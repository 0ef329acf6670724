//! Policies as YAML, and where problems stand in a text.

use proptest::prelude::*;

use super::source::{Format, Source};
use super::yaml::MAX_REPEATED;
use super::*;

fn lowered(text: &str) -> String {
    Source::read(text, Format::Yaml).unwrap_or_else(|p| panic!("{p}")).json().to_owned()
}

fn refused(text: &str) -> (String, (u32, u32)) {
    let problem = Source::read(text, Format::Yaml).expect_err(text);
    let Spot { line, column } = problem.spot.unwrap();
    (problem.message, (line, column))
}

#[test]
fn yaml_is_lowered_to_the_json_that_says_the_same() {
    let text = "# ours\nversion: \"1\"\nhide: [a, 'b c', \"d\\n\"]\ntools:\n  t: {}\n  u:\n    - 1\n    \
                - |\n      two\n      lines\n    - >-\n      one\n      line\n";

    assert_eq!(
        lowered(text),
        r#"{"version":"1","hide":["a","b c","d\n"],"tools":{"t":{},"u":[1,"two\nlines\n","one line"]}}"#
    );
}

#[test]
fn the_country_no_stays_a_text() {
    assert_eq!(
        lowered("a: [no, NO, yes, on, Off, y, n]"),
        r#"{"a":["no","NO","yes","on","Off","y","n"]}"#
    );
    assert_eq!(lowered("no: on"), r#"{"no":"on"}"#);
    assert_eq!(
        lowered("a: [true, False, ~, null]\nb:"),
        r#"{"a":[true,false,null,null],"b":null}"#
    );
}

#[test]
fn numbers_of_yaml_keep_their_digits_or_are_refused() {
    assert_eq!(
        lowered("[9007199254740993, 0.10, -1e3, 250000]"),
        "[9007199254740993,0.10,-1e3,250000]"
    );
    for number in [
        "0x1F", "0o17", "0b1", "017", "1_000", ".5", "5.", "+5", "-.5", "1e5_", ".inf", "-.INF",
        ".NaN", "00",
    ] {
        let text = format!("a: {number}");
        match Source::read(&text, Format::Yaml) {
            Err(problem) => assert!(problem.message.contains("in quotes"), "{problem}"),
            Ok(_) => assert_eq!(number, "1e5_"),
        }
    }
    for text in ["12:30:45", "2026-12-01", "1.2.3", "10/minute", "-", "1d"] {
        assert_eq!(
            lowered(&format!("a: {text:?}")),
            lowered(&format!("a: {text}x")).replace("x\"", "\"")
        );
    }
}

#[test]
fn what_json_cannot_hold_is_refused_where_it_stands() {
    for (text, said, place) in [
        ("a: 1\nb: !!str 5", "tags (", (2, 4)),
        ("a: !mine {}", "tags (", (1, 4)),
        ("a: &x {}\nb:\n  <<: *x", "merge keys", (3, 3)),
        ("1: a", "no text", (1, 1)),
        ("true: a", "no text", (1, 1)),
        ("? [a]\n: b", "no text", (1, 3)),
        ("a: 1\n---\nb: 2", "another document", (2, 1)),
        ("a: &x [*x]", "inside of what it names", (1, 8)),
        ("", "is empty", (1, 1)),
        ("a: 1\nb: [", "not YAML", (2, 5)),
        ("a: 1\nb: 2\na: 3", "duplicate key \"a\"; keep one", (3, 1)),
        ("a:\n  - 1\n -  2", "not YAML", (3, 2)),
    ] {
        let (message, spot) = refused(text);
        assert!(message.contains(said), "{text:?}: {message}");
        if said != "not YAML" {
            assert_eq!(spot, place, "{text:?}: {message}");
        }
    }
}

#[test]
fn aliases_repeat_what_they_name_within_a_bound() {
    assert_eq!(lowered("a: &x [1, 2]\nb: *x"), r#"{"a":[1,2],"b":[1,2]}"#);
    let mut bomb = format!("a0: &a0 \"{}\"\n", "x".repeat(1000));
    for i in 1..12 {
        let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
    }
    let (message, _) = refused(&bomb);
    assert!(message.contains(&format!("more than {MAX_REPEATED} bytes")), "{message}");
}

#[test]
fn yaml_is_as_deep_as_json_at_most() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));

    assert_eq!(lowered(&nested(64)), nested(64));
    assert!(refused(&nested(65)).0.contains("deeper than 64 levels"));
    // The parser gives up before that is counted.
    assert!(refused(&"[".repeat(100_000)).0.contains("recursion limit"));
}

#[test]
fn problems_say_their_line_and_column_in_json_and_yaml() {
    let json = "{\n  \"version\": \"1\",\n  \"tools\": {\n    \"t\": { \"acton\": \"allow\",\n \
                \"approval\": {} }\n  },\n  \"hide\": [\"a\", 5]\n}";
    let yaml =
        "version: '1'\ntools:\n  t:\n    acton: allow\n    approval: {}\nhide:\n  - a\n  - 5\n";
    let spots = |text: &str, format: Format| -> Vec<(String, u32, u32)> {
        let problems = Policy::read_as(text, format).unwrap_err();
        let spot = |p: &Problem| p.spot.unwrap();
        problems.iter().map(|p| (p.place.clone(), spot(p).line, spot(p).column)).collect()
    };

    assert_eq!(
        spots(json, Format::Json),
        [
            ("/tools/t/acton".to_owned(), 4, 12),
            ("/tools/t/action".to_owned(), 4, 5),
            ("/hide/1".to_owned(), 7, 17)
        ]
    );
    assert_eq!(
        spots(yaml, Format::Yaml),
        [
            ("/tools/t/acton".to_owned(), 4, 5),
            ("/tools/t/action".to_owned(), 3, 3),
            ("/hide/1".to_owned(), 8, 5)
        ]
    );
}

#[test]
fn a_policy_in_yaml_decides_as_the_same_in_json() {
    let yaml = "version: '1'\ntools:\n  t:\n    action: require_approval\n    approval:\n      when:\n      \
                - {path: args.x, op: not_in, value: [no, 9007199254740993]}\n";
    let (policy, problems) = Policy::read_as(yaml, Format::Yaml).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    let action = |arguments: &str| {
        let params = format!(r#"{{"name":"t","arguments":{{"x":{arguments}}}}}"#);
        let call = ToolCall::read("u", &params).unwrap();
        match policy.judge("bot", &call, None).unwrap() {
            Verdict::Ruled { action, .. } => action,
            other => panic!("{other:?}"),
        }
    };

    assert_eq!(action("\"no\""), Action::Allow);
    assert_eq!(action("false"), Action::RequireApproval);
}

#[test]
fn misfits_say_where_they_stand() {
    let (policy, _) = Policy::read_as("version: '1'\nhide:\n- write_fle\n", Format::Yaml).unwrap();
    let listed = [Listed { name: "write_file", definition: r#"{"name":"write_file"}"# }];

    assert_eq!(policy.misfits(&listed)[0].spot, Some(Spot { line: 3, column: 3 }));
}

proptest! {
    #[test]
    fn whatever_stands_in_a_yaml_file_is_read_or_refused(
        text in "([-?:,\\[\\]{}#&*!|>'\"%@` \n\t<~]|[a-c0-2]|\\PC){0,60}"
    ) {
        if let Ok(source) = Source::read(&text, Format::Yaml) {
            prop_assert!(json::parse(source.json()).is_ok());
        }
    }

    #[test]
    fn json_is_read_alike_as_yaml(
        n in -1000_i64..1000, text in "[ -~]{0,20}", list in proptest::collection::vec(any::<bool>(), 0..4)
    ) {
        let list = format!("{list:?}");
        let written = format!("{{\"a\": {n}, \"b\": [{}], \"c\": {list}}}", json::quote(&text));
        let source = Source::read(&written, Format::Yaml).unwrap();
        let (a, b) = (json::parse(source.json()).unwrap(), json::parse(&written).unwrap());
        prop_assert_eq!(a.canonical(), b.canonical());
    }
}
