use std::cmp::Ordering;

use super::*;

#[test]
fn canonical_form_sorts_keys_by_utf16_and_keeps_numbers_as_sent() {
    let text = "{\"\u{20ac}\":1.0,\"\\r\":1E2,\"\u{1f600}\":12345678901234567890123,\"\u{fb33}\":-0, \"1\":[true , null]}";

    let canonical = parse(text).unwrap().canonical();

    assert_eq!(
        canonical,
        "{\"\\r\":1E2,\"1\":[true,null],\"\u{20ac}\":1.0,\"\u{1f600}\":12345678901234567890123,\"\u{fb33}\":-0}"
    );
}

#[test]
fn escapes_are_decoded_and_written_canonically() {
    let node = parse(r#""\u0041\/\u000a\ud83d\ude00\u001f""#).unwrap();

    assert_eq!(node.as_str(), Some("A/\n😀\u{1f}"));
    assert_eq!(node.canonical(), "\"A/\\n😀\\u001f\"");
}

#[test]
fn duplicate_keys_are_refused_even_when_spelled_differently() {
    let error = parse(r#"{"a":{"name":1,"n\u0061me":2}}"#).unwrap_err();

    assert!(matches!(error, JsonError::DuplicateKey { ref key, .. } if key == "name"));
}

#[test]
fn duplicate_keys_are_found_in_large_objects() {
    let mut text = String::from("{");
    for i in 0..100 {
        text.push_str(&format!("\"k{i}\":0,"));
    }
    text.push_str("\"k7\":1}");

    assert!(matches!(parse(&text), Err(JsonError::DuplicateKey { .. })));
}

#[test]
fn depth_is_bounded_at_the_named_limit() {
    let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);

    assert!(parse(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(parse(&nested(MAX_DEPTH + 1)), Err(JsonError::TooDeep));
}

#[test]
fn lone_surrogates_are_refused() {
    for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#] {
        assert!(matches!(parse(text), Err(JsonError::LoneSurrogate { .. })), "{text}");
    }
}

#[test]
fn what_is_not_json_is_a_syntax_error() {
    for text in ["", "{", "01", "1.", "+1", "nul", "[1,]", "{\"a\":1,}", "\"\t\"", "1 2", "'a'"] {
        assert!(parse(text).unwrap_err().is_syntax(), "{text}");
    }
}

#[test]
fn a_whole_number_is_read_in_every_spelling() {
    for (text, want) in [
        ("7", Some(7)),
        ("7.0", Some(7)),
        ("70e-1", Some(7)),
        ("0.7E1", Some(7)),
        ("-0.0", Some(0)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("1e19", Some(10_000_000_000_000_000_000)),
        ("1e999999999999999999999", None),
        ("7.5", None),
        ("-7", None),
        ("\"7\"", None),
        ("7e", None),
        ("", None),
    ] {
        assert_eq!(whole_number(text), want, "{text}");
    }
}

#[test]
fn numbers_compare_by_exact_value() {
    use Ordering::{Equal, Greater, Less};
    for (a, b, want) in [
        ("1e2", "100.0", Equal),
        ("9007199254740993", "9007199254740992", Greater),
        ("-0", "0", Equal),
        ("-1", "1", Less),
        ("-2", "-1", Less),
        ("0.1", "0.09", Greater),
        ("1e999999999999999999999", "1", Greater),
        ("1e-999999999999999999999", "0", Greater),
        ("123", "12.3e1", Equal),
    ] {
        assert_eq!(compare_numbers(a, b), want, "{a} {b}");
    }
}

/// Texts with many values for their size, of about this many bytes.
fn dense(size: usize) -> Vec<(&'static str, String)> {
    let list = |element: &str| format!("[{}]", vec![element; size / (element.len() + 1)].join(","));
    let keys: Vec<String> = (0..size / 9).map(|n| format!("\"{n:x}\":0")).collect();
    vec![
        ("numbers", list("1")),
        ("empty lists", list("[]")),
        ("empty objects", list("{}")),
        ("empty strings", list("\"\"")),
        ("escapes", list("\"\\n\"")),
        ("lists of one", list("[1]")),
        ("objects of one", list("{\"\":1}")),
        ("deep lists", list(&format!("{}{}", "[".repeat(55), "]".repeat(55)))),
        ("keys", format!("{{{}}}", keys.join(","))),
    ]
}

#[test]
fn reading_a_message_takes_less_than_eight_times_its_text_whatever_stands_in_it() {
    for (name, text) in dense(256 << 10) {
        let message = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t","arguments":{{"x":{text}}}}}}}"#
        );
        let node = parse(&message).unwrap();

        let arguments = node.get("params").and_then(|p| p.get("arguments")).unwrap();
        let x = arguments.get("x").unwrap();
        let canonical = arguments.canonical();

        assert!(x.elements().is_some() || x.members().is_some());
        drop(canonical);
        let again = parse(&message).unwrap();
        again.get("params").and_then(|p| p.get("arguments")?.get("x")).unwrap().canonical();
        assert!(again.heap() < 4096, "{name}: {} for {}", again.heap(), message.len());
    }
}

#[test]
fn only_what_is_looked_at_is_read_and_one_level_deep() {
    let text = format!("[{}]", vec!["[1,1,1,1]"; 1_000].join(","));
    let node = parse(&text).unwrap();
    let before = node.heap();

    let one_level = size_of_val(node.elements().unwrap());

    assert!(before < 100, "{before}");
    assert!(node.heap() < one_level + 1_000 * 64, "{}", node.heap());
}

#[test]
fn values_are_counted_before_any_is_kept() {
    let text = r#"{"a":[1,{"b":null}],"c":"x"}"#;

    assert!(parse_within(text, 6).is_ok());
    assert_eq!(parse_within(text, 5), Err(JsonError::TooMany { limit: 5 }));
    for (name, text) in dense(4 << 20) {
        assert!(matches!(parse_within(&text, 10_000), Err(JsonError::TooMany { .. })), "{name}");
    }
}

#[test]
fn keys_that_differ_only_in_how_they_are_escaped_are_found_among_many() {
    let many: Vec<String> = (0..100).map(|n| format!("\"key{n}\":{n}")).collect();
    let text = format!("{{{},\"k\\u0065y5\":1}}", many.join(","));

    let error = parse(&text).unwrap_err();

    assert!(
        matches!(error, JsonError::DuplicateKey { ref key, offset } if key == "key5" && offset > 500)
    );
    let nested = format!("{{\"a\":{{{}}},\"key5\":{{\"key5\":1}}}}", many.join(","));
    assert!(parse(&nested).is_ok(), "each object has keys of its own");
}

/// What another reader makes of the same text, for comparison.
fn same(node: &Node<'_>, other: &serde_json::Value) -> bool {
    use serde_json::Value as Other;
    match (&node.value, other) {
        (Value::Null, Other::Null) => true,
        (Value::Bool(a), Other::Bool(b)) => a == b,
        (Value::Number(a), Other::Number(b)) => *a == b.to_string(),
        (Value::String(a), Other::String(b)) => a == b,
        (Value::Array(a), Other::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Other::Object(b)) => {
            a.len() == b.len() && a.iter().all(|m| b.get(&*m.key).is_some_and(|b| same(&m.node, b)))
        }
        _ => false,
    }
}

fn any_value() -> impl proptest::strategy::Strategy<Value = serde_json::Value> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        ".{0,6}".prop_map(Into::into),
        r#"[\[\]{}",:\\ ]{0,6}"#.prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 120, 40, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::btree_map(r#"[a-c"\\{\[]{0,3}"#, inner, 0..40)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest::proptest! {
    #[test]
    fn values_are_read_as_another_reader_reads_them(value in any_value()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let node = parse(&text).unwrap();
            proptest::prop_assert!(same(&node, &value), "{text}");
            proptest::prop_assert_eq!(&parse(&node.canonical()).unwrap().canonical(), &node.canonical());
        }
    }
}

#[test]
fn a_text_that_may_have_a_key_is_never_said_to_lack_it() {
    for has in [r#"{"task":1}"#, r#"{"a":[{"task":{}}]}"#, r#"{"t\u0061sk":1}"#, r#"{"a":"task"}"#]
    {
        assert!(may_have(has, "task"), "{has}");
    }
    for lacks in [r#"{"tas":1}"#, r#"{"a":"b\n"}"#, "null"] {
        assert!(!may_have(lacks, "task"), "{lacks}");
    }
}
