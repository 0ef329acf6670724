//! What servers may read otherwise is asked about.

use super::tests::asks;

/// Every operator with a value by which `"sandbox"` or `1`, as the test sends it, asks nobody.
fn milder(value: &str) -> Vec<(&'static str, String)> {
    let other = if value.starts_with('"') { "\"other\"" } else { "7" };
    let mut all = vec![
        ("eq", other.to_owned()),
        ("neq", value.to_owned()),
        ("in", format!("[{other}]")),
        ("not_in", format!("[{value}]")),
        ("exists", "false".to_owned()),
    ];
    if value.starts_with('"') {
        all.push(("regex", other.to_owned()));
        all.push(("contains", other.to_owned()));
    } else {
        let orders = [("lt", "-1e9"), ("lte", "-1e9"), ("gt", "1e30"), ("gte", "1e30")];
        all.extend(orders.map(|(op, limit)| (op, limit.to_owned())));
    }
    all
}

fn when(path: &str, op: &str, value: &str) -> String {
    format!(r#"{{"path":"{path}","op":"{op}","value":{value}}}"#)
}

#[test]
fn a_key_beside_the_path_that_differs_by_case_only_asks_with_every_operator() {
    for (op, value) in milder("\"sandbox\"") {
        let at = |path: &str| when(path, op, &value);
        assert!(!asks(&at("args.store"), r#"{"store":"sandbox","stores":"prod"}"#), "{op}");
        for arguments in [
            r#"{"store":"sandbox","Store":"prod"}"#,
            r#"{"STORE":"prod","store":"sandbox"}"#,
            r#"{"store":"sandbox","\u017ftore":"prod"}"#,
            r#"{"store":"sandbox","\u0053tore":"prod"}"#,
        ] {
            assert!(asks(&at("args.store"), arguments), "{op} {arguments}");
            let deep = format!(r#"{{"a":{{"b":[{arguments}]}}}}"#);
            assert!(asks(&at("args.a.b[0].store"), &deep), "{op} {deep}");
            assert!(asks(&at("args.a.b[*].store"), &deep), "{op} {deep}");
        }
        let above = r#"{"a":{"store":"sandbox"},"A":{"store":"prod"}}"#;
        assert!(asks(&at("args.a.store"), above), "{op}");
        // Nothing but the other spelling is there.
        assert!(asks(&at("args.store"), r#"{"Store":"prod"}"#), "{op}");
    }
    assert!(asks(&when("args.force", "exists", "true"), r#"{"Force":true}"#));
}

#[test]
fn a_number_that_is_not_the_shortest_spelling_of_its_double_asks_with_every_operator() {
    for (op, value) in milder("1") {
        assert!(!asks(&when("args.x", op, &value), r#"{"x":1}"#), "{op}");
        for x in [
            "1.0",
            "1e0",
            "10e-1",
            "-0",
            "1e-400",
            "9007199254740993",
            "0.1000000000000000055",
            "1.00000000000000000001",
            "1e400",
            "100000000000000000000000",
        ] {
            for (path, arguments) in [
                ("args.x", format!(r#"{{"x":{x}}}"#)),
                ("args.l[*]", format!(r#"{{"l":[1,{x}]}}"#)),
                ("args.o", format!(r#"{{"o":{{"deep":[{x}]}}}}"#)),
            ] {
                assert!(asks(&when(path, op, &value), &arguments), "{op} {arguments}");
            }
        }
    }
    assert!(asks(&when("args.uid", "eq", "0"), r#"{"uid":1e-400}"#));
}

#[test]
fn keys_inside_a_compared_value_that_differ_by_case_only_ask() {
    let prod = r#"{"store":"prod"}"#;
    let at = |op: &str, value: &str| when("args.x", op, value);

    assert!(!asks(&at("eq", prod), r#"{"x":{"store":"sandbox"}}"#));
    assert!(asks(&at("eq", prod), r#"{"x":{"Store":"prod"}}"#));
    assert!(asks(&at("in", &format!("[{prod}]")), r#"{"x":{"store":"s","STORE":"prod"}}"#));
    assert!(asks(&at("contains", prod), r#"{"x":[{"Store":"prod"}]}"#));
    assert!(asks(&at("eq", r#"[{"a":1}]"#), r#"{"x":[{"A":1}]}"#));
}
