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
