use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::domain::json::array;

/// Values whose bytes would not survive being written anew.
fn value() -> impl Strategy<Value = String> {
    let leaf = select(vec![
        "1.00",
        "1e2",
        "-0",
        "12345678901234567890123",
        "\"\\u0041\\/\"",
        "\"\u{202e}x\"",
        "null",
        "true",
        "{ }",
        "[ 1 ,2 ]",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(|all| format!("[ {} ]", all.join(" ,"))),
            inner.prop_map(|one| format!("{{ \"in\" :{one}}}")),
        ]
    })
}

/// Keys, some of them spelled as a writer would not spell them.
const KEYS: [(&str, &str); 7] = [
    ("a", "\"a\""),
    ("b", "\"\\u0062\""),
    ("c/d", "\"c\\/d\""),
    ("_meta", "\"_meta\""),
    ("ä", "\"\\u00e4\""),
    ("e", "\"e\""),
    ("", "\"\""),
];

type Sent = Vec<((&'static str, &'static str), String)>;

/// Members of an object in any order.
fn members() -> impl Strategy<Value = Sent> {
    subsequence(KEYS.to_vec(), 0..=KEYS.len()).prop_shuffle().prop_flat_map(|keys| {
        let count = keys.len();
        vec(value(), count).prop_map(move |values| keys.iter().copied().zip(values).collect())
    })
}

fn text(members: &Sent, space: &str) -> String {
    let all: Vec<String> =
        members.iter().map(|((_, key), value)| format!("{key}{space}:{space}{value}")).collect();
    format!("{{{space}{}{space}}}", all.join(&format!("{space},{space}")))
}

fn space() -> impl Strategy<Value = &'static str> {
    select(vec!["", " ", "\n\t"])
}

/// New values by key.
fn news() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let keys: Vec<&str> = KEYS.iter().map(|(key, _)| *key).chain(["new", "\"q\n"]).collect();
    btree_map(select(keys), value(), 0..4).prop_map(|all| all.into_iter().collect())
}

/// Raw keys and values, in order.
fn raws<'t>(node: &'t Node<'_>) -> Vec<(&'t str, &'t str)> {
    node.members().unwrap().iter().map(|m| (m.raw_key, m.node.raw)).collect()
}

proptest! {
    #[test]
    fn what_is_not_named_keeps_its_bytes_and_its_place(
        sent in members(), space in space(), new in news(),
    ) {
        let out = with(&text(&sent, space), &new);
        let node = parse(&out).unwrap();

        let given = |key: &str| new.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_str());
        let mut want: Vec<(String, &str)> = sent
            .iter()
            .map(|((key, raw_key), value)| ((*raw_key).to_owned(), given(key).unwrap_or(value)))
            .collect();
        let has = |key: &str| sent.iter().any(|((k, _), _)| *k == key);
        let added = new.iter().filter(|(key, _)| !has(key));
        want.extend(added.map(|(key, value)| (crate::domain::json::quote(key), value.as_str())));
        let want: Vec<(&str, &str)> = want.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        prop_assert_eq!(raws(&node), want);
        prop_assert_eq!(with(&out, &new), out.clone());
    }

    #[test]
    fn taking_out_takes_out_and_nothing_else(
        sent in members(), space in space(), keys in vec(select(vec!["a", "b", "_meta", "none"]), 0..3),
    ) {
        let whole = text(&sent, space);
        let out = without(&whole, &keys);
        let node = parse(&out).unwrap();

        let want: Vec<(&str, &str)> = sent
            .iter()
            .filter(|((key, _), _)| !keys.contains(key))
            .map(|((_, raw_key), value)| (*raw_key, value.as_str()))
            .collect();
        prop_assert_eq!(raws(&node), want);
        prop_assert_eq!(without(&out, &keys), out.clone());
        if !sent.iter().any(|((key, _), _)| keys.contains(key)) {
            prop_assert_eq!(out, whole);
        }
    }

    #[test]
    fn what_was_added_can_be_taken_out_again(sent in members(), new in news()) {
        let whole = text(&sent, "");
        let missing: Vec<_> =
            new.into_iter().filter(|(key, _)| !sent.iter().any(|((k, _), _)| k == key)).collect();
        let keys: Vec<&str> = missing.iter().map(|(key, _)| *key).collect();

        let more = with(&whole, &missing);

        prop_assert_eq!(&with_missing(&whole, &missing), &more);
        prop_assert_eq!(without(&more, &keys), whole);
    }

    #[test]
    fn members_that_are_there_are_not_added(sent in members(), new in news()) {
        let whole = text(&sent, "");
        let there: Vec<_> =
            new.into_iter().filter(|(key, _)| sent.iter().any(|((k, _), _)| k == key)).collect();

        prop_assert_eq!(with_missing(&whole, &there), whole);
    }

    #[test]
    fn one_member_is_replaced_where_it_stands_and_nowhere_else(sent in members(), new in value()) {
        let whole = text(&sent, "");
        let out = replaced(&whole, "b", &new);

        if sent.iter().any(|((key, _), _)| *key == "b") {
            prop_assert_eq!(out, with(&whole, &[("b", &new)]));
        } else {
            prop_assert_eq!(out, whole);
        }
    }

    #[test]
    fn metadata_gets_members_and_all_else_stays(sent in members(), new in news()) {
        let out = with_meta(&text(&sent, " "), &new);
        let node = parse(&out).unwrap();

        for (key, value) in &new {
            prop_assert_eq!(node.get("_meta").and_then(|m| m.get(key)).map(|n| n.raw), Some(value.as_str()));
        }
        let others: Vec<_> = raws(&node).into_iter().filter(|(key, _)| *key != "\"_meta\"").collect();
        let want: Vec<(&str, &str)> = sent
            .iter()
            .filter(|((key, _), _)| *key != "_meta")
            .map(|((_, raw_key), value)| (*raw_key, value.as_str()))
            .collect();
        prop_assert_eq!(others, want);
        prop_assert_eq!(with_meta(&out, &new), out.clone());
    }

    #[test]
    fn a_splice_touches_no_other_byte(sent in members(), space in space(), new in value()) {
        let whole = text(&sent, space);
        let node = parse(&whole).unwrap();

        for (n, member) in node.members().unwrap().iter().enumerate() {
            let mut want = sent.clone();
            want[n].1.clone_from(&new);
            prop_assert_eq!(spliced(&whole, member.node.raw, &new), text(&want, space));
        }
    }

    #[test]
    fn an_array_has_its_elements_as_they_came(all in vec(value(), 0..4)) {
        let out = array(&all);
        let node = parse(&out).unwrap();
        let raws: Vec<&str> = node.elements().unwrap().iter().map(|e| e.raw).collect();

        prop_assert_eq!(raws, all);
    }
}

#[test]
fn what_is_no_object_comes_back_as_it_is() {
    for raw in ["", "{", "[ 1 ]", "\"a\"", "{\"a\":1,}"] {
        assert_eq!(with(raw, &[("a", "1")]), raw);
        assert_eq!(with_missing(raw, &[("a", "1")]), raw);
        assert_eq!(with_meta(raw, &[("a", "1")]), raw);
        assert_eq!(replaced(raw, "a", "1"), raw);
        assert_eq!(without(raw, &["a"]), raw);
    }
}

#[test]
fn to_what_is_not_quite_json_members_are_added_all_the_same() {
    let odd = r#"{"a":1,"a":NaN}"#;

    assert_eq!(with_missing(odd, &[("a", "1"), ("b", "2")]), r#"{"a":1,"a":NaN,"b":2}"#);
    assert_eq!(with_meta(odd, &[("k", "1")]), r#"{"a":1,"a":NaN,"_meta":{"k":1}}"#);
    assert_eq!(with(odd, &[("a", "2")]), odd);
    assert_eq!(without(odd, &["a"]), odd);
}

#[test]
fn metadata_that_is_no_object_gives_way() {
    assert_eq!(
        with_meta(r#"{"_meta":7, "b" : 1.0}"#, &[("a", "{}")]),
        r#"{"_meta":{"a":{}},"b":1.0}"#
    );
}

#[test]
fn members_are_mapped_and_left_out_one_by_one() {
    let node = parse(r#"{ "a":1.0, "b":2, "c":[ ] }"#).unwrap();

    let out = node.map_members(|m| match m.key.as_ref() {
        "a" => Some("9".into()),
        "b" => None,
        _ => Some(m.node.raw.into()),
    });

    assert_eq!(out, r#"{"a":9,"c":[ ]}"#);
}
