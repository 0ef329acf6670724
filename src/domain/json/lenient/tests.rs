use proptest::prelude::*;

use super::*;
use crate::domain::json::{Node, Value};

fn keep(raw: &str) -> String {
    raw.to_owned()
}

fn shown(text: &str) -> Option<String> {
    readable(text, &keep).map(Cow::into_owned)
}

/// Any JSON, as text.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?",
        any::<String>().prop_map(|s| quote(&s)),
        Just(r#""\ud83d\ude00\u0041\/""#.to_owned()),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|e| format!("[ {} ]", e.join(" ,\n"))),
            prop::collection::btree_map(any::<String>(), inner, 0..6).prop_map(|m| {
                let m: Vec<_> = m.iter().map(|(k, v)| format!("{} :\t{v}", quote(k))).collect();
                format!("{{ {} }}", m.join(","))
            }),
        ]
    })
}

fn agrees(node: &Node<'_>) {
    match &node.value {
        Value::Object(strict) => {
            let loose = members(node.raw).expect("it is an object");
            assert_eq!(loose.len(), strict.len());
            for (a, b) in loose.iter().zip(strict) {
                assert_eq!((a.key.as_ref(), a.raw), (b.key.as_ref(), b.node.raw));
                assert_eq!(a.raw.as_ptr(), b.node.raw.as_ptr(), "the same place");
                agrees(&b.node);
            }
        }
        Value::Array(strict) => {
            let loose = elements(node.raw).expect("it is an array");
            assert_eq!(loose, strict.iter().map(|n| n.raw).collect::<Vec<_>>());
            strict.iter().for_each(agrees);
        }
        Value::String(text) => assert_eq!(string(node.raw).as_deref(), Some(text.as_ref())),
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            assert!(members(node.raw).is_none() && elements(node.raw).is_none());
        }
    }
}

proptest! {
    #[test]
    fn of_strict_json_the_lenient_reader_finds_the_same_at_the_same_places(text in json_text()) {
        let node = parse(&text).unwrap();
        agrees(&node);
        prop_assert_eq!(shown(&text), Some(text.clone()));
    }

    #[test]
    fn no_text_makes_the_lenient_reader_fail(text in "[\\[\\]{}\",:\\\\u0d8aN é\u{feff}\n]{0,60}") {
        let _ = (members(&text), elements(&text), string(&text));
        let _ = (with_meta(&text, &[("k", "1")]), with_missing(&text, &[("k", "1")]));
        if let Some(shown) = shown(&text) {
            prop_assert!(parse(&shown).is_ok(), "{} of {}", shown, text);
        }
    }

    #[test]
    fn what_is_cut_anywhere_is_never_taken_for_whole(text in json_text(), at in any::<prop::sample::Index>()) {
        let whole = format!("{{\"id\":7,\"result\":{text}}}");
        let mut end = at.index(whole.len());
        while !whole.is_char_boundary(end) {
            end -= 1;
        }
        prop_assert_eq!(members(&whole[..end]), None);
    }
}

#[test]
fn a_value_that_the_strict_reader_refuses_is_found_with_its_bytes() {
    for odd in [
        r#"{"a":1,"a":2}"#,
        r#""\ud800""#,
        "NaN",
        "-Infinity",
        r#"{"n": NaN, "x":[Infinity]}"#,
        "\"a\u{1}\ttab\"",
        &("[".repeat(5000) + &"]".repeat(5000)),
    ] {
        let text = format!("\u{feff} {{ \"id\" : 7 ,\r\n \"r\\u0065sult\":{odd}\n}} ");
        assert_eq!(member(&text, "result"), Some(odd), "{odd:.60}");
        assert_eq!(member(&text, "id"), Some("7"));
    }
}

#[test]
fn of_two_members_of_one_name_the_last_counts() {
    assert_eq!(member(r#"{"id":1,"id":2,"i\u0064":3}"#, "id"), Some("3"));
}

#[test]
fn what_has_no_clear_end_is_no_object() {
    for text in [
        "{",
        "{}x",
        "{\"a\":}",
        "{\"a\" 1}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\":[}]}",
        "{\"a\":1 2}",
        "[1]",
        "",
    ] {
        assert_eq!(members(text), None, "{text}");
    }
}

#[test]
fn a_mark_is_added_and_every_other_byte_of_odd_json_stays() {
    let mark = [("io.placet/decision", "{\"code\":\"approved\"}")];
    for (text, want) in [
        (r#"{ "n" : NaN }"#, r#"{ "n" : NaN ,"_meta":{"io.placet/decision":{"code":"approved"}}}"#),
        ("{ }", r#"{ "_meta":{"io.placet/decision":{"code":"approved"}}}"#),
        (
            r#"{"_meta":{"a":NaN,"io.placet/decision":"mine"},"n":1}"#,
            r#"{"_meta":{"a":NaN,"io.placet/decision":{"code":"approved"}},"n":1}"#,
        ),
    ] {
        assert_eq!(with_meta(text, &mark).as_deref(), Some(want), "{text}");
    }
    assert_eq!(with_meta("[NaN]", &mark), None);
    assert_eq!(
        with_missing(r#"{"n":NaN,"a":1}"#, &[("a", "2"), ("b", "3")]).as_deref(),
        Some(r#"{"n":NaN,"a":1,"b":3}"#)
    );
}

#[test]
fn odd_json_is_made_readable_and_says_the_same() {
    for (odd, want) in [
        (r#"{"a":1,"b":2,"\u0061":3}"#, r#"{"a":3,"b":2}"#),
        (r#"["\ud800x","\ud83d\ude00"]"#, r#"["\\ud800x","\ud83d\ude00"]"#),
        ("{\"n\":NaN,\"m\":[-Infinity,1.0,.5]}", r#"{"n":"NaN","m":["-Infinity",1.0,".5"]}"#),
        ("{\"a\":\"\u{1}\"}", r#"{"a":"\u0001"}"#),
        ("\u{feff}{\"a\":1}", r#"{"a":1}"#),
    ] {
        assert_eq!(shown(odd).as_deref(), Some(want), "{odd}");
    }
    for never in ["hello", "{\"a\":hello}", "{\"a\":1", "", "<html>"] {
        assert_eq!(shown(never), None, "{never}");
    }
}

#[test]
fn what_is_nested_too_deep_is_shown_as_text() {
    let deep = "[".repeat(10_000) + "1" + &"]".repeat(10_000);

    let shown = shown(&deep).unwrap();

    assert!(parse(&shown).is_ok());
    assert!(shown.contains(r#""[[["#));
}
